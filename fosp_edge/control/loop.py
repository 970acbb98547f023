"""One tick and one episode: see, decide, command, record. What goes wrong is raised; `session` gives it a name.

    newest frames + robot state -> Observation -> Controller (inference, filter, limits) -> robot.command
                                                    -> TickRecord -> Recorder's queue (never waits)

Reward and cost of an action are known one tick later, so each record is held back for one tick before it goes out.
"""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Generic, Protocol, TypeVar

import numpy as np

from fosp_edge.cameras.base import Camera, CameraError, FrameStale
from fosp_edge.control.controller import Insight
from fosp_edge.control.decider import Decider
from fosp_edge.control.failures import StopRun, reason_of
from fosp_edge.control.flight.recording import Recording
from fosp_edge.control.machine import Machine
from fosp_edge.control.pacing import Clock, Pacer, Sleep
from fosp_edge.control.realtime import collect_in_slack
from fosp_edge.control.rehearsal import Rehearsal
from fosp_edge.control.telemetry import Telemetry, Threshold
from fosp_edge.control.types import Observation, Reason, State, TickRecord
from fosp_edge.robots.base import Judgement, Referee, Robot, RobotError, RobotLost, RobotState, StopJudge

Observer = Callable[[TickRecord, Insight | None], None]
"""Sees every completed record, in the control thread, so it must be quick. An episode's last row has no insight."""


Deciding = TypeVar("Deciding", bound=Decider)


class Relay(Protocol[Deciding]):
    """May hand the robot from one controller to another (`fosp_edge.control.swap`). Neither call waits for anything."""

    def at_rest(self, present: Deciding, seed: int) -> Deciding:
        """The controller of the episode that is about to begin."""

    def between_ticks(self, present: Deciding) -> Deciding:
        """The controller of the coming tick."""

    def saw(self, record: TickRecord) -> None:
        """A command went out; its reward is not known yet."""


_FILTER_TO_MACHINE = {
    Reason.POLICY: Reason.FEASIBLE_AGAIN,
    Reason.SAFER_CANDIDATE: Reason.FEASIBLE_AGAIN,
    Reason.FILTER_OFF: Reason.FEASIBLE_AGAIN,
    Reason.BY_HAND: Reason.FEASIBLE_AGAIN,
    Reason.RECOVERY: Reason.RECOVERY,
    Reason.HOLD: Reason.HOLD,
    Reason.UNFAMILIAR: Reason.UNFAMILIAR,
}

_COSTLY_ENDS = frozenset({Reason.EMERGENCY_STOP, Reason.ROBOT_FAULT})
"""Ends that somebody, or something, saw fit to bring about in the middle of an episode."""

UNACKNOWLEDGED = (
    "the motor controller did not acknowledge the stop: its own watchdog stops the motors when it hears nothing; "
    "look at cable and power before the next run"
)


@dataclass(frozen=True)
class LoopSettings:
    """When the loop gives up. The defaults suit 20 Hz on a busy machine."""

    max_frame_age_s: float = 0.3
    max_missed_in_a_row: int = 10
    """Missed deadlines in a row, 0.5 s at 20 Hz; the motor controller's own watchdog is quicker than that."""
    max_steps: int | None = None
    """Longest episode, for robots without a referee who ends them."""
    settle_timeout_s: float = 3.0
    """How long a new episode may take until frames and state of it arrive."""
    stop_timeout_s: float = 0.5
    rehearse: bool = False
    """Run the graph once before each deadline, so that the tick finds it in the caches."""
    thresholds: dict[str, Threshold] = field(default_factory=dict)
    """By phase of the tick; see `fosp_edge.control.telemetry`."""


@dataclass(frozen=True)
class EpisodeSummary:
    """How one episode went."""

    seed: int
    scenario: str
    steps: int
    reward: float
    cost: float
    success: bool
    interventions: int
    reason: Reason
    """Why it ended."""


@dataclass(frozen=True)
class _Pending:
    """A tick whose reward is not known yet."""

    record: TickRecord
    insight: Insight | None


class ControlLoop(Generic[Deciding]):
    """The tick, with everything it needs at hand. All of it runs in one thread; `request_stop` may come from any."""

    def __init__(
        self,
        robot: Robot,
        cameras: Sequence[Camera],
        controller: Deciding,
        machine: Machine,
        *,
        referee: Referee | None = None,
        recorder: Recording | None = None,
        observer: Observer | None = None,
        relay: Relay[Deciding] | None = None,
        settings: LoopSettings = LoopSettings(),
        pacer: Pacer | None = None,
        clock: Clock = time.monotonic_ns,
        sleep: Sleep = time.sleep,
    ) -> None:
        self.robot, self.cameras, self.controller, self.machine = robot, tuple(cameras), controller, machine
        self.referee, self.recorder, self.observer, self.settings = referee, recorder, observer, settings
        self.relay = relay
        self.pacer = pacer or Pacer(1.0 / controller.manifest.rate_hz)
        self._rehearsal: Rehearsal | None = None
        if self.settings.rehearse:
            self._rehearsal = Rehearsal(lambda: self.controller.rehearse(), self.pacer.period_ns * 1e-9)
        self.telemetry = Telemetry(thresholds=dict(self.settings.thresholds))
        self._clock, self._sleep = clock, sleep
        self._tick = 0
        self._stop = threading.Event()
        self._stop_detail, self._stop_reason = "", Reason.OPERATOR_STOP
        self._totals = {"reward": 0.0, "cost": 0.0, "interventions": 0.0, "steps": 0.0}
        self._pending: _Pending | None = None
        self._last_row: TickRecord | None = None
        """The newest observation as the episode's last row, in case nothing follows it."""

    def request_stop(self, detail: str, reason: Reason = Reason.OPERATOR_STOP) -> None:
        """Stop the motors at the next tick. Safe to call from a signal handler or another thread."""
        if not self._stop_detail or (reason is Reason.EMERGENCY_STOP and self._stop_reason is not reason):
            self._stop_detail, self._stop_reason = detail, reason
        self._stop.set()

    @property
    def emergency(self) -> str | None:
        """What pressed the emergency stop; None if nothing did. It may show in the tick as a robot that is gone."""
        return self._stop_detail if self._stop_reason is Reason.EMERGENCY_STOP else None

    def run_episode(self, seed: int, scenario: str, *, until_ns: int | None = None) -> EpisodeSummary:
        """Run one episode, from a robot that is READY and armed to motors that are stopped, however it ends.

        Args:
            seed: decides the layout (if there is a referee) and all noise.
            scenario: name of the scenario family, for the referee and the records.
            until_ns: monotonic time at which the run is complete.

        Raises:
            Whatever went wrong (see `failures.reason_of`). What was seen until then has been handed to the recorder.
        """
        self._totals = dict.fromkeys(self._totals, 0.0)
        self._pending = self._last_row = None
        if self.relay is not None:
            self.controller = self.relay.at_rest(self.controller, seed)
        self.controller.reset(seed)
        if self.recorder is not None:
            self.recorder.begin_episode(seed, scenario)
        self.machine.handle(Reason.OPERATOR_START, f"episode with seed {seed}, scenario {scenario}")
        self.pacer.restart()
        try:
            while (ended := self._run_tick(until_ns)) is None:
                pass
        except BaseException as error:
            # The motors first: everything after this line may wait for a disk.
            self.stop_motors()
            self._abandon(error)
            raise
        acknowledged = self.stop_motors()
        reason, success = ended
        if self.recorder is not None:
            self.recorder.end_episode("success" if success else "time out")
        if not acknowledged:
            raise RobotLost(UNACKNOWLEDGED)
        self.machine.handle(reason)
        return self.summary(seed, scenario, reason, success=success)

    def summary(self, seed: int, scenario: str, reason: Reason, *, success: bool = False) -> EpisodeSummary:
        """What the present or last episode came to, also when it broke off."""
        totals = self._totals
        return EpisodeSummary(
            seed=seed,
            scenario=scenario,
            steps=int(totals["steps"]),
            reward=totals["reward"],
            cost=totals["cost"],
            success=success,
            interventions=int(totals["interventions"]),
            reason=reason,
        )

    @property
    def stop_requested(self) -> bool:
        """Whether somebody asked for a stop."""
        return self._stop.is_set()

    def cameras_fresh(self) -> bool:
        """Whether every camera has a picture that may be acted upon."""
        try:
            for camera in self.cameras:
                camera.latest(self.settings.max_frame_age_s)
        except CameraError:
            return False
        return True

    def pause(self, duration_s: float) -> None:
        """Let time pass while the motors stand still."""
        self._sleep(duration_s)

    def stop_motors(self) -> bool:
        """Order the stop; True only if the motor controller acknowledged. Never raises: there is nothing more to do."""
        try:
            acknowledged = self.robot.stop(self.settings.stop_timeout_s)
        except Exception:  # a wire that is gone takes no stop: the watchdog at its other end holds the motors
            acknowledged = False
        self.telemetry.count("stops acknowledged" if acknowledged else "stops unacknowledged")
        return acknowledged

    def settle(self, since_ns: int) -> None:
        """Wait until every camera and the robot have shown something newer than `since_ns` (the reset).

        Raises:
            FrameStale, RobotError: nothing new within `settings.settle_timeout_s`.
        """
        deadline_ns = self._clock() + round(self.settings.settle_timeout_s * 1e9)
        while True:
            oldest_frame_ns = min((self._newest_frame_ns(camera) for camera in self.cameras), default=since_ns)
            if oldest_frame_ns >= since_ns and self.robot.read().received_ns >= since_ns:
                return
            if self._clock() > deadline_ns:
                raise FrameStale(
                    f"no new frame or robot state within {self.settings.settle_timeout_s:.1f} s of the reset; "
                    "look at the cameras and the robot's power"
                )
            if self._stop.is_set():
                raise StopRun(self._stop_reason, self._stop_detail)
            self._sleep(0.005)

    def _newest_frame_ns(self, camera: Camera) -> int:
        try:
            return camera.latest(self.settings.settle_timeout_s).sensor_ns
        except FrameStale:
            return 0

    def _run_tick(self, until_ns: int | None) -> tuple[Reason, bool] | None:
        """One tick; the reason and success when the episode ended with it, else None."""
        release = self.pacer.wait(self._rehearsal)
        begin_ns = self._clock()
        self.telemetry.add("late", release.late_s)
        if release.skipped:
            self.telemetry.count("missed deadlines", release.skipped)
        self._check_orders(until_ns)
        judgement = self._judge()
        observe_ns = self._clock()
        with self.telemetry.measure("observe"):
            observation, frame_age_s = self._observe()
        self._complete(judgement)
        row = self._last_row = self._record(observation, judgement, frame_age_s)
        limit = self.settings.max_steps
        if judgement.finished or (limit is not None and self._totals["steps"] >= limit):
            self._emit(replace(row, success=judgement.success, is_terminal=judgement.success), None)
            return Reason.EPISODE_END, judgement.success
        if self.relay is not None:
            self.controller = self.relay.between_ticks(self.controller)
        self._decide_and_command(row, observe_ns)
        self.telemetry.add("tick", (self._clock() - begin_ns) * 1e-9)
        self._tick += 1
        collect_in_slack()
        return None

    def _check_orders(self, until_ns: int | None) -> None:
        """Everything that ends the run before another command goes out."""
        if self._stop.is_set():
            raise StopRun(self._stop_reason, self._stop_detail)
        if self.pacer.missed_in_a_row >= self.settings.max_missed_in_a_row:
            raise StopRun(
                Reason.DEADLINE,
                f"{self.pacer.missed_in_a_row} deadlines in a row were missed: this machine is too busy for "
                f"{self.controller.manifest.rate_hz:.0f} Hz; end what else runs on it",
            )
        if self.recorder is not None and self.recorder.failure is not None:
            raise StopRun(Reason.RECORDER_FAILED, self.recorder.failure)
        if until_ns is not None and self._clock() >= until_ns:
            raise StopRun(Reason.RUN_COMPLETE, "the time asked for is over")

    def _judge(self) -> Judgement:
        if self.referee is None or self._pending is None:  # before the first action there is nothing to judge
            return Judgement(reward=0.0, cost=0.0, success=False, finished=False)
        with self.telemetry.measure("referee"):
            return self.referee.judge()

    def _observe(self) -> tuple[Observation, float]:
        """The newest frames, side by side on the channels, and the robot's state; with the age of the oldest frame."""
        frames = [camera.latest(self.settings.max_frame_age_s) for camera in self.cameras]
        robot_state: RobotState = self.robot.read()
        if robot_state.fault is not None:
            raise StopRun(Reason.ROBOT_FAULT, f"the motor controller stopped by itself: {robot_state.fault}")
        if not np.all(np.isfinite(robot_state.state)):
            raise RobotError(f"the robot's state is not finite: {robot_state.state.tolist()}; look at its sensors")
        now_ns = self._clock()
        age_s = max(((now_ns - frame.sensor_ns) * 1e-9 for frame in frames), default=0.0)
        if age_s > self.settings.max_frame_age_s:
            raise FrameStale(f"the newest frame is {age_s:.2f} s old, {self.settings.max_frame_age_s} s are allowed")
        if any(frame.sensor_ns - now_ns > self.settings.max_frame_age_s * 1e9 for frame in frames):
            raise FrameStale(
                "the newest frame's time stamp lies in the future: the camera's clock is not to be trusted"
            )
        self.telemetry.add("frame age", age_s)
        self.telemetry.add("telemetry age", max(0.0, (now_ns - robot_state.received_ns) * 1e-9))
        try:
            image = np.concatenate([frame.image for frame in frames], axis=-1)
        except ValueError as error:
            raise CameraError(f"the cameras' pictures do not fit together ({error}); set them to one size") from error
        return Observation(image, robot_state.state), age_s

    def _decide_and_command(self, row: TickRecord, observe_ns: int) -> None:
        memory = self.controller.memory()
        decision, scores = self.controller.decide(row.observation)
        insight = self.controller.insight
        phases = {} if insight is None else {"inference": insight.inference_s, "filter": insight.filter_s}
        for phase, duration_s in phases.items():
            self.telemetry.add(phase, duration_s)
        if decision.reason in (Reason.NOT_FINITE, Reason.RECOVERY_EXHAUSTED, Reason.UNFAMILIAR_STOP):
            sentence = decision.reason.value if insight is None else insight.sentence(decision.reason)
            raise StopRun(decision.reason, sentence)
        self._follow(decision.reason)
        if not self.machine.may_move:
            raise StopRun(Reason.INTERNAL, f"a command was due in the state {self.machine.state.value}")
        phases["latency"] = (self._clock() - observe_ns) * 1e-9
        for phase, duration_s in phases.items():
            if (slow := self.telemetry.too_slow(phase, duration_s)) is not None:
                raise StopRun(Reason.DEADLINE, f"{slow}; nothing was sent to the motors")
        with self.telemetry.measure("command"):
            self.robot.command(self.controller.physical_action)
        latency_s = (self._clock() - observe_ns) * 1e-9
        self.telemetry.add("latency", latency_s)
        self._totals["interventions"] += decision.intervened
        record = replace(
            row,
            action=decision.action,
            nominal=decision.nominal,
            reason=decision.reason,
            state=self.machine.state,
            scores=scores,
            latency_s=latency_s,
            filter=None if insight is None else insight.judged,
            memory=memory,
            bundle=self.controller.bundle_id,
        )
        self._pending = _Pending(record, insight)
        if self.relay is not None:
            self.relay.saw(record)

    def _follow(self, reason: Reason) -> None:
        """Let the state follow the filter: recovering while no candidate is feasible, running again afterwards."""
        event = _FILTER_TO_MACHINE[reason]
        recovering = self.machine.state is State.RECOVERING
        if recovering == (event is Reason.FEASIBLE_AGAIN):
            self.machine.handle(event)

    def _record(self, observation: Observation, judgement: Judgement, frame_age_s: float) -> TickRecord:
        """A row without an action: what is true of an episode's last one."""
        rest = np.zeros(len(self.controller.manifest.actions), dtype=np.float32)
        return TickRecord(
            tick=self._tick,
            time_ns=self._clock(),
            observation=observation,
            action=rest,
            nominal=rest,
            reward=0.0,
            cost=0.0,
            violation=judgement.cost > 0.0,
            is_first=self._totals["steps"] == 0.0,
            is_terminal=False,
            success=False,
            reason=Reason.EPISODE_END,
            state=self.machine.state,
            scores=None,
            latency_s=0.0,
            frame_age_s=frame_age_s,
        )

    def _complete(self, judgement: Judgement) -> None:
        """The tick before this one gets its reward and cost, and goes out."""
        if self._pending is None:
            return
        self._totals["reward"] += judgement.reward
        self._totals["cost"] += judgement.cost
        self._totals["steps"] += 1.0
        record = replace(self._pending.record, reward=judgement.reward, cost=judgement.cost)
        self._emit(record, self._pending.insight)
        self._pending = None

    def _abandon(self, error: BaseException) -> None:
        """The episode broke off: the last observation becomes its last row, as if no action had been taken upon it.

        Where the referee knows what a stop costs, that action stays, and the same observation follows it once more.
        """
        reason, _ = reason_of(error)
        costly = reason in _COSTLY_ENDS or self.emergency is not None
        if costly and isinstance(self.referee, StopJudge) and self._pending is not None:
            with suppress(Exception):  # a source that is gone as well has nothing to say
                judgement = self.referee.judge_stop()
                self._complete(judgement)
                if self._last_row is not None:
                    self._last_row = replace(
                        self._last_row, time_ns=self._clock(), violation=judgement.cost > 0.0, is_first=False
                    )
        if self._last_row is not None:
            self._emit(replace(self._last_row, reason=reason), None)
        if self.recorder is not None:
            self.recorder.end_episode(reason.outcome)

    def _emit(self, record: TickRecord, insight: Insight | None) -> None:
        with self.telemetry.measure("record"):
            if self.recorder is not None and not self.recorder.record(record):
                self.telemetry.count("records dropped")
            if self.observer is not None:
                self.observer(record, insight)
