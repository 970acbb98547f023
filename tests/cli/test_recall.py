"""What the gate asks an agent about recorded episodes it asks once."""

import copy

import pytest
import torch

from fosp_edge.cli import recall as module
from fosp_edge.cli.admission import _model
from fosp_edge.cli.recall import Recollection, recall, same_weights
from tests.export.agents import make_agent, make_episode


def test_an_episode_is_recalled_once_and_as_it_would_be_again(monkeypatch: pytest.MonkeyPatch) -> None:
    agent, first, second = make_agent(), make_episode(1, rows=6), make_episode(2, rows=6)
    expected, asked = [recall(agent, steps) for steps in (first, second)], []
    monkeypatch.setattr(module, "recall", lambda agent, steps: (asked.append(steps), recall(agent, steps))[1])
    recollection = Recollection(agent)
    for steps, known in ((first, expected[0]), (second, expected[1]), (first, expected[0])):
        found = recollection.of(steps)
        assert torch.equal(found.deterministic, known.deterministic)
        assert torch.equal(found.stochastic, known.stochastic)
    assert [item is steps for item, steps in zip(asked, (first, second), strict=True)] == [True, True]
    # One that merely looks the same may have been changed since.
    recollection.of(dict(first))
    assert len(asked) == 3


def test_the_same_world_model_is_not_measured_twice_and_another_is() -> None:
    agent, episodes, breaths = make_agent(), [make_episode(seed, rows=6) for seed in range(3)], list[int]()
    other, beyond = copy.deepcopy(agent), copy.deepcopy(agent)
    with torch.no_grad():
        other.policies[0].head.output.weight += 1.0
        beyond.world_model.reward.output.weight[0] += 1.0  # one bin's: the same to all would change no probability
    assert same_weights(agent.world_model, other.world_model)
    assert not same_weights(agent.world_model, beyond.world_model)
    for found in _model(other, agent, episodes, lambda: breaths.append(0)).values():
        assert found.mean == 0.0
    changed = _model(beyond, agent, episodes, lambda: breaths.append(0))
    assert abs(changed["outcomes"].mean) > 1e-3 and changed["pictures"].mean == 0.0
    assert len(breaths) == 6
