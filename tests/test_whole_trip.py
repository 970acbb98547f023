"""The whole trip as a newcomer makes it: data, training, export, evaluation, and an arm that moves over real wires."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fosp_edge.bundle.folder import load_bundle
from fosp_edge.cli.shipped import SHIPPED_FOLDER, shipped_bundle
from fosp_edge.control.types import Reason
from fosp_edge.experience.store import ExperienceStore

pytest.importorskip("mujoco")
pytest.importorskip("torch")
pytest.importorskip("onnx")
ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {
    **os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
}  # fmt: skip
TINY = {
    "conv_depth": 4, "deterministic": 16, "groups": 4, "classes": 4, "hidden": 16, "bins": 41, "batch_size": 2,
    "batch_length": 8, "horizon": 3, "imagination_starts": 4, "behaviour_from": 4, "model_until": 8,
}  # fmt: skip


def fosp_edge(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "fosp_edge.cli", *map(str, arguments)],
        capture_output=True, text=True, env=ENVIRONMENT, timeout=400, check=False,
    )  # fmt: skip


def succeed(*arguments: object) -> str:
    result = fosp_edge(*arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def assert_ran(result: "subprocess.CompletedProcess[str]", folder: Path, *, cameras: int) -> None:
    """A run left everything behind that it should. How well it kept time is the machine's affair, not this test's."""
    output = result.stdout + result.stderr
    assert "Traceback" not in output
    assert result.returncode in (0, 1), output
    (run,) = folder.iterdir()
    end = json.loads((run / "summary.json").read_text())
    assert end["end"]["state"] == "stopped" and end["end"]["stop_acknowledged"], output
    assert end["end"]["reason"] in Reason.__members__ and end["end"]["sentence"]
    # On a machine that is busy with something else, missed deadlines rightly end a run; nothing else may.
    assert end["end"]["reason"] in ("RUN_COMPLETE", "OPERATOR_STOP", "DEADLINE", "FRAME_STALE", "RECOVERY_EXHAUSTED")
    assert (result.returncode == 0) == (end["end"]["reason"] in ("RUN_COMPLETE", "OPERATOR_STOP"))
    assert end["ticks"] > 0 and end["rows_written"] > 0 and end["rows_dropped"] == 0
    with ExperienceStore(run / "experience") as store:
        assert all(problem is None for _, problem in store.verify())
        episodes = store.episodes()
        assert sum(info.summary.rows for info in episodes) == end["rows_written"]
        assert all(info.summary.finished for info in episodes)
        images = store.read(episodes[0].id)["image"]
    assert images.shape[1:] == (64, 64, 3 * cameras) and int(images.max()) > 100


@pytest.mark.timeout(1200)
def test_from_nothing_to_an_arm_that_moves(tmp_path: Path) -> None:
    data, run, bundles = tmp_path / "data", tmp_path / "run", tmp_path / "bundles"
    # Among these seeds is 100113: unsafe, held out, and in violation after half a second.
    succeed("data", "collect", data, "--episodes", 5, "--seed", 100_110, "--workers", 1)
    options = [f"--set={name}={value}" for name, value in TINY.items()]
    told = succeed("train", "--dataset", data, "--run", run, "--updates", 12, "--device", "cpu", *options)
    assert "finished after update 12" in told, told
    succeed("export", run, "--dataset", data, "--out", bundles, "--miss-rate", 0.5, "--name", "trip")
    (path,) = bundles.iterdir()
    bundle = load_bundle(path)
    assert bundle.manifest.name == "trip" and bundle.manifest.provenance["progress"] == {"update": 12}
    succeed("eval", "--bundle", path, "--episodes", 1, "--workers", 1, "--out", tmp_path / "result")
    report = json.loads((tmp_path / "result.json").read_text())
    assert report["bundles"] == [bundle.id] and len(report["episodes"]) == 1 and report["episodes"][0]["steps"] > 0
    result = fosp_edge("run", "--bundle", path, "--seconds", 3, "--headless", "--out", tmp_path / "runs")
    assert_ran(result, tmp_path / "runs", cameras=2)


@pytest.mark.skipif(not SHIPPED_FOLDER.is_dir(), reason="no agent is shipped in this tree yet")
def test_with_no_bundle_named_the_shipped_agent_drives(tmp_path: Path) -> None:
    cameras = len(load_bundle(shipped_bundle()).manifest.cameras)
    assert_ran(
        fosp_edge("run", "--seconds", 3, "--headless", "--out", tmp_path / "runs"), tmp_path / "runs", cameras=cameras
    )
    (run,) = (tmp_path / "runs").iterdir()
    assert "every value the same to the last bit" in succeed("replay", run)
