"""Reward and cost where no simulator hands them out: sources that each see one thing, and a referee that adds them up.

A source looks at one `Sample` and says what it found, quickly: it is asked once per tick, in the control thread. What
needs longer (a key press, a gamepad) listens in a thread of its own and is only read here.
"""

import json
import os
import select
import struct
import sys
import termios
import threading
import tty
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fosp_edge.robots.base import Judgement, RobotState
from fosp_edge.robots.kinematics import ArmKinematics

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """What a source may look at."""

    robot: RobotState
    image: npt.NDArray[np.uint8] | None = None
    """The newest pictures, side by side on the channels; None where no source asks for them."""
    intervened: bool = False
    """Whether the filter stepped in at the last tick."""
    stopped: bool = False
    """Whether an emergency stop is pressed."""


@dataclass(frozen=True)
class Finding:
    """What one source says of one step."""

    reward: float = 0.0
    cost: float = 0.0
    success: bool = False


NOTHING = Finding()


class Source(Protocol):
    """One way to tell reward or cost."""

    def judge(self, sample: Sample) -> Finding:
        """What happened since the last call."""

    def reset(self) -> None:
        """A new episode begins."""

    def close(self) -> None:
        """Let go of what it listens to."""


class _Plain:
    """A source without memory and without anything to let go of."""

    def reset(self) -> None:
        """Nothing to forget."""

    def close(self) -> None:
        """Nothing to let go of."""


class JointThresholds(_Plain):
    """Cost where a joint leaves a range, or moves faster, or pushes harder than it should.

    Args:
        lower_rad, upper_rad: allowed positions, one per joint; None does not ask.
        fastest_rad_s: allowed speed, one per joint; None does not ask.
        largest_effort: allowed effort in the unit of the motor controller, one per joint; None does not ask.
        effort: reads the joints' efforts; needed for `largest_effort`.
    """

    def __init__(
        self,
        lower_rad: Sequence[float] | None = None,
        upper_rad: Sequence[float] | None = None,
        fastest_rad_s: Sequence[float] | None = None,
        largest_effort: Sequence[float] | None = None,
        effort: Callable[[], FloatArray] | None = None,
    ) -> None:
        if largest_effort is not None and effort is None:
            raise ValueError("a limit on effort needs motors that measure it; this robot's do not")
        self._lower = None if lower_rad is None else np.asarray(lower_rad, np.float64)
        self._upper = None if upper_rad is None else np.asarray(upper_rad, np.float64)
        self._fastest = None if fastest_rad_s is None else np.asarray(fastest_rad_s, np.float64)
        self._largest = None if largest_effort is None else np.asarray(largest_effort, np.float64)
        self._effort = effort

    def judge(self, sample: Sample) -> Finding:
        """Cost 1 if any joint is beyond any of its limits."""
        position, speed = sample.robot.position_rad, np.abs(sample.robot.velocity_rad_s)
        beyond = False
        if self._lower is not None:
            beyond = beyond or bool(np.any(position < self._lower))
        if self._upper is not None:
            beyond = beyond or bool(np.any(position > self._upper))
        if self._fastest is not None:
            beyond = beyond or bool(np.any(speed > self._fastest))
        if self._largest is not None and self._effort is not None:
            beyond = beyond or bool(np.any(np.abs(self._effort()) > self._largest))
        return Finding(cost=float(beyond))


class StopsAndInterventions(_Plain):
    """An emergency stop or a fault of the motors costs 1; an intervention of the filter costs what it is set to."""

    def __init__(self, stop_cost: float = 1.0, intervention_cost: float = 0.0) -> None:
        self._stop, self._intervention = stop_cost, intervention_cost

    def judge(self, sample: Sample) -> Finding:
        """The dearer of the two."""
        stopped = sample.stopped or sample.robot.fault is not None
        return Finding(cost=max(self._stop * stopped, self._intervention * sample.intervened))


@dataclass(frozen=True)
class Volume:
    """A box where the fingertip must not be, in the base frame or in that of a calibrated camera."""

    low_m: tuple[float, float, float]
    high_m: tuple[float, float, float]
    base_from_frame: FloatArray = field(default_factory=lambda: np.eye(4))
    """Where the box's frame is in the base frame, [4, 4]: a camera's pose from `fosp-edge calibrate hand-eye`, say."""

    def distance_m(self, point_m: FloatArray) -> float:
        """From a point in the base frame to the box; 0 inside."""
        rotation, origin = self.base_from_frame[:3, :3], self.base_from_frame[:3, 3]
        local = rotation.T @ (point_m - origin)
        outside = np.maximum(np.maximum(np.asarray(self.low_m) - local, local - np.asarray(self.high_m)), 0.0)
        return float(np.linalg.norm(outside))


class KeepOut(_Plain):
    """Cost while the fingertip, by the arm's kinematics, is nearer to a volume than the margin."""

    def __init__(self, kinematics: ArmKinematics, volumes: Sequence[Volume], margin_m: float = 0.0) -> None:
        self._kinematics, self._volumes, self._margin_m = kinematics, tuple(volumes), margin_m

    def judge(self, sample: Sample) -> Finding:
        """Cost 1 within the margin of any volume."""
        tip = self._kinematics.fingertip(sample.robot.position_rad)[0]
        return Finding(cost=float(any(volume.distance_m(tip) <= self._margin_m for volume in self._volumes)))


class Reached(_Plain):
    """Progress towards a point is reward, being there is success: for targets that stand where they are known."""

    def __init__(
        self, kinematics: ArmKinematics, target_m: Sequence[float], radius_m: float, per_metre: float = 10.0
    ) -> None:
        self._kinematics, self._target = kinematics, np.asarray(target_m, np.float64)
        self._radius_m, self._per_metre = radius_m, per_metre
        self._before: float | None = None

    def reset(self) -> None:
        """Distances of the last episode say nothing about this one."""
        self._before = None

    def judge(self, sample: Sample) -> Finding:
        """Reward for metres gained since the last call, and for arriving."""
        tip = self._kinematics.fingertip(sample.robot.position_rad)[0]
        distance = float(np.linalg.norm(tip - self._target))
        gained = 0.0 if self._before is None else self._before - distance
        self._before = distance
        there = distance <= self._radius_m
        return Finding(reward=self._per_metre * gained + 10.0 * there, success=there)


class Presses:
    """What a person pressed since the last look: counts, written by one thread and read by another."""

    def __init__(self, meanings: dict[str, Finding]) -> None:
        self._meanings = meanings
        self._waiting: list[Finding] = []
        self._lock = threading.Lock()

    def press(self, name: str) -> None:
        """A key or button went down; one without a meaning is ignored."""
        if (finding := self._meanings.get(name)) is not None:
            with self._lock:
                self._waiting.append(finding)

    def take(self) -> Finding:
        """The sum of what was pressed, and forget it."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        return total(waiting) if waiting else NOTHING


DEFAULT_KEYS = {"v": Finding(cost=1.0), "s": Finding(reward=10.0, success=True), "+": Finding(reward=1.0)}
DEFAULT_BUTTONS = {"1": Finding(cost=1.0), "0": Finding(reward=10.0, success=True), "2": Finding(reward=1.0)}


class Keyboard:
    """A person at the terminal: `v` for a violation, `s` for success, `+` for something good.

    Args:
        keys: meaning of each key.
        descriptor: of the terminal; standard input if left out. What is no terminal is read as it comes.
    """

    def __init__(self, keys: dict[str, Finding] | None = None, descriptor: int | None = None) -> None:
        self._presses = Presses(DEFAULT_KEYS if keys is None else keys)
        self._descriptor = sys.stdin.fileno() if descriptor is None else descriptor
        self._before: list[Any] | None = None
        with suppress(termios.error):
            self._before = termios.tcgetattr(self._descriptor)
            tty.setcbreak(self._descriptor)  # Ctrl-C goes on working
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="keyboard", daemon=True)
        self._thread.start()

    def judge(self, sample: Sample) -> Finding:
        """What was pressed since the last call."""
        del sample
        return self._presses.take()

    def reset(self) -> None:
        """What was pressed between two episodes belongs to none."""
        self._presses.take()

    def close(self) -> None:
        """Give the terminal back as it was."""
        self._done.set()
        self._thread.join(1.0)
        if self._before is not None:
            with suppress(termios.error):
                termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)

    def _listen(self) -> None:
        while not self._done.is_set():
            if not select.select([self._descriptor], [], [], 0.1)[0]:
                continue
            if not (data := os.read(self._descriptor, 64)):
                return
            for key in data.decode(errors="ignore"):
                self._presses.press(key)


class Gamepad:
    """A person with a gamepad, by Linux's joystick interface: each button has a number and a meaning.

    Raises:
        OSError: the device cannot be opened.
    """

    _EVENT = struct.Struct("<IhBB")  # time ms, value, type, number (linux/joystick.h)
    _BUTTON = 0x01

    def __init__(self, path: Path = Path("/dev/input/js0"), buttons: dict[str, Finding] | None = None) -> None:
        self._presses = Presses(DEFAULT_BUTTONS if buttons is None else buttons)
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self._done = threading.Event()
        self.gone = False
        self._thread = threading.Thread(target=self._listen, name="gamepad", daemon=True)
        self._thread.start()

    def judge(self, sample: Sample) -> Finding:
        """What was pressed since the last call."""
        del sample
        return self._presses.take()

    def reset(self) -> None:
        """What was pressed between two episodes belongs to none."""
        self._presses.take()

    def close(self) -> None:
        """Let go of the device."""
        self._done.set()
        self._thread.join(1.0)
        os.close(self._descriptor)

    def _listen(self) -> None:
        rest = b""
        while not self._done.is_set():
            if not select.select([self._descriptor], [], [], 0.1)[0]:
                continue
            try:
                data = os.read(self._descriptor, 8 * 64)
            except BlockingIOError:
                continue
            except OSError:  # pulled out
                self.gone = True
                return
            if not data:
                self._done.wait(0.05)
                continue
            rest += data
            while len(rest) >= self._EVENT.size:
                _, value, kind, number = self._EVENT.unpack(rest[: self._EVENT.size])
                rest = rest[self._EVENT.size :]
                if kind == self._BUTTON and value == 1:  # with 0x80 set it only tells how things are at the start
                    self._presses.press(str(number))


def total(findings: Sequence[Finding]) -> Finding:
    """What several sources say together: rewards add up, so do costs, any success is one."""
    return Finding(
        sum(item.reward for item in findings),
        sum(item.cost for item in findings),
        any(item.success for item in findings),
    )


class SourcesReferee:
    """Implements `Referee` for a robot without a simulator: asks every source once per step.

    Args:
        sources: who can tell.
        read: the robot's newest state.
        look: the newest pictures, where a source needs them.
        intervened: whether the filter stepped in at the last tick.
        stopped: whether an emergency stop is pressed.
        max_steps: longest episode.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        read: Callable[[], RobotState],
        *,
        look: Callable[[], npt.NDArray[np.uint8] | None] = lambda: None,
        intervened: Callable[[], bool] = lambda: False,
        stopped: Callable[[], bool] = lambda: False,
        max_steps: int = 100,
    ) -> None:
        if not sources:
            raise ValueError("at least one source of reward or cost is needed; see docs/keep-learning.md")
        self._sources, self._read, self._look = tuple(sources), read, look
        self._intervened, self._stopped, self._max_steps = intervened, stopped, max_steps
        self._steps = 0

    def reset(self, seed: int, scenario: str) -> None:
        """A person lays out the scene; the sources begin anew."""
        del seed, scenario
        self._steps = 0
        for source in self._sources:
            source.reset()

    def judge(self) -> Judgement:
        """What all sources say together; a cost is at most 1 per step, as everywhere in the recordings."""
        sample = Sample(self._read(), self._look(), self._intervened(), self._stopped())
        found = total([source.judge(sample) for source in self._sources])
        self._steps += 1
        return Judgement(
            reward=found.reward,
            cost=min(1.0, found.cost),
            success=found.success,
            finished=found.success or self._steps >= self._max_steps,
        )

    def close(self) -> None:
        """Let go of what the sources listen to."""
        for source in self._sources:
            source.close()


def volumes_from_json(text: str) -> list[Volume]:
    """Keep-out volumes: a list of {"low_m": [x, y, z], "high_m": [x, y, z], "base_from_frame": 4x4, optional}.

    Raises:
        ValueError: naming the volume that cannot be meant.
    """
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise ValueError(f"keep-out volumes are not JSON ({error})") from error
    if not isinstance(raw, list):
        raise ValueError(f"keep-out volumes: expected a list, found {type(raw).__name__}")
    volumes = []
    for number, item in enumerate(raw, 1):
        try:
            low, high = (tuple(float(value) for value in item[name]) for name in ("low_m", "high_m"))
            frame = np.asarray(item.get("base_from_frame", np.eye(4)), np.float64)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"keep-out volume {number}: expected low_m and high_m, three metres each") from error
        if len(low) != 3 or len(high) != 3 or not all(a < b for a, b in zip(low, high, strict=True)):
            raise ValueError(f"keep-out volume {number}: low_m {low} should lie below high_m {high} in all three axes")
        rotation = frame[:3, :3] if frame.shape == (4, 4) else np.zeros((3, 3))
        if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-6):
            raise ValueError(f"keep-out volume {number}: base_from_frame should be a 4x4 pose")
        volumes.append(Volume((low[0], low[1], low[2]), (high[0], high[1], high[2]), frame))
    return volumes
