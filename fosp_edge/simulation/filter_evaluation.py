"""Is the safety filter any good? Judged tick by tick against what can be tried in simulation, and by what it costs.

Two things are asked of each filter. On the policy's own unfiltered episodes, the same for all filters: at which ticks
would it step in, and was there something to step in for? And in charge of episodes of its own: how many violate, how
many reach the target, and how often does it interfere?
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fosp_edge.control.types import Observation, Reason
from fosp_edge.simulation.avoidance import leads_into_violation, trial_of
from fosp_edge.simulation.environment import Environment
from fosp_edge.simulation.evaluation import BundleActor, Estimate, bootstrap_interval, wilson_interval

AHEAD_TICKS = 10
"""Half a second with the arm: what counts as `the policy is about to violate`."""


@dataclass(frozen=True)
class Judged:
    """One unfiltered episode: what was true at each tick, and what each filter thought of the policy's choice."""

    scenario: str
    seed: int
    unavoidable: npt.NDArray[np.bool_]
    """After the policy's choice no script avoids a violation any more, [T]."""
    violation: npt.NDArray[np.bool_]
    """The state itself is in violation, [T + 1]."""
    excess: dict[str, npt.NDArray[np.float32]]
    """Score of the policy's choice minus threshold by filter, [T]; positive: would step in."""
    success: bool

    @property
    def ahead(self) -> npt.NDArray[np.bool_]:
        """Whether the episode goes on to violate within `AHEAD_TICKS`, [T]."""
        after = self.violation[1:]
        return np.array([bool(after[tick : tick + AHEAD_TICKS].any()) for tick in range(len(after))])

    @property
    def counted(self) -> npt.NDArray[np.bool_]:
        """Ticks before the first violation, [T]: after it there is nothing left to predict."""
        before: npt.NDArray[np.bool_] = np.cumsum(self.violation[:-1]) == 0
        return before

    @property
    def ride(self) -> "Ride":
        """The same episode as one without a filter in charge."""
        cost = float(self.violation[1:].sum())
        return Ride(self.scenario, self.seed, self.success, cost > 0, cost, len(self.unavoidable), 0)


@dataclass(frozen=True)
class Ride:
    """One episode with a filter in charge."""

    scenario: str
    seed: int
    success: bool
    violated: bool
    cost: float
    steps: int
    interventions: int


def judge_episode(actors: Mapping[str, BundleActor], scenario: str, seed: int) -> Judged:
    """Drive one episode with the first actor, whose filter is off; ask all of them, and try what can be avoided.

    Every actor's controller sees the same observations and is told the same executed actions: they run the same policy
    with the same noise, so only their filters differ.
    """
    environment: Environment = next(iter(actors.values())).environment(scenario)
    raw, info = environment.reset(seed=seed)
    trial = trial_of(environment)
    for actor in actors.values():
        actor.reset(seed)
    unavoidable: list[bool] = []
    violation = [bool(info["violation"])]
    excess: dict[str, list[float]] = {name: [] for name in actors}
    while True:
        observation = Observation(raw["image"], raw["state"])
        decisions = {}
        for name, actor in actors.items():
            decisions[name], scores = actor.decide(observation)
            insight = actor.controller.insight
            over = float(scores.reachability[0]) - insight.judged.feasible_reachability
            # The gate's word counts whatever the score.
            stopped = insight.advice.reason in (Reason.UNFAMILIAR, Reason.UNFAMILIAR_STOP)
            excess[name].append(max(over, 1.0) if stopped else over)
        action = next(iter(decisions.values())).action
        known = violation[-1] or leads_into_violation(trial, action)
        unavoidable.append(known)
        raw, _, terminated, truncated, info = environment.step(action)
        violation.append(bool(info["violation"]))
        if terminated or truncated:
            return Judged(
                scenario,
                seed,
                np.array(unavoidable),
                np.array(violation),
                {name: np.array(values, np.float32) for name, values in excess.items()},
                bool(terminated),
            )


def ride_episode(actor: BundleActor, scenario: str, seed: int, environment: Environment | None = None) -> Ride:
    """One episode with the actor's filter as it is; `environment`, if others are to see it, is of that scenario."""
    environment = environment or actor.environment(scenario)
    raw, _ = environment.reset(seed=seed)
    actor.reset(seed)
    cost, steps, interventions = 0.0, 0, 0
    while True:
        decision, _ = actor.decide(Observation(raw["image"], raw["state"]))
        raw, _, terminated, truncated, info = environment.step(decision.action)
        cost, steps, interventions = cost + info["cost"], steps + 1, interventions + decision.intervened
        if terminated or truncated:
            return Ride(scenario, seed, bool(terminated), cost > 0, cost, steps, interventions)


@dataclass(frozen=True)
class Detection:
    """A filter as a classifier of the policy's choices, against one truth."""

    positives: int
    negatives: int
    recall: float
    false_alarm_rate: float
    """Share of the ticks at which nothing was amiss, at which it would step in."""
    balanced_accuracy: Estimate
    """With its 95 % interval over episodes."""
    area: float
    """Area under the ROC curve: the same without a threshold."""


@dataclass(frozen=True)
class FilterScore:
    """A filter on one scenario family; episodes with their 95 % intervals."""

    filter: str
    scenario: str
    episodes: int
    failure: Estimate
    """Episodes with a violation, the filter in charge."""
    averted: Estimate | None
    """Share of the tables that end in a violation without filter, less those with it; None for no filter."""
    success: Estimate
    safe_success: Estimate
    """Episodes that reach the target without a violation."""
    intervention: Estimate
    """Share of an episode's ticks."""
    avoidance: Detection | None
    """Against `unavoidable`; None for no filter."""
    prediction: Detection | None
    """Against `ahead`."""
    missed: Estimate | None
    """Violations of the unfiltered policy without an alarm two to eleven ticks before: what calibration promises."""


def detection(judged: Sequence[Judged], name: str, truth: str, *, resamples: int = 500) -> Detection | None:
    """Sum up a filter over unfiltered episodes; None if one of the classes is empty."""
    parts = [
        (getattr(item, truth)[item.counted], item.excess[name][item.counted]) for item in judged if item.counted.any()
    ]
    labels, scores = np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
    if labels.all() or not labels.any():
        return None
    counts = np.array(
        [[np.sum(p & (s > 0)), np.sum(p), np.sum(~p & (s <= 0)), np.sum(~p)] for p, s in parts], np.float64
    )
    draws = np.random.default_rng(0).integers(0, len(parts), (resamples, len(parts)))
    sums = counts[draws].sum(axis=1)
    usable = sums[(sums[:, 1] > 0) & (sums[:, 3] > 0)]
    low, high = np.quantile(0.5 * (usable[:, 0] / usable[:, 1] + usable[:, 2] / usable[:, 3]), [0.025, 0.975])
    total = counts.sum(axis=0)
    recall, specificity = float(total[0] / total[1]), float(total[2] / total[3])
    return Detection(
        positives=int(total[1]),
        negatives=int(total[3]),
        recall=recall,
        false_alarm_rate=1.0 - specificity,
        balanced_accuracy=Estimate(0.5 * (recall + specificity), float(low), float(high)),
        area=roc_area(scores[labels], scores[~labels]),
    )


def roc_area(positive: npt.NDArray[np.float32], negative: npt.NDArray[np.float32]) -> float:
    """Probability that a positive scores higher than a negative, ties counted half (Mann and Whitney 1947)."""
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, side="left")
    upto = np.searchsorted(ordered, positive, side="right")
    return float((below + upto).mean() / (2 * len(ordered)))


def missed_violations(judged: Sequence[Judged], name: str) -> Estimate | None:
    """Share of the violating episodes without a timely alarm; None if none violates in time to be warned of."""
    missed = count = 0
    for item in judged:
        onset = np.flatnonzero(item.violation)
        if len(onset) == 0 or onset[0] < 2:
            continue
        last = int(onset[0]) - 2
        count += 1
        missed += not bool((item.excess[name][max(0, last - AHEAD_TICKS + 1) : last + 1] > 0).any())
    return wilson_interval(missed, count) if count else None


def filter_score(
    name: str, rides: Sequence[Ride], judged: Sequence[Judged], *, judges: bool, scenario: str | None = None
) -> FilterScore:
    """Sum up one filter; `judges` is False where there is no filter.

    Args:
        name: of the filter.
        rides: its own episodes.
        judged: the unfiltered episodes on the same tables, in the same order.
        judges: whether it says anything.
        scenario: what to call the tables; the family of the first if left out.
    """
    count = len(rides)
    averted = None
    if judges:
        pairs = zip(judged, rides, strict=True)
        averted = bootstrap_interval([float(free.ride.violated) - float(ride.violated) for free, ride in pairs])
    return FilterScore(
        filter=name,
        scenario=scenario or rides[0].scenario,
        episodes=count,
        failure=wilson_interval(sum(ride.violated for ride in rides), count),
        averted=averted,
        success=wilson_interval(sum(ride.success for ride in rides), count),
        safe_success=wilson_interval(sum(ride.success and not ride.violated for ride in rides), count),
        intervention=bootstrap_interval([ride.interventions / ride.steps for ride in rides]),
        avoidance=detection(judged, name, "unavoidable") if judges else None,
        prediction=detection(judged, name, "ahead") if judges else None,
        missed=missed_violations(judged, name) if judges else None,
    )
