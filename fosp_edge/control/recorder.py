"""Writes experience in a thread of its own: the tick hands a record over and never waits for the disk."""

import errno
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fosp_edge.control.types import Reason, TickRecord
from fosp_edge.experience.codec import Row
from fosp_edge.experience.episode import StoreError

REASONS: tuple[Reason, ...] = tuple(Reason)
"""What the numbers in the column `reason` mean; written into every episode's header."""


class Writer(Protocol):
    """One open episode of the experience store."""

    def append(self, row: Row) -> None:
        """Add a row; may write a chunk to disk."""

    def close(self, outcome: str) -> object:
        """Write what is left and mark the episode complete."""


OpenEpisode = Callable[[int, str], Writer]
"""Opens an episode for a seed and a scenario; called in the recorder's thread, where the store lives."""


def row_of(record: TickRecord) -> dict[str, npt.NDArray[np.generic]]:
    """The columns of the store out of one tick's record."""
    return {
        "image": record.observation.image,
        "state": record.observation.state,
        "action": record.action,
        "nominal": record.nominal,
        "reward": np.asarray(record.reward, np.float32),
        "cost": np.asarray(record.cost, np.float32),
        "violation": np.asarray(record.violation, np.float32),
        "is_first": np.asarray(record.is_first, np.bool_),
        "is_terminal": np.asarray(record.is_terminal, np.bool_),
        "reason": np.asarray(REASONS.index(record.reason), np.uint8),
        "time_ns": np.asarray(record.time_ns, np.int64),
    }


@dataclass(frozen=True)
class _Begin:
    seed: int
    scenario: str


@dataclass(frozen=True)
class _End:
    outcome: str


_Item = TickRecord | _Begin | _End | None


class Recorder:
    """A bounded queue and the thread that empties it into the store.

    Guarantees: `record` never blocks; a record that finds the queue full is dropped and counted, never a later one
    in its place; after a failure nothing more is written, so an episode on disk has no gap that was not counted.
    """

    def __init__(self, open_episode: OpenEpisode, capacity: int = 256) -> None:
        self._open_episode = open_episode
        self._queue: queue.Queue[_Item] = queue.Queue(maxsize=capacity)
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._failure: str | None = None
        self.written = 0
        self.dropped = 0

    @property
    def failure(self) -> str | None:
        """Why experience can no longer be written, in a sentence; None while it can."""
        return self._failure

    @property
    def backlog(self) -> int:
        """Records waiting to be written."""
        return self._queue.qsize()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def record(self, record: TickRecord) -> bool:
        """Hand one row over; False if it was dropped."""
        if self._failure is None:
            try:
                self._queue.put_nowait(record)
                return True
            except queue.Full:
                pass
        self.dropped += 1
        return False

    def begin_episode(self, seed: int, scenario: str, timeout_s: float = 2.0) -> None:
        """Open the next episode. Waits for room in the queue: call it while the motors stand still."""
        self._boundary(_Begin(seed, scenario), timeout_s)

    def end_episode(self, outcome: str, timeout_s: float = 2.0) -> None:
        """Complete the open episode. Waits for room in the queue: call it while the motors stand still."""
        self._boundary(_End(outcome), timeout_s)

    def close(self, timeout_s: float = 10.0) -> None:
        """Write what is waiting and end the thread; what cannot be written in time is a failure, with its count."""
        if not self._thread.is_alive():
            return
        self._boundary(None, timeout_s)
        self._thread.join(timeout_s)
        if self._thread.is_alive() and self._failure is None:
            self._failure = f"the disk did not take {self.backlog} records within {timeout_s:.0f} s; they are lost"

    def _boundary(self, item: _Item, timeout_s: float) -> None:
        if self._failure is not None:
            return
        try:
            self._queue.put(item, timeout=timeout_s)
        except queue.Full:
            self._failure = f"the disk took nothing for {timeout_s:.0f} s; look at it, or run with --no-record"

    def _work(self) -> None:
        writer: Writer | None = None
        try:
            while (item := self._queue.get()) is not None:
                if isinstance(item, _Begin):
                    writer = self._open_episode(item.seed, item.scenario)
                elif isinstance(item, _End):
                    if writer is not None:
                        writer.close(item.outcome)
                    writer = None
                elif writer is not None:
                    writer.append(row_of(item))
                    self.written += 1
            if writer is not None:
                writer.close("interrupted")
        except Exception as error:  # whatever it is, the control loop has to hear of it, by name
            self._failure = _sentence(error)


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"the disk is full ({error}); free some space, or run with --no-record"
    if isinstance(error, StoreError):
        return f"{error}; or run with --no-record"
    text = " ".join(str(error).split()) or "no further word"
    return f"writing experience failed ({type(error).__name__}: {text}); mend that, or run with --no-record"
