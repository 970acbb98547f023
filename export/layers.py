"""The agent's layers laid out for one observation at a time: matrices the way the graph multiplies, biases beside them.

Nothing here approximates: it is the same algebra in another order.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Dense(nn.Module):
    """x @ W (+ b), with W stored as [in, out]: a plain MatMul in the graph, which is what 8-bit kernels look for."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self.weight: Tensor
        self.bias: Tensor | None
        self.register_buffer("weight", weight.detach().clone().contiguous())
        self.register_buffer("bias", None if bias is None else bias.detach().clone())

    @staticmethod
    def of(layer: nn.Module) -> "Dense":
        """The same map as a trained `nn.Linear`."""
        assert isinstance(layer, nn.Linear)
        return Dense(layer.weight.T, layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[N, in] -> [N, out]."""
        product = x @ self.weight
        return product if self.bias is None else product + self.bias


def laid_out(layers: nn.Sequential) -> nn.Sequential:
    """A stack of layers with every linear map as a `Dense`; norms and activations stay what they are."""
    return nn.Sequential(*(Dense.of(layer) if isinstance(layer, nn.Linear) else layer for layer in layers))


def linear_weight(layer: nn.Module) -> Tensor:
    """Weight [out, in] of a linear layer."""
    assert isinstance(layer, nn.Linear)
    return layer.weight


def linear_bias(layer: nn.Module) -> Tensor:
    """Bias [out] of a linear layer; zeros if it has none."""
    assert isinstance(layer, nn.Linear)
    return layer.weight.new_zeros(len(layer.weight)) if layer.bias is None else layer.bias.detach()


class FirstLayers(nn.Module):
    """The linear first layers of several heads over the same latent, as one matrix and one table.

    One-hot times matrix is a sum of gathered rows, one per group; side by side, all heads gather at once.
    """

    def __init__(self, heads: Sequence[nn.Sequential], deterministic: int, groups: int, classes: int) -> None:
        super().__init__()
        weights = [linear_weight(head[0]) for head in heads]
        self.widths = [weight.shape[0] for weight in weights]
        end = deterministic + groups * classes
        self.deterministic = torch.cat([weight[:, :deterministic] for weight in weights]).T
        """[D, sum of widths]: for whoever joins it with other maps of h."""
        self.table = GroupTable(torch.cat([weight[:, deterministic:end] for weight in weights]).T, groups, classes)
        # The project's own maps before a norm carry none.
        biases = [linear_bias(head[0]) for head in heads]
        self.bias = torch.cat(biases) if any(bool(bias.any()) for bias in biases) else None
        """[sum of widths], for whoever makes that product."""

    def forward(self, from_deterministic: Tensor, stochastic: Tensor) -> tuple[Tensor, ...]:
        """h times `deterministic`, [N, W], and class indices [N, G] -> one [N, width] per head."""
        return torch.split(from_deterministic + self.table(stochastic), self.widths, -1)


class GroupTable(nn.Module):
    """A matrix over one-hot groups, read by index: [N, G] classes -> [N, W]."""

    def __init__(self, table: Tensor, groups: int, classes: int) -> None:
        super().__init__()
        self.table: Tensor
        self.offset: Tensor
        self.register_buffer("table", table.detach().clone().contiguous())
        self.register_buffer("offset", (torch.arange(groups) * classes)[None])
        self.ones: Tensor
        self.register_buffer("ones", torch.ones(1, groups))

    def forward(self, indices: Tensor) -> Tensor:
        """Sum of one row per group."""
        rows = nn.functional.embedding(indices + self.offset, self.table)
        # As a product with ones: ONNX Runtime's ReduceSum across rows takes ten times as long.
        return (self.ones @ rows).squeeze(1)
