"""The agent followed through recorded episodes with its own modules: what thresholds and parity are measured on."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as functional
from torch import Tensor

from export.candidates import SEARCH_DEVIATION, Candidates, policies_of
from fosp_edge.agent.agent import Agent
from fosp_edge.agent.agent import reachability as probability
from fosp_edge.agent.distributions import categorical_kl, open_uniform, two_hot_mean
from fosp_edge.agent.rssm import Latent

FloatArray = npt.NDArray[np.float32]
DRAWS = 8
"""Of the latent states' noise, where a filter's threshold is sought or held against recorded violations."""


@dataclass(frozen=True)
class Inputs:
    """One tick's inputs, without the batch axis."""

    image: npt.NDArray[np.uint8]
    state: FloatArray
    previous_action: FloatArray
    is_first: bool
    latent_noise: FloatArray
    action_noise: FloatArray


@dataclass(frozen=True)
class Outputs:
    """One tick's outputs, without the batch axis."""

    stochastic: npt.NDArray[np.int64]
    candidates: FloatArray
    reward_value: FloatArray
    cost_value: FloatArray
    reachability: FloatArray
    state_reachability: float
    surprise: float


class ReferencePolicy:
    """One tick at a time in eager PyTorch, written with the modules that are trained and none of the graph's tricks."""

    def __init__(self, agent: Agent, rows: Candidates | None = None) -> None:
        self.agent, self.rows = agent.eval(), rows or Candidates.of(agent)
        self._latent: Latent | None = None

    @torch.no_grad()
    def step(self, inputs: Inputs) -> Outputs:
        """Follow one observation and score the candidates, exactly as the exported graph should."""
        agent, rssm, critics = self.agent, self.agent.world_model.rssm, self.agent.critics
        action = torch.from_numpy(inputs.previous_action)[None]
        if inputs.is_first or self._latent is None:
            self._latent, action = rssm.initial(1), torch.zeros_like(action)
        deterministic = rssm.transition(self._latent, action)
        embedding = agent.world_model.encoder(
            torch.from_numpy(inputs.image)[None], torch.from_numpy(inputs.state)[None]
        )
        posterior = rssm.posterior(deterministic, rssm.posterior_embedding(embedding))
        prior = rssm.grid(rssm.prior(deterministic))
        gumbel = -torch.log(-torch.log(torch.from_numpy(inputs.latent_noise)[None]))
        index = (posterior + gumbel).argmax(-1)
        self._latent = Latent(deterministic, functional.one_hot(index, agent.config.classes).float())
        features = self._latent.features()
        proposals = [policy(features) for policy in policies_of(agent).values()]
        noise = torch.from_numpy(inputs.action_noise)
        samples = [
            (proposals[source][0] + proposals[source][1] * noise[row]).clamp(-1.0, 1.0)
            for row, source in enumerate(self.rows.sources)
        ]
        means = [mean for mean, _ in proposals]
        candidates = torch.cat([*means, *samples, torch.zeros_like(means[0]), -action])
        if self.rows.search:
            proposed = torch.cat([*means, *samples])
            least = proposed[self._reach(features, proposed).argmin()]
            around = (least + SEARCH_DEVIATION * noise).clamp(-1.0, 1.0)
            candidates = torch.cat([candidates, around[self._reach(features, around).argmin()][None]])
        pair = torch.cat([features.expand(len(candidates), -1), candidates], -1)
        spacing = agent.config.bin_spacing
        rewards = two_hot_mean(critics.reward_action(pair), spacing)
        costs = two_hot_mean(critics.cost_action(pair), spacing)
        rows = torch.arange(len(candidates))
        if len(means) > 1:
            merit = rewards - agent.config.expansion_cost_weight * costs
            rows = torch.cat([merit[: len(means)].argmax().reshape(1), rows])
        return Outputs(
            stochastic=index[0].numpy(),
            candidates=candidates[rows].numpy(),
            reward_value=rewards[rows].numpy(),
            cost_value=costs[rows].numpy(),
            reachability=probability(critics.reach_action(pair), agent.config)[rows].numpy(),
            state_reachability=float(probability(critics.reach_state(features), agent.config)),
            surprise=float(categorical_kl(posterior, prior)),
        )

    def _reach(self, features: Tensor, actions: Tensor) -> Tensor:
        """What ranks actions by reachability in one latent state, [1, F] and [rows, A] -> [rows]."""
        pair = torch.cat([features.expand(len(actions), -1), actions], -1)
        logits: Tensor = self.agent.critics.reach_action(pair)
        if self.agent.config.reachability_form == "two_hot":
            return two_hot_mean(logits, self.agent.config.bin_spacing)
        return logits.squeeze(-1)


def recorded_reachability(
    agent: Agent, steps: dict[str, npt.NDArray[np.generic]], generator: torch.Generator, horizon: int = 0
) -> FloatArray:
    """Reachability of the recorded actions along one episode, shape [T].

    Args:
        agent: whose world model follows, and whose critics judge.
        steps: as in the experience schema.
        generator: of the latent states' noise.
        horizon: imagined steps behind each action, the largest reachability of which counts as well: what a filter that
            looks ahead goes by (`fosp_edge.control.look_ahead`). 0 imagines nothing.
    """
    single: FloatArray = redrawn_reachability(agent, steps, generator, horizon, draws=1)[0]
    return single


@torch.no_grad()
def redrawn_reachability(
    agent: Agent,
    steps: dict[str, npt.NDArray[np.generic]],
    generator: torch.Generator,
    horizon: int = 0,
    draws: int = DRAWS,
) -> FloatArray:
    """The same for several independent draws of the latent states' noise, [draws, T]: how far it depends on them."""
    images, states = torch.from_numpy(steps["image"]), torch.from_numpy(steps["state"])
    actions = torch.from_numpy(steps["action"]).expand(draws, -1, -1)
    embedding = agent.world_model.encoder(images, states).expand(draws, -1, -1)
    previous = torch.cat([torch.zeros_like(actions[:, :1]), actions[:, :-1]], 1)
    rssm, first = agent.world_model.rssm, torch.from_numpy(steps["is_first"]).expand(draws, -1)
    latents, _, _ = rssm.observe(embedding, previous, first, generator)
    # Draws and ticks side by side from here on; one draw is computed as it always was, to the last bit.
    actions = actions.flatten(0, 1)
    here, action = Latent(latents.deterministic.flatten(0, 1), latents.stochastic.flatten(0, 1)), actions
    largest = probability(agent.critics.reach_action(torch.cat([here.features(), actions], -1)), agent.config)
    # As the imagination graph has it: the action, then the policy, and of each state that it comes to the reachability.
    for _ in range(horizon):
        noise = open_uniform(tuple(here.stochastic.shape), here.stochastic.device, generator)
        here = Latent(*rssm.imagine_step(here.deterministic, here.stochastic, action, noise))
        features = here.features()
        largest = torch.maximum(largest, probability(agent.critics.reach_state(features), agent.config))
        action = agent.learning_policy(features)[0]
    result: FloatArray = largest.reshape(draws, -1).numpy()
    return result
