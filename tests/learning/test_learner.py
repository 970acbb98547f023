"""What one update changes and what it leaves alone, and that the optimiser applies the gradients it is given."""

import copy

import pytest
import torch
from torch import nn

from fosp_edge.learning.learner import Learner, NotFiniteLossError, make_learner
from tests.agent.sizes import tiny_config
from tests.learning.batches import CPU, make_batch


def weights(learner: Learner, *parts: str) -> dict[str, torch.Tensor]:
    state = learner.agent.state_dict()
    return {name: value.clone() for name, value in state.items() if name.split(".")[0] in parts or not parts}


def unchanged(learner: Learner, before: dict[str, torch.Tensor]) -> bool:
    state = learner.agent.state_dict()
    return all(torch.equal(state[name], value) for name, value in before.items())


def test_the_fused_optimiser_moves_every_weight_as_a_plain_adam_would() -> None:
    config = tiny_config(model_learning_rate=1e-2, decoded_share=1.0)
    learner, batch = make_learner(config, CPU), make_batch(config)
    model = learner.agent.world_model
    before = copy.deepcopy(model)
    learner.update(batch, 0)
    before_parameters = dict(before.named_parameters())
    plain = torch.optim.Adam(before.parameters(), lr=config.model_learning_rate, eps=config.model_epsilon, fused=False)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        # What the optimiser was given, as numbers in their places, whatever the layout in memory.
        before_parameters[name].grad = torch.tensor(parameter.grad.tolist())
    plain.step()
    convolutions = 0
    for name, parameter in model.named_parameters():
        assert torch.allclose(parameter, before_parameters[name], atol=1e-6), name
        convolutions += parameter.ndim == 4
    assert convolutions == 8


def test_the_gradients_are_those_of_the_loss() -> None:
    # Against a finite difference along the gradient itself: the loss falls as fast as its norm says.
    config = tiny_config(free_nats=0.0)
    learner, batch = make_learner(config, CPU), make_batch(config)
    parameters = list(learner.agent.world_model.decoder.parameters())

    def loss() -> torch.Tensor:
        learner.generator.manual_seed(3)
        latents, posterior, prior = learner.observe(batch)
        losses = learner.model_losses(batch, latents, posterior, prior)
        return losses["image"] + losses["state"]

    gradients = torch.autograd.grad(loss(), parameters)
    squared = float(sum((gradient**2).sum() for gradient in gradients))
    step = 1e-3 / squared**0.5
    with torch.no_grad():
        values = []
        for sign in (1.0, -1.0):
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.add_(sign * step * gradient)
            values.append(float(loss()))
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.sub_(sign * step * gradient)
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(squared, rel=0.05)


def test_behaviour_waits_for_its_turn_and_the_world_model_stops_at_its_own() -> None:
    config = tiny_config(behaviour_from=2, model_until=4)
    learner, batch = make_learner(config, CPU), make_batch(config)
    behaviour = ("critics", "slow_critics", "policy")
    for number in range(6):
        model_before, behaviour_before = weights(learner, "world_model"), weights(learner, *behaviour)
        metrics = learner.update(batch, number)
        assert unchanged(learner, model_before) == (number >= 4), number
        assert unchanged(learner, behaviour_before) == (number < 2), number
        assert ("model/image" in metrics) == (number < 4)
        assert ("policy/imitation" in metrics) == (number >= 2)


def test_reachability_that_does_not_learn_stays_as_it_is_while_the_other_critics_learn() -> None:
    config = tiny_config(reachability_learns=False)
    learner, batch = make_learner(config, CPU), make_batch(config)
    critics = weights(learner, "critics", "slow_critics")
    reach = {name: value for name, value in critics.items() if ".reach_" in name}
    others = [value for name, value in critics.items() if name.startswith("critics.") and name not in reach]
    for number in range(3):
        metrics = learner.update(batch, number)
    assert reach and unchanged(learner, reach)
    after = weights(learner, "critics")
    changed = [not torch.equal(after[name], critics[name]) for name in after if name not in reach]
    assert len(changed) == len(others) and any(changed)
    assert "critic/reachability_loss" not in metrics and "policy/imitation" in metrics


def test_behaviour_sends_no_gradient_into_the_world_model() -> None:
    config = tiny_config()
    one, two = make_learner(config, CPU), make_learner(tiny_config(behaviour_from=100), CPU)
    batch = make_batch(config)
    one.update(batch, 0)
    two.update(batch, 0)
    assert unchanged(two, weights(one, "world_model"))


def test_without_safety_there_is_no_cost_and_no_reachability() -> None:
    config = tiny_config(safety=False, advantage_weighting=False)
    learner = make_learner(config, CPU)
    before = {
        name: value
        for name, value in weights(learner, "critics").items()
        if name.startswith(("critics.cost", "critics.reach"))
    }
    metrics = learner.update(make_batch(config), 0)
    assert unchanged(learner, before)
    assert not [name for name in metrics if "cost_" in name or "reach" in name or "multiplier" in name]


@pytest.mark.parametrize("method", [{}, {"safety": False, "advantage_weighting": False}])
def test_losses_fall_on_a_batch_that_stays_the_same(method: dict[str, bool]) -> None:
    config = tiny_config(
        model_learning_rate=3e-3, policy_learning_rate=3e-3, critic_learning_rate=3e-3, horizon=0, **method
    )
    learner, batch = make_learner(config, CPU), make_batch(config)
    history = [learner.update(batch, number) for number in range(30)]
    # With weights, the policy need not come closer to every action; without, it imitates all alike.
    imitation = ["policy/squared_error"] if method else []
    for name in ("model/image", "model/state", "critic/reward_action", *imitation):
        first, last = (sum(item[name] for item in part) / 3 for part in (history[:3], history[-3:]))
        assert last < 0.9 * first, name


def test_the_same_seed_gives_the_same_update_bit_for_bit() -> None:
    config = tiny_config()
    one, two, other = (make_learner(tiny_config(seed=seed), CPU) for seed in (0, 0, 1))
    for learner in (one, two, other):
        learner.update(make_batch(config), 0)
    assert unchanged(two, weights(one))
    assert not unchanged(other, weights(one))


@pytest.mark.parametrize("schedule", [{}, {"model_until": 0}])
def test_a_batch_with_nan_is_refused_and_nothing_is_applied(schedule: dict[str, int]) -> None:
    config = tiny_config(**schedule)
    learner, batch = make_learner(config, CPU), make_batch(config)
    batch.state[0, 1, 2] = float("nan")
    before = weights(learner)
    with pytest.raises(NotFiniteLossError, match="loss is nan"):
        learner.update(batch, 0)
    assert unchanged(learner, before)


def test_a_gradient_that_is_not_finite_is_refused_and_nothing_is_applied() -> None:
    # The loss itself may be finite: sqrt at zero, a sum that overflows on the way back.
    config = tiny_config()
    learner, batch = make_learner(config, CPU), make_batch(config)
    layer = learner.agent.world_model.encoder.state[0]
    assert isinstance(layer, nn.Linear)
    layer.weight.register_hook(lambda gradient: torch.full_like(gradient, float("inf")))
    before = weights(learner)
    with pytest.raises(NotFiniteLossError, match="the model gradient's norm is inf"):
        learner.update(batch, 0)
    assert unchanged(learner, before)


@pytest.mark.parametrize("free", [0.0, 0.05, 1e6])
def test_below_the_free_nats_the_divergence_has_no_gradient(free: float) -> None:
    config = tiny_config(free_nats=free, kl_dynamics=0.5, kl_representation=0.1)
    learner, batch = make_learner(config, CPU), make_batch(config)
    latents, posterior, prior = learner.observe(batch)
    losses = learner.model_losses(batch, latents, posterior, prior)
    each = torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=posterior), torch.distributions.Categorical(logits=prior)
    ).sum(-1)
    expected = torch.maximum(each, torch.tensor(free)).mean()
    assert float(losses["kl_dynamics"].detach()) == pytest.approx(0.5 * float(expected.detach()), rel=1e-4)
    assert float(losses["kl_representation"].detach()) == pytest.approx(0.1 * float(expected.detach()), rel=1e-4)
    weight = learner.agent.world_model.rssm.posterior_output.weight
    (gradient,) = torch.autograd.grad(losses["kl_representation"], weight, retain_graph=True)
    assert bool((gradient == 0).all()) == (free == 1e6)
    # The dynamics loss pulls the prior to the posterior and leaves the encoder's side alone.
    (gradient,) = torch.autograd.grad(losses["kl_dynamics"], learner.agent.world_model.rssm.prior[-1].weight)
    assert bool((gradient == 0).all()) == (free == 1e6)
