"""Safe policy expansion: policies propose, their critics draw lots (FOSP section 4.3; PEX, Zhang et al. 2023)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fosp_edge.agent.agent import Agent, Policy
from fosp_edge.agent.distributions import two_hot_mean
from fosp_edge.agent.features import Features, beside, repeat


def expansion_probabilities(
    reward_value: Tensor, cost_value: Tensor, inverse_temperature: float, cost_weight: float
) -> Tensor:
    """softmax(k (Q_r - w Q_c)) over the policies, each with the values of its own action; [..., P] -> [..., P]."""
    return torch.softmax(inverse_temperature * (reward_value - cost_weight * cost_value), -1)


@dataclass(frozen=True)
class Proposal:
    """Actions of a batch of states and who they come from."""

    action: Tensor
    """[N, A], within [-1, 1]."""
    chosen: Tensor
    """Index into `Agent.policies`, [N]."""


def sample_action(policy: Policy, features: Features, generator: torch.Generator | None = None) -> Tensor:
    """One action per state from one policy, [N, F] -> [N, A], within [-1, 1]."""
    mean, deviation = policy(features)
    noise = torch.randn(mean.shape, generator=generator, device=mean.device)
    action: Tensor = (mean + deviation * noise).clamp(-1.0, 1.0)
    return action


@torch.no_grad()
def propose(
    agent: Agent, features: Features, generator: torch.Generator | None = None, *, means: bool = False
) -> Proposal:
    """Let every policy propose and draw one action per state, each scored with itself.

    Args:
        agent: with one policy that one is asked and no critic is.
        features: latent states, [N, F].
        generator: of all noise.
        means: propose the policies' means instead of samples.
    """
    candidates = [
        policy(features)[0] if means else sample_action(policy, features, generator) for policy in agent.policies
    ]
    if len(candidates) == 1:
        return Proposal(candidates[0], torch.zeros(features.shape[0], dtype=torch.long, device=features.device))
    stacked = torch.stack(candidates, 1)
    pair = beside(repeat(features, len(candidates)), stacked)
    config, critics = agent.config, agent.critics
    probability = expansion_probabilities(
        two_hot_mean(critics.reward_action(pair)),
        two_hot_mean(critics.cost_action(pair)),
        config.expansion_inverse_temperature,
        config.expansion_cost_weight,
    )
    drawn = torch.rand((features.shape[0], 1), generator=generator, device=features.device)
    chosen = (drawn > probability.cumsum(-1)[:, :-1]).sum(-1)
    return Proposal(stacked[torch.arange(features.shape[0], device=features.device), chosen], chosen)
