"""The step of the robot's policy as one pure, branch-free module: what becomes the ONNX graph.

It computes what the agent computes, arranged for one observation at a time on a small computer (exact algebra, no
approximation): the stochastic state travels as indices, so that one-hot times matrix is a gather and a sum; the first
layers of all heads share one gathered table; and everything that starts from h is one matrix product. Noise is an
input, so that every tick can be replayed.
"""

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from export.candidates import SEARCH_DEVIATION, Candidates, policies_of
from export.latent_step import LatentStep, Reachability, TwoHotMean
from export.layers import Dense, FirstLayers, laid_out, linear_bias, linear_weight
from fosp_edge.agent.agent import Agent

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


class StepModule(nn.Module):
    """Observation and carried state in; next state, candidate actions and their scores out. Batch of one."""

    def __init__(self, agent: Agent, candidates: Candidates | None = None) -> None:
        super().__init__()
        config = agent.config
        self.config, self.candidates = config, candidates or Candidates.of(agent)
        model, rssm, critics = agent.world_model, agent.world_model.rssm, agent.critics
        self.encoder, self.latent = model.encoder, LatentStep.of(rssm)
        policies = [policy.head for policy in policies_of(agent).values()]
        scored = [critics.reward_action, critics.cost_action, critics.reach_action]
        heads = [*policies, *scored, critics.reach_state]
        self.first = FirstLayers(heads, config.deterministic, config.groups, config.classes)
        self.rest = nn.ModuleList(laid_out(nn.Sequential(*list(head)[1:])) for head in heads)
        self.scored_widths = [linear_weight(head[0]).shape[0] for head in scored]
        self.by_action = Dense(torch.cat([linear_weight(head[0])[:, config.feature_size :] for head in scored]).T)
        # Posterior, prior and heads all begin with a linear map of h.
        parts = [linear_weight(rssm.posterior_deterministic).T, linear_weight(rssm.prior[0]).T]
        self.from_deterministic = Dense(torch.cat([*parts, self.first.deterministic], -1), self._biases(agent))
        self.posterior_embedding, self.posterior_norm = Dense.of(rssm.posterior_embedding), rssm.posterior_norm
        self.posterior_output = Dense.of(rssm.posterior_output)
        self.prior_rest = laid_out(nn.Sequential(*list(rssm.prior)[1:]))
        self.value, self.reachability = TwoHotMean(config), Reachability(config)
        # Before the first observation nothing was done, so what follows from the initial state is a constant.
        with torch.no_grad():
            start = rssm.transition(rssm.initial(1), torch.zeros(1, config.action_size))
        self.register_buffer("first_deterministic", start.clone())

    def _biases(self, agent: Agent) -> Tensor | None:
        """Of the maps that begin with h, if any has one. The posterior's is in its map of the embedding."""
        rssm = agent.world_model.rssm
        prior, heads = linear_bias(rssm.prior[0]), self.first.bias
        if heads is None and not bool(prior.any()):
            return None
        heads = torch.zeros(sum(self.first.widths)) if heads is None else heads
        return torch.cat([torch.zeros(rssm.posterior_deterministic.out_features), prior, heads])

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
        first = is_first > 0.5
        action = torch.where(first, torch.zeros_like(previous_action), previous_action)
        next_deterministic = torch.where(
            first,
            self.get_buffer("first_deterministic"),
            self.latent.transition(deterministic, stochastic, action),
        )
        embedding = self.posterior_embedding(self.encoder(image, state))
        width = self.posterior_norm.normalized_shape[0]
        joined = self.from_deterministic(next_deterministic)
        for_posterior, for_prior, for_heads = torch.split(joined, [width, width, joined.shape[-1] - 2 * width], -1)
        posterior = self.posterior_output(functional.silu(self.posterior_norm(for_posterior + embedding)))
        probability, posterior = self.latent.grid(posterior)
        _, prior = self.latent.grid(self.prior_rest(for_prior))
        next_stochastic = self.latent.sample(posterior, latent_noise)
        surprise = (probability * (posterior - prior)).sum((-2, -1))

        *proposals, reward, cost, reach, reach_state = self.first(for_heads, next_stochastic)
        candidates = self._propose(proposals, action, action_noise)
        state_reachability = self.reachability(self.rest[-1](reach_state))
        rows: tuple[Tensor, ...] = (candidates, *self._score(candidates, (reward, cost, reach)))
        if self.candidates.search:
            least = rows[3][: len(proposals) + self.candidates.samples].argmin(0, keepdim=True)
            around = (candidates.index_select(0, least) + SEARCH_DEVIATION * action_noise).clamp(-1.0, 1.0)
            searched = (around, *self._score(around, (reward, cost, reach)))
            found = searched[3].argmin(0, keepdim=True)
            rows = tuple(
                torch.cat([row, more.index_select(0, found)]) for row, more in zip(rows, searched, strict=True)
            )
        candidates, reward_value, cost_value, ranks = rows
        reachability = self.reachability.of_rank(ranks)
        if len(proposals) > 1:
            merit = reward_value - self.config.expansion_cost_weight * cost_value
            best = merit[: len(proposals)].argmax(0, keepdim=True)
            candidates, reward_value, cost_value, reachability = (
                torch.cat([rows.index_select(0, best), rows])
                for rows in (candidates, reward_value, cost_value, reachability)
            )
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

    def _score(self, actions: Tensor, first: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Reward value, cost value and rank of reachability of actions, [rows, A] -> [rows] each."""
        reward_rest, cost_rest, reach_rest, _ = list(self.rest)[-4:]
        by_reward, by_cost, by_reach = torch.split(self.by_action(actions), self.scored_widths, -1)
        reward, cost, reach = first
        return (
            self.value(reward_rest(reward + by_reward)),
            self.value(cost_rest(cost + by_cost)),
            self.reachability.rank(reach_rest(reach + by_reach)),
        )

    def _propose(self, first: list[Tensor], previous_action: Tensor, noise: Tensor) -> Tensor:
        """The mean of each policy, samples, hold and retreat, [rows, A]."""
        config, means, deviations = self.config, [], []
        for index, layer in enumerate(first):
            mean, spread = self.rest[index](layer).chunk(2, -1)
            span = config.maximum_deviation - config.minimum_deviation
            means.append(torch.tanh(mean))
            deviations.append(config.minimum_deviation + span * torch.sigmoid(spread + 2.0))
        samples = [
            (means[source] + deviations[source] * noise[row : row + 1]).clamp(-1.0, 1.0)
            for row, source in enumerate(self.candidates.sources)
        ]
        if len(first) == 1:  # the same in one piece
            samples = [(means[0] + deviations[0] * noise).clamp(-1.0, 1.0)]
        return torch.cat([*means, *samples, torch.zeros_like(means[0]), -previous_action])

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
            torch.zeros((self.candidates.samples, config.action_size)),
        )
