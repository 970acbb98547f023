"""The reachability filter: the policy acts as long as it is predicted to stay feasible; otherwise the least is taken
from it that keeps the robot safe.

Least-restrictive, in this order:

1. the policy's own choice, if its reachability (the predicted probability of a violation) lies in the feasible set;
2. among the other candidates, the one with the best reachability, if that is feasible;
3. recovery: no candidate is feasible, the least unsafe one is taken at a part of its speed;
4. hold still: the least unsafe one is so unsafe that moving is not worth it;
5. a controlled stop, when 3 and 4 have not led back to the feasible set for `patience_ticks`.

Above that stands the out-of-distribution gate (`gate_response`): an alarm tightens the threshold, several hold the
robot still, and in the end stop it, whatever the scores say, because then the scores say nothing.

Everything here is a pure function of (scores, thresholds, state before), so any tick can be judged again later.
"""

from dataclasses import dataclass, replace

import numpy as np

from fosp_edge.bundle.manifest import FilterThresholds
from fosp_edge.control.gate_response import Stage
from fosp_edge.control.types import Decision, Reason, StepScores


@dataclass(frozen=True)
class FilterSettings:
    """How the filter behaves around its thresholds. The thresholds themselves come with the bundle."""

    release_ticks: int = 3
    """An intervention lasts until the policy was feasible for so many ticks in a row (hysteresis),"""
    release_ratio: float = 0.5
    """or at once below this share of the feasible threshold, where there is nothing to chatter about."""
    patience_ticks: int = 40
    """Ticks in a row without a feasible candidate, after which the run is stopped: 2 s at 20 Hz."""
    tighten_ratio: float = 0.5
    """Share of the feasible threshold that is left while the gate is in alarm."""
    value_margin: float = 0.02
    """Candidates whose reachability is this close to the best one count as equally safe: the more valuable wins."""
    recovery_speed: float = 0.4
    """Part of its speed at which recovery takes the least unsafe candidate: above 0 and at most 1. What is hardly safer
    than what the policy wants is at least less far: a quarter fewer violations (experiments/filter_answers.py)."""

    def __post_init__(self) -> None:
        if not 0.0 < self.recovery_speed <= 1.0:  # nor is NaN
            raise ValueError(f"the speed of a recovery lies above 0 and is at most 1, found {self.recovery_speed:g}")


DEFAULT_SETTINGS = FilterSettings()


@dataclass(frozen=True)
class FilterState:
    """What the filter remembers from one tick to the next. The default is the state at the start of an episode."""

    intervening: bool = False
    clear_ticks: int = 0
    """Ticks in a row in which the policy was feasible, while intervening."""
    infeasible_ticks: int = 0
    """Ticks in a row without a feasible candidate."""


@dataclass(frozen=True)
class Verdict:
    """What the filter decided, and what it would have decided had it been switched on."""

    decision: Decision
    advice: Decision
    """The same as `decision` unless the filter is off."""
    state: FilterState
    thresholds: FilterThresholds
    """Those in force."""


def filter_action(
    scores: StepScores,
    thresholds: FilterThresholds,
    before: FilterState,
    hold_index: int,
    *,
    enabled: bool = True,
    settings: FilterSettings = DEFAULT_SETTINGS,
    stage: Stage = Stage.FAMILIAR,
) -> Verdict:
    """Choose among the candidates of one tick.

    Args:
        scores: N candidates with their scores; row 0 is the policy's own choice.
        thresholds: where the feasible set ends.
        before: the `state` of the verdict of the tick before.
        hold_index: the row that asks for no motion; taken whenever nothing can be said (fail closed).
        enabled: if False the policy's choice stands, and `advice` says what would have been done. Scores that are
            not finite are held back all the same.
        settings: hysteresis and patience.
        stage: of the out-of-distribution gate's response.
    """
    if stage is not Stage.FAMILIAR:
        thresholds = replace(
            thresholds, feasible_reachability=settings.tighten_ratio * thresholds.feasible_reachability
        )
    finite = all(
        np.isfinite(values).all()
        for values in (scores.candidates, scores.reachability, scores.reward_value, scores.cost_value)
    )
    if not finite or not np.isfinite(scores.state_reachability):
        decision = _take(scores, hold_index, Reason.NOT_FINITE)
        return Verdict(decision, decision, FilterState(intervening=True), thresholds)
    if stage >= Stage.HOLD:
        reason = Reason.UNFAMILIAR if stage is Stage.HOLD else Reason.UNFAMILIAR_STOP
        # Not counted against the patience of the recovery: nothing is being tried here.
        advice, after = _take(scores, hold_index, reason), FilterState(intervening=True)
    else:
        advice, after = _choose(scores, thresholds, before, hold_index, settings)
    if enabled:
        return Verdict(advice, advice, after, thresholds)
    unfiltered = Decision(0, scores.candidates[0], scores.candidates[0], Reason.FILTER_OFF, intervened=False)
    return Verdict(unfiltered, advice, after, thresholds)


def _choose(
    scores: StepScores, thresholds: FilterThresholds, before: FilterState, hold_index: int, settings: FilterSettings
) -> tuple[Decision, FilterState]:
    # Compared as the graph computes, in single precision: a threshold read off its own outputs means just those.
    feasible, stop = np.float32(thresholds.feasible_reachability), np.float32(thresholds.stop_reachability)
    policy, best = scores.reachability[0], np.min(scores.reachability)
    if before.intervening:
        clear_ticks = before.clear_ticks + 1 if policy <= feasible else 0
        policy_stands = clear_ticks >= settings.release_ticks or bool(policy <= settings.release_ratio * feasible)
    else:
        clear_ticks, policy_stands = 0, bool(policy <= feasible)
    if policy_stands:
        return _take(scores, 0, Reason.POLICY), FilterState()
    if best <= feasible:
        safest = _safest(scores, float(min(feasible, best + settings.value_margin)))
        # While intervening the policy's own choice may still be the best there is; that is then no intervention.
        reason = Reason.SAFER_CANDIDATE if safest else Reason.POLICY
        return _take(scores, safest, reason), FilterState(True, clear_ticks)
    infeasible_ticks = before.infeasible_ticks + 1
    after = FilterState(True, clear_ticks, infeasible_ticks)
    if infeasible_ticks > settings.patience_ticks:
        return _take(scores, hold_index, Reason.RECOVERY_EXHAUSTED), after
    if best <= stop:
        return _recover(scores, int(np.argmin(scores.reachability)), settings.recovery_speed), after
    return _take(scores, hold_index, Reason.HOLD), after


def _safest(scores: StepScores, ceiling: float) -> int:
    """The most valuable of the candidates whose reachability does not exceed `ceiling`."""
    return int(np.argmax(np.where(scores.reachability <= ceiling, scores.reward_value, -np.inf)))


def _recover(scores: StepScores, index: int, speed: float) -> Decision:
    """The least unsafe candidate at a part of its speed; slowed down, the policy's own choice is another."""
    decision = _take(scores, index, Reason.RECOVERY)
    slowed = np.float32(speed) * decision.action
    return replace(decision, action=slowed, intervened=decision.intervened or speed < 1.0)


def _take(scores: StepScores, index: int, reason: Reason) -> Decision:
    """A decision for one row. An action that is not finite becomes zero: no motion."""
    action, nominal = scores.candidates[index], scores.candidates[0]
    if not np.isfinite(action).all():
        action = np.zeros_like(action)
    return Decision(index, action, nominal, reason, intervened=index != 0)
