"""The policy imitates proven episodes only, where it is told to; all samplers say which rows are."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fosp_edge.experience.sampler import SequenceSampler
from fosp_edge.experience.schema import Steps, with_proof
from fosp_edge.experience.store import ExperienceStore
from fosp_edge.learning.actors import regression
from fosp_edge.learning.latents import LatentSampler
from fosp_edge.learning.learner import make_learner
from fosp_edge.learning.own_experience import OwnExperience
from tests.agent.sizes import tiny_config
from tests.experience.episodes import make_header, make_steps
from tests.learning.batches import CPU, make_batch


def an_episode(*, success: bool = True, cost: float = 0.0, violation: float = 0.0, mark: int = 0) -> Steps:
    steps = make_steps(12, mark=mark, size_px=64)
    ends = np.arange(12) == 11
    middle = np.arange(12) == 5
    return steps | {
        "is_terminal": ends & success,
        "cost": np.where(middle, cost, 0.0).astype(np.float32),
        "violation": np.where(middle, violation, 0.0).astype(np.float32),
    }


@pytest.mark.parametrize(
    ("how", "expected"),
    [({}, True), ({"success": False}, False), ({"cost": 0.1}, False), ({"violation": 1.0}, False)],
    ids=["reached", "not reached", "cost", "violation"],
)
def test_proven_is_what_reached_its_end_without_violation(how: dict[str, float], expected: bool) -> None:
    assert with_proof(an_episode(**how))["proven"].tolist() == [expected] * 12  # type: ignore[arg-type]


def test_every_sampler_tells_proven_rows(tmp_path: Path) -> None:
    config = tiny_config(image_channels=6, state_size=4)
    with ExperienceStore(tmp_path, "a") as store:
        good, bad = an_episode(), an_episode(violation=1.0, mark=1)
        good["reward"], bad["reward"] = np.full(12, 1.0, np.float32), np.full(12, -1.0, np.float32)
        for steps in (good, bad):
            store.add(make_header(), steps)
        own = OwnExperience(store, 8, 6, 0)
        own.refresh()
        agent = make_learner(config, CPU).agent
        samplers = [
            own,
            SequenceSampler([store], 8, 6, 0),
            LatentSampler([store], agent, 8, 6, 0, choose=lambda _: True, progress=lambda done, total: None),
        ]
        for sampler in samplers:
            batch = sampler.sample()
            assert np.array_equal(batch["proven"], batch["reward"] > 0.0), type(sampler).__name__
            assert batch["proven"].any() and not batch["proven"].all()


def test_what_was_done_in_other_episodes_does_not_reach_the_policy() -> None:
    config = tiny_config(imitates="proven", lagrangian=False)
    learner, batch = make_learner(config, CPU), make_batch(config)
    latents, _, _ = learner.observe(batch)
    proven = torch.zeros_like(batch.is_first)
    proven[0] = True
    changed = torch.where(proven.unsqueeze(-1), batch.action, -batch.action)

    def gradient(action: torch.Tensor, how: str) -> torch.Tensor:
        learner.agent.config = replace(config, imitates=how)
        told = replace(batch, action=action, proven=proven)
        # Equal weights, so that nothing but the actions themselves can tell.
        learner.agent.config = replace(learner.agent.config, advantage_weighting=False)
        loss = regression(learner.agent, told, latents.detach(), learner.scales, {}).loss
        parts = torch.autograd.grad(loss, list(learner.agent.policy.parameters()))
        return torch.cat([part.flatten() for part in parts])

    assert torch.equal(gradient(batch.action, "proven"), gradient(changed, "proven"))
    assert not torch.allclose(gradient(batch.action, "all"), gradient(changed, "all"))


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown choice 'best' of what to imitate"):
        tiny_config(imitates="best")
