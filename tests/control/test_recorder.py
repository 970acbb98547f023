"""The recorder never makes the tick wait, counts what it drops, and says why it failed."""

import errno
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from fosp_edge.control.recorder import REASONS, Recorder, row_of
from fosp_edge.control.types import FilterRecord, Observation, Reason, State, StepScores, TickRecord
from fosp_edge.experience.codec import stack_rows
from fosp_edge.experience.schema import COLUMNS, FILTER_COLUMNS, check_steps
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


def decided(tick: int) -> TickRecord:
    scores = StepScores(
        np.zeros((5, 3), np.float32), *(np.full(5, value, np.float32) for value in (1.0, 2.0, 0.3)), 0.25, 4.0
    )
    return replace(record(tick), scores=scores, filter=FilterRecord(3, 0.4, 0.8, (0.5, 1.5)), latency_s=0.01)


def test_what_the_filter_judged_by_is_in_the_row_and_the_last_row_has_it_as_zeros() -> None:
    row = row_of(decided(0))
    assert set(row) == {column.name for column in (*COLUMNS, *FILTER_COLUMNS)}
    np.testing.assert_allclose(row["thresholds"], [0.4, 0.8])
    np.testing.assert_allclose(row["gate"], [0.5, 1.5, 0.0])
    assert int(row["chosen"]) == 3 and row["reachability"].tolist() == pytest.approx([0.3] * 5)
    last = row_of(record(1), row)
    assert stack_rows([row, last])["reachability"].tolist()[1] == [0.0] * 5


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
