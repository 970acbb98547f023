"""The step of the robot's policy as one pure, branch-free module: what becomes the ONNX graph.

It computes what the agent computes, arranged for one observation at a time on a small computer (exact algebra, no
approximation): the stochastic state travels as indices, so that one-hot times matrix is a gather and a sum, and the
first layers of all heads share one gathered table. Noise is an input, so that every tick can be replayed.
"""

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from fosp_edge.agent.agent import Agent
from fosp_edge.agent.distributions import bin_centres
from fosp_edge.agent.networks import Head

INPUTS = (
    "image",
    "state",
    "previous_action",
    "is_first",
    "deterministic",
    "stochastic",
    "latent_noise",
    "action_noise",
)
OUTPUTS = (
    "next_deterministic",
    "next_stochastic",
    "candidates",
    "reward_value",
    "cost_value",
    "reachability",
    "state_reachability",
    "surprise",
)
SAMPLES = 6
"""Samples of the policy among the candidates."""


def candidate_names(samples: int = SAMPLES) -> tuple[str, ...]:
    """What stands in each row of the candidates."""
    return ("policy", *(f"sample-{index}" for index in range(1, samples + 1)), "hold", "retreat")


class _HeadRest(nn.Module):
    """A head after the linear part of its first layer."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.rest = nn.Sequential(*list(head.children())[1:])

    def forward(self, first: Tensor) -> Tensor:
        result: Tensor = self.rest(first)
        return result


class StepModule(nn.Module):
    """Observation and carried state in; next state, candidate actions and their scores out. Batch of one."""

    def __init__(self, agent: Agent) -> None:
        super().__init__()
        config = agent.config
        self.config = config
        model, rssm, critics = agent.world_model, agent.world_model.rssm, agent.critics
        self.encoder, self.rssm = model.encoder, rssm
        deterministic, stochastic = config.deterministic, config.groups * config.classes
        self.heads = nn.ModuleList(
            _HeadRest(head)
            for head in (
                agent.policy.head,
                critics.reward_action,
                critics.cost_action,
                critics.reach_action,
                critics.reach_state,
            )
        )
        first = [agent.policy.head[0], critics.reward_action[0], critics.cost_action[0], critics.reach_action[0]]
        weights = [_weight(layer) for layer in [*first, critics.reach_state[0]]]
        with torch.no_grad():
            initial = rssm.initial(1)
            self._keep("offset", (torch.arange(config.groups) * config.classes)[None])
            self._keep("initial_deterministic", initial.deterministic)
            self._keep("initial_stochastic", initial.stochastic.argmax(-1))
            self._keep("input_table", _weight(rssm.input_stochastic).T)
            self._keep("head_deterministic", torch.cat([w[:, :deterministic] for w in weights]).T)
            self._keep("head_table", torch.cat([w[:, deterministic : deterministic + stochastic] for w in weights]).T)
            self._keep("action_weight", torch.stack([w[:, deterministic + stochastic :].T for w in weights[1:4]]))
            self._keep("centres", bin_centres(config.bins))

    def _keep(self, name: str, value: Tensor) -> None:
        self.register_buffer(name, value.detach().clone().contiguous())

    def forward(
        self,
        image: Tensor,
        state: Tensor,
        previous_action: Tensor,
        is_first: Tensor,
        deterministic: Tensor,
        stochastic: Tensor,
        latent_noise: Tensor,
        action_noise: Tensor,
    ) -> tuple[Tensor, ...]:
        """One tick; shapes and names as in `INPUTS` and `OUTPUTS`, see docs/bundle.md."""
        rssm, config = self.rssm, self.config
        first = is_first > 0.5
        deterministic = torch.where(first, self.get_buffer("initial_deterministic"), deterministic)
        stochastic = torch.where(first, self.get_buffer("initial_stochastic"), stochastic)
        action = torch.where(first, torch.zeros_like(previous_action), previous_action)

        mixed = self._gather("input_table", stochastic) + rssm.input_action(action)
        hidden = functional.silu(rssm.input_norm(mixed))
        reset, candidate, update = rssm.gru_norm(rssm.gru(torch.cat([hidden, deterministic], -1))).chunk(3, -1)
        update = torch.sigmoid(update - 1.0)
        next_deterministic = update * torch.tanh(torch.sigmoid(reset) * candidate) + (1.0 - update) * deterministic
        embedding = rssm.posterior_embedding(self.encoder(image, state))
        posterior = rssm.posterior(next_deterministic, embedding)
        prior = rssm.grid(rssm.prior(next_deterministic))
        next_stochastic = (posterior - torch.log(-torch.log(latent_noise))).argmax(-1)
        surprise = (posterior.exp() * (posterior - prior)).sum((-2, -1))

        base = next_deterministic @ self.get_buffer("head_deterministic") + self._gather("head_table", next_stochastic)
        policy, reward, cost, reach, reach_state = torch.split(base, config.hidden, -1)
        mean, spread = self.heads[0](policy).chunk(2, -1)
        mean = torch.tanh(mean)
        deviation = config.minimum_deviation + (config.maximum_deviation - config.minimum_deviation) * torch.sigmoid(
            spread + 2.0
        )
        samples = (mean + deviation * action_noise).clamp(-1.0, 1.0)
        candidates = torch.cat([mean, samples, torch.zeros_like(mean), -action])
        by_action = candidates @ self.get_buffer("action_weight")
        reward_value = self._two_hot_mean(self.heads[1](reward + by_action[0]))
        cost_value = self._two_hot_mean(self.heads[2](cost + by_action[1]))
        reachability = torch.sigmoid(self.heads[3](reach + by_action[2])).squeeze(-1)
        state_reachability = torch.sigmoid(self.heads[4](reach_state)).squeeze(-1)
        return (
            next_deterministic,
            next_stochastic,
            candidates,
            reward_value,
            cost_value,
            reachability,
            state_reachability,
            surprise,
        )

    def _gather(self, table: str, indices: Tensor) -> Tensor:
        """Sum of one row per group: what a one-hot grid times a matrix comes to; [1, groups] -> [1, width]."""
        rows = functional.embedding(indices + self.get_buffer("offset"), self.get_buffer(table))
        return rows.sum(1)

    def _two_hot_mean(self, logits: Tensor) -> Tensor:
        mean = (torch.softmax(logits, -1) * self.get_buffer("centres")).sum(-1)
        return torch.sign(mean) * (torch.exp(torch.abs(mean)) - 1.0)  # symexp; ONNX has no expm1

    def example_inputs(self) -> tuple[Tensor, ...]:
        """Inputs of the right shapes and types, with harmless values."""
        config = self.config
        return (
            torch.zeros((1, 64, 64, config.image_channels), dtype=torch.uint8),
            torch.zeros((1, config.state_size)),
            torch.zeros((1, config.action_size)),
            torch.ones((1,)),
            torch.zeros((1, config.deterministic)),
            torch.zeros((1, config.groups), dtype=torch.int64),
            torch.full((1, config.groups, config.classes), 0.5),
            torch.zeros((SAMPLES, config.action_size)),
        )


def _weight(layer: nn.Module) -> Tensor:
    assert isinstance(layer, nn.Linear)
    return layer.weight
