"""The store under kill -9, a full disk, and readers beside the writer."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fosp_edge.experience.store import CHUNK_ROWS, ExperienceStore, StoreError, StoreFull
from tests.experience.episodes import make_header, make_steps, row_of

ROOT = Path(__file__).parents[2]
WRITER = """
import sys
sys.path.insert(0, {root!r})
from tests.experience.episodes import make_header, make_steps, row_of
from fosp_edge.experience.store import ExperienceStore
store = ExperienceStore({path!r}, "a", map_step_bytes=1 << 20)
print("open", flush=True)
steps = make_steps(70, size_px=16)
while True:
    writer = store.writer(make_header())
    for index in range(70):
        writer.append(row_of(steps, index))
        if index % 20 == 19:
            print("durable", writer.episode_id, index + 1, flush=True)
    print("closed", writer.close("done"), 70, flush=True)
"""


def start_writer(path: Path) -> subprocess.Popen[str]:
    code = WRITER.format(root=str(ROOT), path=str(path))
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert writer.stdout.readline() == "open\n"
    return writer


def kill(writer: subprocess.Popen[str]) -> list[str]:
    """Kill -9; returns what the writer had said by then, but for a line cut in half."""
    writer.send_signal(signal.SIGKILL)
    said = writer.stdout.read()
    writer.wait()
    writer.stdout.close()
    return [line for line in said.splitlines(keepends=True) if line.endswith("\n")]


def test_kill_9_at_any_moment_loses_nothing_that_was_said_to_be_durable(tmp_path):
    expected = make_steps(70, size_px=16)
    dice = random.Random(1)
    promised: dict[str, tuple[int, bool]] = {}
    for _ in range(8):
        writer = start_writer(tmp_path / "store")
        said = writer.stdout.readline()
        time.sleep(dice.uniform(0.0, 0.1))
        for line in [said, *kill(writer)]:
            word, episode_id, rows = line.split()
            promised[episode_id] = (int(rows), word == "closed")
        with ExperienceStore(tmp_path / "store") as store:
            infos = {info.id: info for info in store.episodes()}
            for episode_id, (rows, closed) in promised.items():
                assert infos[episode_id].summary.rows >= rows
                assert infos[episode_id].summary.finished >= closed
            for episode_id, info in infos.items():
                steps = store.read(episode_id)
                rows = len(steps["reward"])
                assert rows == info.summary.rows
                assert rows == 70 if info.summary.finished else rows % CHUNK_ROWS == 0
                for name, values in steps.items():
                    np.testing.assert_array_equal(values, expected[name][:rows])
            assert all(problem is None for _, problem in store.verify())
    assert len(promised) >= 8


def test_a_killed_writer_leaves_a_store_that_the_next_one_continues(tmp_path):
    writer = start_writer(tmp_path / "store")
    while not writer.stdout.readline().startswith("durable 000001"):
        pass
    kill(writer)
    with ExperienceStore(tmp_path / "store", "a") as store:
        before = store.episodes()
        episode_id = store.add(make_header(), make_steps(10, size_px=16))
        assert [info.id for info in store.episodes()] == [*(info.id for info in before), episode_id]


def test_a_reader_beside_the_writer_always_sees_whole_chunks(tmp_path):
    writer = start_writer(tmp_path / "store")
    expected = make_steps(70, size_px=16)
    seen = 0
    try:
        # Opened while the file is small: the reader has to follow as the writer's map grows.
        with ExperienceStore(tmp_path / "store", map_step_bytes=1 << 20) as store:
            while seen < 60:
                time.sleep(0.01)
                infos = store.episodes()
                if not infos:
                    continue
                steps = store.read(infos[-1].id)
                rows = len(steps["reward"])
                assert rows >= infos[-1].summary.rows
                np.testing.assert_array_equal(steps["image"], expected["image"][:rows])
                seen = max(seen, len(infos))
            assert store.size_bytes() > 2 << 20
    finally:
        kill(writer)


def test_a_killed_reader_holds_nothing_up(tmp_path):
    with ExperienceStore(tmp_path / "store", "a") as store:
        store.add(make_header(), make_steps(5))
    code = (
        f"import sys, time; sys.path[:0] = [{str(ROOT)!r}]\n"
        "from fosp_edge.experience.store import ExperienceStore\n"
        f"store = ExperienceStore({str(tmp_path / 'store')!r})\n"
        "with store._database.read() as view:\n"
        "    print('reading', flush=True); time.sleep(60)\n"
    )
    reader = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert reader.stdout.readline() == "reading\n"
    kill(reader)
    with ExperienceStore(tmp_path / "store", "a") as store:
        assert str(reader.pid) not in store._database._environment.readers()


def test_the_reserve_of_the_disk_is_kept_and_nothing_is_lost(tmp_path):
    with ExperienceStore(tmp_path / "store", "a") as store:
        store.add(make_header(), make_steps(5))
    with ExperienceStore(tmp_path / "store", "a", reserve_bytes=1 << 60) as store:
        with pytest.raises(StoreFull, match="free some space"):
            store.add(make_header(), make_steps(5))
        assert list(store.verify()) == [("000000", None)]


def test_a_file_that_cannot_grow_is_said_to_be_full_and_stays_whole(tmp_path):
    """RLIMIT_FSIZE stands in for the full disk: the kernel refuses the write in the middle of a transaction."""
    code = f"""
import resource, signal, sys
sys.path.insert(0, {str(ROOT)!r})
from tests.experience.episodes import make_header, make_steps, row_of
from fosp_edge.experience.store import ExperienceStore, StoreFull
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = ExperienceStore({str(tmp_path / "store")!r}, "a")
resource.setrlimit(resource.RLIMIT_FSIZE, (700_000, resource.RLIM_INFINITY))
steps = make_steps(100, size_px=32)
writer = store.writer(make_header())
written = 0
try:
    for index in range(100):
        writer.append(row_of(steps, index))
        written = writer.summary.rows
except StoreFull as error:
    print(written, error)
rest = len(store.read("000000")["reward"])
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
writer.close("room again")
print(rest, flush=True)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 0, found.stderr
    sentence, rest = found.stdout.splitlines()
    written = int(sentence.split()[0])
    assert 0 < written < 100
    assert int(rest) == written
    assert "free some space" in sentence
    with ExperienceStore(tmp_path / "store") as store:
        (info,) = store.episodes()
        assert info.summary.outcome == "room again"
        assert info.summary.rows == written + CHUNK_ROWS
        assert list(store.verify()) == [("000000", None)]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_file_system_is_said_to_be_full_and_stays_whole(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        with ExperienceStore(disk / "store", "a", reserve_bytes=0) as store:
            ids: list[str] = []
            with pytest.raises(StoreFull):
                while True:
                    ids.append(store.add(make_header(), make_steps(20, size_px=32, mark=len(ids))))
            assert ids
            assert list(store.verify()) == [(episode_id, None) for episode_id in ids]
        with ExperienceStore(disk / "store") as store:
            assert list(store.verify()) == [(episode_id, None) for episode_id in ids]
    finally:
        subprocess.run(["umount", disk], check=True)


def test_the_same_folder_twice_in_one_process_is_refused(tmp_path):
    with (
        ExperienceStore(tmp_path / "store", "a") as store,
        pytest.raises(StoreError, match="already open"),
    ):
        ExperienceStore(store.path)


def test_rows_survive_a_full_disk_in_the_buffer(tmp_path, monkeypatch):
    steps = make_steps(60)
    with ExperienceStore(tmp_path / "store", "a") as store:
        writer = store.writer(make_header())
        for index in range(20):
            writer.append(row_of(steps, index))
        monkeypatch.setattr(store._database, "_reserve_bytes", 1 << 60)
        for index in range(20, 39):
            writer.append(row_of(steps, index))
        for index in range(39, 45):
            with pytest.raises(StoreFull):
                writer.append(row_of(steps, index))
        monkeypatch.setattr(store._database, "_reserve_bytes", 0)
        for index in range(45, 60):
            writer.append(row_of(steps, index))
        writer.close()
        np.testing.assert_array_equal(store.read("000000")["reward"], steps["reward"])
