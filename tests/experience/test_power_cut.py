"""The store after a power cut at every write: what was on the disk by then, and any part of what was on its way there.

A writer runs with its writes recorded (`write_trace.c`). Between two syncs a disk may have written any of what it was
given, in any order, and a page may be torn at a sector; each such state is put together and opened.
"""

import os
import random
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from fosp_edge.experience.store import CHUNK_ROWS, ExperienceStore
from tests.experience.episodes import make_header, make_steps

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SECTOR = 512
ROWS = 50
_RECORD = struct.Struct("<cqq")
WRITER = """
import os, struct, sys
sys.path.insert(0, {root!r})
from tests.experience.episodes import make_header, make_steps, row_of
from fosp_edge.experience.store import ExperienceStore
trace = os.open(os.environ["WRITE_TRACE"], os.O_WRONLY | os.O_APPEND)
store = ExperienceStore({path!r}, "a", map_step_bytes=1 << 20)
for mark in range(3):
    steps = make_steps({rows}, size_px=16, mark=mark)
    writer = store.writer(make_header(seed=mark))
    for index in range({rows}):
        writer.append(row_of(steps, index))
        os.write(trace, struct.pack("<cqq", b"P", mark, writer.summary.rows))
    writer.close("done")
    os.write(trace, struct.pack("<cqq", b"P", mark, {rows}))
"""


@dataclass(frozen=True)
class Event:
    """`kind` as in `write_trace.c`; or P, the writer's promise: of episode `offset`, so many rows are safe."""

    kind: str
    offset: int
    data: bytes
    rows: int = 0


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[Event]]:
    """The data file before, and everything that happened to it."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("recording writes needs a C compiler")
    folder = tmp_path_factory.mktemp("trace")
    library, trace, path = folder / "write_trace.so", folder / "trace", folder / "store"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, HERE / "write_trace.c"], check=True)
    with ExperienceStore(path, "a"):
        pass
    before = (path / "data.mdb").read_bytes()
    trace.touch()
    code = WRITER.format(root=str(ROOT), path=str(path), rows=ROWS)
    environment = {**os.environ, "LD_PRELOAD": str(library), "WRITE_TRACE": str(trace)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=60)
    events = list(_events(trace.read_bytes()))
    assert {event.kind for event in events} == {"W", "D", "S", "P"}
    assert (path / "data.mdb").read_bytes() == _written(before, [event for event in events if event.kind in "WD"])
    return before, events


def _events(data: bytes) -> Iterator[Event]:
    place = 0
    while place < len(data):
        kind, offset, size = _RECORD.unpack_from(data, place)
        place += _RECORD.size
        if kind == b"P":
            yield Event("P", offset, b"", size)
            continue
        yield Event(kind.decode(), offset, data[place : place + size])
        place += size


def _written(image: bytes, writes: list[Event]) -> bytes:
    disk = bytearray(image)
    for write in writes:
        end = write.offset + len(write.data)
        disk.extend(bytes(max(0, end - len(disk))))
        disk[write.offset : end] = write.data
    return bytes(disk)


def _torn(write: Event, dice: random.Random) -> Event:
    """Only the first sectors of it, or only the last ones."""
    sectors = -(-len(write.data) // SECTOR)
    if sectors < 2:
        return Event(write.kind, write.offset, b"")
    cut = SECTOR * dice.randrange(1, sectors)
    if dice.random() < 0.5:
        return Event(write.kind, write.offset, write.data[:cut])
    return Event(write.kind, write.offset + cut, write.data[cut:])


def _subsets(pending: list[Event], dice: random.Random) -> Iterator[list[Event]]:
    yield []
    if pending:
        yield pending
        yield pending[:-1]
        yield [*pending[:-1], _torn(pending[-1], dice)]
        yield [_torn(write, dice) for write in pending]
        yield [write for write in pending if dice.random() < 0.5]
        yield sorted(pending, key=lambda write: dice.random())


def _check(image: bytes, promised: dict[int, int], path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    (path / "data.mdb").write_bytes(image)
    with ExperienceStore(path, "a", map_step_bytes=1 << 20) as store:
        assert all(problem is None for _, problem in store.verify())
        infos = {info.header.seed: info for info in store.episodes()}
        for mark, rows in promised.items():
            assert rows == 0 or infos[mark].summary.rows >= rows
        for mark, info in infos.items():
            rows = info.summary.rows
            assert rows % CHUNK_ROWS == 0 or (info.summary.finished and rows == ROWS)
            steps, expected = store.read(info.id), make_steps(ROWS, size_px=16, mark=mark)
            for name, values in steps.items():
                np.testing.assert_array_equal(values, expected[name][:rows])
        added = store.add(make_header(seed=99), make_steps(5, size_px=16))  # and it goes on
        assert len(store.read(added)["reward"]) == 5


def test_a_power_cut_at_any_write_leaves_a_whole_store_and_takes_at_most_the_last_second(
    traced: tuple[bytes, list[Event]], tmp_path: Path
) -> None:
    before, events = traced
    dice = random.Random(0)
    durable, pending, promised, cuts = before, list[Event](), dict[int, int](), 0
    for event in events:
        if event.kind == "P":
            promised[event.offset] = event.rows
        elif event.kind == "S":
            durable, pending = _written(durable, pending), []
        else:
            pending.append(event)
            for subset in _subsets(pending, dice):
                _check(_written(durable, subset), promised, tmp_path / "store")
                cuts += 1
            if event.kind == "D":  # it has returned, so it is on the disk; what was written before it may still not be
                durable, pending = _written(durable, [event]), pending[:-1]
    assert sum(promised.values()) == 3 * ROWS and cuts > 100


def test_the_check_itself_sees_a_store_that_syncs_too_late(traced: tuple[bytes, list[Event]], tmp_path: Path) -> None:
    """Were the root written before the pages below it are safe, some cut would show it."""
    before, events = traced
    durable, pending = before, list[Event]()
    failures = 0
    for event in events:
        if event.kind == "W":
            pending.append(event)
        elif event.kind == "D":
            durable = _written(durable, [event])
            try:
                _check(durable.ljust(len(_written(durable, pending)), b"\0"), {}, tmp_path / "store")
            except Exception:  # whatever a store without its pages leads to
                failures += 1
            durable, pending = _written(durable, pending), []
            if failures:
                return
    pytest.fail("a root without its pages went unnoticed")
