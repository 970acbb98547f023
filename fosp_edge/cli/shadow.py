"""A candidate decides beside the running bundle and moves nothing; and what a probation may expect of it."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from fosp_edge.bundle.admission import Shadow
from fosp_edge.bundle.folder import Bundle
from fosp_edge.cli.familiarity import Episodes
from fosp_edge.control.controller import Controller
from fosp_edge.control.inference import NotFinite
from fosp_edge.control.swap import alarmed
from fosp_edge.control.types import Float32Array, Observation, StepScores
from fosp_edge.experience.episode import EpisodeInfo

_KNOWN_AFTER = 20
"""Episodes from which on a bundle's own rates count."""


def shadow_run(
    candidate: Bundle,
    running: Bundle,
    newest: Episodes,
    breathe: Callable[[], None] = lambda: None,
    history: Sequence[EpisodeInfo] = (),
) -> tuple[Shadow, dict[str, float]]:
    """Both bundles decide over the same ticks, neither moves anything; also what probation may expect."""
    ours, theirs = Controller(candidate), Controller(running)
    ticks = stepped = running_stepped = 0
    change, running_change, surprise, running_surprise, apart = 0.0, 0.0, 0.0, 0.0, 0.0
    shares, surprises = list[float](), list[float]()
    for info, steps in newest:
        breathe()
        for controller in (ours, theirs):
            controller.reset(info.header.seed)
        before = np.zeros(steps["action"].shape[1], np.float32)
        last = running_last = before
        episode_stepped, episode_surprise, rows = 0, 0.0, len(steps["reward"]) - 1
        for row in range(rows):
            observation = Observation(steps["image"][row].astype(np.uint8), steps["state"][row].astype(np.float32))
            try:
                decided, scores = _decide(ours, observation, before)
                running_decided, running_scores = _decide(theirs, observation, before)
            except (NotFinite, ValueError) as error:
                return Shadow(ticks, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, broken=str(error)), {}
            ticks += 1
            stepped += ours.insight.advice.intervened
            running_stepped += theirs.insight.advice.intervened
            episode_stepped += alarmed(scores, candidate.manifest.filter, ours.insight.judged.gate)
            surprise += scores.surprise
            episode_surprise += scores.surprise
            running_surprise += running_scores.surprise
            change += float(np.mean(np.abs(decided - last))) if row else 0.0
            running_change += float(np.mean(np.abs(running_decided - running_last))) if row else 0.0
            apart += float(np.mean(np.abs(decided - running_decided))) / 2.0
            last, running_last = decided, running_decided
            before = steps["action"][row].astype(np.float32)
        if rows:
            shares.append(episode_stepped / rows)
            surprises.append(episode_surprise / rows)
    n = max(1, ticks)
    shadow = Shadow(
        ticks, stepped / n, running_stepped / n, change / n, running_change / n, surprise / n, running_surprise / n,
        apart / n,
    )  # fmt: skip
    if not shares:
        return shadow, {}
    expected = best_rates(history or [info for info, _ in newest]) | {
        # Where it drives itself it comes into other states than those it was compared on.
        "intervention_limit": min(1.0, _exceeded_by_a_tenth(shares) + 0.10),
        "surprise_limit": 1.1 * _exceeded_by_a_tenth(surprises),
    }
    return shadow, expected


def best_rates(infos: Sequence[EpisodeInfo]) -> dict[str, float]:
    """Shares of episodes in violation and failed that a new bundle is held against: those of the best bundle so far.

    Not those of the one that it replaces: each may be worse by what a probation cannot see, and after ten of them the
    robot would be worse by ten times as much without any having been worse than its predecessor.
    """
    by_bundle: dict[str | None, list[EpisodeInfo]] = {}
    for info in infos:
        by_bundle.setdefault(info.header.bundle, []).append(info)
    known = [group for group in by_bundle.values() if len(group) >= _KNOWN_AFTER] or [list(infos)]

    def best(bad: Callable[[EpisodeInfo], bool]) -> float:
        # Laplace's rule: of few episodes none in violation does not mean never.
        return min((sum(map(bad, group)) + 1) / (len(group) + 2) for group in known)

    return {
        "violation": best(lambda info: info.summary.total_cost > 0),
        "failure": best(lambda info: not info.summary.success),
    }


def _exceeded_by_a_tenth(values: Sequence[float]) -> float:
    """What a further value exceeds with probability at most a tenth: the ceil(0.9 (n + 1))-th smallest of n, which of
    twelve is the largest. The 90 % quantile of so few is exceeded twice as often."""
    return sorted(values)[min(len(values), math.ceil(0.9 * (len(values) + 1))) - 1]


def _decide(
    controller: Controller, observation: Observation, executed: Float32Array
) -> tuple[Float32Array, StepScores]:
    """What a controller wants when the robot did `executed` before, and its scores."""
    controller.told(executed)
    decision, scores = controller.decide(observation)
    return decision.nominal, scores
