"""What flows through one tick: observation in, scores, a decision with its reason, a record of it all."""

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from fosp_edge.control.memory import Memory

Float32Array = npt.NDArray[np.float32]


class State(str, Enum):
    """States of the control loop. STOPPED is latched: only an operator leaves it."""

    STARTING = "starting"
    READY = "ready"
    RUNNING = "running"
    RECOVERING = "recovering"
    STOPPED = "stopped"


class Reason(str, Enum):
    """Why the filter chose as it did, or why the loop changed its state."""

    POLICY = "the policy's choice is predicted to stay feasible"
    SAFER_CANDIDATE = "another candidate is predicted to be safer than the policy's choice"
    RECOVERY = "no candidate is predicted to stay feasible: the least unsafe one is taken"
    HOLD = "recovery is not predicted to help: hold still"
    UNFAMILIAR = "what the cameras show is unlike what the filter was calibrated on: hold still"
    FILTER_OFF = "the filter was switched off by the operator"
    CHECKS_PASSED = "robot, cameras and bundle passed their checks"
    OPERATOR_START = "the operator started the run"
    OPERATOR_STOP = "the operator stopped the run"
    EMERGENCY_STOP = "the emergency stop was pressed"
    OPERATOR_RESET = "the operator released the latched stop"
    EPISODE_END = "the episode is over"
    RUN_COMPLETE = "the run is complete"
    FEASIBLE_AGAIN = "a candidate is feasible again"
    NOT_FINITE = "the graph returned a value that is not a finite number"
    FRAME_STALE = "the newest frame is too old"
    CAMERA_LOST = "a camera is gone"
    ROBOT_LOST = "the motor controller is gone or silent"
    ROBOT_FAULT = "the motor controller latched a fault"
    DEADLINE = "too many deadlines were missed in a row"
    RECOVERY_EXHAUSTED = "recovery did not lead back to the feasible set in time"
    UNFAMILIAR_STOP = "what the cameras show stayed unlike what the filter was calibrated on"
    RECORDER_FAILED = "experience can no longer be written"
    BUNDLE_REFUSED = "the bundle was not made for this robot or these cameras"
    INTERNAL = "an unexpected error"
    BY_HAND = "a person drives"

    @property
    def outcome(self) -> str:
        """What the experience store calls an episode that ended for this reason."""
        return self.name.lower().replace("_", " ")


@dataclass(frozen=True)
class Observation:
    """What the policy sees at one tick."""

    image: npt.NDArray[np.uint8]
    """Shape [height, width, 3 * cameras]: the cameras of the manifest, in its order, concatenated on channels."""
    state: Float32Array
    """Shape [S]."""


@dataclass(frozen=True)
class StepScores:
    """What the step graph says of its candidates, N of them, in the order of the manifest."""

    candidates: Float32Array
    """Normalised actions in [-1, 1], shape [N, A]."""
    reward_value: Float32Array
    """Q_r, shape [N]."""
    cost_value: Float32Array
    """Q_c, shape [N]."""
    reachability: Float32Array
    """Probability that the constraint will be violated after this candidate, at best, shape [N]."""
    state_reachability: float
    """The same of the present state, before any candidate."""
    surprise: float
    """KL divergence from prior to posterior, nats."""


@dataclass(frozen=True)
class Decision:
    """Which candidate the filter let through, and why."""

    index: int
    """Row of `StepScores.candidates`."""
    action: Float32Array
    """Normalised action in [-1, 1], shape [A]."""
    nominal: Float32Array
    """What the policy alone would have done, shape [A]."""
    reason: Reason
    intervened: bool


@dataclass(frozen=True)
class FilterRecord:
    """What the filter judged by in one tick."""

    chosen: int
    """Row of the candidates that was let through."""
    feasible_reachability: float
    stop_reachability: float
    """Thresholds in force: those of the bundle, unless the out-of-distribution gate tightened them."""
    gate: tuple[float, ...] = ()
    """The gate's statistics over its threshold: above 1 is an alarm. Empty without a gate."""


@dataclass(frozen=True)
class TickRecord:
    """Everything one tick leaves behind: the row of experience and of the flight record."""

    tick: int
    time_ns: int
    observation: Observation
    action: Float32Array
    """Executed, normalised, shape [A]."""
    nominal: Float32Array
    reward: float
    cost: float
    violation: bool
    """The constraint is violated in the state of this row itself (judged before the action)."""
    is_first: bool
    is_terminal: bool
    success: bool
    reason: Reason
    state: State
    scores: StepScores | None
    """None on the last row of an episode, upon which nothing was decided."""
    latency_s: float
    """From the start of the tick to the command on the wire."""
    frame_age_s: float
    filter: FilterRecord | None = None
    """None where nothing was decided."""
    memory: "Memory | None" = None
    """What the controller remembered before this tick; None where nothing was decided."""
    bundle: str = ""
    """Id of the bundle that decided."""
