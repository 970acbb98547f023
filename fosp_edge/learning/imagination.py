"""Trajectories that the world model imagines, with the agent's policies choosing the actions."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fosp_edge.agent.agent import Agent
from fosp_edge.agent.distributions import two_hot_mean
from fosp_edge.agent.expansion import propose
from fosp_edge.agent.features import Features, beside, stack
from fosp_edge.agent.rssm import Latent
from fosp_edge.learning.batch import Batch
from fosp_edge.learning.objectives import lambda_return

Step = Callable[..., tuple[Tensor, Tensor]]
"""`RSSM.imagine_step`, or what was compiled from it."""


@dataclass(frozen=True)
class Trajectory:
    """H imagined steps from each of N start states."""

    here: Features
    """Features of the states in which the actions are taken, [H, N, F]."""
    pair: Features
    """Those features with the action beside them, [H, N, F + A]."""
    after: Features
    """Features of the states that the actions lead to, [H, N, F]."""
    proceed: Tensor
    """Probability that the episode goes on from there, [H, N]."""
    weight: Tensor
    """Probability that the episode is still going on where the action is taken, [H, N]."""


def starts(batch: Batch, latents: Latent, count: int, generator: torch.Generator) -> Latent:
    """`count` states of a batch, or all, drawn from those in which the episode has not ended.

    Where fewer are left than that, some are drawn twice: the number must not depend on the data (`graphs.py`).
    """
    ended = batch.is_terminal.flatten()
    order = (torch.rand(ended.shape, generator=generator, device=ended.device) + ended).argsort()  # the ended last
    left = (~ended).sum().clamp(min=1)
    chosen = order[torch.arange(min(count, len(ended)), device=order.device) % left]
    return Latent(latents.deterministic.flatten(0, 1)[chosen], latents.stochastic.flatten(0, 1)[chosen])


def imagine(agent: Agent, start: Latent, generator: torch.Generator, step: Step | None = None) -> Trajectory:
    """Follow the agent's policies for `horizon` steps, without gradients; with several, each step draws one."""
    with torch.no_grad():
        return _follow(agent, start, lambda features: propose(agent, features, generator).action, generator, step)


def imagine_through(agent: Agent, start: Latent, generator: torch.Generator, step: Step | None = None) -> Trajectory:
    """Follow the learning policy so that gradients flow from every step to its actions, through the dynamics."""

    def act(features: Features) -> Tensor:
        mean, deviation = agent.learning_policy(features.detach())
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        action: Tensor = mean + deviation * noise
        # The bound is felt by the dynamics, not by the gradient: at the bound it would vanish for ever.
        return action + (action.clamp(-1.0, 1.0) - action).detach()

    return _follow(agent, start, act, generator, step)


def _follow(
    agent: Agent, latent: Latent, act: Callable[[Features], Tensor], generator: torch.Generator, step: Step | None
) -> Trajectory:
    model = agent.world_model
    here, pairs, after = [], [], []
    features = latent.read()
    for _ in range(agent.config.horizon):
        action = act(features)
        here.append(features)
        pairs.append(beside(features, action))
        latent = model.rssm.imagine(latent, action, generator, step)
        features = latent.read()
        after.append(features)
    arrived = stack(after)
    proceed = torch.sigmoid(model.proceed(arrived).squeeze(-1))
    weight = torch.cat([torch.ones_like(proceed[:1]), proceed[:-1].cumprod(0)]).detach()
    return Trajectory(stack(here), stack(pairs), arrived, proceed, weight)


def imagined_return(agent: Agent, trajectory: Trajectory, name: str) -> Tensor:
    """Lambda-return of `reward` or `cost` from every step, [H, N], bootstrapped with the state critic."""
    config = agent.config
    signal = two_hot_mean(getattr(agent.world_model, name)(trajectory.after))
    value = two_hot_mean(getattr(agent.critics, f"{name}_state")(trajectory.after))
    return lambda_return(signal, value, config.discount * trajectory.proceed, config.trace)
