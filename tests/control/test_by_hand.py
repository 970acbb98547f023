"""A person decides: inside the same limits, through the same loop, recorded for what it is."""

import numpy as np
import pytest

from fosp_edge.bundle.contract import RobotContract
from fosp_edge.control.by_hand import HandController
from fosp_edge.control.limits import ActionRefused
from fosp_edge.control.loop import ControlLoop
from fosp_edge.control.machine import Machine
from fosp_edge.control.pacing import Pacer
from fosp_edge.control.recorder import REASONS, Recorder
from fosp_edge.control.session import AutomaticOperator, Plan, RunSummary, Session
from fosp_edge.control.types import Observation, Reason, State
from fosp_edge.experience.schema import FILTER_COLUMNS, check_steps
from fosp_edge.robots.base import RobotError
from tests.control.fakes import FakeCamera, FakeClock, FakeReferee, FakeRobot, MemoryWriter, make_manifest

SEEN = Observation(np.zeros((8, 8, 6), np.uint8), np.zeros(4, np.float32))


def contract() -> RobotContract:
    manifest = make_manifest()
    return RobotContract(manifest.robot, manifest.rate_hz, manifest.cameras, manifest.state, manifest.actions)


class Run:
    def __init__(self, wish: object) -> None:
        clock = FakeClock()
        self.robot, self.writers = FakeRobot(clock), list[MemoryWriter]()

        def open_episode(seed: int, scenario: str) -> MemoryWriter:
            self.writers.append(MemoryWriter())
            return self.writers[-1]

        loop = ControlLoop(
            self.robot, [FakeCamera(clock, "fixed"), FakeCamera(clock, "wrist")],
            HandController(contract(), wish),  # type: ignore[arg-type]
            Machine(clock), referee=FakeReferee(), recorder=Recorder(open_episode),
            pacer=Pacer(0.05, clock, clock.sleep), clock=clock, sleep=clock.sleep,
        )  # fmt: skip
        self.summary: RunSummary = Session(loop, AutomaticOperator(), clock).run(Plan("standard", episodes=1))
        assert self.summary.state is State.STOPPED and not self.robot.armed


def test_what_a_person_does_is_recorded_without_scores_that_nobody_made() -> None:
    run = Run(lambda: np.array([0.5, -0.5, 0.0], np.float32))
    assert run.summary.planned and run.summary.episodes[0].success
    [writer] = run.writers
    steps = {name: np.stack([row[name] for row in writer.rows]) for name in writer.rows[0]}
    assert check_steps(steps) == 6 and not steps.keys() & {item.name for item in FILTER_COLUMNS}
    np.testing.assert_allclose(steps["action"][:-1], [[0.5, -0.5, 0.0]] * 5, atol=1e-6)
    np.testing.assert_array_equal(steps["nominal"], steps["action"])
    assert [REASONS[number] for number in steps["reason"]] == [Reason.BY_HAND] * 5 + [Reason.EPISODE_END]
    low, high = (np.array([getattr(item, end) for item in contract().actions]) for end in ("low", "high"))
    np.testing.assert_allclose(run.robot.commands[0], low + (np.array([1.5, 0.5, 1.0]) / 2) * (high - low), atol=1e-6)


def test_nobody_there_ends_the_run_and_stops_the_motors() -> None:
    def gone() -> np.ndarray:
        raise RobotError("the gamepad is gone")

    run = Run(gone)
    assert not run.summary.planned and run.summary.detail == "the gamepad is gone"
    assert run.summary.stop_acknowledged and not run.robot.commands


def test_a_wish_that_is_no_number_is_not_passed_on() -> None:
    run = Run(lambda: np.array([0.0, np.nan, 0.0], np.float32))
    assert run.summary.reason is Reason.NOT_FINITE and not run.robot.commands


def test_speed_is_a_part_of_the_range_and_the_whole_stick_leads_there() -> None:
    slow = HandController(contract(), lambda: np.array([1.0, -1.0, 0.5], np.float32), speed=0.4)
    slow.reset(0)
    for _ in range(5):
        decision, scores = slow.decide(SEEN)
    assert scores is None and slow.insight is None and slow.bundle_id == "" and slow.memory() is None
    np.testing.assert_allclose(decision.action, [0.4, -0.4, 0.2], atol=1e-6)
    far = HandController(contract(), lambda: np.array([40.0, -40.0, 0.0], np.float32), speed=0.4)
    far.reset(0)
    for _ in range(5):
        decision, _ = far.decide(SEEN)
    np.testing.assert_allclose(decision.action, [0.4, -0.4, 0.0], atol=1e-6)


def test_the_rate_is_limited_and_an_episode_begins_at_rest() -> None:
    hand = HandController(contract(), lambda: np.ones(3, np.float32), full_range_s=1.0)
    hand.reset(0)
    first, _ = hand.decide(SEEN)
    second, _ = hand.decide(SEEN)
    assert np.all(first.action < second.action) and np.all(second.action < 1.0)
    hand.reset(1)
    np.testing.assert_array_equal(hand.decide(SEEN)[0].action, first.action)
    with pytest.raises(ActionRefused):
        HandController(contract(), lambda: np.ones(2, np.float32)).decide(SEEN)
    with pytest.raises(ValueError, match="part of the speed"):
        HandController(contract(), lambda: np.ones(3, np.float32), speed=float("nan"))
