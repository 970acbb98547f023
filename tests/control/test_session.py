"""Whole runs against stand-ins: what is recorded, and that every way to fail ends stopped, with a name and a word."""

import errno
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fosp_edge.bundle.manifest import BundleError
from fosp_edge.cameras.base import CameraLost
from fosp_edge.control.controller import Controller
from fosp_edge.control.interpreter import SWITCH_INTERVAL_S
from fosp_edge.control.loop import ControlLoop, LoopSettings
from fosp_edge.control.machine import Machine, Transition
from fosp_edge.control.pacing import Pacer
from fosp_edge.control.preflight import check_fit
from fosp_edge.control.recorder import Recorder
from fosp_edge.control.safety_filter import FilterSettings
from fosp_edge.control.session import AskingOperator, AutomaticOperator, Operator, Plan, RunSummary, Session
from fosp_edge.control.types import Reason, State, TickRecord
from fosp_edge.experience.schema import check_steps
from fosp_edge.robots.base import Judgement, RobotLost
from tests.control.fakes import FakeCamera, FakeClock, FakeReferee, FakeRobot, MemoryWriter, TinyBundle, make_manifest


class Rig:
    """A loop with every neighbour faked, and a hook that runs at a chosen tick."""

    def __init__(self, *, filter_enabled: bool = True, writer_error: Exception | None = None, **robot: object) -> None:
        self.clock = FakeClock()
        self.robot = FakeRobot(self.clock, **robot)  # type: ignore[arg-type]
        self.cameras = [FakeCamera(self.clock, "fixed"), FakeCamera(self.clock, "wrist")]
        self.referee = FakeReferee()
        self.writers: list[MemoryWriter] = []
        self.records: list[TickRecord] = []

        def open_episode(seed: int, scenario: str) -> MemoryWriter:
            self.writers.append(MemoryWriter(error=writer_error))
            return self.writers[-1]

        settings = FilterSettings(patience_ticks=3)
        self.loop = ControlLoop(
            self.robot,
            self.cameras,
            Controller(TinyBundle(), settings=settings, filter_enabled=filter_enabled),
            Machine(self.clock),
            referee=self.referee,
            recorder=Recorder(open_episode),
            observer=lambda record, insight: self.records.append(record),
            pacer=Pacer(0.05, self.clock, self.clock.sleep),
            clock=self.clock,
            sleep=self.clock.sleep,
        )

    def at_command(self, number: int, act: Callable[[], None]) -> None:
        """Do something once `number` commands went out."""

        def watch() -> None:
            if len(self.robot.commands) >= number:
                act()

        self.robot.on_read = watch

    def run(self, episodes: int = 1, operator: Operator | None = None, **plan: float) -> RunSummary:
        summary = Session(self.loop, operator or AutomaticOperator(), self.clock).run(
            Plan("standard", first_seed=7, episodes=episodes, **plan)  # type: ignore[arg-type]
        )
        assert summary.state is State.STOPPED
        assert not self.robot.armed
        assert self.robot.moved_while_disarmed == 0
        return summary


def test_a_complete_run_records_rows_as_the_schema_has_them() -> None:
    rig = Rig()
    summary = rig.run(episodes=2)
    assert summary.planned and summary.reason is Reason.RUN_COMPLETE and summary.stop_acknowledged
    assert rig.referee.resets == [(7, "standard"), (8, "standard")]
    assert rig.robot.events == ["connect", "arm", "stop", "arm", "stop", "stop", "close"]
    assert [(e.steps, e.reward, e.cost, e.success) for e in summary.episodes] == [(5, 15.0, 1.0, True)] * 2
    assert len(rig.robot.commands) == 10
    for writer in rig.writers:
        steps = {name: np.stack([row[name] for row in writer.rows]) for name in writer.rows[0]}
        assert check_steps(steps) == 6
        assert writer.outcome == "success"
        np.testing.assert_array_equal(steps["reward"], [1, 2, 3, 4, 5, 0])
        np.testing.assert_array_equal(steps["cost"], [0, 1, 0, 0, 0, 0])
        np.testing.assert_array_equal(steps["violation"], [0, 0, 1, 0, 0, 0])
        np.testing.assert_array_equal(steps["is_first"], [1, 0, 0, 0, 0, 0])
        np.testing.assert_array_equal(steps["is_terminal"], [0, 0, 0, 0, 0, 1])
        np.testing.assert_array_equal(steps["action"][-1], np.zeros(3))
        np.testing.assert_allclose(steps["action"][0], [0.5, -0.5, 0.25], atol=1e-6)
        # Cameras side by side on the channels, in the manifest's order; both fakes show their sequence number.
        assert steps["image"].shape == (6, 8, 8, 6)
    assert summary.ticks == 12 and summary.missed_deadlines == 0 and summary.recorded == 12
    assert summary.telemetry.phases["latency"].count == 10


def test_what_is_slow_the_first_time_is_over_before_memory_is_locked_and_anything_moves() -> None:
    rig, decided = Rig(), list[bool]()
    decide = rig.loop.controller.decide
    rig.loop.controller.decide = lambda seen: (decided.append(rig.robot.armed), decide(seen))[1]  # type: ignore
    session = Session(rig.loop, AutomaticOperator(), rig.clock)
    before, intervals_s = list[int](), list[float]()
    session.on_ready = lambda: (before.append(len(decided)), intervals_s.append(sys.getswitchinterval()))[0]
    assert session.run(Plan("standard", first_seed=7, episodes=2)).planned
    assert before[0] > 0 and not any(decided[: before[0]]) and all(decided[before[0] :])
    assert intervals_s == [pytest.approx(SWITCH_INTERVAL_S)] and sys.getswitchinterval() > SWITCH_INTERVAL_S


def test_seconds_end_the_run_in_the_middle_of_an_episode_and_keep_it() -> None:
    rig = Rig()
    rig.referee.length = 1000
    summary = rig.run(episodes=5, seconds=1.0)
    assert summary.reason is Reason.RUN_COMPLETE
    assert len(summary.episodes) == 1 and not summary.episodes[0].success
    assert 15 <= summary.episodes[0].steps <= 20
    assert rig.writers[0].outcome == "run complete"
    np.testing.assert_array_equal(rig.writers[0].rows[-1]["action"], np.zeros(3))


def test_without_a_referee_the_step_limit_ends_the_episode() -> None:
    rig = Rig()
    rig.loop.referee, rig.loop.settings = None, LoopSettings(max_steps=4)
    summary = rig.run()
    assert summary.episodes[0].steps == 4 == len(rig.robot.commands)
    assert rig.writers[0].outcome == "time out"


def freeze(rig: Rig) -> None:
    rig.cameras[1].frozen_at_ns = rig.cameras[1].frozen_at_ns or rig.clock.now_ns


def lose_camera(rig: Rig) -> None:
    rig.cameras[0].error = CameraLost("the camera process is gone")


def raise_lost(rig: Rig) -> None:
    raise RobotLost("no telemetry for 0.2 s")


def fault(rig: Rig) -> None:
    rig.robot.fault = "watchdog: no command for 200 ms"


def poison_graph(rig: Rig) -> None:
    rig.robot.state[8] = -2.0


def poison_state(rig: Rig) -> None:
    rig.robot.state[0] = np.nan


def stall(rig: Rig) -> None:
    rig.loop.observer = lambda record, insight: rig.clock.sleep(0.6)


def interrupt(rig: Rig) -> None:
    raise KeyboardInterrupt


def ask_to_stop(rig: Rig) -> None:
    rig.loop.request_stop("the terminal was closed")


def surprise(rig: Rig) -> None:
    raise ZeroDivisionError("a programmer's mistake")


@pytest.mark.parametrize(
    ("harm", "reason", "sentence"),
    [
        (freeze, Reason.FRAME_STALE, "old"),
        (lose_camera, Reason.CAMERA_LOST, "camera process is gone"),
        (raise_lost, Reason.ROBOT_LOST, "no telemetry"),
        (fault, Reason.ROBOT_FAULT, "watchdog"),
        (poison_graph, Reason.NOT_FINITE, "surprise"),
        (poison_state, Reason.ROBOT_LOST, "not finite"),
        (stall, Reason.DEADLINE, "too busy"),
        (interrupt, Reason.OPERATOR_STOP, "keyboard"),
        (ask_to_stop, Reason.OPERATOR_STOP, "terminal was closed"),
        (surprise, Reason.INTERNAL, "ZeroDivisionError"),
    ],
)
def test_every_way_to_fail_ends_stopped_with_a_name_and_a_sentence_and_keeps_what_was_recorded(
    harm: Callable[[Rig], None], reason: Reason, sentence: str
) -> None:
    rig = Rig()
    rig.referee.length = 1000
    rig.at_command(6, lambda: harm(rig))
    summary = rig.run()
    assert summary.reason is reason
    assert sentence in summary.detail
    assert rig.robot.events[-2:] == ["stop", "close"]
    writer = rig.writers[0]
    assert writer.outcome == reason.name.lower().replace("_", " ")
    assert len(writer.rows) >= 6
    np.testing.assert_array_equal(writer.rows[-1]["action"], np.zeros(3))
    assert summary.transitions[-1].reason is reason


def test_the_motors_are_stopped_before_anything_waits_for_the_recorder() -> None:
    rig = Rig()
    order: list[str] = []
    assert rig.loop.recorder is not None
    end = rig.loop.recorder.end_episode

    def end_episode(outcome: str, timeout_s: float = 2.0) -> None:
        order.extend([*rig.robot.events, "end"])
        end(outcome, timeout_s)

    rig.loop.recorder.end_episode = end_episode  # type: ignore[method-assign]
    rig.at_command(3, lambda: interrupt(rig))
    rig.run()
    assert order == ["connect", "arm", "stop", "end"]


def test_a_full_disk_stops_the_robot_and_says_so() -> None:
    rig = Rig(writer_error=OSError(errno.ENOSPC, "No space left on device"))
    rig.referee.length = 1000
    # The recorder's thread runs on real time: give it a moment once it has something to write.
    rig.at_command(2, lambda: None if rig.loop.recorder is None else _wait_for_failure(rig.loop.recorder))
    summary = rig.run()
    assert summary.reason is Reason.RECORDER_FAILED
    assert "disk is full" in summary.detail and "--no-record" in summary.detail
    assert summary.stop_acknowledged


def _wait_for_failure(recorder: Recorder) -> None:
    import time

    deadline = time.monotonic() + 10.0
    while recorder.failure is None and time.monotonic() < deadline:
        time.sleep(0.005)


def test_a_stop_that_is_not_acknowledged_is_said() -> None:
    rig = Rig(acknowledges=False)
    rig.referee.length = 1000
    rig.at_command(2, lambda: freeze(rig))
    summary = rig.run()
    assert summary.reason is Reason.FRAME_STALE and not summary.stop_acknowledged
    assert "did not acknowledge" in summary.detail


def test_between_episodes_an_unacknowledged_stop_ends_the_run() -> None:
    rig = Rig(acknowledges=False)
    summary = rig.run(episodes=3)
    assert summary.reason is Reason.ROBOT_LOST
    assert len(rig.referee.resets) == 1


def corner(rig: Rig, reachability: float) -> None:
    rig.robot.state[:5] = reachability


def test_recovery_shows_in_the_state_and_its_end_is_latched_until_the_operator_releases_it() -> None:
    rig = Rig()
    rig.referee.length = 20
    rig.at_command(3, lambda: corner(rig, 0.5) if len(rig.referee.resets) == 1 else corner(rig, 0.1))
    summary = rig.run(episodes=2)
    states = [transition.target for transition in summary.transitions]
    assert states[:4] == [State.READY, State.RUNNING, State.RECOVERING, State.STOPPED]
    assert [episode.reason for episode in summary.episodes] == [Reason.RECOVERY_EXHAUSTED, Reason.EPISODE_END]
    reasons = [transition.reason for transition in summary.transitions]
    assert reasons[4:6] == [Reason.OPERATOR_RESET, Reason.CHECKS_PASSED]
    assert [record.reason for record in rig.records].count(Reason.RECOVERY) >= 3


def test_an_operator_who_does_not_release_ends_the_run_there() -> None:
    class Careful(AutomaticOperator):
        def confirm_release(self, stop: Transition) -> bool:
            return False

    rig = Rig()
    rig.at_command(2, lambda: corner(rig, 0.9))
    rig.referee.length = 50
    summary = rig.run(episodes=2, operator=Careful())
    assert summary.reason is Reason.RECOVERY_EXHAUSTED and len(summary.episodes) == 1


def test_an_interrupt_while_asked_for_the_release_is_a_no() -> None:
    class Leaving(AutomaticOperator):
        def confirm_release(self, stop: Transition) -> bool:
            raise KeyboardInterrupt

    rig = Rig()
    rig.at_command(2, lambda: corner(rig, 0.9))
    rig.referee.length = 50
    assert rig.run(episodes=2, operator=Leaving()).reason is Reason.RECOVERY_EXHAUSTED


def test_a_camera_that_comes_back_lets_the_next_episode_begin_with_all_checks() -> None:
    rig = Rig()
    rig.referee.length = 20
    wrist, released = rig.cameras[1], []

    def live() -> None:
        if len(rig.robot.commands) == 2:
            wrist.frozen_at_ns = rig.clock.now_ns
        elif wrist.frozen_at_ns is not None and rig.clock.now_ns - wrist.frozen_at_ns > 2_000_000_000:
            wrist.frozen_at_ns = None

    rig.robot.on_read = live
    rig.loop._sleep = lambda duration_s: (rig.clock.sleep(duration_s), live())  # waiting reads no robot

    class Person(AutomaticOperator):
        def confirm_release(self, stop: Transition) -> bool:
            released.append((stop.reason, rig.robot.armed))
            return True

    summary = rig.run(episodes=3, operator=Person(), camera_return_s=60.0)
    assert released == [(Reason.FRAME_STALE, False)]  # asked once, with the motors at rest
    assert summary.planned and [episode.reason for episode in summary.episodes] == [
        Reason.FRAME_STALE, Reason.EPISODE_END, Reason.EPISODE_END
    ]  # fmt: skip
    assert rig.robot.events.count("arm") == 3


@pytest.mark.parametrize("error", [None, CameraLost("unplugged")])
def test_a_camera_that_does_not_come_back_ends_the_run_when_its_time_is_up(error: Exception | None) -> None:
    rig = Rig()

    def lose() -> None:
        rig.cameras[0].error, rig.cameras[0].frozen_at_ns = error, 1

    rig.at_command(2, lose)
    before_ns = rig.clock.now_ns
    summary = rig.run(episodes=3, camera_return_s=60.0)
    assert summary.reason is (Reason.FRAME_STALE if error is None else Reason.CAMERA_LOST)
    assert len(summary.episodes) == 1 and rig.robot.events.count("arm") == 1
    assert 60.0 <= (rig.clock.now_ns - before_ns) * 1e-9 < 65.0


def test_a_stop_ends_the_wait_for_a_camera() -> None:
    rig = Rig()
    rig.at_command(2, lambda: setattr(rig.cameras[0], "frozen_at_ns", 1))
    rig.loop._sleep = lambda duration_s: (rig.clock.sleep(duration_s), rig.loop.request_stop("enough"))
    summary = rig.run(episodes=3, camera_return_s=60.0)
    assert summary.reason is Reason.FRAME_STALE and rig.clock.now_ns < 10_000_000_000


def test_an_operator_who_does_not_confirm_never_arms_the_motors() -> None:
    class Reluctant(AutomaticOperator):
        def confirm_start(self, seed: int, scenario: str) -> bool:
            return False

    rig = Rig()
    summary = rig.run(operator=Reluctant())
    assert summary.reason is Reason.OPERATOR_STOP
    assert "arm" not in rig.robot.events and not rig.robot.commands


def test_the_filter_off_moves_on_and_records_why() -> None:
    rig = Rig(filter_enabled=False)
    corner(rig, 0.9)
    summary = rig.run()
    assert summary.reason is Reason.RUN_COMPLETE
    assert {record.reason for record in rig.records[:-1]} == {Reason.FILTER_OFF}


def test_a_person_is_asked_before_every_start_and_every_release() -> None:
    rig, asked = Rig(), []

    def confirm(question: str) -> bool:
        asked.append(question)
        return len(asked) < 4

    rig.referee.length = 20
    rig.at_command(3, lambda: corner(rig, 0.9) if len(rig.referee.resets) == 1 else corner(rig, 0.1))
    summary = rig.run(episodes=5, operator=AskingOperator(confirm))
    assert ["Release" in question for question in asked] == [False, True, False, False]
    assert summary.reason is Reason.OPERATOR_STOP and len(summary.episodes) == 2
    assert rig.robot.events.count("arm") == 2


HARMS = [freeze, lose_camera, raise_lost, fault, poison_graph, poison_state, stall, interrupt, ask_to_stop, surprise]


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.sampled_from(HARMS)), max_size=4),
    st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12),
    st.booleans(),
)
def test_whatever_goes_wrong_whenever_the_end_is_a_stop_with_a_name(
    harms: list[tuple[int, Callable[[Rig], None]]], danger: list[float], acknowledges: bool
) -> None:
    rig = Rig(acknowledges=acknowledges)
    rig.referee.length = 15
    reads = iter(range(10**6))

    def live() -> None:
        now = next(reads)
        corner(rig, danger[now % len(danger)])
        for tick, harm in harms:
            if tick == now:
                harm(rig)

    rig.robot.on_read = live
    # The checks of `run` are the point: stopped, disarmed, nothing sent while disarmed; the fakes check every command.
    summary = rig.run(episodes=2)
    assert summary.detail
    for writer in rig.writers:
        assert writer.outcome is not None
        assert [row["time_ns"] for row in writer.rows if row["is_first"]] == [row["time_ns"] for row in writer.rows[:1]]
        assert not any(np.any(row["action"]) for row in writer.rows[-1:])


def test_another_robot_or_camera_is_refused_before_anything_moves() -> None:
    for change, sentence in (
        (lambda rig: setattr(rig.robot, "name", "other-arm"), "made for the robot 'fake-arm', this is 'other-arm'"),
        (lambda rig: setattr(rig.robot, "state_units", ("m",) * 9), "state vector"),
        (lambda rig: setattr(rig.cameras[0], "width_px", 16), "8x8 pixels wanted, 16x8 found"),
        (lambda rig: rig.cameras.reverse() or setattr(rig.loop, "cameras", tuple(rig.cameras)), "looks through"),
    ):
        rig = Rig()
        change(rig)
        summary = rig.run()
        assert summary.reason is Reason.BUNDLE_REFUSED and sentence in summary.detail
        assert "connect" not in rig.robot.events and not rig.robot.commands


def test_a_camera_with_another_serial_number_is_refused() -> None:
    manifest, clock = make_manifest(), FakeClock()
    tied = replace(manifest, cameras=(replace(manifest.cameras[0], serial="A1"), manifest.cameras[1]))
    with pytest.raises(BundleError, match="serial number A1 wanted, fake found"):
        check_fit(tied, FakeRobot(clock), [FakeCamera(clock, "fixed"), FakeCamera(clock, "wrist")])


class StoppedReferee(FakeReferee):
    """Knows what a stop costs."""

    def judge_stop(self) -> Judgement:
        return Judgement(reward=-1.0, cost=1.0, success=False, finished=True)


def test_an_emergency_stop_costs_where_somebody_says_so() -> None:
    rig = Rig()
    rig.loop.referee = StoppedReferee()
    rig.at_command(3, lambda: rig.loop.request_stop("pressed", Reason.EMERGENCY_STOP))
    summary = rig.run(1)
    assert summary.reason is Reason.EMERGENCY_STOP
    rows = rig.writers[0].rows
    assert [float(row["cost"]) for row in rows] == [0.0, 1.0, 0.0, 1.0, 0.0]
    assert float(rows[3]["reward"]) == -1.0 and np.any(rows[3]["action"]), "the action that was stopped is there"
    assert float(rows[4]["violation"]) == 1.0 and not np.any(rows[4]["action"])
    assert summary.episodes[0].cost == 2.0
