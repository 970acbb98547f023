"""The filter: least-restrictive, in the promised order, without chatter, and closed when in doubt."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fosp_edge.bundle.manifest import FilterThresholds
from fosp_edge.control.gate_response import Stage
from fosp_edge.control.safety_filter import FilterSettings, FilterState, filter_action
from fosp_edge.control.types import Reason, StepScores

THRESHOLDS = FilterThresholds(0.3, 0.7, 0.1, 100, "2026-01-01", "0" * 64)
HOLD = 3


def scores_of(reachability: list[float], reward_value: list[float] | None = None) -> StepScores:
    count = len(reachability)
    candidates = np.linspace(-1.0, 1.0, count * 3, dtype=np.float32).reshape(count, 3)
    candidates[HOLD] = 0.0
    return StepScores(
        candidates=candidates,
        reward_value=np.array(reward_value or [0.0] * count, np.float32),
        cost_value=np.zeros(count, np.float32),
        reachability=np.array(reachability, np.float32),
        state_reachability=0.1,
        surprise=0.0,
    )


def test_the_policy_stands_while_it_is_feasible_even_if_another_is_safer() -> None:
    verdict = filter_action(scores_of([0.3, 0.0, 0.0, 0.0, 0.0]), THRESHOLDS, FilterState(), HOLD)
    assert (verdict.decision.index, verdict.decision.reason) == (0, Reason.POLICY)
    assert not verdict.decision.intervened and verdict.state == FilterState()


def test_otherwise_the_safest_feasible_candidate_is_taken() -> None:
    verdict = filter_action(scores_of([0.5, 0.2, 0.05, 0.1, 0.4]), THRESHOLDS, FilterState(), HOLD)
    assert (verdict.decision.index, verdict.decision.reason) == (2, Reason.SAFER_CANDIDATE)
    assert verdict.decision.intervened
    np.testing.assert_array_equal(verdict.decision.nominal, scores_of([0] * 5).candidates[0])


def test_among_equally_safe_candidates_the_most_valuable_is_taken_and_never_an_infeasible_one() -> None:
    scores = scores_of([0.5, 0.06, 0.05, 0.065, 0.4], [9.0, 2.0, 1.0, 1.5, 9.0])
    assert filter_action(scores, THRESHOLDS, FilterState(), HOLD).decision.index == 1
    near = scores_of([0.5, 0.301, 0.295, 0.9, 0.9], [9.0, 9.0, 1.0, 9.0, 9.0])
    assert filter_action(near, THRESHOLDS, FilterState(), HOLD).decision.index == 2


def test_without_a_feasible_candidate_recover_then_hold() -> None:
    recovery = filter_action(scores_of([0.9, 0.6, 0.5, 0.65, 0.8]), THRESHOLDS, FilterState(), HOLD)
    assert (recovery.decision.index, recovery.decision.reason) == (2, Reason.RECOVERY)
    hold = filter_action(scores_of([0.9, 0.8, 0.75, 0.95, 0.8]), THRESHOLDS, FilterState(), HOLD)
    assert (hold.decision.index, hold.decision.reason) == (HOLD, Reason.HOLD)
    np.testing.assert_array_equal(hold.decision.action, np.zeros(3))


def test_a_recovery_is_slowed_down_and_is_an_intervention_then() -> None:
    assert FilterSettings().recovery_speed == 0.4
    full, settings = FilterSettings(recovery_speed=1.0), FilterSettings(recovery_speed=0.25)
    for reachability in ([0.9, 0.6, 0.5, 0.65, 0.8], [0.5, 0.6, 0.7, 0.65, 0.8]):
        scores = scores_of(reachability)
        usual = filter_action(scores, THRESHOLDS, FilterState(), HOLD, settings=full)
        assert usual.decision.intervened == (usual.decision.index != 0)
        slowed = filter_action(scores, THRESHOLDS, FilterState(), HOLD, settings=settings)
        assert usual.decision.reason is slowed.decision.reason is Reason.RECOVERY
        assert usual.decision.index == slowed.decision.index == int(np.argmin(reachability))
        np.testing.assert_allclose(slowed.decision.action, 0.25 * usual.decision.action)
        assert slowed.decision.action.dtype == np.float32
        assert slowed.decision.intervened
        assert slowed.state == usual.state
    # Where something is feasible nothing is slower.
    for reachability in ([0.1, 0.6, 0.5, 0.65, 0.8], [0.9, 0.1, 0.5, 0.65, 0.8]):
        usual_decision = filter_action(scores_of(reachability), THRESHOLDS, FilterState(), HOLD, settings=full).decision
        decision = filter_action(scores_of(reachability), THRESHOLDS, FilterState(), HOLD, settings=settings).decision
        np.testing.assert_array_equal(decision.action, usual_decision.action)


@pytest.mark.parametrize("speed", [0.0, -1.0, 1.5, float("nan")])
def test_a_recovery_that_is_no_slower_or_no_speed_is_refused(speed: float) -> None:
    with pytest.raises(ValueError, match="above 0 and is at most 1"):
        FilterSettings(recovery_speed=speed)


def test_patience_ends_in_a_controlled_stop_and_a_feasible_tick_renews_it() -> None:
    settings, state, stuck = FilterSettings(patience_ticks=5), FilterState(), scores_of([0.9] * 5)
    reasons = []
    for tick in range(14):
        feasible = scores_of([0.9, 0.1, 0.1, 0.1, 0.1])
        verdict = filter_action(feasible if tick == 4 else stuck, THRESHOLDS, state, HOLD, settings=settings)
        state = verdict.state
        reasons.append(verdict.decision.reason)
    assert Reason.RECOVERY_EXHAUSTED not in reasons[:10]
    assert reasons[10:] == [Reason.RECOVERY_EXHAUSTED] * 4


def test_hysteresis_the_policy_returns_when_it_was_feasible_for_long_enough() -> None:
    state = filter_action(scores_of([0.5, 0.1, 0.1, 0.1, 0.1]), THRESHOLDS, FilterState(), HOLD).state
    taken = []
    # Twice just feasible, once not, then just feasible again: the count begins anew.
    for policy in (0.28, 0.28, 0.31, 0.28, 0.28, 0.28, 0.28):
        verdict = filter_action(scores_of([policy, 0.1, 0.1, 0.1, 0.1]), THRESHOLDS, state, HOLD)
        state = verdict.state
        taken.append(verdict.decision.index == 0)
    assert taken == [False] * 5 + [True] * 2


def test_hysteresis_the_policy_returns_at_once_when_there_is_no_danger_left() -> None:
    state = filter_action(scores_of([0.5, 0.1, 0.1, 0.1, 0.1]), THRESHOLDS, FilterState(), HOLD).state
    verdict = filter_action(scores_of([0.14, 0.1, 0.1, 0.1, 0.1]), THRESHOLDS, state, HOLD)
    assert verdict.decision.reason is Reason.POLICY and verdict.state == FilterState()


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("field", ["candidates", "reachability", "reward_value", "cost_value", "state_reachability"])
@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_anything_not_finite_holds_still(field: str, poison: float, enabled: bool) -> None:
    scores = scores_of([0.1] * 5)
    value = getattr(scores, field)
    broken = replace(
        scores, **{field: poison if np.isscalar(value) else np.where(np.arange(5) == 0, poison, value.T).T}
    )
    decision = filter_action(broken, THRESHOLDS, FilterState(), HOLD, enabled=enabled).decision
    assert decision.reason is Reason.NOT_FINITE
    np.testing.assert_array_equal(decision.action, np.zeros(3))


def test_switched_off_it_lets_everything_through_and_says_what_it_would_have_done() -> None:
    verdict = filter_action(scores_of([0.9, 0.1, 0.2, 0.2, 0.2]), THRESHOLDS, FilterState(), HOLD, enabled=False)
    assert (verdict.decision.index, verdict.decision.reason) == (0, Reason.FILTER_OFF)
    assert (verdict.advice.index, verdict.advice.reason) == (1, Reason.SAFER_CANDIDATE)
    assert not verdict.decision.intervened and verdict.advice.intervened


probabilities = st.lists(st.floats(0.0, 1.0, width=32), min_size=5, max_size=5)


@given(st.lists(probabilities, min_size=1, max_size=30))
def test_no_sequence_of_scores_executes_an_infeasible_candidate_while_a_feasible_one_exists(
    sequence: list[list[float]],
) -> None:
    state = FilterState()
    ceiling = np.float32(THRESHOLDS.feasible_reachability)
    for reachability in sequence:
        scores = scores_of(reachability)
        verdict = filter_action(scores, THRESHOLDS, state, HOLD)
        state = verdict.state
        chosen = scores.reachability[verdict.decision.index]
        if np.any(scores.reachability <= ceiling):
            assert chosen <= ceiling
        elif verdict.decision.reason is Reason.RECOVERY:
            assert chosen == scores.reachability.min() <= np.float32(THRESHOLDS.stop_reachability)
        else:
            assert verdict.decision.index == HOLD
        slowed = verdict.decision.reason is Reason.RECOVERY  # the policy's own choice, too, is another then
        assert verdict.decision.intervened == (verdict.decision.index != 0 or slowed)


@given(st.lists(probabilities, min_size=3, max_size=30))
def test_it_is_a_pure_function(sequence: list[list[float]]) -> None:
    def run() -> list[int]:
        state, chosen = FilterState(), []
        for reachability in sequence:
            verdict = filter_action(scores_of(reachability), THRESHOLDS, state, HOLD)
            state = verdict.state
            chosen.append(verdict.decision.index)
        return chosen

    assert run() == run()


def test_an_alarm_of_the_gate_halves_the_threshold_and_says_so() -> None:
    scores = scores_of([0.2, 0.1, 0.18, 0.1, 0.4], [0.0, 1.0, 0.0, 0.0, 0.0])
    assert filter_action(scores, THRESHOLDS, FilterState(), HOLD).decision.index == 0
    verdict = filter_action(scores, THRESHOLDS, FilterState(), HOLD, stage=Stage.TIGHTENED)
    assert (verdict.decision.index, verdict.decision.reason) == (1, Reason.SAFER_CANDIDATE)
    assert verdict.thresholds == replace(THRESHOLDS, feasible_reachability=0.15)


@pytest.mark.parametrize("stage", [Stage.HOLD, Stage.STOP])
@given(probabilities)
def test_what_is_unfamiliar_holds_still_whatever_the_scores_say(stage: Stage, reachability: list[float]) -> None:
    verdict = filter_action(scores_of(reachability), THRESHOLDS, FilterState(), HOLD, stage=stage)
    assert verdict.decision.index == HOLD and not np.any(verdict.decision.action)
    assert verdict.decision.reason is (Reason.UNFAMILIAR if stage is Stage.HOLD else Reason.UNFAMILIAR_STOP)
    off = filter_action(scores_of(reachability), THRESHOLDS, FilterState(), HOLD, stage=stage, enabled=False)
    assert off.decision.index == 0 and off.advice.index == HOLD
