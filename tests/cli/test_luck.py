"""What was learnt is told from what merely changed: by a candidate of either kind, whose making is known."""

import copy

import numpy as np
import pytest
import torch

from experiments.sabotage import disturbed
from fosp_edge.agent.agent import Agent
from fosp_edge.agent.distributions import two_hot_mean
from fosp_edge.agent.features import beside
from fosp_edge.cli.luck import LEAST_EPISODES, luck_of
from fosp_edge.cli.recall import Recollection, recall
from tests.export.agents import make_agent, make_episode

EPISODES = [make_episode(seed, rows=8) for seed in range(LEAST_EPISODES + 2)]
ACTED = ["bundle"] * LEAST_EPISODES + ["safe"] * 2


@pytest.fixture(scope="module")
def running() -> Agent:
    agent = make_agent(hidden=48)
    agent.expand()
    return agent


def randomly_changed(agent: Agent, share: float, seed: int) -> Agent:
    changed = copy.deepcopy(agent)
    disturbed(share, seed)(changed)
    return changed


def found(candidate: Agent, running: Agent) -> dict[str, float]:
    luck = luck_of(candidate, Recollection(running), EPISODES, ACTED, changes=30)
    return {name: item.deviations for name, item in luck.items()}


def test_a_step_up_the_critic_is_more_than_luck_and_one_down_is_less(running: Agent) -> None:
    agent = copy.deepcopy(running).requires_grad_()
    states = [recall(agent, steps).read() for steps in EPISODES[:LEAST_EPISODES]]
    pairs = [beside(state, policy(state)[0]) for state in states for policy in agent.policies]
    value = torch.cat([two_hot_mean(agent.critics.reward_action(pair)) for pair in pairs]).sum()
    gradients = torch.autograd.grad(value, [policy.head.output.weight for policy in agent.policies])
    told = []
    for sign in (1.0, -1.0):
        moved = copy.deepcopy(running)
        with torch.no_grad():
            for policy, gradient in zip(moved.policies, gradients, strict=True):
                policy.head.output.weight += sign * 0.05 * gradient / gradient.norm()
        told.append(found(moved, running)["value, bundle"])
    assert told[0] > 2.5 and told[1] < -2.5


def test_a_random_change_is_luck(running: Agent) -> None:
    told = [found(randomly_changed(running, 0.1, 500 + seed), running)["value, bundle"] for seed in range(12)]
    assert max(map(abs, told)) < 3.5 and 0.4 < np.std(told) < 2.0


def test_nobody_is_asked_about_whom_too_little_is_known(running: Agent) -> None:
    assert set(found(randomly_changed(running, 0.1, 1), running)) == {"value, bundle", "cost, bundle"}


def test_what_is_the_same_gains_nothing_and_what_is_no_number_less_than_nothing(running: Agent) -> None:
    assert set(found(running, running).values()) == {0.0}
    broken = copy.deepcopy(running)
    with torch.no_grad():
        broken.policies[0].head.output.weight.fill_(torch.nan)
    assert set(found(broken, running).values()) <= {0.0, -np.inf}


def test_the_running_agent_is_left_as_it_was(running: Agent) -> None:
    before = {name: value.clone() for name, value in running.state_dict().items()}
    found(randomly_changed(running, 0.1, 1), running)
    assert all(torch.equal(value, before[name]) for name, value in running.state_dict().items())
