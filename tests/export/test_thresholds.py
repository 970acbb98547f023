"""The filter's threshold keeps its promise over many simulated calibrations."""

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from export.thresholds import (
    LEAD_TICKS,
    WINDOW_TICKS,
    TooLittleDataError,
    beta_quantile,
    calibrate,
    onset_score,
    upper_threshold,
)


def episode(score: float, onset: int = 20, length: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Reachability whose largest value in time before the violation is `score`."""
    reachability, violation = np.full(length, 1e-3, np.float32), np.zeros(length, np.float32)
    reachability[onset - LEAD_TICKS] = score
    violation[onset:] = 1.0
    return reachability, violation


def several(scores: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """The same episode with several draws."""
    drawn = [episode(float(score)) for score in scores]
    return np.stack([reachability for reachability, _ in drawn]), drawn[0][1]


@pytest.mark.parametrize("level", [0.1, 0.25])
@pytest.mark.parametrize("count", [9, 39])
def test_the_miss_rate_holds_whatever_the_scores_are(level: float, count: int) -> None:
    random, misses, trials = np.random.default_rng(1), 0, 800
    for _ in range(trials):
        scores = random.beta(0.5, 0.8, count + 1).astype(np.float32)
        threshold = calibrate((episode(float(score)) for score in scores[:-1]), level).feasible_reachability
        misses += float(scores[-1]) <= threshold
    # Expected: at most the level, and no less than it minus one rank; four standard deviations around that.
    spread = 4.0 * np.sqrt(level * (1 - level) / trials)
    assert level - 1.0 / (count + 1) - spread < misses / trials < level + spread


@pytest.mark.parametrize("noise", [0.02, 0.5])
@pytest.mark.parametrize(("level", "count"), [(0.05, 28), (0.1, 39)])
def test_the_miss_rate_holds_for_scores_that_depend_on_a_draw(level: float, count: int, noise: float) -> None:
    """Several draws of each episode, of a new one a single draw: missed as often as promised, and never much more."""
    random, rates = np.random.default_rng(1), {1: list[float](), 8: list[float]()}
    for _ in range(400):
        middles = random.normal(0.0, 1.0, count)
        for draws, found in rates.items():
            scores = 1.0 / (1.0 + np.exp(-middles - noise * random.normal(size=(draws, count))))
            threshold = calibrate(map(several, scores.T), level).feasible_reachability
            # Of all further episodes, exactly: middles and noise add up to a normal distribution.
            edge = np.log(threshold / (1.0 - threshold)) / np.hypot(1.0, noise)
            found.append(float(stats.norm.cdf(edge)))
    for found in rates.values():
        spread = 4.0 * np.std(found) / np.sqrt(len(found))
        assert level - 1.0 / (count + 1) - spread < np.mean(found) < level + spread
    assert np.std(rates[8]) < np.std(rates[1]) * (0.9 if noise > 0.1 else 1.1)


def test_several_like_draws_are_as_good_as_one() -> None:
    scores = np.random.default_rng(3).random(28)
    for level in (0.05, 0.2, 0.5):
        one = calibrate((several([score]) for score in scores), level)
        many = calibrate((several([score] * 8) for score in scores), level)
        assert one == many


def test_the_threshold_lies_just_below_the_kth_smallest_score() -> None:
    scores = [0.9, 0.2, 0.5, 0.4, 0.8, 0.7, 0.6, 0.3, 0.95]
    found = calibrate([episode(score) for score in scores], 0.25)  # k = floor(0.25 * 10) = 2
    assert found.feasible_reachability < np.float32(0.3) and found.feasible_reachability == pytest.approx(0.3, abs=1e-6)
    assert np.float32(found.feasible_reachability) == np.float64(found.feasible_reachability)
    assert found.stop_reachability == pytest.approx(0.6)
    assert found.sample_size == 9


def test_thresholds_do_not_exceed_their_ceilings_and_false_alarms_are_those_of_the_lower_ones() -> None:
    quiet = np.array([0.1, 0.3, 0.3, 0.1, 0.99], np.float32), np.zeros(5, np.float32)
    episodes = [episode(score) for score in (0.6, 0.7, 0.8)]
    free = calibrate([*episodes, quiet], 0.25)
    bound = calibrate([*episodes, quiet], 0.25, (0.2, 0.65))
    assert free.feasible_reachability == pytest.approx(0.6) and free.stop_reachability == pytest.approx(0.7)
    assert (bound.feasible_reachability, bound.stop_reachability) == (0.2, 0.65)
    assert (free.false_alarm_rate, bound.false_alarm_rate) == (0.0, 0.5)
    assert calibrate([*episodes, quiet], 0.25, (0.61, 0.71)) == free  # which are higher, and change nothing


def test_the_stop_is_never_below_the_feasible_threshold() -> None:
    found = calibrate([episode(0.4), episode(0.4), episode(0.4)], 0.5)
    assert found.stop_reachability >= found.feasible_reachability


def test_false_alarms_are_counted_on_quiet_episodes_without_their_last_row() -> None:
    quiet = np.array([0.1, 0.6, 0.7, 0.2, 0.99], np.float32), np.zeros(5, np.float32)
    found = calibrate([episode(0.5), quiet], 0.5)
    assert found.false_alarm_rate == 0.5
    assert calibrate([episode(0.5)], 0.5).false_alarm_rate == 0.0


def test_only_the_window_before_the_violation_counts() -> None:
    reachability, violation = episode(0.3, onset=20)
    reachability[20 - LEAD_TICKS + 1] = 0.9  # too late to do anything
    reachability[20 - LEAD_TICKS - WINDOW_TICKS] = 0.9  # too early to be about this
    assert onset_score(reachability, violation) == pytest.approx(0.3)
    reachability[20 - LEAD_TICKS - WINDOW_TICKS + 1] = 0.8
    assert onset_score(reachability, violation) == pytest.approx(0.8)


def test_no_violation_or_no_time_before_it_gives_no_score() -> None:
    assert onset_score(np.ones(5, np.float32), np.zeros(5, np.float32)) is None
    violation = np.array([0, 1, 1], np.float32)
    assert onset_score(np.ones(3, np.float32), violation) is None


@pytest.mark.parametrize(("level", "needed"), [(0.5, 1), (0.1, 9), (0.05, 19), (0.07, 14)])
def test_too_little_data_says_how_much_is_needed_and_that_suffices(level: float, needed: int) -> None:
    with pytest.raises(TooLittleDataError, match=f"at least {needed} held-out episodes .* found {needed - 1}"):
        calibrate([episode(0.5)] * (needed - 1), level)
    assert calibrate([episode(0.5)] * needed, level).sample_size == needed


@pytest.mark.parametrize("level", [0.05, 0.2])
def test_the_gates_false_alarm_rate_holds(level: float) -> None:
    random, alarms, trials = np.random.default_rng(2), 0, 2000
    for _ in range(trials):
        scores = random.gamma(2.0, 1.0, 40)
        alarms += scores[-1] > upper_threshold(scores[:-1].tolist(), level)
    spread = 4.0 * np.sqrt(level * (1 - level) / trials)
    assert level - 1.0 / 40 - spread < alarms / trials < level + spread


def test_the_gate_too_says_how_many_episodes_it_needs() -> None:
    with pytest.raises(TooLittleDataError, match=r"at least 19 normal episodes .* found 18"):
        upper_threshold([1.0] * 18, 0.05)
    assert upper_threshold(list(range(19)), 0.05) == 18.0


@pytest.mark.parametrize(("first", "second"), [(1, 9), (5, 42), (28, 259), (1, 1)])
def test_the_beta_quantile_is_that_of_scipy(first: int, second: int) -> None:
    assert beta_quantile(first, second, 0.95) == pytest.approx(stats.beta.ppf(0.95, first, second), abs=1e-6)
