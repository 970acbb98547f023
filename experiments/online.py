"""An agent that goes on learning where it acts, episode by episode; what the fine-tuning experiments have in common."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.agent_actor import AgentActor
from fosp_edge.cli.training import starting_point
from fosp_edge.experience.episode import EpisodeInfo, Recording
from fosp_edge.experience.schema import Steps
from fosp_edge.experience.selection import CameraSelection
from fosp_edge.experience.split import is_held_out
from fosp_edge.experience.store import ExperienceStore
from fosp_edge.learning.batch import Batch
from fosp_edge.learning.finetuning import fine_tuning_sampler
from fosp_edge.learning.learner import Learner
from fosp_edge.learning.own_experience import MixedSampler
from fosp_edge.learning.samplers import Sampler

Live = Callable[[AgentActor, int], tuple[Steps, dict[str, Any]]]
"""One episode of an actor, by its seed: rows of experience, and how it went."""


class Nothing:
    """A source in which no episode ever appears: own experience is handed over directly."""

    header: Recording | None = None

    def episodes(self) -> Sequence[EpisodeInfo]:
        return []

    def read(self, episode_id: str) -> Steps:
        raise KeyError(episode_id)


class Shipped:
    """An agent as it was learnt offline (a run or a bundle), with the latents of the offline data, computed once."""

    def __init__(self, run: Path, datasets: Sequence[ExperienceStore], scope: str, device: str = "cpu") -> None:
        self.agent, self.cameras, self.scalars, _ = starting_point(run)
        self.agent.to(torch.device(device))
        self._sources = [CameraSelection(store, self.cameras) for store in datasets]
        self._fixed = scope in ("heads", "behaviour")
        self._recorded: Sampler | None = None

    def sampler(self, learner: Learner) -> MixedSampler:
        """Batches for a learner that began here, the offline ones drawn by its seed."""
        made = fine_tuning_sampler(
            learner, self._sources, Nothing(),
            refresh_every=0, choose=lambda info: not is_held_out(info), recorded=self._recorded,
        )  # fmt: skip
        if self._fixed:  # the world model's latents are the same for every learner
            self._recorded = made.offline
        drawn = np.random.default_rng(learner.config.seed).bit_generator.state
        made.offline.restore(made.offline.state() | {"random": drawn})
        return made


def live_and_learn(
    actor: AgentActor,
    live: Live,
    seeds: Sequence[int],
    learner: Learner | None,
    sampler: MixedSampler | None,
    updates: int,
) -> list[dict[str, Any]]:
    """An episode of each seed, with so many updates after each; without a sampler nothing is learnt."""
    lived, update = [], 0
    for seed in seeds:
        steps, summary = live(actor, seed)
        numbers = {key: float(summary[key]) for key in ("return", "cost", "steps", "online_share")}
        lived.append(numbers | {"success": bool(summary["success"])})
        if learner is None or sampler is None:
            continue
        sampler.own.add(steps)
        for _ in range(updates):
            learner.update(Batch.from_numpy(sampler.sample(), learner.device, learner.config.classes), update)
            update += 1
    return lived
