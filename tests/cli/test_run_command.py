"""`fosp-edge run`: every refusal is one sentence and a status, and no motor was ever near."""

import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from fosp_edge.bundle.folder import write_bundle
from fosp_edge.bundle.manifest import GRAPH_FILE, WEIGHTS_FILE
from fosp_edge.cli.run import run
from fosp_edge.experience.store import ExperienceStore
from tests.experience.episodes import make_header, make_steps
from tests.faults.bundles import arm_manifest, scripted_graph

APP = typer.Typer()
APP.command()(run)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles")
    return write_bundle(arm_manifest(), {GRAPH_FILE: scripted_graph(), WEIGHTS_FILE: b""}, folder)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--bundle", "/nowhere"], "there is no bundle at /nowhere"),
        (["--robot", "serial"], "needs its port"),
        (["--robot", "walker"], "choose one of: simulated, serial, so101, widowx250"),
        (["--robot", "so101"], "needs its port"),
        (
            ["--robot", "so101", "--port", "/dev/x", "--calibration", "/nowhere"],
            "no calibration at /nowhere",
        ),
        (["--port", "/dev/ttyACM0"], "belong to a real robot"),
        (["--recovery-speed", "nan"], "the speed of a recovery lies above 0 and is at most 1, found nan"),
        (["--robot", "serial", "--port", "/dev/ttyACM0"], "--camera fixed=ADDRESS --camera wrist=ADDRESS"),
        (
            ["--robot", "serial", "--port", "/dev/x", "--camera", "fixed=usb:0", "--camera", "wrist=usb:1"],
            "one of realsense",
        ),
        (["--robot", "serial", "--port", "/dev/x", "--no-filter"], "nothing will hold the policy back"),
    ],
)
def test_a_mistake_is_refused_with_a_sentence(bundle: Path, tmp_path: Path, options: list[str], sentence: str) -> None:
    if "--bundle" not in options:
        options = ["--bundle", str(bundle), *options]
    result = CliRunner().invoke(APP, [*options, "--out", str(tmp_path / "runs")])
    assert result.exit_code == 2, result.output
    assert result.output.startswith("refused: ")
    assert sentence in result.output.replace("\n", " ")
    assert not (tmp_path / "runs").exists()


def test_an_unknown_scenario_is_refused_by_the_simulated_robot(bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("mujoco")
    options = ["--bundle", str(bundle), "--scenario", "moon", "--out", str(tmp_path / "runs")]
    result = CliRunner().invoke(APP, options)
    assert result.exit_code == 2 and "unknown scenario 'moon'" in result.output


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--dataset", "/nowhere"], "there is no experience store at /nowhere"),
        (["--dataset", "{data}", "--learn-option", "mod=light"], "--learn-option: No such option(: --mod| '--mod')"),
        (["--dataset", "{data}", "--learn-option", "mode=lightly"], "'lightly' is not one of"),
        (["--dataset", "{data}", "--learn-option", "memory=lots"], "expected a size such as 500M or 4G"),
        (["--dataset", "{data}", "--learn-option", "device=gpu"], "--device 'gpu': expected auto, cpu, cuda or cuda:N"),
        (["--dataset", "{data}", "--learn-option", "seed"], "expected NAME=VALUE"),
        (["--dataset", "{data}"], "cannot be learnt from beside the bundle's own: robot test-arm here"),
        (["--dataset", "{data}", "--dataset", "{data}"], "named twice"),
        ([], "name them with --dataset"),
    ],
)
def test_what_the_learner_would_object_to_is_refused_before_anything_moves(
    bundle: Path, tmp_path: Path, options: list[str], sentence: str
) -> None:
    pytest.importorskip("torch")
    with ExperienceStore(tmp_path / "data", "a") as store:
        store.add(make_header(), make_steps(20), "time-out")
    options = [item.format(data=tmp_path / "data") for item in options]
    home, runs = str(tmp_path / "home"), tmp_path / "runs"
    found = CliRunner().invoke(
        APP, ["--bundle", str(bundle), "--learn", "--home", home, *options, "--out", str(runs), "--episodes", "1"]
    )
    assert found.exit_code == 2, found.output
    assert re.search(sentence, found.output.replace("\n", " "))
    assert not runs.exists()
