"""The last minutes on disk: a power cut anywhere costs what was not synced, and nothing else."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fosp_edge.control.flight.log import BUNDLE, TICK, FlightError, FlightLog, FlightReader


def written(folder: Path, count: int = 30, **options: float) -> list[tuple[int, bytes]]:
    log = FlightLog(folder, {"schema": 1}, **options)  # type: ignore[arg-type]
    frames = [(TICK, f"tick {number}".encode() * 5) for number in range(count)]
    for kind, content in frames:
        log.append(kind, content)
    log.close()
    return frames


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    frames = written(tmp_path)
    reader = FlightReader(tmp_path)
    assert list(reader) == frames and reader.torn == 0 and reader.meta == {"schema": 1}


@settings(max_examples=60)
@given(data=st.data())
def test_a_power_cut_at_any_byte_leaves_every_frame_before_it(tmp_path_factory, data) -> None:
    folder = tmp_path_factory.mktemp("flight")
    frames = written(folder)
    (path,) = folder.glob("*.flight")
    content = path.read_bytes()
    cut = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:cut] + data.draw(st.binary(max_size=200)))  # blocks that were allocated hold anything
    found = list(FlightReader(folder))
    whole = len(found)
    assert found == frames[:whole]
    log = FlightLog(folder, {"schema": 1})  # the next recorder begins a file of its own
    log.append(TICK, b"after")
    log.close()
    assert list(FlightReader(folder)) == [*found, (TICK, b"after")]


def test_a_flipped_bit_ends_the_file_there(tmp_path: Path) -> None:
    frames = written(tmp_path)
    (path,) = tmp_path.glob("*.flight")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    reader = FlightReader(tmp_path)
    found = list(reader)
    assert 0 < len(found) < len(frames) and found == frames[: len(found)] and reader.torn == 1


def test_old_files_go_and_every_file_names_the_bundles(tmp_path: Path) -> None:
    log = FlightLog(tmp_path, {}, keep_s=3.0, segment_s=1.0)
    log.append(BUNDLE, b"{}")
    for number in range(8):
        log._begin_s -= 2.0
        log.append(TICK, str(number).encode())
    log.close()
    assert len(list(tmp_path.glob("*.flight"))) <= 4
    frames = list(FlightReader(tmp_path))
    assert frames[0] == (BUNDLE, b"{}") and frames[-1] == (TICK, b"7")
    assert (TICK, b"0") not in frames


def test_a_full_disk_costs_the_oldest_file_first_and_then_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = FlightLog(tmp_path, {}, segment_s=1.0)
    for number in range(3):
        log._begin_s -= 2.0
        log.append(TICK, str(number).encode())
    real, full = os.write, [True]

    def write(descriptor: int, data: bytes) -> int:
        if full[0] and len(list(tmp_path.glob("*.flight"))) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    log.append(TICK, b"3")
    assert len(list(tmp_path.glob("*.flight"))) == 2
    monkeypatch.setattr(os, "write", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
    with pytest.raises(OSError, match="No space"):
        log.append(TICK, b"4")


def test_a_folder_without_a_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FlightError, match="holds no flight recording"):
        FlightReader(tmp_path)
