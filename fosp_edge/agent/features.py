"""Latent states as dense layers read them, without multiplying by the zeros in them.

s is a grid of one-hot rows. Of a product with it only one row of the weights per group counts: in `small` 48 of 2,304,
beside the 512 numbers of h. On a CPU those rows are looked up and summed, which takes a tenth of the time of the dense
product, forward and for the gradient of the weights; what comes out is the same up to rounding. A GPU multiplies faster
than it looks up: there features are plain tensors, and every function here takes those too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

_WORTH_IT_ROWS = 128
"""Looking up wants the weights transposed, which for fewer rows costs more than it saves."""


@dataclass(frozen=True)
class SparseFeatures:
    """h, s and perhaps an action side by side, [..., D + groups * classes (+ A)]; indexed like that tensor."""

    deterministic: Tensor
    """h, [..., D]."""
    index: Tensor
    """Which numbers of s are one, counted through all groups, [..., groups]."""
    stochastic: Tensor | None
    """s itself, [..., groups * classes], where a gradient has to reach it."""
    width: int
    action: Tensor | None = None

    @property
    def shape(self) -> torch.Size:
        """As of the tensor that this stands for."""
        return torch.Size((*self.index.shape[:-1], self.width))

    @property
    def device(self) -> torch.device:
        """Where it lies."""
        return self.index.device

    def __getitem__(self, rows: Any) -> "SparseFeatures":
        return self._of([part[rows] for part in self._parts])

    def flatten(self, first: int, last: int) -> "SparseFeatures":
        """Leading axes made one, counted from the front."""
        return self._of([part.flatten(first, last) for part in self._parts])

    def detach(self) -> "SparseFeatures":
        """The same without gradients."""
        action = None if self.action is None else self.action.detach()
        return replace(self, deterministic=self.deterministic.detach(), stochastic=None, action=action)

    def _with_grid(self) -> "SparseFeatures":
        if self.stochastic is not None:
            return self
        numbers = self.width - self.deterministic.shape[-1] - (0 if self.action is None else self.action.shape[-1])
        zeros = self.deterministic.new_zeros(*self.index.shape[:-1], numbers)
        return replace(self, stochastic=zeros.scatter(-1, self.index, 1.0))

    @property
    def _parts(self) -> list[Tensor]:
        return [part for part in (self.deterministic, self.index, self.stochastic, self.action) if part is not None]

    def _of(self, parts: list[Tensor]) -> "SparseFeatures":
        left = iter(parts)
        return SparseFeatures(
            next(left), next(left), None if self.stochastic is None else next(left), self.width,
            None if self.action is None else next(left),
        )  # fmt: skip


Features: TypeAlias = Tensor | SparseFeatures


def read(deterministic: Tensor, stochastic: Tensor) -> Features:
    """Features of latent states, h [..., D] and s as one-hot rows [..., groups, classes]; of others, NaN."""
    grid = stochastic.flatten(-2)
    if deterministic.device.type != "cpu":
        return torch.cat([deterministic, grid], -1)
    width = deterministic.shape[-1] + grid.shape[-1]
    index, nothing = _counted(stochastic)
    return SparseFeatures(deterministic + nothing, index, grid if grid.requires_grad else None, width)


def beside(features: Features, action: Tensor) -> Features:
    """Features with an action, [..., A], beside them."""
    if isinstance(features, Tensor):
        return torch.cat([features, action], -1)
    return replace(features, action=action, width=features.width + action.shape[-1])


def stack(parts: Sequence[Features]) -> Features:
    """Features of several moments, along a new first axis."""
    if all(isinstance(part, Tensor) for part in parts):
        return torch.stack([part for part in parts if isinstance(part, Tensor)])
    several = [part for part in parts if isinstance(part, SparseFeatures)]
    if any(part.stochastic is not None for part in several):  # a start that nothing is felt of, and what follows it
        several = [part._with_grid() for part in several]
    return several[0]._of([torch.stack(column) for column in zip(*(part._parts for part in several), strict=True)])


def repeat(features: Features, count: int) -> Features:
    """[N, F] -> [N, count, F]."""
    if isinstance(features, Tensor):
        return features.unsqueeze(1).expand(-1, count, -1)
    return features._of([part.unsqueeze(1).expand(-1, count, -1) for part in features._parts])


def linear(layer: nn.Linear, features: Features) -> Tensor:
    """What the layer makes of them, [..., out]."""
    if isinstance(features, Tensor):
        made: Tensor = layer(features)
        return made
    own, action = features.deterministic, features.action
    beside_it = 0 if action is None else action.shape[-1]
    widths = [own.shape[-1], layer.in_features - own.shape[-1] - beside_it, beside_it]
    of_h, of_s, of_action = torch.split(layer.weight, widths, 1)
    made = functional.linear(own, of_h, layer.bias) + _looked_up(features.index, features.stochastic, of_s)
    return made if action is None else made + functional.linear(action, of_action)


def one_hot_linear(layer: nn.Linear, stochastic: Tensor) -> Tensor:
    """What a layer makes of s alone, [..., groups, classes] -> [..., out]."""
    grid = stochastic.flatten(-2)
    if grid.device.type != "cpu" or grid.shape[:-1].numel() < _WORTH_IT_ROWS:
        made: Tensor = layer(grid)
        return made
    index, nothing = _counted(stochastic)
    made = _looked_up(index, grid if grid.requires_grad else None, layer.weight) + nothing
    return made if layer.bias is None else made + layer.bias


def _counted(stochastic: Tensor) -> tuple[Tensor, Tensor]:
    """Places of the ones among all numbers of s, [..., groups], and zero, [..., 1]; NaN where s is not one-hot (or not
    a number), which places cannot say: whoever looks at the loss must hear of it."""
    groups, classes = stochastic.shape[-2:]
    ones, index = stochastic.detach().max(-1)
    sound = ((ones - 1.0).abs() < 1e-3).all(-1, keepdim=True)
    nothing = torch.zeros_like(sound, dtype=ones.dtype).masked_fill(~sound, torch.nan)
    return index + torch.arange(groups, device=stochastic.device) * classes, nothing


def _looked_up(index: Tensor, stochastic: Tensor | None, weight: Tensor) -> Tensor:
    """The product of s with weights [out, groups * classes]; a gradient reaches `stochastic` if it is there."""
    summed = functional.embedding_bag(index.flatten(0, -2), weight.t().contiguous(), mode="sum")
    made = summed.view(*index.shape[:-1], -1)
    if stochastic is None:
        return made
    felt: Tensor = _Felt.apply(made, stochastic, weight.detach())  # type: ignore[no-untyped-call]
    return felt


class _Felt(torch.autograd.Function):
    """Nothing forward; backward the gradient that a dense product would hand to its input."""

    @staticmethod
    def forward(ctx: Any, made: Tensor, stochastic: Tensor, weight: Tensor) -> Tensor:
        # Products under autocast are made in its precision, this one too.
        lowered = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else weight.dtype
        ctx.kind = stochastic.dtype
        ctx.save_for_backward(weight.to(lowered))
        return made.view_as(made)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        (weight,) = ctx.saved_tensors
        (gradient,) = gradients
        return gradient, (gradient.to(weight.dtype) @ weight).to(ctx.kind), None
