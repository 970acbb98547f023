"""The distributions of DreamerV3 (Hafner et al. 2023): symlog, two-hot, categoricals with a uniform share."""

import torch
import torch.nn.functional as functional
from torch import Tensor


def symlog(x: Tensor) -> Tensor:
    """sign(x) ln(1 + |x|): compresses large values, keeps small ones."""
    return torch.sign(x) * torch.log1p(torch.abs(x))


def symexp(x: Tensor) -> Tensor:
    """The inverse of `symlog`."""
    return torch.sign(x) * torch.expm1(torch.abs(x))


def bin_centres(count: int, device: torch.device | None = None) -> Tensor:
    """Centres of the two-hot bins in symlog space, shape [count]."""
    return torch.linspace(-20.0, 20.0, count, device=device)


def two_hot(value: Tensor, count: int) -> Tensor:
    """Distribution over the two bins around symlog(value) whose mean it is; [...] -> [..., count]. NaN stays NaN."""
    bins, shares = _two_bins(value, count)
    return torch.zeros(*value.shape, count, device=value.device).scatter(-1, bins, shares)


def _two_bins(value: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The bins around symlog(value) and the share of each, both [..., 2]."""
    position = (symlog(value).clamp(-20.0, 20.0) + 20.0) / 40.0 * (count - 1)
    # A NaN cannot be an index; it goes on through `share`, so that whoever looks at the loss hears of it.
    below = position.floor().nan_to_num(0.0).clamp(0, count - 2)
    share = position - below
    bins = below.long().unsqueeze(-1) + torch.arange(2, device=value.device)
    return bins, torch.stack([1.0 - share, share], -1)


def two_hot_mean(logits: Tensor, spacing: str = "symlog") -> Tensor:
    """The value that a two-hot distribution stands for, bins as `Config.bin_spacing` has it; [..., count] -> [...]."""
    probability, centres = torch.softmax(logits.float(), -1), bin_centres(logits.shape[-1], logits.device)
    if spacing == "symexp":
        return symmetric_mean(probability, symexp(centres))
    return symexp((probability * centres).sum(-1))


def symmetric_mean(probability: Tensor, values: Tensor) -> Tensor:
    """Expected value over bins that mirror each other; [..., odd count] -> [...].

    Opposite bins, up to 5e8 each, are joined before they are summed: summed in order, their rounding errors would
    drown what is left (Hafner et al. 2023).
    """
    half = probability.shape[-1] // 2
    left, right = probability[..., :half] * values[:half], probability[..., half + 1 :] * values[half + 1 :]
    return (left.flip(-1) + right).sum(-1) + probability[..., half] * values[half]


def two_hot_loss(logits: Tensor, value: Tensor) -> Tensor:
    """Cross-entropy to the two-hot encoding of `value`; [..., count], [...] -> [...]."""
    bins, shares = _two_bins(value.detach(), logits.shape[-1])
    return -(shares * torch.log_softmax(logits.float(), -1).gather(-1, bins)).sum(-1)


def mixed_logits(logits: Tensor, unimix: float) -> Tensor:
    """Log-probabilities of a categorical with a uniform share; [..., classes] -> [..., classes]."""
    probability = torch.softmax(logits.float(), -1)
    return torch.log((1.0 - unimix) * probability + unimix / logits.shape[-1])


def sample_straight_through(log_probability: Tensor, uniform: Tensor) -> Tensor:
    """One-hot sample (Gumbel-max) whose gradient is that of the probabilities; [..., classes]."""
    gumbel = torch.log(uniform).neg_().log_().neg_()
    best, index = (log_probability.detach() + gumbel).max(-1)
    sample = functional.one_hot(index, log_probability.shape[-1]).to(log_probability.dtype)
    if not log_probability.requires_grad:
        return sample.add_((best - best).unsqueeze(-1))  # what is not a number stays none
    probability = log_probability.exp()
    return sample + probability - probability.detach()


def categorical_kl(left: Tensor, right: Tensor) -> Tensor:
    """KL(left || right) summed over groups, from log-probabilities; [..., groups, classes] -> [...]."""
    return (left.exp() * (left - right)).sum((-2, -1))


def open_uniform(shape: tuple[int, ...], device: torch.device, generator: torch.Generator | None) -> Tensor:
    """Uniform numbers strictly inside (0, 1), safe under two logarithms."""
    return torch.rand(shape, device=device, generator=generator).clamp(1e-6, 1.0 - 1e-6)
