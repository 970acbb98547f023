"""A batch of sequences as tensors, with the conventions that learning needs spelled out."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


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

    @staticmethod
    def from_numpy(columns: Mapping[str, npt.NDArray[np.generic]], device: torch.device) -> "Batch":
        """Take what the learner needs from a sampler's columns."""
        names = ("image", "state", "action", "reward", "cost", "violation", "is_first", "is_terminal")
        return Batch(**{name: torch.from_numpy(np.ascontiguousarray(columns[name])).to(device) for name in names})

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
