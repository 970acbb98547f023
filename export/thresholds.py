"""Where the feasible set ends, and where the unfamiliar begins: split-conformal calibration, never set by hand.

Vovk et al. 2005; Angelopoulos and Bates 2023. A violation is missed if the reachability of the actions shortly before
it stays at or below the threshold. With n exchangeable episodes that run into a violation, the threshold below the
k-th smallest of their scores, k = floor(level (n + 1)), is missed by a new one with probability at most `level`.

Reachability also depends on the draw of the latent states' noise. Where several draws of each episode are at hand, the
same share of all their scores, k of n + 1, lies below the threshold: of 28 violations at 5 %, k is 1, and the smallest
of 28 scores would be a lottery.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

WINDOW_TICKS = 10
"""The alarm counts if it comes within so many ticks before the violation ..."""
LEAD_TICKS = 2
"""... and at least so many before it: later nothing can be done any more."""


class TooLittleDataError(ValueError):
    """The held-out episodes cannot support the asked level; the message says how many are needed."""


class UninformativeScoreError(ValueError):
    """No threshold can tell violations from anything else; the message says why."""


@dataclass(frozen=True)
class Calibration:
    """Threshold and how it came about."""

    feasible_reachability: float
    stop_reachability: float
    sample_size: int
    false_alarm_rate: float
    """Share of the ticks of violation-free episodes that lie above the threshold."""
    worst_miss_rate: float
    """What the miss rate of this one threshold does not exceed with 95 % confidence. The level itself holds on average
    over calibrations (Vovk 2012, "Conditional validity of inductive conformal predictors")."""


UNCALIBRATED = Calibration(0.0, 0.0, 0, 1.0, 1.0)
"""Of an agent without reachability: nothing is feasible, and no episode speaks for that."""


def onset_score(reachability: npt.NDArray[np.float32], violation: npt.NDArray[np.float32]) -> float | None:
    """The largest reachability in the window before the first violation; None if there is none, or no time before it.

    Args:
        reachability: of the recorded actions, [T].
        violation: whether the constraint is violated in each row's own state, [T].
    """
    violated = np.flatnonzero(violation > 0.5)
    if len(violated) == 0 or violated[0] < LEAD_TICKS:
        return None
    last = int(violated[0]) - LEAD_TICKS
    return float(reachability[max(0, last - WINDOW_TICKS + 1) : last + 1].max())


NO_CEILINGS = (math.inf, math.inf)


def calibrate(
    episodes: Iterable[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]],
    level: float,
    ceilings: tuple[float, float] = NO_CEILINGS,
) -> Calibration:
    """Threshold at which at most a share `level` of violations goes without a timely alarm.

    Args:
        episodes: (reachability [T] or [draws, T], violation [T]) of held-out episodes, all with as many draws.
        level: in (0, 1).
        ceilings: what the two thresholds do not exceed whatever the episodes say, that of feasible first.

    Raises:
        TooLittleDataError: fewer episodes with a violation than the level needs.
        UninformativeScoreError: reachability is 0 where it should be highest.
    """
    scores: list[list[float]] = []
    quiet: list[npt.NDArray[np.float32]] = []
    for reachability, violation in episodes:
        drawn = np.atleast_2d(reachability)
        found = [score for row in drawn if (score := onset_score(row, violation)) is not None]
        if found:
            scores.append(found)
        elif not np.any(violation > 0.5):
            quiet.append(drawn[:, :-1].ravel())
    rank = int(np.floor(level * (len(scores) + 1)))
    if rank < 1:
        needed = int(np.ceil(1.0 / level)) - 1
        raise TooLittleDataError(
            f"the filter needs at least {needed} held-out episodes that run into a violation for a miss rate of "
            f"{level:g}; found {len(scores)}. Collect more episodes, or accept a higher --miss-rate"
        )
    ordered = np.sort(np.asarray(scores, np.float32), axis=None)
    draws = len(ordered) // len(scores)
    allowed = draws * rank * len(scores) // (len(scores) + 1)  # of a single draw: rank - 1
    lowest = ordered[allowed]
    if lowest <= 0.0:
        raise UninformativeScoreError(
            f"the agent's reachability is 0 right up to {int(np.sum(ordered <= 0.0)) // draws} of {len(scores)} "
            f"recorded violations, so no threshold alarms before all but {level:g} of them: it does not predict "
            "violations, and no filter can be built on it"
        )
    threshold = min(float(np.nextafter(lowest, np.float32(0.0))), ceilings[0])
    ticks = np.concatenate(quiet) if quiet else np.zeros(0, np.float32)
    # Above what half of the violations reach, moving on is no better than standing still.
    stop = max(threshold, min(float(np.median(ordered)), ceilings[1]))
    return Calibration(
        threshold,
        stop,
        len(scores),
        float(np.mean(ticks > threshold)) if len(ticks) else 0.0,
        beta_quantile(rank, len(scores) + 1 - rank, 0.95),
    )


def upper_threshold(scores: Sequence[float], level: float) -> float:
    """The threshold that a further exchangeable score exceeds with probability at most `level`.

    Raises:
        TooLittleDataError: fewer scores than the level needs.
    """
    rank = math.ceil((1.0 - level) * (len(scores) + 1) - 1e-9)
    if rank > len(scores):
        needed = math.ceil(1.0 / level - 1e-9) - 1
        raise TooLittleDataError(
            f"the gate needs at least {needed} normal episodes for a false-alarm rate of {level:g}, found "
            f"{len(scores)}. Collect more episodes, or accept a higher --false-alarm-rate"
        )
    return float(np.sort(np.asarray(scores, np.float64))[rank - 1])


def beta_quantile(first: int, second: int, share: float) -> float:
    """Quantile of a Beta distribution with whole parameters: the miss rate of the k-th smallest of n scores has
    Beta(k, n + 1 - k). P(Beta(k, n + 1 - k) <= x) = P(Binomial(n, x) >= k), inverted by bisection."""
    count = first + second - 1

    def below(x: float) -> float:
        return 1.0 - sum(math.comb(count, k) * x**k * (1.0 - x) ** (count - k) for k in range(first))

    low, high = 0.0, 1.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if below(middle) < share else (low, middle)
    return high
