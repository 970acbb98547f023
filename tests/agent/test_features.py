"""Looking rows up against multiplying by one-hot vectors: values, every gradient, and what is done to features."""

import pytest
import torch
from torch import Tensor, nn

from fosp_edge.agent import features as reading
from fosp_edge.agent.features import SparseFeatures, beside, linear, one_hot_linear, read, repeat, stack

D, GROUPS, CLASSES, A, OUT = 5, 3, 4, 2, 7
SHAPE = (2, 6)


def parts(seed: int, *, felt: bool) -> tuple[Tensor, Tensor, Tensor]:
    """h, one-hot s and an action of [2, 6] moments; with `felt`, gradients are asked of all three."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(CLASSES, (*SHAPE, GROUPS), generator=generator)
    found = (
        torch.randn(*SHAPE, D, generator=generator),
        nn.functional.one_hot(chosen, CLASSES).float(),
        torch.randn(*SHAPE, A, generator=generator),
    )
    return tuple(part.requires_grad_(felt) for part in found)  # type: ignore[return-value]


def dense(deterministic: Tensor, stochastic: Tensor, action: Tensor) -> Tensor:
    return torch.cat([deterministic, stochastic.flatten(-2), action], -1)


def sparse(deterministic: Tensor, stochastic: Tensor, action: Tensor) -> SparseFeatures:
    found = beside(read(deterministic, stochastic), action)
    assert isinstance(found, SparseFeatures)
    return found


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("felt", [False, True])
def test_a_layer_makes_the_same_of_them_forward_and_backward(bias: bool, felt: bool) -> None:
    torch.manual_seed(0)
    layer, weighing = nn.Linear(D + GROUPS * CLASSES + A, OUT, bias=bias), torch.randn(*SHAPE, OUT)
    found = []
    for make in (dense, sparse):
        given = parts(1, felt=felt)
        wanted = [*layer.parameters(), *(given if felt else ())]
        made = linear(layer, make(*given))
        found.append([made, *torch.autograd.grad((weighing * made.square()).sum(), wanted)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rows", [3, reading._WORTH_IT_ROWS])
def test_a_layer_makes_the_same_of_s_alone(rows: int) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(GROUPS * CLASSES, OUT)
    s = nn.functional.one_hot(torch.randint(CLASSES, (rows, GROUPS)), CLASSES).float().requires_grad_()
    found = [
        [made, *torch.autograd.grad(made.square().sum(), [s, *layer.parameters()])]
        for made in (layer(s.flatten(-2)), one_hot_linear(layer, s))
    ]
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("felt", [False, True])
def test_they_are_cut_joined_and_repeated_like_the_tensor_they_stand_for(felt: bool) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(D + GROUPS * CLASSES + A, OUT)
    full, few = dense(*parts(1, felt=felt)), sparse(*parts(1, felt=felt))
    chosen = torch.tensor([4, 0, 4])
    pairs = [
        (full[:, 1:], few[:, 1:]),
        (full.flatten(0, 1)[chosen], few.flatten(0, 1)[chosen]),
        (full.detach(), few.detach()),
        (repeat(full[0], 3), repeat(few[0], 3)),
        (stack([full[0], full[1]]), stack([few[0], few[1]])),
    ]
    for one, other in pairs:
        assert one.shape == other.shape and one.device == other.device
        torch.testing.assert_close(linear(layer, one), linear(layer, other))
    assert not linear(layer, few.detach()).sub(linear(layer, few).detach()).any()


def test_a_start_that_feels_nothing_is_stacked_with_what_does() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(D + GROUPS * CLASSES + A, OUT)
    later = parts(2, felt=True)
    gradients = []
    for make in (dense, sparse):
        made = linear(layer, stack([make(*parts(1, felt=False)), make(*later)]))
        gradients += torch.autograd.grad(made.square().sum(), [later[1]])
    expected, found = gradients
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert found.any()


def test_what_is_not_a_number_in_s_is_none_afterwards() -> None:
    torch.manual_seed(0)
    layer, alone = nn.Linear(D + GROUPS * CLASSES + A, OUT), nn.Linear(GROUPS * CLASSES, OUT)
    deterministic, s, action = parts(1, felt=False)
    s[1, 2, 0, 3] = float("nan")
    found = linear(layer, sparse(deterministic, s, action)).isnan()
    assert torch.equal(found, linear(layer, dense(deterministic, s, action)).isnan()) and found.any()
    empty = linear(layer, sparse(deterministic, torch.zeros_like(s), action))
    assert empty.isnan().all()  # not one-hot: looking it up would have read the first class of each group
    many = s[1].repeat(reading._WORTH_IT_ROWS, 1, 1)
    assert torch.equal(one_hot_linear(alone, many).isnan(), alone(many.flatten(-2)).isnan())


def test_elsewhere_than_on_a_cpu_they_are_plain_tensors() -> None:
    found = read(torch.zeros(2, D, device="meta"), torch.zeros(2, GROUPS, CLASSES, device="meta"))
    assert isinstance(found, Tensor) and found.shape == (2, D + GROUPS * CLASSES)


def test_under_autocast_the_gradient_to_s_is_made_in_its_precision() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(D + GROUPS * CLASSES + A, OUT, bias=False)
    found = []
    for make in (dense, sparse):
        given = parts(1, felt=True)
        with torch.autocast("cpu", torch.bfloat16):
            made = linear(layer, make(*given))
        found += torch.autograd.grad(made.float().sum(), [given[1]])
    assert found[0].dtype == found[1].dtype == torch.float32
    torch.testing.assert_close(*found, rtol=0.02, atol=0.02)
