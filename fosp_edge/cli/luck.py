"""Is a gain more than luck? What random changes of the running policy, as large as the candidate's, gain by themselves.

An interval over episodes tells how sure a gain is on other episodes. It does not tell whether it was learnt: a random
change moves the action the same way in states that look alike, so by the running bundle's critics it gains or loses
something in all episodes at once, and of twenty such changes half are better beyond any interval over episodes. Here
they are drawn, and are what a candidate is held against.
"""

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from fosp_edge.agent.agent import Agent
from fosp_edge.agent.distributions import two_hot_mean
from fosp_edge.agent.features import Features, beside
from fosp_edge.agent.rssm import Latent
from fosp_edge.bundle.admission import Luck
from fosp_edge.cli.recall import recall
from fosp_edge.experience.schema import Steps

CHANGES = 40
"""Their standard deviation is known to a ninth."""
LEAST_EPISODES = 8
"""Of fewer of somebody's nothing is said."""
_FIRST_SHARE = 0.1
"""Of the last layer's weights, for the first try; then the size is known that makes a change as large as wanted."""
_ROUNDING = 1e-6
"""Of actions: a smaller change is none."""


@torch.no_grad()
def luck_of(
    candidate: Agent,
    running: Agent,
    episodes: Sequence[Steps],
    acted: Sequence[str],
    breathe: Callable[[], None] = lambda: None,
    changes: int = CHANGES,
) -> dict[str, Luck]:
    """What a candidate gains in value and in cost by the running bundle's critics, beside random changes.

    Args:
        candidate: what was learnt, in its own latent states. With the running one's world model they are the same,
            noise and all; what follows from another draw would blur what was learnt.
        running: whose policies are changed, and who judges.
        episodes: held out from learning.
        acted: who, in each of them. What one learns from one's own deeds shows elsewhere than what one learns from
            demonstrations, and is told apart.
        breathe: called now and then.
        changes: how many random ones.
    """
    states, wished = [], []
    for steps in episodes:
        breathe()
        states.append(recall(running, steps))
        wished.append(_wish(candidate, recall(candidate, steps).read()))
    wish = torch.cat(wished)
    features = Latent(
        torch.cat([state.deterministic for state in states]), torch.cat([state.stochastic for state in states])
    ).read()
    actors = sorted({who for who in acted if acted.count(who) >= LEAST_EPISODES})
    episode = torch.repeat_interleave(torch.arange(len(states)), torch.tensor([len(item) for item in wished]))
    whose = [torch.tensor([index for index, other in enumerate(acted) if other == who]) for who in actors]
    names = [f"{name}, {who}" for who in actors for name in ("value", "cost")]
    before = _wish(running, features)
    wanted = float((wish - before).square().mean().sqrt())
    gained = _gain(running, features, wish, before, episode, whose)
    if wanted < _ROUNDING:
        return {name: Luck(0.0, 0.0, 0.0, 0) for name in names}
    by_chance = []
    for seed in range(changes):
        breathe()
        share = _FIRST_SHARE
        for _ in range(2):  # so much noise for a first size, and then as much as makes it the candidate's
            action = _wish(randomly_changed(running, share, seed), features)
            share *= wanted / max(float((action - before).square().mean().sqrt()), 1e-9)
        by_chance.append(_gain(running, features, action, before, episode, whose))
    mean, deviation = np.mean(by_chance, 0), np.std(by_chance, 0, ddof=1)
    return {
        name: Luck(float(gained[place]), float(mean[place]), float(deviation[place]), changes)
        for place, name in enumerate(names)
    }


@torch.no_grad()
def randomly_changed(agent: Agent, share: float, seed: int) -> Agent:
    """A copy whose policies' last layer got noise where it makes the mean, as a share of its weights' own size."""
    changed, generator = copy.deepcopy(agent), torch.Generator().manual_seed(seed)
    for policy in changed.policies:
        weight = policy.head.output.weight[: policy.head.output.out_features // 2]
        size = share * weight.square().mean().sqrt()
        weight += size * torch.randn(weight.shape, generator=generator).to(weight)
    return changed


def _wish(agent: Agent, features: Features) -> Tensor:
    """The mean of the policy that the agent's critics choose, as a bundle's first candidate is; [N, A]."""
    means = torch.stack([policy(features)[0] for policy in agent.policies])
    if len(means) == 1:
        return means[0]
    worth = [_values(agent, features, mean) for mean in means]
    merit = torch.stack([value - agent.config.expansion_cost_weight * cost for value, cost in worth])
    return means[merit.argmax(0), torch.arange(len(means[0]))]


def _values(agent: Agent, features: Features, action: Tensor) -> tuple[Tensor, Tensor]:
    pair = beside(features, action)
    return two_hot_mean(agent.critics.reward_action(pair)), two_hot_mean(agent.critics.cost_action(pair))


def _gain(
    agent: Agent, features: Features, action: Tensor, before: Tensor, episode: Tensor, whose: Sequence[Tensor]
) -> list[float]:
    """Value gained and cost saved in the episodes of each, which count alike."""
    (value, cost), (value_before, cost_before) = (_values(agent, features, item) for item in (action, before))
    per_episode = [
        torch.bincount(episode, difference.double()) / torch.bincount(episode)
        for difference in (value - value_before, cost_before - cost)
    ]
    return [float(item[own].mean()) for own in whose for item in per_episode]
