"""Is a gain more than luck? What random changes of the running policy, as large as the candidate's, gain by themselves.

An interval over episodes tells how sure a gain is on other episodes. It does not tell whether it was learnt: a random
change moves the action the same way in states that look alike, so by the running bundle's critics it gains or loses
something in all episodes at once, and three of ten such changes gained beyond the 99 % interval over episodes
(experiments/sabotage.py). Here they are drawn, and are what a candidate is held against.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from fosp_edge.agent.agent import Agent
from fosp_edge.agent.distributions import two_hot_mean
from fosp_edge.agent.features import Features, beside
from fosp_edge.agent.rssm import Latent
from fosp_edge.bundle.admission import DEFAULT_THRESHOLDS, Luck
from fosp_edge.cli.recall import Recollection, recall, same_weights
from fosp_edge.experience.schema import Steps

CHANGES = 40
"""Their standard deviation is known to a ninth."""
LEAST_EPISODES = DEFAULT_THRESHOLDS.least_episodes
"""Of fewer of somebody's nothing is said."""
_FIRST_SHARE = 0.1
"""Of the last layer's weights, for the first try; then the size is known that makes a change as large as wanted."""
_TRIED_EVERY = 8
"""In one of so many states the first try is made."""
_ROUNDING = 1e-6
"""Of actions: a smaller change is none."""


@torch.no_grad()
def luck_of(
    candidate: Agent,
    running: Recollection,
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
    states, wished, agent = list[Latent](), list[Tensor](), running.agent
    alike = same_weights(candidate.world_model, agent.world_model)
    for steps in episodes:
        breathe()
        states.append(running.of(steps))
        features = (states[-1] if alike else recall(candidate, steps)).read()
        wished.append(_choice(candidate, features, [policy(features)[0] for policy in candidate.policies]).action)
    wish, features = torch.cat(wished), _joined(states).read()
    actors = sorted({who for who in acted if acted.count(who) >= LEAST_EPISODES})
    names = [f"{name}, {who}" for who in actors for name in ("value", "cost")]
    episode = torch.repeat_interleave(torch.arange(len(states)), torch.tensor([len(item) for item in wished]))
    whose = [torch.tensor([index for index, other in enumerate(acted) if other == who]) for who in actors]
    before = _choice(agent, features, [policy(features)[0] for policy in agent.policies])
    wanted = float((wish - before.action).square().mean().sqrt())
    if wanted < _ROUNDING:
        return {name: Luck(0.0, 0.0, 0.0, 0) for name in names}
    gained = _gain(_choice(agent, features, [wish]), before, episode, whose)
    hidden, by_chance = [policy.head.hidden(features) for policy in agent.policies], []
    few, hidden_few = features[::_TRIED_EVERY], [item[::_TRIED_EVERY] for item in hidden]
    for seed in range(changes):
        breathe()
        tried = _choice(agent, few, _changed_means(agent, hidden_few, _FIRST_SHARE, seed)).action
        apart = float((tried - before.action[::_TRIED_EVERY]).square().mean().sqrt())
        means = _changed_means(agent, hidden, _FIRST_SHARE * wanted / max(apart, _ROUNDING), seed)
        by_chance.append(_gain(_choice(agent, features, means), before, episode, whose))
    mean, deviation = np.mean(by_chance, 0), np.std(by_chance, 0, ddof=1)
    return {
        name: Luck(float(gained[place]), float(mean[place]), float(deviation[place]), changes)
        for place, name in enumerate(names)
    }


def _changed_means(agent: Agent, hidden: Sequence[Tensor], share: float, seed: int) -> list[Tensor]:
    """Of every policy, from what its last layer gets, with noise on that, as a share of its size; [N, A] each."""
    generator, means = torch.Generator().manual_seed(seed), []
    for policy, item in zip(agent.policies, hidden, strict=True):
        output = policy.head.output
        weight, bias = (part[: output.out_features // 2] for part in (output.weight, output.bias))
        noise = torch.randn(weight.shape, generator=generator).to(weight)
        changed = weight + share * weight.square().mean().sqrt() * noise
        means.append(torch.tanh(functional.linear(item, changed, bias)))
    return means


@dataclass(frozen=True)
class _Choice:
    """The action that the critics choose, as a bundle's first candidate is, [N, A], and what it is worth, [N]."""

    action: Tensor
    value: Tensor
    cost: Tensor


def _choice(agent: Agent, features: Features, means: Sequence[Tensor]) -> _Choice:
    pairs = [beside(features, mean) for mean in means]
    value = torch.stack([two_hot_mean(agent.critics.reward_action(pair)) for pair in pairs])
    cost = torch.stack([two_hot_mean(agent.critics.cost_action(pair)) for pair in pairs])
    place = (value - agent.config.expansion_cost_weight * cost).argmax(0), torch.arange(value.shape[1])
    return _Choice(torch.stack(list(means))[place], value[place], cost[place])


def _gain(after: _Choice, before: _Choice, episode: Tensor, whose: Sequence[Tensor]) -> list[float]:
    """Value gained and cost saved in the episodes of each, which count alike."""
    per_episode = [
        torch.bincount(episode, difference.double()) / torch.bincount(episode)
        for difference in (after.value - before.value, before.cost - after.cost)
    ]
    return [float(item[own].mean()) for own in whose for item in per_episode]


def _joined(states: Sequence[Latent]) -> Latent:
    return Latent(
        torch.cat([state.deterministic for state in states]), torch.cat([state.stochastic for state in states])
    )
