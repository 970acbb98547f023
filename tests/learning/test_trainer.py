"""Training stops when told, goes on where it stopped, and says where the last good state is."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from fosp_edge.learning.checkpoint import CHECKPOINT_FILE, read_header
from fosp_edge.learning.learner import Learner, make_learner
from fosp_edge.learning.trainer import Progress, Schedule, Trainer, TrainingDivergedError
from tests.agent.sizes import tiny_config
from tests.learning.batches import CPU, MadeUpSampler

EVERY = Schedule(log_every=1, validate_every=2, checkpoint_every_s=1e9)


def make_trainer(folder: Path, updates: int = 6, schedule: Schedule = EVERY) -> tuple[Trainer, Learner, MadeUpSampler]:
    config = tiny_config(updates=updates)
    learner, sampler = make_learner(config, CPU), MadeUpSampler(config)
    return Trainer(learner, sampler, folder, notes={}, schedule=schedule), learner, sampler


def ignore(_: Progress) -> None:
    pass


def test_stopped_and_resumed_is_the_same_as_never_stopped(tmp_path: Path) -> None:
    straight_folder, broken_folder = tmp_path / "straight", tmp_path / "broken"
    straight_folder.mkdir()
    broken_folder.mkdir()
    straight, learner, _ = make_trainer(straight_folder)
    straight.run(ignore, threading.Event())

    stop = threading.Event()
    first, _, _ = make_trainer(broken_folder)
    first.run(lambda step: stop.set() if step.update == 3 else None, stop)
    assert first.update == 3
    assert read_header(broken_folder)["progress"]["update"] == 3
    second, resumed, _ = make_trainer(broken_folder)
    assert second.resume() == 3
    second.run(ignore, threading.Event())
    assert second.update == 6
    for one, two in zip(learner.agent.parameters(), resumed.agent.parameters(), strict=True):
        assert torch.equal(one, two)
    lines = [json.loads(line) for line in (broken_folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["update"] for line in lines] == [1, 2, 3, 4, 5, 6]


def test_progress_and_metrics_are_told(tmp_path: Path) -> None:
    config = tiny_config(updates=4)
    learner, seen = make_learner(config, CPU), list[Progress]()
    written: list[tuple[str, float, int]] = []

    class Writer:
        def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
            written.append((tag, scalar_value, global_step))

    Trainer(
        learner, MadeUpSampler(config), tmp_path, notes={}, writer=Writer(), validation=MadeUpSampler(config),
        schedule=Schedule(log_every=2, validate_every=4, checkpoint_every_s=0.0),
    ).run(seen.append, threading.Event())  # fmt: skip
    assert [(step.update, step.updates, step.saved) for step in seen] == [(2, 4, True), (4, 4, True)]
    assert "validation/image" not in seen[0].metrics and "validation/image" in seen[1].metrics
    assert ("model/image", seen[0].metrics["model/image"], 2) in written


def test_a_finished_run_that_is_started_again_has_nothing_to_do(tmp_path: Path) -> None:
    make_trainer(tmp_path, updates=1)[0].run(ignore, threading.Event())
    again, _, sampler = make_trainer(tmp_path, updates=1)
    assert again.resume() == 1
    again.run(ignore, threading.Event())
    assert again.update == 1 and sampler.drawn == 1


def test_divergence_names_the_last_good_checkpoint_and_leaves_it(tmp_path: Path) -> None:
    schedule = Schedule(log_every=1, checkpoint_every_s=0.0)
    trainer, _, sampler = make_trainer(tmp_path, schedule=schedule)
    sampler.spoil_at = 2
    with pytest.raises(TrainingDivergedError, match="stopped at update 2: the model loss is nan") as caught:
        trainer.run(ignore, threading.Event())
    assert f"The last good checkpoint is {tmp_path / CHECKPOINT_FILE}" in str(caught.value)
    assert read_header(tmp_path)["progress"]["update"] == 2


def test_divergence_before_the_first_checkpoint_says_so(tmp_path: Path) -> None:
    trainer, _, sampler = make_trainer(tmp_path)
    sampler.spoil_at = 0
    with pytest.raises(TrainingDivergedError, match="No checkpoint was written yet"):
        trainer.run(ignore, threading.Event())
    assert not (tmp_path / CHECKPOINT_FILE).exists()


def test_an_explosion_stops_training_and_does_not_replace_the_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fosp_edge.learning.divergence.GRACE", 2)
    trainer, learner, _ = make_trainer(tmp_path, 20, Schedule(log_every=1, checkpoint_every_s=0.0))
    plain = learner.update

    def exploding(batch: object, number: int) -> dict[str, float]:
        metrics = plain(batch, number)  # type: ignore[arg-type]
        return metrics | {"model/image": 1e9} if number >= 5 else metrics

    monkeypatch.setattr(learner, "update", exploding)
    with pytest.raises(TrainingDivergedError, match=r"stopped at update 7: model/image exploded") as caught:
        trainer.run(ignore, threading.Event())
    assert "last good checkpoint is" in str(caught.value)
    assert read_header(tmp_path)["progress"]["update"] == 5


CHILD = """
import sys, threading
from pathlib import Path
from tests.learning.test_trainer import Schedule, make_trainer, ignore
trainer, _, _ = make_trainer(Path(sys.argv[1]), int(sys.argv[2]), Schedule(log_every=1, checkpoint_every_s=0.0))
trainer.resume()
trainer.run(ignore, threading.Event())
"""


@pytest.mark.slow
def test_kill_9_at_any_moment_loses_only_the_work_since_the_checkpoint(tmp_path: Path) -> None:
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    straight.mkdir()
    broken.mkdir()
    updates, random, before, log = 120, np.random.default_rng(0), 0, broken / "metrics.jsonl"
    trainer, learner, _ = make_trainer(straight, updates)
    trainer.run(ignore, threading.Event())
    command = [sys.executable, "-c", CHILD, str(broken), str(updates)]
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    for _ in range(4):
        child = subprocess.Popen(command, cwd=root, env=environment)
        try:
            size, deadline = log.stat().st_size if log.exists() else 0, time.monotonic() + 100.0
            while (log.stat().st_size if log.exists() else 0) <= size and child.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.005)
            time.sleep(random.uniform(0.0, 0.3))  # anywhere in an update, a log line or a checkpoint
        finally:
            child.kill()
        if child.wait() == 0:
            break
        if (broken / CHECKPOINT_FILE).exists():  # whole at every moment, and never behind what it was
            assert read_header(broken)["progress"]["update"] >= before
            before = int(read_header(broken)["progress"]["update"])
    assert 0 < before < updates
    last, resumed, _ = make_trainer(broken, updates)
    assert last.resume() >= before
    last.run(ignore, threading.Event())
    for one, two in zip(learner.agent.parameters(), resumed.agent.parameters(), strict=True):
        assert torch.equal(one, two)
    assert [json.loads(line)["update"] for line in log.read_text().splitlines()] == list(range(1, updates + 1))
