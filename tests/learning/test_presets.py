"""What the presets switch: each field changes what it says and nothing else."""

import numpy as np
import pytest
import torch

from fosp_edge.agent.config import METHODS
from fosp_edge.agent.distributions import two_hot
from fosp_edge.learning.actors import regression, through_imagination
from fosp_edge.learning.batch import Batch
from fosp_edge.learning.imagination import imagine_through, starts
from fosp_edge.learning.learner import Learner, make_learner
from tests.agent.sizes import tiny_config
from tests.learning.batches import CPU, make_batch, make_columns


def moved(learner: Learner, before: dict[str, torch.Tensor], prefix: str) -> bool:
    after = learner.agent.state_dict()
    return not all(torch.equal(after[name], before[name]) for name in before if name.startswith(prefix))


@pytest.mark.parametrize("method", METHODS)
def test_every_preset_learns_what_it_needs(method: str) -> None:
    learner = make_learner(tiny_config(**METHODS[method]), CPU)
    before = {name: value.clone() for name, value in learner.agent.state_dict().items()}
    metrics = {}
    for number in range(2):
        metrics = learner.update(make_batch(learner.config, number), number)
    config = learner.config
    assert moved(learner, before, "policy.") and moved(learner, before, "critics.reward_state")
    assert moved(learner, before, "critics.cost_state") == config.safety
    assert moved(learner, before, "critics.reach_state") == config.safety
    assert ("policy/multiplier" in metrics) == (config.safety and config.lagrangian)
    assert ("critic/reward_action" in metrics) == config.in_sample
    assert ("policy/imitation" in metrics) == (config.actor == "regression")
    assert all(torch.isfinite(torch.tensor(list(metrics.values()))))


@pytest.mark.parametrize("actor", ["imagined_value", "imagined_return"])
def test_gradients_through_imagination_find_the_better_action(actor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config(actor=actor, policy_learning_rate=3e-2, entropy=0.0, safety=False, in_sample=False, horizon=2)
    learner = make_learner(config, CPU)
    critics, model = learner.agent.critics, learner.agent.world_model

    def spike(value: torch.Tensor) -> torch.Tensor:
        return torch.log(two_hot(value, config.bins) + 1e-12)

    # Q_r is the first action; the imagined reward is the change of h that only the action causes.
    monkeypatch.setattr(critics.reward_action, "forward", lambda pair: spike(pair.action[..., 0]))
    if actor == "imagined_return":
        monkeypatch.setattr(model.reward, "forward", lambda features: spike(features.deterministic.sum(-1)))
    batch = make_batch(config)
    latents = learner.observe(batch)[0].detach()

    def imagined() -> float:
        generator = torch.Generator().manual_seed(0)
        start = starts(batch, latents, 4, generator)
        with torch.no_grad():
            trajectory = imagine_through(learner.agent, start, generator)
            metrics: dict[str, torch.Tensor] = {}
            through_imagination(learner.agent, trajectory, learner.scales, metrics)
        return float(metrics["policy/imagined_return"])

    before = imagined()
    for _ in range(60):
        learner._update_policy(batch, latents)
    assert imagined() > before + 0.1


def test_ungrounded_reachability_never_sees_a_violation() -> None:
    means = {}
    for grounded in (True, False):
        config = tiny_config(reachability_grounded=grounded, reachability_learning_rate=3e-2, slow_rate=0.5, horizon=0)
        learner, columns = make_learner(config, CPU), make_columns(config)
        batch = Batch.from_numpy(columns | {"violation": np.ones_like(columns["violation"])}, CPU)
        latents = learner.observe(batch)[0].detach()
        for _ in range(60):
            metrics = learner._update_critics(batch, latents)
        means[grounded] = metrics["critic/reachability_mean"]
    assert means[True] > 0.5 and means[False] < 0.05


def test_without_guidance_the_policy_does_not_hear_reachability() -> None:
    losses = {}
    for guided in (True, False):
        for bias in (-4.0, 4.0):
            config = tiny_config(reachability_guidance=guided)
            learner = make_learner(config, CPU)
            with torch.no_grad():
                for head in (learner.agent.critics.reach_state, learner.agent.critics.reach_action):
                    head.output.bias.fill_(bias)
                learner.agent.critics.reward_action.output.weight.normal_()
                learner.agent.critics.cost_action.output.weight.normal_()
            torch.manual_seed(3)
            batch = make_batch(config)
            latents = learner.observe(batch)[0].detach()
            losses[guided, bias] = float(regression(learner.agent, batch, latents, learner.scales, {}).loss.detach())
    assert losses[False, -4.0] == losses[False, 4.0]
    assert losses[True, -4.0] != losses[True, 4.0]


def test_an_emphasis_of_cost_is_a_factor_of_its_weight() -> None:
    losses = []
    for changes in ({}, {"feasible_cost_weight": 2.0}, {"feasible_cost_weight": 0.5, "cost_emphasis": 4.0}):
        config = tiny_config(**changes)
        learner = make_learner(config, CPU)
        torch.manual_seed(3)
        with torch.no_grad():
            learner.agent.critics.cost_action.output.weight.normal_()
        batch = make_batch(config)
        latents = learner.observe(batch)[0].detach()
        losses.append(float(regression(learner.agent, batch, latents, learner.scales, {}).loss.detach()))
    assert losses[1] == losses[2] != losses[0]


def test_what_needs_imagination_says_so() -> None:
    with pytest.raises(ValueError, match="horizon of 1 or more"):
        tiny_config(horizon=0, in_sample=False)
    with pytest.raises(ValueError, match="unknown actor 'magic'; choose one of: regression"):
        tiny_config(actor="magic")
