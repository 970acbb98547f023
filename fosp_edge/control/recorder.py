"""Writes experience in a thread of its own: the tick hands a record over and never waits for the disk."""

import errno
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fosp_edge.bundle.contract import Contract
from fosp_edge.cameras.policy_camera import PolicyCamera
from fosp_edge.control.types import Reason, TickRecord
from fosp_edge.experience.codec import Row
from fosp_edge.experience.episode import Camera, Recording, StoreError
from fosp_edge.experience.schema import FILTER_COLUMNS

REASONS: tuple[Reason, ...] = tuple(Reason)
"""What the numbers in the column `reason` mean; written into every episode's header."""


def recording_of(manifest: Contract, cameras: Sequence[PolicyCamera] = ()) -> Recording:
    """What all episodes of a robot have in common, with what is known of the cameras that are there."""
    there = {camera.name: camera for camera in cameras}
    return Recording(
        robot=manifest.robot,
        rate_hz=manifest.rate_hz,
        cameras=tuple(
            Camera(camera.name, camera.width_px, camera.height_px, camera.preprocessing)
            if camera.name not in there
            else Camera(
                camera.name,
                camera.width_px,
                camera.height_px,
                there[camera.name].preprocessing,
                there[camera.name].serial,
                there[camera.name].calibration_sha256,
            )
            for camera in manifest.cameras
        ),
        state=manifest.state,
        action=manifest.actions,
    )


class Writer(Protocol):
    """One open episode of the experience store."""

    def append(self, row: Row) -> None:
        """Add a row; may write a chunk to disk."""

    def close(self, outcome: str) -> object:
        """Write what is left and mark the episode complete."""


OpenEpisode = Callable[[int, str], Writer]
"""Opens an episode for a seed and a scenario; called in the recorder's thread, where the store lives."""


Columns = dict[str, npt.NDArray[np.generic]]


def row_of(record: TickRecord, before: Columns | None = None) -> Columns:
    """The columns of the store out of one tick's record.

    `before` is the row before it in the episode: where nothing was decided, the filter's columns are zero, shaped as
    there.
    """
    return _basic_columns(record) | _filter_columns(record, before)


def _filter_columns(record: TickRecord, before: Columns | None) -> Columns:
    scores, judged = record.scores, record.filter
    if scores is None or judged is None:
        before = before or {}
        return {item.name: np.zeros_like(before[item.name]) for item in FILTER_COLUMNS if item.name in before}
    gate = np.zeros(3, np.float32)
    gate[: len(judged.gate)] = judged.gate
    return {
        "reachability": scores.reachability,
        "reward_value": scores.reward_value,
        "cost_value": scores.cost_value,
        "state_reachability": np.asarray(scores.state_reachability, np.float32),
        "surprise": np.asarray(scores.surprise, np.float32),
        "chosen": np.asarray(judged.chosen, np.uint8),
        "thresholds": np.asarray([judged.feasible_reachability, judged.stop_reachability], np.float32),
        "gate": gate,
        "latency_s": np.asarray(record.latency_s, np.float32),
        "frame_age_s": np.asarray(record.frame_age_s, np.float32),
    }


def _basic_columns(record: TickRecord) -> Columns:
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
        row: Columns | None = None
        try:
            while (item := self._queue.get()) is not None:
                if isinstance(item, _Begin):
                    writer, row = self._open_episode(item.seed, item.scenario), None
                elif isinstance(item, _End):
                    if writer is not None:
                        writer.close(item.outcome)
                    writer = None
                elif writer is not None:
                    row = row_of(item, row)
                    writer.append(row)
                    self.written += 1
            if writer is not None:
                writer.close("interrupted")
        except Exception as error:  # whatever it is, the control loop has to hear of it, by name
            self._failure = sentence_of(error)


def sentence_of(error: Exception) -> str:
    """Why nothing can be written any more, in words for the person in front of the robot."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"the disk is full ({error}); free some space, or run with --no-record"
    if isinstance(error, StoreError):
        return f"{error}; or run with --no-record"
    text = " ".join(str(error).split()) or "no further word"
    return f"writing experience failed ({type(error).__name__}: {text}); mend that, or run with --no-record"
