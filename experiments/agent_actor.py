"""An agent from a checkpoint acting in the simulation, without bundle and filter: what is compared is the method."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from fosp_edge.agent.agent import Agent
from fosp_edge.agent.distributions import open_uniform, sample_straight_through
from fosp_edge.agent.expansion import propose
from fosp_edge.agent.rssm import Latent
from fosp_edge.control.types import Observation
from fosp_edge.experience.schema import Steps
from fosp_edge.simulation.collect import record_episode
from fosp_edge.simulation.environment import SafeReach
from fosp_edge.simulation.scene import CAMERAS


class AgentActor:
    """Follows an episode with the world model and draws one action per step from the agent's policies.

    It acts on the CPU. An agent that learns on a GPU is copied over at the beginning of every episode: to launch a
    single step there takes longer than to compute it here, and longer still where many processes share one GPU.
    """

    def __init__(
        self, agent: Agent, cameras: Sequence[str], *, explore: bool, there_are: Sequence[str] = CAMERAS
    ) -> None:
        self._given, self._means = agent, not explore
        self.channels = np.concatenate([3 * there_are.index(name) + np.arange(3) for name in cameras])
        self.chosen: list[int] = []

    def reset(self, seed: int) -> None:
        there = next(self._given.parameters()).device.type == "cpu"
        self._agent = self._given if there else copy.deepcopy(self._given).cpu()
        self._generator = torch.Generator().manual_seed(seed)
        self._latent: Latent | None = None
        self._action = torch.zeros(1, self._agent.config.action_size)
        self.chosen = []

    @torch.no_grad()
    def act(self, observation: Observation) -> np.ndarray:
        proposal = propose(self._agent, self.follow(observation).features(), self._generator, means=self._means)
        self._action = proposal.action
        self.chosen.append(int(proposal.chosen))
        action: np.ndarray = proposal.action[0].numpy()
        return action

    @torch.no_grad()
    def follow(self, observation: Observation) -> Latent:
        """The state after this observation and the last action."""
        model = self._agent.world_model
        image = torch.from_numpy(np.ascontiguousarray(observation.image[..., self.channels]))[None]
        state = torch.from_numpy(observation.state)[None]
        embedding = model.encoder(image, state)
        deterministic = model.rssm.transition(self._latent or model.rssm.initial(1), self._action)
        posterior = model.rssm.posterior(deterministic, model.rssm.posterior_embedding(embedding))
        noise = open_uniform(tuple(posterior.shape), torch.device("cpu"), self._generator)
        self._latent = Latent(deterministic, sample_straight_through(posterior, noise))
        return self._latent

    def take(self, action: np.ndarray) -> None:
        """Say that this action was carried out, by whoever follows and chooses for itself."""
        self._action = torch.from_numpy(np.array(action, np.float32))[None]


def live_in(environment: Any, actor: AgentActor, seed: int) -> tuple[Steps, dict[str, Any]]:
    """One episode as rows of experience with the actor's cameras, and a summary of how it went."""
    observation, info = environment.reset(seed=seed)
    actor.reset(seed)

    def act(seen: Observation) -> tuple[np.ndarray, np.ndarray, int]:
        action = actor.act(seen)
        return action, action, 0

    steps, summary = record_episode(environment, observation, info, act, "agent", seed)
    steps["image"] = np.ascontiguousarray(steps["image"][..., actor.channels])
    return steps, summary | {"online_share": float(np.mean(actor.chosen))}


def live(actor: AgentActor, scenario: str, seed: int) -> tuple[Steps, dict[str, Any]]:
    """The same on a table of SafeReach."""
    return live_in(SafeReach(scenario), actor, seed)
