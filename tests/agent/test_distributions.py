"""Two-hot, symlog and categoricals, against closed forms and against torch's own distributions."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fosp_edge.agent.distributions import (
    bin_centres,
    categorical_kl,
    mixed_logits,
    open_uniform,
    sample_straight_through,
    symexp,
    symlog,
    two_hot,
    two_hot_loss,
    two_hot_mean,
)

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False)


@given(NUMBERS)
def test_symexp_inverts_symlog(value: float) -> None:
    x = torch.tensor(value, dtype=torch.float64)
    assert float(symexp(symlog(x))) == pytest.approx(value, rel=1e-9, abs=1e-12)
    assert float(symlog(x)) == pytest.approx(float(np.sign(value) * np.log1p(abs(value))))


@given(NUMBERS, st.integers(2, 300))
def test_a_two_hot_code_is_a_distribution_over_two_neighbours_whose_mean_is_the_value(value: float, bins: int) -> None:
    code = two_hot(torch.tensor([value]), bins)[0]
    assert float(code.min()) >= 0.0 and float(code.sum()) == pytest.approx(1.0, abs=1e-5)
    used = torch.nonzero(code > 0).flatten()
    assert len(used) <= 2 and int(used[-1] - used[0]) == len(used) - 1
    mean = float((code * bin_centres(bins)).sum())
    assert mean == pytest.approx(float(symlog(torch.tensor(value))), abs=2e-4)


@pytest.mark.parametrize("value", [-300.0, -3.0, 0.0, 0.7, 12.5])
def test_the_mean_of_fitted_logits_is_the_value(value: float) -> None:
    code = two_hot(torch.tensor(value), 41)
    assert float(two_hot_mean(torch.log(code + 1e-12))) == pytest.approx(value, rel=1e-3, abs=1e-4)


def test_two_hot_closed_forms() -> None:
    # 41 bins are one apart in symlog space: zero is bin 20, and symexp(1.25) lies a quarter of the way from 21 to 22.
    assert torch.equal(two_hot(torch.tensor(0.0), 41), torch.eye(41)[20])
    code = two_hot(symexp(torch.tensor(1.25)), 41)
    assert float(code[21]) == pytest.approx(0.75, abs=1e-5) and float(code[22]) == pytest.approx(0.25, abs=1e-5)
    # Beyond the range all mass is on the last bin.
    assert float(two_hot(torch.tensor(1e12), 41)[40]) == 1.0
    assert float(two_hot(torch.tensor(-1e12), 41)[0]) == 1.0


def test_two_hot_loss_is_the_cross_entropy_and_is_least_at_the_code_itself() -> None:
    value, logits = torch.tensor([0.3, -7.0]), torch.randn(2, 41, generator=torch.Generator().manual_seed(1))
    code = two_hot(value, 41)
    expected = torch.nn.functional.cross_entropy(logits, code, reduction="none")
    assert torch.allclose(two_hot_loss(logits, value), expected, atol=1e-6)
    entropy = torch.distributions.Categorical(probs=code).entropy()
    assert torch.allclose(two_hot_loss(torch.log(code + 1e-12), value), entropy, atol=1e-4)
    assert torch.allclose(two_hot_mean(torch.zeros(3, 41)), torch.zeros(3), atol=1e-5)


def test_the_uniform_share_bounds_every_probability_from_below() -> None:
    logits = torch.tensor([[100.0, 0.0, 0.0, -100.0], [0.0, 1.0, 2.0, 3.0]])
    probability = mixed_logits(logits, 0.01).exp()
    expected = 0.99 * torch.softmax(logits, -1) + 0.01 / 4
    assert torch.allclose(probability, expected, atol=1e-7)
    assert float(probability.min()) >= 0.0025 - 1e-7
    assert torch.allclose(probability.sum(-1), torch.ones(2), atol=1e-6)


def test_categorical_kl_is_that_of_torch() -> None:
    generator = torch.Generator().manual_seed(2)
    left, right = (mixed_logits(torch.randn(5, 3, 4, generator=generator), 0.01) for _ in range(2))
    pair = torch.distributions.Categorical(logits=left), torch.distributions.Categorical(logits=right)
    expected = torch.distributions.kl_divergence(*pair).sum(-1)
    assert torch.allclose(categorical_kl(left, right), expected, atol=1e-6)
    assert torch.allclose(categorical_kl(left, left), torch.zeros(5), atol=1e-6)


def test_samples_come_as_often_as_their_probability_says() -> None:
    probability = torch.tensor([0.5, 0.3, 0.15, 0.05])
    uniform = open_uniform((40_000, 4), torch.device("cpu"), torch.Generator().manual_seed(3))
    samples = sample_straight_through(torch.log(probability).expand(40_000, 4), uniform)
    assert torch.allclose(samples.sum(-1), torch.ones(40_000), atol=1e-5)
    # Four standard deviations of a binomial share.
    bound = 4.0 * torch.sqrt(probability * (1 - probability) / 40_000)
    assert bool((torch.abs(samples.mean(0) - probability) < bound).all())


def test_the_gradient_of_a_sample_is_that_of_its_probabilities() -> None:
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(4), requires_grad=True)
    weights = torch.randn(6, 4, generator=torch.Generator().manual_seed(5))
    uniform = open_uniform((6, 4), torch.device("cpu"), torch.Generator().manual_seed(6))
    (through,) = torch.autograd.grad(
        (sample_straight_through(torch.log_softmax(logits, -1), uniform) * weights).sum(), logits
    )
    (direct,) = torch.autograd.grad((torch.softmax(logits, -1) * weights).sum(), logits)
    assert torch.allclose(through, direct, atol=1e-6)
    assert float(direct.abs().max()) > 0.01


def test_noise_survives_two_logarithms() -> None:
    noise = open_uniform((200_000,), torch.device("cpu"), torch.Generator().manual_seed(7))
    assert float(noise.min()) > 0.0 and float(noise.max()) < 1.0
    assert bool(torch.isfinite(-torch.log(-torch.log(noise))).all())
