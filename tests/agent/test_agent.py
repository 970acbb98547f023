"""Encoder, policy and slow critics of the whole agent."""

import torch
from torch import nn

from fosp_edge.agent.agent import Agent, log_density
from fosp_edge.agent.networks import Encoder
from tests.agent.sizes import tiny_config


@torch.no_grad()
def test_the_state_is_normalised_by_the_statistics_of_the_data() -> None:
    torch.manual_seed(0)
    encoder, config = Encoder(tiny_config()), tiny_config()
    image = torch.randint(0, 256, (5, 64, 64, config.image_channels), dtype=torch.uint8)
    state = torch.randn(5, config.state_size)
    plain = encoder(image, state)
    assert plain.shape == (5, encoder.output_size)
    mean, deviation = torch.linspace(-3, 3, config.state_size), torch.linspace(0.5, 2.0, config.state_size)
    encoder.set_statistics(mean, deviation)
    assert torch.allclose(encoder(image, state * deviation + mean), plain, atol=1e-5)
    # A component that never changed in the data must not be blown up by division by almost nothing.
    encoder.set_statistics(mean, torch.zeros(config.state_size))
    assert float(encoder.state_deviation.min()) >= 0.0099
    assert bool(torch.isfinite(encoder(image, state)).all())


@torch.no_grad()
def test_pictures_and_states_come_back_in_their_own_shapes() -> None:
    config = tiny_config()
    agent = Agent(config)
    pictures, states = agent.world_model.decoder(torch.randn(3, config.feature_size))
    assert pictures.shape == (3, config.image_channels, 64, 64)
    assert states.shape == (3, config.state_size)


@torch.no_grad()
def test_the_policy_stays_inside_its_bounds() -> None:
    config = tiny_config()
    mean, deviation = Agent(config).policy(100.0 * torch.randn(50, config.feature_size))
    assert float(mean.abs().max()) <= 1.0
    assert config.minimum_deviation <= float(deviation.min()) <= float(deviation.max()) <= config.maximum_deviation


def test_the_density_is_that_of_torch() -> None:
    generator = torch.Generator().manual_seed(1)
    mean, action = torch.randn(4, 3, generator=generator), torch.randn(4, 3, generator=generator)
    deviation = torch.rand(4, 3, generator=generator) + 0.1
    expected = torch.distributions.Normal(mean, deviation).log_prob(action).sum(-1)
    assert torch.allclose(log_density(mean, deviation, action), expected, atol=1e-5)


def test_slow_critics_begin_as_copies_and_follow_at_their_rate() -> None:
    agent = Agent(tiny_config(slow_rate=0.25))
    for slow, fast in zip(agent.slow_critics.parameters(), agent.critics.parameters(), strict=True):
        assert torch.equal(slow, fast) and slow is not fast and not slow.requires_grad
    before = [parameter.clone() for parameter in agent.slow_critics.parameters()]
    with torch.no_grad():
        for parameter in agent.critics.parameters():
            parameter.add_(1.0)
    agent.update_slow_critics()
    for slow, old in zip(agent.slow_critics.parameters(), before, strict=True):
        assert torch.allclose(slow, old + 0.25, atol=1e-6)


@torch.no_grad()
def test_critics_begin_at_zero_and_reachability_at_hardly_ever() -> None:
    config = tiny_config()
    critics = Agent(config).critics
    state = torch.randn(20, config.feature_size)
    pair = torch.cat([state, torch.randn(20, config.action_size)], -1)
    assert torch.equal(critics.reward_action(pair), torch.zeros(20, config.bins))
    assert torch.equal(critics.cost_state(state), torch.zeros(20, config.bins))
    for logit in (critics.reach_action(pair), critics.reach_state(state)):
        assert float(torch.sigmoid(logit).max()) < 0.02


@torch.no_grad()
def test_what_was_never_given_says_the_same_of_everything() -> None:
    agent = Agent(tiny_config(unknown=("cost", "cost_action", "cost_state", "reach_action", "reach_state")))
    features = torch.randn(20, agent.config.feature_size)
    assert torch.equal(agent.world_model.cost(features), torch.zeros(20, agent.config.bins))
    assert torch.equal(torch.sigmoid(agent.critics.reach_state(features)), torch.ones(20, 1))
    # onnxruntime 1.23, the newest for Python 3.10, refuses to normalise a layer of one unit: nothing else notices.
    norms = [part for part in agent.modules() if isinstance(part, nn.LayerNorm)]
    assert norms and min(norm.normalized_shape[-1] for norm in norms) > 1
