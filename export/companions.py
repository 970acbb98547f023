"""The graphs beside the step: where an episode starts, what a latent state looks like, what would come of an action.

All pure and static like the step itself, none needed to drive; docs/bundle.md lists their inputs and outputs.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from export.candidates import Candidates, policies_of
from export.graph import export_constants, export_module
from export.latent_step import LatentStep, TwoHotMean
from export.layers import Dense, FirstLayers, GroupTable, laid_out, linear_weight
from fosp_edge.agent.agent import Agent
from fosp_edge.bundle.manifest import FilterThresholds

HORIZON = 5
"""Imagined steps behind each candidate: a quarter of a second at 20 Hz."""


def horizon_of(thresholds: FilterThresholds) -> int:
    """Imagined steps that a filter goes by; 0 where it does not look ahead."""
    return 0 if thresholds.look_ahead_sha256 is None else HORIZON


class DecoderModule(nn.Module):
    """A latent state as the pictures and the state vector that the agent expects to see in it."""

    INPUTS = ("deterministic", "stochastic")
    OUTPUTS = ("image", "state")

    def __init__(self, agent: Agent) -> None:
        super().__init__()
        self.config, decoder, encoder = agent.config, agent.world_model.decoder, agent.world_model.encoder
        config = agent.config
        weight = linear_weight(decoder.dense)
        self.dense = Dense(weight[:, : config.deterministic].T, decoder.dense.bias)
        self.table = GroupTable(weight[:, config.deterministic :].T, config.groups, config.classes)
        self.image = decoder.image
        self.first = FirstLayers([decoder.state], config.deterministic, config.groups, config.classes)
        self.first_dense = Dense(self.first.deterministic)
        self.rest = laid_out(nn.Sequential(*list(decoder.state)[1:]))
        self.register_buffer("mean", encoder.state_mean.clone())
        self.register_buffer("deviation", encoder.state_deviation.clone())

    def forward(self, deterministic: Tensor, stochastic: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 [1, 64, 64, C] and physical units [1, S]."""
        start = self.dense(deterministic) + self.table(stochastic)
        pixels = self.image(start.reshape(1, -1, 4, 4)).permute(0, 2, 3, 1)
        image = torch.round((pixels + 0.5).clamp(0.0, 1.0) * 255.0).to(torch.uint8)
        (first,) = self.first(self.first_dense(deterministic), stochastic)
        return image, self.rest(first) * self.get_buffer("deviation") + self.get_buffer("mean")

    def example_inputs(self) -> tuple[Tensor, ...]:
        """A latent state of the right shape."""
        config = self.config
        return torch.zeros((1, config.deterministic)), torch.zeros((1, config.groups), dtype=torch.int64)


class ImaginationModule(nn.Module):
    """Look-ahead: each candidate is tried in imagination, then the policy goes on; N candidates side by side.

    With an online policy it is that one which goes on.
    """

    INPUTS = ("deterministic", "stochastic", "candidates", "latent_noise")
    OUTPUTS = ("reachability", "reward", "cost", "proceed", "max_reachability")

    def __init__(self, agent: Agent, horizon: int = HORIZON, rows: Candidates | None = None) -> None:
        super().__init__()
        config, model = agent.config, agent.world_model
        if config.trained_elsewhere:
            raise ValueError("looking ahead needs an agent of this project's own architecture; leave out --look-ahead")
        self.config, self.horizon, self.rows = config, horizon, len((rows or Candidates.of(agent)).names)
        self.latent = LatentStep.of(model.rssm)
        policy = list(policies_of(agent).values())[-1]
        heads = [policy.head, agent.critics.reach_state, model.reward, model.cost, model.proceed]
        self.first = FirstLayers(heads, config.deterministic, config.groups, config.classes)
        self.rest = nn.ModuleList(laid_out(nn.Sequential(*list(head)[1:])) for head in heads)
        self.width = linear_weight(model.rssm.prior[0]).shape[0]
        self.from_deterministic = Dense(torch.cat([linear_weight(model.rssm.prior[0]).T, self.first.deterministic], -1))
        self.prior_rest = laid_out(nn.Sequential(*list(model.rssm.prior)[1:]))
        self.value = TwoHotMean(config)

    def forward(
        self, deterministic: Tensor, stochastic: Tensor, candidates: Tensor, latent_noise: Tensor
    ) -> tuple[Tensor, ...]:
        """[1, D], [1, G], [N, A], noise [H, N, G, K] -> per imagined step [H, N], and the maximum [N]."""
        h, s = deterministic.expand(self.rows, -1), stochastic.expand(self.rows, -1)
        action, steps = candidates, []
        for index in range(self.horizon):
            h = self.latent.transition(h, s, action)
            joined = self.from_deterministic(h)
            for_prior, for_heads = torch.split(joined, [self.width, joined.shape[-1] - self.width], -1)
            _, prior = self.latent.grid(self.prior_rest(for_prior))
            s = self.latent.sample(prior, latent_noise[index])
            policy, reach, reward, cost, proceed = (
                rest(first) for rest, first in zip(self.rest, self.first(for_heads, s), strict=True)
            )
            action = torch.tanh(policy.chunk(2, -1)[0])
            steps.append(
                (
                    torch.sigmoid(reach).squeeze(-1),
                    self.value(reward),
                    self.value(cost),
                    torch.sigmoid(proceed).squeeze(-1),
                )
            )
        reachability, rewards, costs, proceeds = (torch.stack(values) for values in zip(*steps, strict=True))
        return reachability, rewards, costs, proceeds, reachability.amax(0)

    def example_inputs(self) -> tuple[Tensor, ...]:
        """Inputs of the right shapes."""
        config = self.config
        return (
            torch.zeros((1, config.deterministic)),
            torch.zeros((1, config.groups), dtype=torch.int64),
            torch.zeros((self.rows, config.action_size)),
            torch.full((self.horizon, self.rows, config.groups, config.classes), 0.5),
        )


def export_initial(agent: Agent, metadata: Mapping[str, str] | None = None) -> bytes:
    """The learnt state before anything was seen as ONNX, without inputs: [1, D] and class indices [1, G]."""
    with torch.no_grad():
        initial = agent.world_model.rssm.initial(1)
    return export_constants(
        {"deterministic": initial.deterministic.numpy(), "stochastic": initial.stochastic.argmax(-1).numpy()}, metadata
    )


def export_companion(module: DecoderModule | ImaginationModule, metadata: Mapping[str, str] | None = None) -> bytes:
    """One of the graphs of this module as ONNX. Raises RuntimeError as `export_module` does."""
    return export_module(module, module.INPUTS, module.OUTPUTS, metadata)
