"""What the control loop needs from a robot, whatever is at the other end of the wire."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


class RobotError(RuntimeError):
    """The robot cannot be used; the message says what was expected, what was found and what to do."""


class RobotLost(RobotError):  # noqa: N818 - a state, as the control loop names it
    """The wire is gone or silent. The motors are then held by the controller's own watchdog."""


@dataclass(frozen=True)
class ActionSpace:
    """What an action of the policy means on this robot: one name, unit and range per component."""

    names: tuple[str, ...]
    units: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def physical(self, normalised: npt.NDArray[np.float32]) -> FloatArray:
        """Map an action in [-1, 1], shape [A], to physical units, shape [A]."""
        low, high = np.asarray(self.low), np.asarray(self.high)
        scaled: FloatArray = low + (normalised.astype(np.float64) + 1.0) * 0.5 * (high - low)
        return scaled


@dataclass(frozen=True)
class RobotState:
    """What the robot last said of itself."""

    state: npt.NDArray[np.float32]
    """The vector the policy sees, shape [S]; names and units stand in the manifest."""
    position_rad: FloatArray
    velocity_rad_s: FloatArray
    received_ns: int
    """Monotonic time at which the host received the telemetry this was made from."""
    sequence: int
    fault: str | None
    """The controller's latched fault in words, or None."""
    current_a: FloatArray | None = None
    """Of each motor; None where it is not measured."""


@dataclass(frozen=True)
class Judgement:
    """Reward and cost of the last step, from whoever can tell (a referee in simulation, sensors or a person)."""

    reward: float
    cost: float
    success: bool
    finished: bool
    """The episode is over: the target was reached or time ran out."""


class Robot(Protocol):
    """A robot behind a wire. No method blocks longer than it says."""

    name: str
    action_space: ActionSpace
    state_names: tuple[str, ...]
    state_units: tuple[str, ...]

    def connect(self, timeout_s: float) -> None:
        """Shake hands, upload limits, configure the watchdog. Motors stay disarmed. Raises RobotError."""

    def arm(self) -> None:
        """Let the motors move. Only ever called on an operator's word. Raises RobotError."""

    def read(self) -> RobotState:
        """The newest state; never blocks. Raises RobotLost when telemetry has stopped or the port is gone."""

    def command(self, action: FloatArray) -> None:
        """Send one action in physical units, shape [A]; never blocks. Raises RobotLost, ValueError (NaN, range)."""

    def stop(self, timeout_s: float) -> bool:
        """Stop the motors; True only if the controller acknowledged."""

    def close(self) -> None:
        """Disarm and let go of the port. Never raises."""


class Referee(Protocol):
    """Who resets the scene and says how it went; in simulation a channel of its own, beside the wires."""

    def reset(self, seed: int, scenario: str) -> None:
        """Lay out a new episode and wait until it stands. Raises RobotError."""

    def judge(self) -> Judgement:
        """What happened since the last call. Raises RobotLost when the referee is gone."""


@runtime_checkable
class StopJudge(Referee, Protocol):
    """A referee who can also say what it means that the episode was broken off, by an emergency stop for instance."""

    def judge_stop(self) -> Judgement:
        """What happened since the last call, when there is no further observation."""
