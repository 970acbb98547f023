"""Other answers to the filter's alarms, tried in the simulation."""

import numpy as np
import pytest

pytest.importorskip("mujoco")
pytest.importorskip("torch")

from experiments.filter_answers import Answer, AnsweringActor, _nearest, beside, drive, knows
from fosp_edge.bundle.folder import load_bundle
from fosp_edge.cli.shipped import shipped_bundle
from fosp_edge.control.safety_filter import DEFAULT_SETTINGS
from fosp_edge.control.types import Decision, Float32Array, Observation, Reason, StepScores
from fosp_edge.simulation.evaluation import BundleActor
from fosp_edge.simulation.filter_evaluation import ride_episode

ALARMED = 3_500_001, "obstacle-shape"
"""A table on which the filter steps in often."""


def chosen_at(speed: float) -> Answer:
    """What the filter chooses, in recovery at this part of its speed."""

    def answer(environment: object, actor: object, decision: Decision, scores: StepScores) -> Float32Array:
        chosen: Float32Array = scores.candidates[decision.index]
        return np.float32(speed) * chosen if decision.reason is Reason.RECOVERY else chosen

    return answer


def test_who_answers_with_what_the_filter_chose_changes_nothing() -> None:
    actor = BundleActor(shipped_bundle(), filter_enabled=True)
    seed, family = ALARMED
    usual = ride_episode(actor, family, seed)
    own = AnsweringActor(load_bundle(shipped_bundle()), chosen_at(DEFAULT_SETTINGS.recovery_speed)).ride(family, seed)
    assert own == usual
    assert usual.interventions > 0


def test_full_speed_is_what_the_filter_itself_can_be_set_to() -> None:
    seed, family = ALARMED
    by_hand = AnsweringActor(load_bundle(shipped_bundle()), chosen_at(1.0)).ride(family, seed)
    _, (found,) = drive(shipped_bundle(), "full speed", seed, 1)
    assert found["scenario"] == by_hand.scenario
    assert (found["steps"], found["cost"], found["interventions"]) == (
        by_hand.steps, by_hand.cost, by_hand.interventions,
    )  # fmt: skip


def test_to_know_leaves_the_robot_where_it_is() -> None:
    actor = BundleActor(shipped_bundle(), filter_enabled=True)
    seed, family = ALARMED
    environment = actor.environment(family)
    raw, _ = environment.reset(seed=seed)
    actor.reset(seed)
    before = environment.plant.judge()
    decision, scores = actor.decide(Observation(raw["image"], raw["state"]))
    action = knows(environment, actor, decision, scores)
    assert environment.plant.judge() == before
    # Nothing is near where an episode begins.
    np.testing.assert_array_equal(action, scores.candidates[0])


def test_the_nearest_that_is_safe_enough_or_the_least_unsafe() -> None:
    candidates = np.array([[1.0, 0.0], [0.5, 0.0], [0.0, 0.0], [-1.0, 0.0]], np.float32)
    unsafe = np.array([0.9, 0.3, 0.1, 0.0], np.float32)
    for limit, expected in ((1.0, 0), (0.5, 1), (0.2, 2), (0.05, 3), (-1.0, 3)):
        np.testing.assert_array_equal(_nearest(candidates, unsafe, limit), candidates[expected])


def test_told_beside_the_usual_answer() -> None:
    def item(*, success: bool, violated: bool, interventions: int) -> dict[str, object]:
        return {"success": success, "violated": violated, "cost": 3.0 * violated, "steps": 50,
                "interventions": interventions}  # fmt: skip

    usual = [item(success=True, violated=True, interventions=5), item(success=True, violated=False, interventions=0)]
    own = [item(success=False, violated=False, interventions=10), item(success=True, violated=False, interventions=0)]
    found = beside(own, usual)
    assert (found["reached"], found["violations"], found["cost"], found["interventions"]) == (1, 0, 0.0, 0.1)
    assert found["violated_gained"]["mean"] == found["success_gained"]["mean"] == -0.5
    assert found["cost_gained"]["mean"] == -1.5
