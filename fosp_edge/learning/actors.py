"""What the policy learns by: weighted regression onto the data's actions, or gradients through imagination."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fosp_edge.agent.agent import Agent, log_density
from fosp_edge.agent.distributions import two_hot_mean
from fosp_edge.agent.features import Features, beside
from fosp_edge.agent.rssm import Latent
from fosp_edge.learning import parallel
from fosp_edge.learning.batch import Batch
from fosp_edge.learning.imagination import Trajectory, imagined_return
from fosp_edge.learning.objectives import PercentileRange, Readings, imitation_weight, masked_mean

Scales = dict[str, PercentileRange]

_HALF_LOG_TWO_PI_E = 1.4189385332046727


@dataclass(frozen=True)
class Objective:
    """A policy's loss, and the constraint that the augmented Lagrangian acts on."""

    loss: Tensor
    constraint: Tensor | None
    """E[(1 - p) C] - b, a scalar; None without the Lagrangian."""


def regression(agent: Agent, batch: Batch, latents: Latent, scales: Scales, metrics: Readings) -> Objective:
    """Imitate the data's actions by their weights: FOSP's policy, and with equal weights behaviour cloning."""
    config = agent.config
    here, action = latents.read()[:, :-1], batch.action[:, :-1]
    mask = batch.has_successor.float()
    if config.imitates == "proven":
        mask = mask * batch.proven[:, :-1]
    mean, deviation = agent.learning_policy(here)
    weight = torch.ones_like(mask)
    if config.advantage_weighting:
        weight = _imitation_weights(agent, here, action, scales, metrics)
    weight = weight / parallel.mean(masked_mean(weight, mask)).clamp(min=1e-3)
    imitation = -masked_mean(weight * log_density(mean, deviation, action), mask)
    entropy = masked_mean((torch.log(deviation) + _HALF_LOG_TWO_PI_E).sum(-1), mask)
    metrics["policy/imitation"] = imitation.detach()
    metrics["policy/entropy"] = entropy.detach()
    metrics["policy/squared_error"] = masked_mean((mean - action).square().mean(-1), mask).detach()
    constraint = None
    if config.safety and config.lagrangian:
        cost_return = two_hot_mean(agent.critics.cost_action(beside(here, mean)))
        constraint = masked_mean((1.0 - _reach(agent, here)) * cost_return, mask) - config.cost_budget
    return Objective(imitation - config.entropy * entropy, constraint)


def through_imagination(agent: Agent, trajectory: Trajectory, scales: Scales, metrics: Readings) -> Objective:
    """Raise the imagined advantage by its gradient through the dynamics: DreamerV3's and SafeDreamer's policy.

    The advantage is of the lambda-return (`imagined_return`), or of Q_r (`imagined_value`), as in FOSP's released code.
    """
    config, critics = agent.config, agent.critics
    if config.actor == "imagined_value":
        gain = two_hot_mean(critics.reward_action(trajectory.pair))
    else:
        gain = imagined_return(agent, trajectory, "reward")
    base = two_hot_mean(critics.reward_state(trajectory.here))
    scale = scales["reward"].update(gain).clamp(min=1.0)
    _, deviation = agent.learning_policy(trajectory.here.detach())
    entropy = (torch.log(deviation) + _HALF_LOG_TWO_PI_E).sum(-1)
    steps = torch.arange(config.horizon, device=gain.device)
    weight = trajectory.weight * (config.discount**steps).unsqueeze(-1)
    advantage = (gain - base) / scale
    loss = -(weight * (advantage + config.entropy * entropy)).mean()
    metrics["policy/imagined_return"] = gain.detach().mean()
    metrics["policy/return_scale"] = scale
    metrics["policy/entropy"] = entropy.detach().mean()
    constraint = None
    if config.safety and config.lagrangian:
        cost_return = imagined_return(agent, trajectory, "cost")
        constraint = ((1.0 - _reach(agent, trajectory.here)) * cost_return).mean() - config.cost_budget
    return Objective(loss, constraint)


@torch.no_grad()
def _reach(agent: Agent, features: Features) -> Tensor:
    """p of each state; zero where the policy is not guided by reachability."""
    if not agent.config.reachability_guidance:
        return torch.zeros(features.shape[:-1], device=features.device)
    return torch.sigmoid(agent.critics.reach_state(features).squeeze(-1))


@torch.no_grad()
def _imitation_weights(agent: Agent, here: Features, action: Tensor, scales: Scales, metrics: Readings) -> Tensor:
    config, critics = agent.config, agent.critics
    pair = beside(here, action)
    gain = two_hot_mean(critics.reward_action(pair)) - two_hot_mean(critics.reward_state(here))
    scale = scales["reward"].update(gain)
    reward_advantage = config.inverse_temperature * gain / scale
    metrics["policy/reward_advantage_scale"] = scale
    if not config.safety:
        return torch.exp(reward_advantage).clamp(max=config.weight_limit)
    saving = two_hot_mean(critics.cost_state(here)) - two_hot_mean(critics.cost_action(pair))
    scale = scales["cost"].update(saving)
    cost_advantage = config.inverse_temperature * saving / scale
    feasible = torch.ones_like(gain, dtype=torch.bool)
    if config.reachability_guidance:
        feasible = torch.sigmoid(critics.reach_action(pair).squeeze(-1)) <= config.feasible_reachability
    metrics["policy/cost_advantage_scale"] = scale
    metrics["policy/feasible_share"] = feasible.float().mean()
    reward_advantage = reward_advantage + config.cost_emphasis * config.feasible_cost_weight * cost_advantage
    return imitation_weight(reward_advantage, cost_advantage, _reach(agent, here), feasible, config.weight_limit)
