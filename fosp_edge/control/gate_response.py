"""What follows from an alarm of the out-of-distribution gate: caution at once, then standing still, then a stop.

    familiar --alarm--> tightened --3 ticks with an alarm--> hold --40 ticks--> stop
        ^__________________|___________________________________|   10 ticks in a row without an alarm

A single alarm may be false, so it costs little: the filter asks for half the reachability. Several are not, and then
no score of the policy can be trusted, the filter's own included: the robot stands still, which needs none. It does not
move again before the picture was familiar for half a second, and gives up if that does not come.
"""

from dataclasses import dataclass
from enum import IntEnum


class Stage(IntEnum):
    """How far the response has gone."""

    FAMILIAR = 0
    TIGHTENED = 1
    HOLD = 2
    STOP = 3


@dataclass(frozen=True)
class GateSettings:
    """When the response moves on. Ticks are those of the control loop."""

    hold_after_ticks: int = 3
    """Ticks with an alarm since the last familiar one; the robot then holds still."""
    clear_ticks: int = 10
    """Ticks in a row without an alarm, after which everything is familiar again."""
    stop_after_ticks: int = 40
    """Ticks of holding still, after which the run is stopped."""


DEFAULT_GATE_SETTINGS = GateSettings()


@dataclass(frozen=True)
class GateState:
    """What the response remembers from one tick to the next."""

    stage: Stage = Stage.FAMILIAR
    alarms: int = 0
    """Ticks with an alarm since the last familiar tick."""
    clear: int = 0
    """Ticks in a row without an alarm."""
    held: int = 0
    """Ticks of holding still."""


def respond(alarm: bool, before: GateState, settings: GateSettings = DEFAULT_GATE_SETTINGS) -> GateState:
    """One tick; a pure function, so that any tick can be judged again. STOP is left by a new episode only."""
    if before.stage is Stage.STOP:
        return before
    alarms, clear = before.alarms + alarm, 0 if alarm else before.clear + 1
    if alarms == 0 or clear >= settings.clear_ticks:
        return GateState()
    if alarms < settings.hold_after_ticks:
        return GateState(Stage.TIGHTENED, alarms, clear)
    held = before.held + 1
    return GateState(Stage.STOP if held > settings.stop_after_ticks else Stage.HOLD, alarms, clear, held)
