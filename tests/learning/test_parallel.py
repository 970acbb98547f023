"""Two processes learn what one does with both batches, and go on together where they stopped."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fosp_edge.learning import parallel
from fosp_edge.learning.checkpoint import CHECKPOINT_FILE, CheckpointError, load_agent, read_header
from fosp_edge.learning.learner import make_learner
from fosp_edge.learning.metrics import METRICS_FILE
from fosp_edge.learning.objectives import masked_mean
from fosp_edge.learning.trainer import Trainer
from tests.learning.batches import MadeUpSampler
from tests.learning.together import WHOLE_BATCH, config_of

pytestmark = pytest.mark.timeout(600)
ROOT = Path(__file__).parents[2]


def learn(*words: object) -> subprocess.CompletedProcess[str]:
    """Run tests/learning/together.py."""
    command = [sys.executable, "-m", "tests.learning.together", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def curve(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / METRICS_FILE).read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def assert_alike(one: Path, other: Path) -> None:
    for expected, found in zip(curve(one), curve(other), strict=True):
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-4)
    first, second = (load_agent(folder, torch.device("cpu"))[0].state_dict() for folder in (one, other))
    for name, value in first.items():
        assert torch.allclose(value, second[name], rtol=1e-3, atol=1e-4), name


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`alone`: one process; `together`: two, each with half of every batch; `broken`: the same, stopped half-way."""
    folder: Path = tmp_path_factory.mktemp("runs")
    done = learn(folder / "alone", 6, 1, "+", folder / "together", 6, 2, "+", folder / "broken", 6, 2, 3)
    assert done.returncode == 0, done.stderr
    return folder


def test_two_processes_give_the_curve_of_one_with_the_doubled_batch(runs: Path) -> None:
    losses = [line["model/image"] for line in curve(runs / "alone")]
    assert len(set(losses)) == 6, "a curve that does not move would prove nothing"
    assert_alike(runs / "alone", runs / "together")


def test_together_they_stop_where_one_is_told_to_and_go_on_from_there(runs: Path) -> None:
    progress = read_header(runs / "broken" / CHECKPOINT_FILE)["progress"]
    assert progress["update"] == 3 and len(progress["others"]) == 1
    alone = learn(runs / "broken", 6, 1)
    assert alone.returncode != 0 and "another configuration: batch_size" in alone.stderr
    done = learn(runs / "broken", 6, 2)
    assert done.returncode == 0, done.stderr
    assert_alike(runs / "together", runs / "broken")


def test_another_number_of_processes_is_refused(runs: Path) -> None:
    config = config_of(6, WHOLE_BATCH // 2, seed=0)
    trainer = Trainer(make_learner(config, torch.device("cpu")), MadeUpSampler(config), runs / "together", notes={})
    with pytest.raises(CheckpointError, match="written by 2 processes, here are 1"):
        trainer.resume()


def test_one_process_is_given_back_what_it_gave() -> None:
    values, mask = torch.tensor([1.0, 2.0, 6.0]), torch.tensor([1.0, 0.0, 1.0])
    assert parallel.count() == 1 and parallel.rank() == 0 and parallel.own_seed(7) == 7
    assert torch.equal(parallel.mean(values), values) and torch.equal(parallel.gathered(values), values)
    assert parallel.any_of(True, torch.device("cpu")) and not parallel.any_of(False, torch.device("cpu"))
    assert parallel.told_by_all({"a": 1}, torch.device("cpu")) == [{"a": 1}]
    assert float(masked_mean(values, mask)) == 3.5


def test_torchrun_leaves_our_options_alone() -> None:
    """It abbreviates its own: without the `--`, `--run` could be `--run-path`, and torchrun ends there."""
    from torch.distributed.run import get_args_parser

    told = get_args_parser().parse_args(
        ["--nproc-per-node", "2", "-m", "--", "fosp_edge.cli", "train", "--run", "runs/x", "--seed", "1"]
    )
    assert told.training_script == "fosp_edge.cli"
    assert told.training_script_args == ["train", "--run", "runs/x", "--seed", "1"]
