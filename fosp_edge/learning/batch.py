"""A batch of sequences as tensors, with the conventions that learning needs spelled out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as functional
from torch import Tensor

from fosp_edge.agent.rssm import Latent


@dataclass(frozen=True)
class Batch:
    """Sequences of experience, [B, T, ...]. Row t: observation o_t, action a_t upon it, what the action brought."""

    image: Tensor
    """uint8 [B, T, H, W, C]."""
    state: Tensor
    action: Tensor
    reward: Tensor
    """Of the action of this row."""
    cost: Tensor
    """Of the action of this row."""
    violation: Tensor
    """1 if the constraint is violated in this row's own state."""
    is_first: Tensor
    is_terminal: Tensor
    proven: Tensor
    """Whether the row is of an episode that reached its end without violation; true where nobody says."""
    latents: Latent | None = None
    """Latent states, if they were computed beforehand; image and state are empty then."""

    @staticmethod
    def from_numpy(
        columns: Mapping[str, npt.NDArray[np.generic]], device: torch.device, classes: int | None = None
    ) -> "Batch":
        """Take what the learner needs from a sampler's columns.

        `deterministic` and `stochastic` (indices among `classes`), where they are there, become the latents.
        """

        def tensor(name: str) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(columns[name])).to(device)

        names = ("action", "reward", "cost", "violation", "is_first", "is_terminal")
        kept: dict[str, Any] = {name: tensor(name) for name in names}
        kept["proven"] = tensor("proven") if "proven" in columns else torch.ones_like(kept["is_first"])
        if "deterministic" not in columns:
            return Batch(image=tensor("image"), state=tensor("state"), **kept)
        assert classes is not None, "latents come with the number of their classes"
        stochastic = torch.from_numpy(columns["stochastic"].astype(np.int64)).to(device)
        latents = Latent(tensor("deterministic"), functional.one_hot(stochastic, classes).float())
        nothing = torch.zeros(0, device=device)
        return Batch(image=nothing, state=nothing, latents=latents, **kept)

    @property
    def previous_action(self) -> Tensor:
        """The action that led to each row, [B, T, A]; zero for the first row, where a reset or nothing is known."""
        return torch.cat([torch.zeros_like(self.action[:, :1]), self.action[:, :-1]], 1)

    @property
    def arrival_reward(self) -> Tensor:
        """Reward of arriving in each row, [B, T]; zero in first rows."""
        return self._arrival(self.reward)

    @property
    def has_successor(self) -> Tensor:
        """Whether row t + 1 continues the episode of row t, [B, T - 1]."""
        return ~self.is_first[:, 1:]

    def _arrival(self, values: Tensor) -> Tensor:
        shifted = torch.cat([torch.zeros_like(values[:, :1]), values[:, :-1]], 1)
        return torch.where(self.is_first, torch.zeros_like(shifted), shifted)
