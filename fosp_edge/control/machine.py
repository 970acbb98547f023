"""The states of the control loop and the only ways between them; a stop is latched until an operator releases it."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from fosp_edge.control.types import Reason, State

STOPPING = frozenset(
    {
        Reason.OPERATOR_STOP,
        Reason.EMERGENCY_STOP,
        Reason.RUN_COMPLETE,
        Reason.NOT_FINITE,
        Reason.FRAME_STALE,
        Reason.CAMERA_LOST,
        Reason.ROBOT_LOST,
        Reason.ROBOT_FAULT,
        Reason.DEADLINE,
        Reason.RECOVERY_EXHAUSTED,
        Reason.UNFAMILIAR_STOP,
        Reason.RECORDER_FAILED,
        Reason.BUNDLE_REFUSED,
        Reason.INTERNAL,
    }
)
"""From whatever state, each of these stops the motors."""

PLANNED = frozenset({Reason.OPERATOR_STOP, Reason.RUN_COMPLETE})
"""The stopping reasons that are nobody's fault."""

TRANSITIONS: dict[tuple[State, Reason], State] = {
    (State.STARTING, Reason.CHECKS_PASSED): State.READY,
    (State.READY, Reason.OPERATOR_START): State.RUNNING,
    (State.RUNNING, Reason.RECOVERY): State.RECOVERING,
    (State.RUNNING, Reason.HOLD): State.RECOVERING,
    (State.RUNNING, Reason.UNFAMILIAR): State.RECOVERING,
    (State.RECOVERING, Reason.FEASIBLE_AGAIN): State.RUNNING,
    (State.RUNNING, Reason.EPISODE_END): State.READY,
    (State.RECOVERING, Reason.EPISODE_END): State.READY,
    # Not to READY: whatever caused the stop, the checks have to pass again.
    (State.STOPPED, Reason.OPERATOR_RESET): State.STARTING,
}
"""Besides these, every reason in STOPPING leads to STOPPED from every other state. There is nothing else."""


@dataclass(frozen=True)
class Transition:
    """One change of state, for the log and the summary."""

    time_ns: int
    source: State
    target: State
    reason: Reason
    detail: str
    """What happened, in a sentence for the person in front of the robot."""


class Machine:
    """Holds the state. Used from the control thread only; others ask for things through flags that it reads."""

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns, history: int = 1000) -> None:
        self._clock = clock
        self._state = State.STARTING
        self._stopped_by: Transition | None = None
        self.history: deque[Transition] = deque(maxlen=history)
        """The newest transitions; bounded, because recovering may come and go for hours."""
        self.refused = 0
        """Events that had no place in the state they met."""

    @property
    def state(self) -> State:
        """Where the loop is."""
        return self._state

    @property
    def may_move(self) -> bool:
        """Whether a command other than stop may go to the motors."""
        return self._state in (State.RUNNING, State.RECOVERING)

    @property
    def stopped_by(self) -> Transition | None:
        """What latched the stop: the first cause, not what followed from it. None unless stopped."""
        return self._stopped_by

    def handle(self, reason: Reason, detail: str = "") -> State:
        """Take one event; returns the state after it. An event without a place in the present state changes nothing."""
        target = TRANSITIONS.get((self._state, reason))
        if target is None and reason in STOPPING and self._state is not State.STOPPED:
            target = State.STOPPED
        if target is None:
            self.refused += 1
            return self._state
        transition = Transition(self._clock(), self._state, target, reason, detail or reason.value)
        self._stopped_by = transition if target is State.STOPPED else None
        self._state = target
        self.history.append(transition)
        return target
