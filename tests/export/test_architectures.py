"""Agents with the architecture of other projects leave through the same step graph, and the graph is the agent."""

from typing import Any

import numpy as np
import pytest
import torch

from export.graph import export_step
from export.parity import check_parity
from export.step import StepModule
from fosp_edge.agent.agent import Agent
from tests.agent.sizes import tiny_config
from tests.export.agents import make_episode

OFFICIAL: dict[str, Any] = {
    "norm_epsilon": 1e-3,
    "state_layers": 2,
    "state_units": 24,
    "state_scaling": "symlog",
    "reachability_form": "two_hot",
    "unknown": ("reach_state",),
    "has_decoder": False,
}
BLOCKS: dict[str, Any] = {
    "norm": "rms",
    "norm_epsilon": 1e-4,
    "dense_bias": True,
    "recurrence": "block_gru",
    "blocks": 2,
    "prior_layers": 2,
    "model_head_layers": 1,
    "head_layers": 3,
    "conv_kernel": 5,
    "conv_multiples": (2, 3, 4, 4),
    "conv_pooling": True,
    "state_layers": 0,
    "bin_spacing": "symexp",
    "unknown": ("cost", "cost_action", "cost_state", "reach_action", "reach_state"),
    "has_decoder": False,
}


def make_foreign(**changes: Any) -> Agent:
    """Every learnt number away from its starting value, but for the heads that nobody trained."""
    torch.manual_seed(1)
    agent = Agent(tiny_config(**changes))
    with torch.no_grad():
        for name, parameter in agent.named_parameters():
            if not any(f".{head}." in f".{name}" for head in agent.config.unknown):
                parameter.add_(0.2 * torch.randn_like(parameter))
        agent.slow_critics.load_state_dict(agent.critics.state_dict())
    return agent


@pytest.mark.parametrize("architecture", [OFFICIAL, BLOCKS], ids=["official", "blocks"])
def test_the_graph_is_the_agent(architecture: dict[str, Any]) -> None:
    agent = make_foreign(**architecture)
    parity = check_parity(agent, export_step(StepModule(agent)), [make_episode(0), make_episode(1)])
    assert parity.steps == 24 and parity.latent_flips == 0
    assert max(parity.action_error, parity.reachability_error) < 1e-5


def test_an_untrained_reachability_calls_everything_unsafe() -> None:
    from export.drift import recorded_inputs
    from export.graph_policy import GraphPolicy

    agent = make_foreign(**BLOCKS)
    policy = GraphPolicy(export_step(StepModule(agent)), agent.config)
    for inputs in recorded_inputs([make_episode(3)], 4, 4, 6, 3):
        found = policy.step(inputs)
        assert np.all(found.reachability == 1.0) and found.state_reachability == 1.0
        assert np.all(found.cost_value == 0.0)
