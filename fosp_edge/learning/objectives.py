"""The formulas of FOSP as pure functions of tensors. Equation numbers refer to Cao et al., ICLR 2025."""

import torch
from torch import Tensor

from fosp_edge.learning import parallel

Readings = dict[str, Tensor]
"""Metrics by name that are still on the device; to read one on a GPU is to wait for it."""


def lambda_return(reward: Tensor, value: Tensor, discount: Tensor, trace: float) -> Tensor:
    """TD(lambda) returns of a trajectory (Sutton and Barto 2018, section 12.1).

    Args:
        reward: [H, N], reward of step h.
        value: [H, N], value of the state that step h leads to.
        discount: [H, N], discount of that state, zero where the episode ended.
        trace: lambda.

    Returns:
        [H, N]; `R_h = r_h + d_h ((1 - lambda) v_h + lambda R_{h+1})`, the last step bootstrapped with its value.
    """
    following = value[-1]
    returns = []
    for step in reversed(range(reward.shape[0])):
        following = reward[step] + discount[step] * ((1.0 - trace) * value[step] + trace * following)
        returns.append(following)
    return torch.stack(returns[::-1])


def expectile_weight(difference: Tensor, expectile: float) -> Tensor:
    """|tau - 1[difference < 0]| of expectile regression (Newey and Powell 1987; IQL), difference = target - value."""
    return (expectile - (difference < 0.0).to(difference.dtype)).abs()


def reachability_target(violation: Tensor, following: Tensor, discount: float) -> Tensor:
    """max(1[violation], gamma_p p(z')): the probability that the constraint is or will be violated."""
    return torch.maximum(violation, discount * following)


def augmented_lagrangian(constraint: Tensor, multiplier: Tensor, penalty: Tensor) -> Tensor:
    """Psi of the augmented Lagrangian for the constraint g <= 0 (Nocedal and Wright 2006, section 17.3); scalars."""
    active = multiplier * constraint + 0.5 * penalty * constraint**2
    return torch.where(multiplier + penalty * constraint > 0.0, active, -(multiplier**2) / (2.0 * penalty))


def next_multiplier(constraint: Tensor, multiplier: Tensor, penalty: Tensor, growth: float) -> tuple[Tensor, Tensor]:
    """Multiplier and penalty after an update: l <- max(0, l + c g), c <- min(1, c (1 + growth)); scalars."""
    return (multiplier + penalty * constraint).clamp(min=0.0), (penalty * (1.0 + growth)).clamp(max=1.0)


def imitation_weight(
    reward_advantage: Tensor, cost_advantage: Tensor, reachability: Tensor, feasible: Tensor, limit: float
) -> Tensor:
    """How much an action of the data is imitated: w = p exp(A_c) + (1 - p) 1[feasible] exp(A_r).

    Infeasible states learn to do the least harm; feasible ones to gain reward without leaving the feasible set.

    Args:
        reward_advantage: scaled A_r, [...].
        cost_advantage: scaled A_c = V_c - Q_c, [...].
        reachability: p of the state, [...], in [0, 1].
        feasible: bool [...], whether the action is predicted to stay feasible.
        limit: bound on each exponential.
    """
    harm = torch.exp(cost_advantage).clamp(max=limit)
    gain = torch.exp(reward_advantage).clamp(max=limit)
    return reachability * harm + (1.0 - reachability) * feasible * gain


class PercentileRange:
    """Moving average of the 5-95 percentile range: the scale of advantages (Hafner et al. 2023, section 3)."""

    def __init__(self, rate: float = 0.01, device: torch.device | None = None) -> None:
        self.value = torch.zeros((), device=device)
        """The average; zero before the first batch."""
        self._rate = rate

    def update(self, x: Tensor) -> Tensor:
        """Take in a batch, return the present scale, a scalar (never below 1e-3)."""
        values = parallel.gathered(x).float()
        low, high = torch.quantile(values, torch.linspace(0.05, 0.95, 2, device=x.device))
        spread = high - low
        average = torch.where(self.value == 0.0, spread, torch.lerp(self.value, spread, self._rate))
        self.value.copy_(average)
        return average.clamp(min=1e-3)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values` over where `mask` is one, or weighted by it; zero where there is nothing.

    With several processes this is one's share of the mean over the rows of all: their average is that mean.
    """
    return (values * mask).sum() / (parallel.count() * parallel.mean(mask.sum())).clamp(min=1.0) * parallel.count()
