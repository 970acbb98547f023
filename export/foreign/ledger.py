"""Every tensor of a foreign checkpoint is asked for, knowingly left aside, or reported: none is lost in silence."""

import re
from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor

from export.foreign.errors import ForeignCheckpointError

_LISTED = 8


class Ledger:
    """Tensors by their foreign names, and what became of each."""

    def __init__(self, tensors: Mapping[str, Tensor | None], name: str) -> None:
        """`tensors`: None stands for an entry that is no tensor, which can only be left aside."""
        self._tensors, self._name = tensors, name
        self._taken: set[str] = set()
        self._missing: list[str] = []
        self._misshapen: list[str] = []
        self._left: Counter[str] = Counter()
        self._seen: set[str] = set()

    def has(self, name: str) -> bool:
        """Whether there is a tensor of this name."""
        return self._tensors.get(name) is not None

    def count(self, pattern: str) -> int:
        """How many layers there are: tensors `pattern` with {} filled in by 0, 1, 2, ..."""
        number = 0
        while self.has(pattern.format(number)):
            number += 1
        return number

    def matching(self, pattern: str) -> list[str]:
        """What the group of `pattern` stands for in the names that match it whole."""
        found = (re.fullmatch(pattern, name) for name in self._tensors)
        return sorted({match.group(1) for match in found if match})

    def size(self, name: str, axis: int) -> int:
        """A dimension that the others follow from. Raises ForeignCheckpointError if the tensor is not there."""
        tensor = self._tensors.get(name)
        if tensor is None:
            raise ForeignCheckpointError(
                f"{self._name} lacks {name}, from which the agent's size is read: it is not a whole checkpoint of this "
                "family, or of another architecture"
            )
        if tensor.ndim <= (axis if axis >= 0 else -axis - 1):
            raise ForeignCheckpointError(
                f"{self._name}: {name} has the shape {tuple(tensor.shape)}, too few dimensions"
            )
        return int(tensor.shape[axis])

    def take(self, name: str, *shape: int) -> Tensor:
        """A tensor of this shape in float32; zeros, and a note for `settle`, if there is none."""
        tensor = self._tensors.get(name)
        if tensor is None:
            self._missing.append(f"{name} {shape}")
            return torch.zeros(shape)
        self._taken.add(name)
        if tuple(tensor.shape) != shape:
            self._misshapen.append(f"{name}: expected {shape}, found {tuple(tensor.shape)}")
            return torch.zeros(shape)
        return tensor.float()

    def leave(self, pattern: str, reason: str) -> None:
        """Put aside, with a reason, what matches and was not taken."""
        for name in self._tensors:
            if name not in self._taken and name not in self._seen and re.fullmatch(pattern, name):
                self._seen.add(name)
                self._left[reason] += 1

    def settle(self) -> dict[str, int]:
        """How many were left aside, by reason.

        Raises:
            ForeignCheckpointError: with everything that is missing, unexpected, of another shape, or not finite.
        """
        unexpected = sorted(self._tensors.keys() - self._taken - self._seen)
        broken = [name for name in sorted(self._taken) if not bool(self._get(name).isfinite().all())]
        problems = [
            f"{len(found)} {what}: {'; '.join(found[:_LISTED])}{' ...' if len(found) > _LISTED else ''}"
            for what, found in (
                ("missing", self._missing),
                ("of another shape", self._misshapen),
                ("unexpected", unexpected),
                ("not finite", broken),
            )
            if found
        ]
        if problems:
            raise ForeignCheckpointError(
                f"{self._name} does not hold the agent that it seems to ({len(self._taken)} tensors fit). "
                f"{'. '.join(problems)}. It may be of another version or configuration of that project; see "
                "docs/foreign.md for what can be read"
            )
        return dict(self._left)

    def _get(self, name: str) -> Tensor:
        tensor = self._tensors[name]
        assert tensor is not None
        return tensor
