"""`data collect`, `train`, `export` and `eval` as they are typed: what they leave behind, interruptions, mistakes."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from export.restore import agent_of_bundle
from fosp_edge.bundle.folder import load_bundle
from fosp_edge.cli.shipped import shipped_bundle
from fosp_edge.experience.store import ExperienceStore
from tests.cli.tree import run_verb

pytest.importorskip("mujoco")
torch = pytest.importorskip("torch")
ROOT = Path(__file__).resolve().parents[2]
TINY = [
    f"--set={item}"
    for item in (
        "conv_depth=4", "deterministic=16", "groups=4", "classes=4", "hidden=16", "bins=41", "batch_size=2",
        "batch_length=6", "horizon=2", "imagination_starts=4", "behaviour_from=0",
    )
]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three episodes, 100113 held out among them, collected in two goes."""
    folder = tmp_path_factory.mktemp("collected") / "data"
    first = run_verb("data", "collect", str(folder), "--episodes", "2", "--seed", "100112", "--workers", "1")
    assert first.exit_code == 0, first.output
    with ExperienceStore(folder) as store:
        before = {info.id: info.header.seed for info in store.episodes()}
    second = run_verb("data", "collect", str(folder), "--episodes", "3", "--seed", "100112", "--workers", "1")
    assert second.exit_code == 0, second.output
    with ExperienceStore(folder) as store:
        after = {info.id: info.header.seed for info in store.episodes()}
        assert all(problem is None for _, problem in store.verify())
    assert sorted(before.values()) == [100_112, 100_113] and sorted(after.values()) == [100_112, 100_113, 100_114]
    assert before.items() <= after.items()  # what was there is not made again
    assert "how the behaviours did" in second.output
    return folder


def train(data: Path, run: Path, *options: str) -> object:
    return run_verb("train", "--dataset", str(data), "--run", str(run), "--device", "cpu", *TINY, *options)


def test_training_goes_on_and_ends_in_a_checkpoint(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    first = train(data, tmp_path, "--updates", "3")
    assert first.exit_code == 0, first.output
    text = " ".join(first.output.split())  # the console wraps as it likes
    assert "finished after update 3" in text and "Next: fosp-edge export" in text
    assert {"checkpoint.safetensors", "metrics.jsonl"} <= {path.name for path in tmp_path.iterdir()}
    again = train(data, tmp_path, "--updates", "3")
    assert again.exit_code == 0 and "going on from update 3" in " ".join(again.output.split())
    other = train(data, tmp_path, "--updates", "3", "--set", "discount=0.5")
    assert other.exit_code == 1 and "another configuration: discount" in " ".join(other.output.split())


def test_ctrl_c_saves_and_the_same_command_goes_on(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    command = [
        sys.executable, "-m", "fosp_edge.cli", "train", "--dataset", str(data), "--run", str(tmp_path), "--device",
        "cpu", "--updates", "1000000", *TINY,
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    try:
        deadline = time.monotonic() + 120.0
        while not (tmp_path / "metrics.jsonl").exists():  # the first 25 updates are done
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60.0)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, output
    assert "stopped at update" in output and "Traceback" not in output
    done = int(output.split("stopped at update ")[1].split(";")[0])
    assert done >= 25
    from fosp_edge.learning.checkpoint import read_header

    header = read_header(tmp_path)
    assert header["progress"]["update"] == done
    assert header["notes"]["cameras"] == ["fixed", "wrist"] and header["notes"]["dataset"][0]["episodes"] == 3


def test_two_collectors_do_not_add_to_one_data_set_at_once(data: Path) -> None:
    with (data / "collect.lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        refused = run_verb("data", "collect", str(data), "--episodes", "4", "--seed", "100112", "--workers", "1")
    assert refused.exit_code == 1
    assert "another `fosp-edge data collect` is adding to" in " ".join(refused.output.split())
    with ExperienceStore(data) as store:
        assert len(store.episodes()) == 3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["data", "collect", "OUT", "--scenario", "moon"], "unknown scenario 'moon'; choose one of: standard"),
        (["data", "collect", "OUT", "--behaviour", "wild"], "unknown behaviour 'wild'; choose one of: safe, careful"),
        (
            ["data", "collect", "OUT", "--scenario", "SafetyPointGoal1", "--behaviour", "careful"],
            "unknown behaviour 'careful'; choose one of: safe, unsafe, random",
        ),
        (
            ["data", "collect", "OUT", "--scenario", "SafetyPointGoal1", "--bundle", "OUT"],
            "a bundle does not act in Safety-Gymnasium",
        ),
        (["train", "--dataset", "OUT"], "OUT"),
        (["train", "--dataset", "DATA", "--preset", "huge"], "unknown preset 'huge'; choose one of: nano, small"),
        (["train", "--dataset", "DATA", "--method", "magic"], "unknown method 'magic'"),
        (
            ["train", "--dataset", "DATA", "--camera", "left"],
            "the recording has no camera 'left'; it has: fixed, wrist",
        ),
        (["train", "--dataset", "DATA", "--set", "taste=1"], "no field 'taste'"),
        (["train", "--dataset", "DATA", "--set", "hidden=wide"], "--set hidden=wide: expected int, found 'wide'"),
        (["train", "--dataset", "DATA", "--world-model", "OUT"], "no checkpoint at"),
        (["train", "--dataset", "DATA", "--device", "gpu"], "--device 'gpu': expected auto, cpu, cuda or cuda:N"),
        (["export", "OUT", "--dataset", "DATA"], "no checkpoint at"),
        (["eval", "--bundle", "OUT"], "there is no bundle at"),
        (["eval", "--random", "--scenario", "moon", "--bundle", "OUT"], "there is no bundle at"),
    ],
)
def test_a_mistake_is_one_sentence(data: Path, tmp_path: Path, arguments: list[str], sentence: str) -> None:
    names = {"OUT": str(tmp_path / "OUT"), "DATA": str(data)}
    result = run_verb(*[names.get(item, item) for item in arguments])
    assert result.exit_code == 1, result.output
    text = " ".join(result.output.split())
    assert sentence in text and text.startswith("fosp-edge: ")
    assert "Traceback" not in text and "error of fosp-edge's own" not in text
    assert not (tmp_path / "OUT").exists() and not (tmp_path / "runs").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_named(data: Path, tmp_path: Path) -> None:
    result = run_verb("train", "--dataset", str(data), "--run", str(tmp_path / "run"), "--device", "cuda")
    assert result.exit_code == 1 and "this torch sees no GPU; use --device cpu" in " ".join(result.output.split())


def test_data_without_held_out_episodes_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    made = run_verb("data", "collect", str(folder), "--episodes", "1", "--seed", "100112", "--workers", "1")
    assert made.exit_code == 0, made.output
    result = train(folder, tmp_path / "run")
    assert result.exit_code == 1
    text = " ".join(result.output.split())
    assert "none of the 1 episodes is held out" in text and "collect more" in text


def test_eval_measures_random_actions_beside_a_bundle(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    assert train(data, tmp_path / "run", "--updates", "1").exit_code == 0
    refused = run_verb("export", str(tmp_path / "run"), "--dataset", str(data), "--out", str(tmp_path / "b"))
    assert refused.exit_code == 1 and "found 1" in " ".join(refused.output.split()) and not (tmp_path / "b").exists()
    bundles = ["--dataset", str(data), "--out", str(tmp_path / "b"), "--miss-rate", "0.5"]
    exported = run_verb("export", str(tmp_path / "run"), *bundles)
    assert exported.exit_code == 0, exported.output
    (bundle,) = (tmp_path / "b").iterdir()
    out = tmp_path / "result"
    options = ["--bundle", str(bundle), "--random", "--without-filter", "--episodes", "1", "--workers", "1"]
    measured = run_verb("eval", *options, "--out", str(out))
    assert measured.exit_code == 0, measured.output
    report = json.loads(out.with_suffix(".json").read_text())
    assert [item["agent"] for item in report["scores"]] == ["run", "run, no filter", "random"]
    assert report["scores"][1]["intervention"]["mean"] == 0.0
    assert [item["scenario"] for item in report["episodes"]] == ["standard"] * 3


def test_fine_tuning_goes_on_from_a_run_and_keeps_the_offline_policy(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    assert train(data, tmp_path / "run", "--updates", "1").exit_code == 0
    own = shutil.copytree(data, tmp_path / "own")
    words = ["finetune", str(tmp_path / "run"), "--dataset", str(data), "--own", str(own), "--device", "cpu"]
    for expected in ("finished after update 2", "from update 2"):
        tuned = run_verb(*words, "--run", str(tmp_path / "tuned"), "--updates", "2")
        assert tuned.exit_code == 0 and expected in " ".join(tuned.output.split()), tuned.output
    import torch

    from fosp_edge.learning.checkpoint import load_agent

    before, _ = load_agent(tmp_path / "run", torch.device("cpu"))
    after, header = load_agent(tmp_path / "tuned", torch.device("cpu"))
    assert after.online_policy is not None and header["notes"]["cameras"] == ["fixed", "wrist"]
    for one, two in zip(before.policy.parameters(), after.policy.parameters(), strict=True):
        assert torch.equal(one, two)
    wrong = run_verb(*words, "--scope", "everything")
    assert wrong.exit_code == 1 and "unknown scope 'everything'; choose one of: full" in " ".join(wrong.output.split())


def test_behaviour_is_learnt_on_the_world_model_of_a_bundle(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from safetensors.torch import load_file

    learnt = train(data, tmp_path / "run", "--updates", "2", "--world-model", str(shipped_bundle()))
    assert learnt.exit_code == 0, learnt.output
    found = load_file(tmp_path / "run" / "checkpoint.safetensors")
    given = agent_of_bundle(load_bundle(shipped_bundle())).world_model.state_dict()
    assert all(torch.equal(found[f"agent/world_model.{name}"], value) for name, value in given.items())
    one = train(data, tmp_path / "one", "--updates", "2", "--world-model", str(shipped_bundle()), "--camera", "wrist")
    assert one.exit_code == 1
    assert "sees fixed, wrist; wrist were asked for; leave --camera out" in " ".join(one.output.split())


def test_two_runs_are_compared_by_configuration_and_metrics(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    pytest.importorskip("matplotlib")
    assert train(data, tmp_path / "one", "--updates", "2").exit_code == 0
    assert train(data, tmp_path / "two", "--updates", "2", "--method", "bc", "--seed", "5").exit_code == 0
    found = run_verb(
        "compare", str(tmp_path / "one"), str(tmp_path / "two"), "--only", "model/", "--out", str(tmp_path / "c.png")
    )
    assert found.exit_code == 0, found.output
    for word in ("advantage_weighting", "seed", "model/image", "difference", "last tenth up to update 2"):
        assert word in found.output, found.output
    assert "critic/" not in found.output and (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    lost = run_verb("compare", str(tmp_path / "one"), str(tmp_path / "three"))
    assert lost.exit_code == 1 and "no log at" in " ".join(lost.output.split())
