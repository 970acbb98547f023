"""Policy expansion: the lots are drawn by the formula, each action scored with itself, parameters kept apart."""

import pytest
import torch

from fosp_edge.agent.agent import Agent
from fosp_edge.agent.distributions import two_hot
from fosp_edge.agent.expansion import expansion_probabilities, propose
from tests.agent.sizes import tiny_config


def logistic(x: float) -> float:
    return 1.0 / (1.0 + float(torch.tensor(-x).exp()))


def test_the_probabilities_are_those_of_the_formula() -> None:
    reward, cost = torch.tensor([[1.0, 1.2], [0.0, 0.0]]), torch.tensor([[0.0, 3.0], [10.0, 0.0]])
    found = expansion_probabilities(reward, cost, 5.0, 0.1)
    # Two scores leave a logistic function of their difference: 5 (1 - 0.9) and 5 (-1 - 0).
    assert float(found[0, 0]) == pytest.approx(logistic(0.5))
    assert float(found[1, 0]) == pytest.approx(logistic(-5.0))
    assert torch.allclose(found.sum(-1), torch.ones(2))


def expanded(**changes: float) -> Agent:
    torch.manual_seed(0)
    agent = Agent(tiny_config(**changes))
    agent.expand()
    return agent


def test_expansion_copies_the_policy_and_freezes_the_old_one_once() -> None:
    agent = expanded()
    assert agent.online_policy is not None and agent.learning_policy is agent.online_policy
    for old, new in zip(agent.policy.parameters(), agent.online_policy.parameters(), strict=True):
        assert torch.equal(old, new) and old.data_ptr() != new.data_ptr()
        assert not old.requires_grad and new.requires_grad
    kept = agent.online_policy
    agent.expand()
    assert agent.online_policy is kept


def test_weights_decide_whether_there_is_an_online_policy() -> None:
    plain, both = Agent(tiny_config()), expanded()
    assert Agent.with_parts_of(tiny_config(), plain.state_dict()).online_policy is None
    again = Agent.with_parts_of(tiny_config(), both.state_dict())
    again.load_state_dict(both.state_dict())
    assert again.online_policy is not None


def linear_critics(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """Q_r is the first component of the action, Q_c the second: scores that belong to one action only."""
    width, bins = agent.config.feature_size, agent.config.bins

    def spike(value: torch.Tensor) -> torch.Tensor:
        return torch.log(two_hot(value, bins) + 1e-12)

    monkeypatch.setattr(agent.critics.reward_action, "forward", lambda pair: spike(pair[..., width]))
    monkeypatch.setattr(agent.critics.cost_action, "forward", lambda pair: spike(pair[..., width + 1]))


def fix_policy(agent: Agent, index: int, first: float, second: float) -> None:
    head = agent.policies[index].head.output
    with torch.no_grad():
        head.weight.zero_()
        head.bias.zero_()
        head.bias[0], head.bias[1] = torch.atanh(torch.tensor(first)), torch.atanh(torch.tensor(second))


def test_each_action_is_scored_with_itself_and_drawn_per_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    agent, count = expanded(), 20_000
    fix_policy(agent, 0, 0.2, 0.0)
    fix_policy(agent, 1, 0.4, 0.9)
    linear_critics(agent, monkeypatch)
    features = torch.randn(count, agent.config.feature_size, generator=torch.Generator().manual_seed(1))
    found = propose(agent, features, torch.Generator().manual_seed(2), means=True)
    # The share of the online policy: logistic of 5 ((0.4 - 0.09) - 0.2), within four deviations.
    expected = logistic(5.0 * 0.11)
    bound = 4.0 * (expected * (1.0 - expected) / count) ** 0.5
    assert float(found.chosen.float().mean()) == pytest.approx(expected, abs=bound)
    assert torch.allclose(found.action[found.chosen == 1][:, 0], torch.tensor(0.4), atol=1e-5)
    assert torch.allclose(found.action[found.chosen == 0][:, 0], torch.tensor(0.2), atol=1e-5)


def test_a_clearly_worse_new_policy_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = expanded(expansion_inverse_temperature=50.0)
    fix_policy(agent, 0, 0.5, 0.0)
    fix_policy(agent, 1, -0.5, 0.0)
    linear_critics(agent, monkeypatch)
    found = propose(agent, torch.zeros(500, agent.config.feature_size), torch.Generator().manual_seed(2), means=True)
    assert int(found.chosen.sum()) == 0


def test_one_policy_alone_asks_no_critic(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = Agent(tiny_config())
    monkeypatch.setattr(agent.critics.reward_action, "forward", lambda pair: 1 / 0)
    found = propose(agent, torch.zeros(4, agent.config.feature_size), torch.Generator().manual_seed(0))
    assert found.action.shape == (4, 3) and int(found.chosen.sum()) == 0
