"""Going on from a checkpoint is as if nothing had happened, and nothing but a whole one is accepted."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from fosp_edge.learning import checkpoint
from fosp_edge.learning.checkpoint import (
    CHECKPOINT_FILE,
    CheckpointError,
    load_agent,
    read_header,
    resume,
    save_checkpoint,
)
from fosp_edge.learning.learner import Learner, make_learner
from tests.agent.sizes import tiny_config
from tests.learning.batches import CPU, make_batch


def trained(updates: int = 2) -> Learner:
    learner = make_learner(tiny_config(), CPU)
    for number in range(updates):
        learner.update(make_batch(learner.config, number), number)
    return learner


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / CHECKPOINT_FILE
    save_checkpoint(path, trained(), {"update": 2}, {"command": "a test"})
    return path


def same_weights(left: Learner, right: Learner) -> bool:
    pairs = zip(left.agent.state_dict().values(), right.agent.state_dict().values(), strict=True)
    return all(torch.equal(one, two) for one, two in pairs)


def test_the_next_update_after_resuming_is_the_same_bit_for_bit(saved: Path) -> None:
    straight, resumed = trained(), make_learner(tiny_config(), CPU)
    header = resume(saved, resumed)
    assert header["progress"] == {"update": 2} and header["notes"] == {"command": "a test"}
    assert same_weights(straight, resumed)
    assert resumed.scalars() == straight.scalars()
    batch = make_batch(straight.config, 7)
    assert straight.update(batch, 2) == resumed.update(batch, 2)
    assert same_weights(straight, resumed)


def test_the_agent_alone_and_the_header_alone(saved: Path) -> None:
    agent, header = load_agent(saved.parent, CPU)  # the run folder does as well as the file
    assert header["config"] == tiny_config() == read_header(saved)["config"]
    assert all(torch.equal(a, b) for a, b in zip(agent.parameters(), trained().agent.parameters(), strict=True))


def rewrite(path: Path, change: object = None, **metadata: str | None) -> None:
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        header = file.metadata() | metadata
    if callable(change):
        change(tensors)
    save_file(tensors, path, {name: value for name, value in header.items() if value is not None})


def spoil(tensors: dict[str, torch.Tensor]) -> None:
    tensors["agent/policy.head.0.weight"][0, 0] = float("nan")


def drop_weight(tensors: dict[str, torch.Tensor]) -> None:
    del tensors["agent/policy.head.0.weight"]


def drop_generator(tensors: dict[str, torch.Tensor]) -> None:
    del tensors["generator"]


def spoil_moment(tensors: dict[str, torch.Tensor]) -> None:
    tensors["optimiser/policy/0/exp_avg"][0, 0] = float("inf")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "not a whole safetensors file"),
        (lambda path: path.write_bytes(b""), "not a whole safetensors file"),
        (lambda path: path.write_bytes(b"hello, this is a text"), "not a whole safetensors file"),
        (lambda path: path.unlink(), "no checkpoint at"),
        (lambda path: save_file({"x": torch.zeros(1)}, path), "found None"),
        (lambda path: rewrite(path, spoil), r"not finite numbers, in policy\.head\.0\.weight"),
        (lambda path: rewrite(path, drop_weight), r"policy\.head.0.weight: expected \(16, 32\), found nothing"),
        (lambda path: rewrite(path, config=None), "no readable 'config'"),
        (lambda path: rewrite(path, progress="{"), "no readable 'progress'"),
        (lambda path: rewrite(path, config="[]"), "expected an object as 'config'"),
        (lambda path: rewrite(path, config=json.dumps({"taste": 1})), "fields unknown to this version: taste"),
    ],
)
def test_what_is_not_a_whole_checkpoint_is_refused_with_a_sentence(saved: Path, damage: object, sentence: str) -> None:
    damage(saved)  # type: ignore[operator]
    with pytest.raises(CheckpointError, match=sentence):
        load_agent(saved, CPU)


@pytest.mark.parametrize(
    ("damage", "sentence"), [(drop_generator, "generator"), (spoil_moment, "optimiser/policy/0/exp_avg")]
)
def test_what_only_going_on_needs_is_checked_when_going_on(saved: Path, damage: object, sentence: str) -> None:
    rewrite(saved, damage)
    load_agent(saved, CPU)
    with pytest.raises(CheckpointError, match=sentence):
        resume(saved, make_learner(tiny_config(), CPU))


def test_another_configuration_is_refused_by_the_field(saved: Path) -> None:
    with pytest.raises(CheckpointError, match=r"discount \(0.99\d* in the checkpoint, 0.5 asked for\)"):
        resume(saved, make_learner(tiny_config(discount=0.5), CPU))


def test_a_full_disk_leaves_the_old_checkpoint_and_no_litter(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()

    def half(tensors: object, path: Path, header: object) -> None:
        Path(path).write_bytes(before[:1000])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", half)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(saved, trained(1), {}, {})
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [CHECKPOINT_FILE]


def test_a_kill_while_writing_leaves_the_old_checkpoint(saved: Path) -> None:
    before, learner = saved.read_bytes(), trained(1)
    child = os.fork()
    if child == 0:  # dies after the bytes are written and before they have taken the old one's place
        os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]
        save_checkpoint(saved, learner, {}, {})
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert saved.read_bytes() == before
    resume(saved, make_learner(tiny_config(), CPU))
