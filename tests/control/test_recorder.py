"""The recorder never makes the tick wait, counts what it drops, and says why it failed."""

import errno
import threading
import time

import numpy as np
import pytest

from fosp_edge.control.recorder import REASONS, Recorder, row_of
from fosp_edge.control.types import Observation, Reason, State, TickRecord
from fosp_edge.experience.schema import COLUMNS, check_steps
from tests.control.fakes import MemoryWriter


def record(tick: int) -> TickRecord:
    zeros = np.zeros(3, np.float32)
    observation = Observation(np.zeros((8, 8, 6), np.uint8), np.zeros(9, np.float32))
    return TickRecord(
        tick=tick,
        time_ns=tick,
        observation=observation,
        action=zeros,
        nominal=zeros,
        reward=1.0,
        cost=0.0,
        violation=False,
        is_first=tick == 0,
        is_terminal=False,
        success=False,
        reason=Reason.POLICY,
        state=State.RUNNING,
        scores=None,
        latency_s=0.0,
        frame_age_s=0.0,
    )


def test_rows_are_those_of_the_schema() -> None:
    row = row_of(record(0))
    assert set(row) == {column.name for column in COLUMNS}
    assert check_steps({name: np.stack([value, value]) for name, value in row.items()}) == 2
    assert REASONS[int(row["reason"])] is Reason.POLICY


def test_everything_handed_over_is_written_in_order_and_closed() -> None:
    writers: list[MemoryWriter] = []

    def open_episode(seed: int, scenario: str) -> MemoryWriter:
        writers.append(MemoryWriter())
        return writers[-1]

    recorder = Recorder(open_episode)
    recorder.start()
    for episode in range(2):
        recorder.begin_episode(episode, "standard")
        for tick in range(30):
            assert recorder.record(record(tick))
        recorder.end_episode("success")
    recorder.begin_episode(2, "standard")
    recorder.record(record(0))
    recorder.close()
    assert [len(writer.rows) for writer in writers] == [30, 30, 1]
    assert [int(row["time_ns"]) for row in writers[0].rows] == list(range(30))
    assert [writer.outcome for writer in writers] == ["success", "success", "interrupted"]
    assert (recorder.written, recorder.dropped, recorder.failure) == (61, 0, None)


def test_a_disk_that_hangs_drops_and_counts_and_never_blocks() -> None:
    gate, entered = threading.Event(), threading.Event()

    class Stuck(MemoryWriter):
        def append(self, row: dict[str, np.ndarray]) -> None:
            entered.set()
            gate.wait(30)
            super().append(row)

    writer = Stuck()
    recorder = Recorder(lambda seed, scenario: writer, capacity=4)
    recorder.start()
    recorder.begin_episode(0, "standard")
    recorder.record(record(0))
    assert entered.wait(10)
    begin = time.monotonic()
    accepted = [recorder.record(record(tick)) for tick in range(1, 21)]
    assert time.monotonic() - begin < 5.0
    assert accepted == [True] * 4 + [False] * 16
    assert recorder.dropped == 16
    gate.set()
    recorder.close()
    assert [int(row["time_ns"]) for row in writer.rows] == [0, 1, 2, 3, 4]


def test_a_disk_that_never_comes_back_is_a_failure_with_a_sentence() -> None:
    gate = threading.Event()

    class Stuck(MemoryWriter):
        def append(self, row: dict[str, np.ndarray]) -> None:
            gate.wait(30)

    recorder = Recorder(lambda seed, scenario: Stuck(), capacity=4)
    recorder.start()
    recorder.begin_episode(0, "standard")
    for tick in range(8):
        recorder.record(record(tick))
    recorder.close(timeout_s=0.05)
    assert recorder.failure is not None and "disk" in recorder.failure and " s" in recorder.failure
    gate.set()


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (RuntimeError("map full"), r"writing experience failed \(RuntimeError: map full\)"),
    ],
)
def test_an_error_while_writing_becomes_a_sentence(error: Exception, sentence: str) -> None:
    import re

    writer = MemoryWriter(error=error)
    recorder = Recorder(lambda seed, scenario: writer)
    recorder.start()
    recorder.begin_episode(0, "standard")
    recorder.record(record(0))
    recorder.close()
    assert recorder.failure is not None and re.search(sentence, recorder.failure)
    assert recorder.record(record(1)) is False
    assert writer.outcome is None
