"""Fine-tuning: what stays as it was shipped, what learns in which scope, and that it goes on after a stop."""

import threading
from pathlib import Path

import pytest
import torch

from fosp_edge.agent.agent import Agent
from fosp_edge.agent.config import SCOPES
from fosp_edge.experience.store import ExperienceStore
from fosp_edge.learning.checkpoint import load_agent
from fosp_edge.learning.finetuning import begin_fine_tuning, fine_tuning_config, fine_tuning_sampler
from fosp_edge.learning.learner import Learner
from fosp_edge.learning.trainer import Schedule, Trainer
from tests.agent.sizes import tiny_config
from tests.experience.episodes import make_header, make_steps
from tests.learning.batches import CPU, make_batch
from tests.learning.test_latents import Episodes

BASE = tiny_config(state_size=4, batch_length=5, batch_size=4, behaviour_from=9, model_until=9, critics_until=9)


def shipped() -> Agent:
    torch.manual_seed(0)
    return Agent(BASE)


def snapshot(agent: Agent) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in agent.state_dict().items()}


def changed(agent: Agent, before: dict[str, torch.Tensor], prefix: str) -> bool:
    after = agent.state_dict()
    names = [name for name in before if name.startswith(prefix)]
    assert names
    return not all(torch.equal(after[name], before[name]) for name in names)


@pytest.mark.parametrize("scope", SCOPES)
def test_the_offline_policy_stays_and_the_scope_says_what_learns(scope: str) -> None:
    agent = shipped()
    original = snapshot(agent)
    learner = begin_fine_tuning(agent, fine_tuning_config(BASE, scope=scope))
    before = snapshot(learner.agent)
    for number in range(2):
        learner.update(make_batch(learner.config, number), number)
    moving = {
        "policy.": False,
        "online_policy.": True,
        "critics.": True,
        "world_model.encoder.image": scope == "full",
        "world_model.rssm": scope in ("full", "recurrent"),
        "world_model.decoder": scope in ("full", "recurrent"),
        "world_model.reward": scope != "behaviour",
        "world_model.cost": scope != "behaviour",
    }
    for name, expected in moving.items():
        assert changed(learner.agent, before, name) == expected, name
    # What was given is not touched: the running robot may still use it.
    assert all(torch.equal(value, original[name]) for name, value in agent.state_dict().items())


def test_without_expansion_the_policy_itself_learns() -> None:
    learner = begin_fine_tuning(shipped(), fine_tuning_config(BASE, expansion=False))
    before = snapshot(learner.agent)
    learner.update(make_batch(learner.config), 0)
    assert learner.agent.online_policy is None and changed(learner.agent, before, "policy.")


def test_the_multiplier_and_scales_of_offline_training_go_on() -> None:
    offline = Learner(shipped())
    offline.multiplier.value.fill_(0.25)
    offline.scales["reward"].value.fill_(3.5)
    learner = begin_fine_tuning(shipped(), fine_tuning_config(BASE), offline.scalars())
    assert learner.scalars() == offline.scalars()


@pytest.mark.parametrize("scope", ["full", "heads"])
def test_it_learns_from_both_sources_and_goes_on_where_it_stopped(scope: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    config = fine_tuning_config(BASE, scope=scope, updates=4)

    def make_trainer(store: ExperienceStore) -> tuple[Trainer, Learner]:
        learner = begin_fine_tuning(shipped(), config)
        sampler = fine_tuning_sampler(learner, [Episodes()], store, refresh_every=1)
        return Trainer(learner, sampler, run, notes={}, schedule=Schedule(log_every=1)), learner

    with ExperienceStore(tmp_path / "own", "a") as store:
        first, _ = make_trainer(store)
        stop = threading.Event()
        first.run(lambda step: stop.set() if step.update == 2 else None, stop)
        store.add(make_header(seed=77), make_steps(12, size_px=64))  # lived while the learner was down
        second, learner = make_trainer(store)
        assert second.resume() == 2
        second.run(lambda _: None, threading.Event())
        assert second.update == 4
    agent, header = load_agent(run, CPU)
    assert agent.online_policy is not None and header["config"] == config
    for saved, own in zip(agent.state_dict().values(), learner.agent.state_dict().values(), strict=True):
        assert torch.equal(saved, own)
