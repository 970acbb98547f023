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
from fosp_edge.control.types import Float32Array, Observation, Reason, StepScores
from fosp_edge.experience.episode import EpisodeInfo

_KNOWN_AFTER = 20
"""Episodes from which on a bundle's own rates count."""


class _Course:
    """What one bundle would have done along the ticks."""

    def __init__(self, bundle: Bundle) -> None:
        self.controller = Controller(bundle)
        self.stepped, self.change, self.surprise = 0, 0.0, 0.0
        self.action: Float32Array | None = None

    def begin(self, seed: int) -> None:
        """The next episode."""
        self.controller.reset(seed)
        self.action = None

    def decide(self, observation: Observation, executed: Float32Array) -> StepScores:
        """One tick, after the robot did `executed`; the scores, and in `action` what is wanted."""
        self.controller.told(executed)
        decision, scores = self.controller.decide(observation)
        self.stepped += self.controller.insight.advice.intervened
        self.surprise += scores.surprise
        if self.action is not None:
            self.change += float(np.mean(np.abs(decision.nominal - self.action)))
        self.action = decision.nominal
        return scores


def shadow_run(
    candidate: Bundle,
    before: Sequence[Bundle],
    newest: Episodes,
    breathe: Callable[[], None] = lambda: None,
    history: Sequence[EpisodeInfo] = (),
) -> tuple[Shadow, dict[str, float]]:
    """All decide over the same ticks, none moves anything; also what probation may expect.

    Args:
        candidate: what is asked about.
        before: what it is compared with; the running bundle first.
        newest: episodes of the robot.
        breathe: called often.
        history: as far back as episodes tell how the robot does; the newest if left out.
    """
    ours, others = _Course(candidate), [_Course(bundle) for bundle in before]
    ticks, apart = 0, 0.0
    shares, surprises = list[float](), list[float]()
    for info, steps in newest:
        breathe()
        for course in (ours, *others):
            course.begin(info.header.seed)
        executed = np.zeros(steps["action"].shape[1], np.float32)
        episode_stepped, episode_surprise, rows = 0, 0.0, len(steps["reward"]) - 1
        for row in range(rows):
            observation = Observation(steps["image"][row].astype(np.uint8), steps["state"][row].astype(np.float32))
            try:
                scores, *_ = [course.decide(observation, executed) for course in (ours, *others)]
            except (NotFinite, ValueError) as error:
                return Shadow(ticks, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, broken=str(error)), {}
            ticks += 1
            episode_stepped += alarmed(scores, candidate.manifest.filter, ours.controller.insight.judged.gate)
            episode_surprise += scores.surprise
            assert ours.action is not None and others[0].action is not None
            apart += float(np.mean(np.abs(ours.action - others[0].action))) / 2.0
            executed = steps["action"][row].astype(np.float32)
        if rows:
            shares.append(episode_stepped / rows)
            surprises.append(episode_surprise / rows)
    n = max(1, ticks)
    shadow = Shadow(
        ticks,
        ours.stepped / n, min(course.stepped for course in others) / n,
        ours.change / n, min(course.change for course in others) / n,
        ours.surprise / n, min(course.surprise for course in others) / n,
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
    """Shares of episodes in violation, failed, and stopped by the filter for want of a way back to what is safe, that a
    new bundle is held against: those of the best bundle so far.

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
        "stop": best(lambda info: info.summary.outcome == Reason.RECOVERY_EXHAUSTED.outcome),
    }


def _exceeded_by_a_tenth(values: Sequence[float]) -> float:
    """What a further value exceeds with probability at most a tenth: the ceil(0.9 (n + 1))-th smallest of n, which of
    twelve is the largest. The 90 % quantile of so few is exceeded twice as often."""
    return sorted(values)[min(len(values), math.ceil(0.9 * (len(values) + 1))) - 1]
