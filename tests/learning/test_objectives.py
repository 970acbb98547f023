"""The formulas of FOSP against explicit sums, known distributions and their own limits."""

import numpy as np
import pytest
import torch
from scipy import optimize, stats

from fosp_edge.learning.objectives import (
    PercentileRange,
    augmented_lagrangian,
    expectile_weight,
    imitation_weight,
    lambda_return,
    next_multiplier,
    reachability_target,
)

STEPS, COUNT = 6, 3


def trajectory() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    reward, value = (torch.randn(STEPS, COUNT, generator=generator, dtype=torch.float64) for _ in range(2))
    return reward, value, torch.rand(STEPS, COUNT, generator=generator, dtype=torch.float64)


def n_step(reward: torch.Tensor, value: torch.Tensor, discount: torch.Tensor, start: int, n: int) -> torch.Tensor:
    """Sum of n discounted rewards from `start`, then the value."""
    total, factor = torch.zeros(COUNT, dtype=torch.float64), torch.ones(COUNT, dtype=torch.float64)
    for step in range(start, start + n):
        total = total + factor * reward[step]
        factor = factor * discount[step]
    return total + factor * value[start + n - 1]


@pytest.mark.parametrize("trace", [0.0, 0.5, 0.95, 1.0])
def test_the_lambda_return_is_the_weighted_sum_of_n_step_returns(trace: float) -> None:
    reward, value, discount = trajectory()
    found = lambda_return(reward, value, discount, trace)
    for start in range(STEPS):
        left = STEPS - start
        expected = trace ** (left - 1) * n_step(reward, value, discount, start, left)
        for n in range(1, left):
            expected = expected + (1.0 - trace) * trace ** (n - 1) * n_step(reward, value, discount, start, n)
        assert torch.allclose(found[start], expected, atol=1e-10)


def test_the_limits_of_lambda() -> None:
    reward, value, discount = trajectory()
    assert torch.allclose(lambda_return(reward, value, discount, 0.0), reward + discount * value)
    ended = discount.clone()
    ended[2] = 0.0
    # With lambda 1 and an end after step 2, the values play no part for the steps before it.
    expected = reward[0] + discount[0] * (reward[1] + discount[1] * reward[2])
    assert torch.allclose(lambda_return(reward, value, ended, 1.0)[0], expected)


# E[(X - v)+] in closed form, and the mean.
_PARTIAL_MEANS = {
    "norm": (lambda v: stats.norm.pdf(v) - v * stats.norm.sf(v), 0.0),
    "expon": (lambda v: np.exp(-v) if v > 0.0 else 1.0 - v, 1.0),
}


@pytest.mark.parametrize("expectile", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("name", _PARTIAL_MEANS)
def test_regression_finds_the_expectile_of_a_known_distribution(expectile: float, name: str) -> None:
    samples = torch.from_numpy(getattr(stats, name).ppf((np.arange(20_000) + 0.5) / 20_000))
    value = torch.zeros((), dtype=torch.float64)
    for _ in range(60):  # iteratively reweighted least squares: the fixed point of the weighted loss
        weight = expectile_weight(samples - value, expectile)
        value = (weight * samples).sum() / weight.sum()
    above, mean = _PARTIAL_MEANS[name]

    def imbalance(v: float) -> float:  # tau E[(X - v)+] = (1 - tau) E[(v - X)+]
        return float(expectile * above(v) - (1.0 - expectile) * (above(v) - mean + v))

    assert float(value) == pytest.approx(optimize.brentq(imbalance, -2.0, 3.0), abs=5e-3)


def test_half_an_expectile_is_the_mean() -> None:
    assert torch.equal(expectile_weight(torch.tensor([-1.0, 0.0, 1.0]), 0.5), torch.full((3,), 0.5))
    assert torch.allclose(expectile_weight(torch.tensor([-1.0, 0.0, 1.0]), 0.8), torch.tensor([0.2, 0.8, 0.8]))


HALF, TENTH = torch.tensor(0.5), torch.tensor(0.1)


def test_the_augmented_lagrangian_in_its_branches() -> None:
    violated = augmented_lagrangian(torch.tensor(2.0), HALF, TENTH)
    assert float(violated) == pytest.approx(0.5 * 2.0 + 0.05 * 4.0)
    slack = augmented_lagrangian(torch.tensor(-10.0), HALF, TENTH)
    assert float(slack) == pytest.approx(-(0.5**2) / 0.2)
    # Both meet where the constraint stops mattering, with the same slope: none.
    edge = torch.tensor(-5.0 + 1e-4, requires_grad=True)
    active = augmented_lagrangian(edge, HALF, TENTH)
    active.backward()
    assert edge.grad is not None
    assert float(active.detach()) == pytest.approx(-1.25, abs=1e-6) and float(edge.grad) == pytest.approx(0.0, abs=1e-4)
    inactive = torch.tensor(-10.0, requires_grad=True)
    augmented_lagrangian(inactive, HALF, TENTH).backward()
    assert inactive.grad is not None and float(inactive.grad) == 0.0


def test_the_gradient_of_an_active_constraint_is_multiplier_plus_penalty_times_it() -> None:
    constraint = torch.tensor(3.0, requires_grad=True)
    augmented_lagrangian(constraint, HALF, TENTH).backward()
    assert constraint.grad is not None and float(constraint.grad) == pytest.approx(0.5 + 0.1 * 3.0)


def test_the_multiplier_grows_with_violation_and_never_turns_negative() -> None:
    multiplier, penalty = next_multiplier(torch.tensor(2.0), HALF, TENTH, 0.01)
    assert (float(multiplier), float(penalty)) == (pytest.approx(0.7), pytest.approx(0.101))
    assert next_multiplier(torch.tensor(-100.0), HALF, TENTH, 0.01)[0] == 0.0
    assert next_multiplier(torch.tensor(0.0), HALF, torch.tensor(0.9999), 0.01)[1] == 1.0


def test_the_multiplier_solves_a_problem_with_a_known_answer() -> None:
    # Least x^2 with 1 - x <= 0: x = 1 with multiplier 2.
    multiplier, penalty = torch.tensor(0.0), torch.tensor(1.0)
    for _ in range(25):
        x = torch.zeros((), requires_grad=True)
        optimiser = torch.optim.SGD([x], lr=0.2)
        for _ in range(25):
            optimiser.zero_grad()
            (x**2 + augmented_lagrangian(1.0 - x, multiplier, penalty)).backward()
            optimiser.step()
        multiplier, penalty = next_multiplier(1.0 - x.detach(), multiplier, penalty, 0.0)
    assert float(multiplier) == pytest.approx(2.0, abs=1e-3) and float(x.detach()) == pytest.approx(1.0, abs=1e-3)


def test_reachability_is_one_in_violation_and_decays_towards_it() -> None:
    violation, following = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 0.5, 0.0])
    assert torch.allclose(reachability_target(violation, following, 0.99), torch.tensor([1.0, 0.495, 0.0]))


def test_imitation_weighs_harm_where_doomed_and_gain_where_feasible() -> None:
    gain, saving = torch.log(torch.tensor(3.0)), torch.log(torch.tensor(5.0))
    yes, no = torch.tensor(True), torch.tensor(False)

    def weight(reachability: float, feasible: torch.Tensor) -> float:
        return float(imitation_weight(gain, saving, torch.tensor(reachability), feasible, 20.0))

    assert weight(0.0, yes) == pytest.approx(3.0)
    assert weight(0.0, no) == 0.0
    assert weight(1.0, no) == pytest.approx(5.0)
    assert weight(0.25, yes) == pytest.approx(0.25 * 5.0 + 0.75 * 3.0)
    far = torch.tensor(100.0)
    assert float(imitation_weight(far, far, torch.tensor(0.5), yes, 20.0)) == pytest.approx(20.0)


def test_the_percentile_range_of_an_even_spread_and_its_moving_average() -> None:
    scale = PercentileRange(rate=0.1)
    assert float(scale.update(torch.linspace(0.0, 10.0, 1001))) == pytest.approx(9.0, abs=1e-3)
    # One outlier moves nothing; a wider batch moves a tenth of the way.
    spread = torch.linspace(0.0, 20.0, 1001)
    spread[-1] = 1e9
    assert float(scale.update(spread)) == pytest.approx(0.9 * 9.0 + 0.1 * 18.0, abs=1e-2)
    assert PercentileRange().update(torch.zeros(10)) == 1e-3
