"""A run from its checks to its summary: connect, arm on the operator's word, episodes, and one named end."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from fosp_edge.control.failures import StopRun, reason_of
from fosp_edge.control.interpreter import prompt_interpreter
from fosp_edge.control.loop import UNACKNOWLEDGED, ControlLoop, EpisodeSummary
from fosp_edge.control.machine import PLANNED, Machine, Transition
from fosp_edge.control.pacing import Clock
from fosp_edge.control.preflight import check_fit
from fosp_edge.control.telemetry import Telemetry
from fosp_edge.control.types import Reason, State

_LOG = logging.getLogger(__name__)

CAMERA_STOPS = frozenset({Reason.FRAME_STALE, Reason.CAMERA_LOST})
"""Stops after which an operator may go on once the camera is back."""

RELEASABLE = frozenset({Reason.RECOVERY_EXHAUSTED, Reason.UNFAMILIAR_STOP})
"""Stops after which an operator may go on with the next episode in the same run: the robot itself is well."""


class Operator(Protocol):
    """The person in charge, or who stands in for one with a simulated robot."""

    def confirm_start(self, seed: int, scenario: str) -> bool:
        """May the motors be armed for this episode?"""

    def confirm_release(self, stop: Transition) -> bool:
        """May a latched stop be released for the next episode?"""


class AutomaticOperator:
    """Says yes: for simulated robots, and for a person who said `--yes`."""

    def confirm_start(self, seed: int, scenario: str) -> bool:
        """Always."""
        return True

    def confirm_release(self, stop: Transition) -> bool:
        """Always; only stops in RELEASABLE are asked about."""
        return True


@dataclass(frozen=True)
class Plan:
    """What to run. Without a limit it goes on until the operator stops it."""

    scenario: str
    first_seed: int = 0
    episodes: int | None = None
    seconds: float | None = None
    connect_timeout_s: float = 10.0
    camera_return_s: float = 0.0
    """After a camera was lost or stood still: how long the stopped robot waits for it to come back before the run
    ends. Its driver's process is replaced meanwhile (`fosp_edge.cameras.fed_camera`)."""


@dataclass
class RunSummary:
    """How a run went."""

    episodes: list[EpisodeSummary] = field(default_factory=list)
    state: State = State.STARTING
    reason: Reason = Reason.INTERNAL
    detail: str = ""
    """The sentence that belongs to the end."""
    stop_acknowledged: bool = False
    """Whether the motor controller confirmed the last stop."""
    duration_s: float = 0.0
    recorded: int = 0
    dropped: int = 0
    missed_deadlines: int = 0
    ticks: int = 0
    telemetry: Telemetry = field(default_factory=Telemetry)
    transitions: list[Transition] = field(default_factory=list)

    @property
    def planned(self) -> bool:
        """Whether the run ended because it was complete or the operator wanted it to."""
        return self.reason in PLANNED


class Session:
    """Runs a plan on a control loop. It always ends STOPPED, with a reason and the motors ordered to stop."""

    def __init__(self, loop: ControlLoop[Any], operator: Operator, clock: Clock = time.monotonic_ns) -> None:
        self.loop, self.operator, self._clock = loop, operator, clock
        self.summary = RunSummary(telemetry=loop.telemetry)
        self._episode = 0
        self.on_ready: Callable[[], None] | None = None
        """Called once, in the control thread, when everything has been started and nothing moves yet."""
        self.before_arming: Callable[[], None] | None = None
        """Called each time before the motors are armed; what it raises keeps them from it."""
        self.closing = False
        """The run is over and its ends are being tied up: nothing is gained by interrupting it any more."""

    @property
    def machine(self) -> Machine:
        """The state machine of the loop."""
        return self.loop.machine

    def run(self, plan: Plan) -> RunSummary:
        """Run the plan to its end. Raises nothing: the summary says how it ended."""
        with prompt_interpreter():
            return self._run(plan)

    def _run(self, plan: Plan) -> RunSummary:
        begin_ns = self._clock()
        try:
            while True:
                try:
                    self._run_until_stopped(plan)
                except BaseException as error:  # every end has a name, Ctrl-C and the unexpected included
                    self._stop(error)
                if not self._released(plan):
                    break
        finally:
            self.closing = True
            self._close()
            summary, loop = self.summary, self.loop
            summary.duration_s = (self._clock() - begin_ns) * 1e-9
            summary.state = self.machine.state
            summary.missed_deadlines, summary.ticks = loop.pacer.missed, loop.pacer.ticks
            summary.transitions = list(self.machine.history)
            if loop.recorder is not None:
                summary.recorded, summary.dropped = loop.recorder.written, loop.recorder.dropped
        return self.summary

    def _run_until_stopped(self, plan: Plan) -> None:
        loop, until_ns = self.loop, None
        self._prepare(plan)
        if self._episode == 0:
            loop.controller.warm_up()
        if self.on_ready is not None:
            on_ready, self.on_ready = self.on_ready, None
            on_ready()
        if plan.seconds is not None:
            until_ns = self._clock() + round(plan.seconds * 1e9)
        while plan.episodes is None or self._episode < plan.episodes:
            seed = plan.first_seed + self._episode
            if not self.operator.confirm_start(seed, plan.scenario):
                raise StopRun(Reason.OPERATOR_STOP, "the operator did not confirm the start")
            reset_ns = self._clock()
            if loop.referee is not None:
                loop.referee.reset(seed, plan.scenario)
                reset_ns = self._clock()
            loop.settle(reset_ns)
            if loop.stop_requested:
                raise StopRun(Reason.OPERATOR_STOP, "stopped before the motors were armed")
            if self.before_arming is not None:
                self.before_arming()
            loop.robot.arm()
            loop.settle(self._clock())  # telemetry from before arming still tells of the last stop
            self._episode += 1
            try:
                self.summary.episodes.append(loop.run_episode(seed, plan.scenario, until_ns=until_ns))
            except BaseException as error:
                reason, _ = reason_of(error)
                self.summary.episodes.append(loop.summary(seed, plan.scenario, reason))
                raise
        raise StopRun(Reason.RUN_COMPLETE, f"all {plan.episodes} episodes are done")

    def _prepare(self, plan: Plan) -> None:
        loop = self.loop
        if self._episode == 0:
            for camera in loop.cameras:  # some know their serial number only then
                camera.start()
        check_fit(loop.controller.manifest, loop.robot, loop.cameras)
        if self._episode == 0:
            loop.robot.connect(plan.connect_timeout_s)
            if loop.recorder is not None:
                loop.recorder.start()
        if (fault := loop.robot.read().fault) is not None and self._episode == 0:
            raise StopRun(Reason.ROBOT_FAULT, f"the motor controller reports a fault: {fault}")
        self.machine.handle(Reason.CHECKS_PASSED)

    def _stop(self, error: BaseException) -> None:
        """Motors first, then the name of what happened."""
        acknowledged = self.loop.stop_motors()
        reason, detail = reason_of(error)
        if self.loop.emergency is not None:  # the motors were stopped behind the control loop's back
            reason, detail = Reason.EMERGENCY_STOP, self.loop.emergency
        if reason is Reason.INTERNAL and not isinstance(error, StopRun):
            _LOG.error("the control loop ended with an unexpected error", exc_info=error)
        if not acknowledged and reason not in (Reason.ROBOT_LOST, Reason.BUNDLE_REFUSED):
            detail = f"{detail}; besides, {UNACKNOWLEDGED}"
        self.machine.handle(reason, detail)
        self.summary.reason, self.summary.detail = reason, detail
        self.summary.stop_acknowledged = acknowledged

    def _released(self, plan: Plan) -> bool:
        """Whether the operator goes on after a stop that leaves the robot well."""
        stop = self.machine.stopped_by
        done = plan.episodes is not None and self._episode >= plan.episodes
        if stop is None or done or not self.summary.stop_acknowledged:
            return False
        if stop.reason not in RELEASABLE and not (stop.reason in CAMERA_STOPS and self._cameras_back(plan)):
            return False
        try:
            if not self.operator.confirm_release(stop):
                return False
        except KeyboardInterrupt:  # a plain no
            return False
        self.machine.handle(Reason.OPERATOR_RESET)
        return True

    def _cameras_back(self, plan: Plan) -> bool:
        """Whether every camera shows fresh pictures again within the time that the plan gives it."""
        deadline_ns = self._clock() + round(plan.camera_return_s * 1e9)
        while self._clock() < deadline_ns:
            if self.loop.cameras_fresh():
                return True
            if self.loop.stop_requested:
                return False
            self.loop.pause(0.05)
        return False

    def _close(self) -> None:
        """Let go of everything; a failure to write the last rows is worth a word, not a second end."""
        self.loop.robot.close()
        for camera in self.loop.cameras:
            camera.close()
        recorder = self.loop.recorder
        if recorder is not None:
            recorder.close()
            if recorder.failure is not None and self.summary.planned:
                self.summary.reason, self.summary.detail = Reason.RECORDER_FAILED, recorder.failure


Confirm = Callable[[str], bool]
"""Asks a person a yes-or-no question."""


class AskingOperator:
    """Asks a person before every start and every release."""

    def __init__(self, confirm: Confirm) -> None:
        self._confirm = confirm

    def confirm_start(self, seed: int, scenario: str) -> bool:
        """One question per episode; the scene has to be laid out by then."""
        return self._confirm(f"Lay out the scene ({scenario}), clear the space, then start the motors?")

    def confirm_release(self, stop: Transition) -> bool:
        """One question per latched stop."""
        return self._confirm(f"The robot stopped: {stop.detail}. Release the stop and go on with the next episode?")
