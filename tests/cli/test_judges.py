"""`run --judge` on the simulated arm, and the classifier that `data classifier` makes of labelled episodes."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fosp_edge.bundle.folder import write_bundle
from fosp_edge.bundle.manifest import GRAPH_FILE, WEIGHTS_FILE
from fosp_edge.cli.judges import place_of
from fosp_edge.experience.episode import EpisodeInfo
from fosp_edge.experience.schema import Steps
from fosp_edge.experience.store import ExperienceStore
from fosp_edge.robots.base import RobotState
from fosp_edge.robots.judging import Sample
from fosp_edge.robots.mobile_base import TWO_WHEELS, WheelDrive
from fosp_edge.robots.outcome_classifier import Classifier
from fosp_edge.robots.sources import KeepOut, Reached, Volume
from tests.cli.tree import run_verb
from tests.experience.episodes import make_header, make_steps
from tests.faults.bundles import arm_manifest, scripted_graph


def judge_file(folder: Path, *sources: dict[str, object]) -> Path:
    path = folder / "judge.json"
    path.write_text(json.dumps({"sources": list(sources)}))
    return path


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    files = {GRAPH_FILE: scripted_graph((0.0, 0.3, 0.0)), WEIGHTS_FILE: b""}
    return write_bundle(arm_manifest(10.0), files, tmp_path / "bundles")


def judged_episode(bundle: Path, judge: Path, steps: int, runs: Path) -> tuple[EpisodeInfo, Steps]:
    """One episode of so many steps on the simulated arm, as it was recorded."""
    words = ["run", "--bundle", str(bundle), "--judge", str(judge), "--episodes", "1", "--max-steps", str(steps)]
    result = run_verb(*words, "--headless", "--out", str(runs))
    assert result.exit_code == 0, result.output
    [experience] = runs.glob("*/experience")
    with ExperienceStore(experience) as store:
        [info] = store.episodes()
        return info, store.read(info.id)


def test_the_file_s_sources_and_not_the_simulator_judge_the_run(bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("mujoco")
    everywhere = {"low_m": [-2, -2, -2], "high_m": [2, 2, 2]}
    judge = judge_file(
        tmp_path,
        {"kind": "keep out", "volumes": [everywhere]},
        {"kind": "reached", "target_m": [0.2, 3.0, 0.2], "radius_m": 0.01},
        {"kind": "too close", "camera": "wrist", "nearer_m": 0.01},
    )
    info, steps = judged_episode(bundle, judge, 6, tmp_path / "runs")
    assert len(steps["reward"]) == 7 and info.summary.outcome == "time out"
    np.testing.assert_array_equal(steps["cost"], [1, 1, 1, 1, 1, 1, 0])
    assert float(np.sum(steps["reward"])) > 0.0, "the arm moved towards the target"


def test_the_place_of_a_base_is_what_its_wheels_have_counted() -> None:
    drive = WheelDrive(TWO_WHEELS, 0.05)
    drive.reset(0)
    where, wheels_rad = place_of(drive), np.zeros(2)
    assert where is not None
    state = RobotState(np.zeros(2, np.float32), wheels_rad, np.zeros(2), 0, 0, None)
    reached = Reached(where, (0.2, 0.0, 0.0), 0.02)
    keep_out = KeepOut(where, [Volume((0.1, -0.1, -0.1), (0.15, 0.1, 0.1))])
    rewards, costs, ticks = 0.0, [], 0
    while not (found := reached.judge(Sample(state))).success:
        rewards, ticks = rewards + found.reward, ticks + 1
        costs.append(keep_out.judge(Sample(state)).cost)
        wheels_rad = wheels_rad + 0.05 * drive.joint_velocity(wheels_rad, np.array([0.1, 0.0]), ticks * 50_000_000)
    assert rewards == pytest.approx(10.0 * 0.18, abs=0.06)
    assert costs[0] == costs[-1] == 0.0 and 8 <= sum(costs) <= 12, "five centimetres at five millimetres a tick"
    assert place_of(SimpleNamespace()) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(("nearer_m", "cost"), [(3.0, 1.0), (0.05, 0.0)])
def test_distances_judge_where_a_camera_measures_them(
    bundle: Path, tmp_path: Path, nearer_m: float, cost: float
) -> None:
    pytest.importorskip("mujoco")
    judge = judge_file(tmp_path, {"kind": "too close", "camera": "fixed", "nearer_m": nearer_m})
    _, steps = judged_episode(bundle, judge, 4, tmp_path / "runs")
    np.testing.assert_array_equal(steps["cost"], [cost] * 4 + [0.0])


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ({"kind": "oracle"}, "unknown kind 'oracle'"),
        ({"kind": "too close", "camera": "rear", "nearer_m": 1}, "expected one of fixed, wrist, found rear"),
        ({"kind": "keyboard"}, "cannot both answer questions and judge"),
        ({"kind": "classifier", "file": "x.safetensors", "means": {"cost": 1}}, "the bundle through fixed, wrist"),
        ({"kind": "gamepad", "device": "/nowhere"}, "/nowhere"),
    ],
)
def test_a_judge_that_cannot_be_had_is_refused_before_anything_moves(
    bundle: Path, tmp_path: Path, source: dict[str, object], sentence: str
) -> None:
    pytest.importorskip("mujoco")
    Classifier(np.zeros(9), np.ones(9), np.zeros(9), 0.0, ("fixed",)).save(tmp_path / "x.safetensors")
    words = ["run", "--bundle", str(bundle), "--judge", str(judge_file(tmp_path, source)), "--episodes", "1"]
    result = run_verb(*words, "--out", str(tmp_path / "runs"))
    assert result.exit_code == 2 and sentence in " ".join(result.output.split()), result.output
    assert not (tmp_path / "runs").exists()


def labelled_store(folder: Path, episodes: int, bright: bool) -> Path:
    with ExperienceStore(folder, "a") as store:
        for number in range(episodes):
            steps = make_steps(30, size_px=16, mark=number)
            violated = np.arange(30) >= (12 if number % 3 else 99)
            steps["violation"] = violated.astype(np.float32)
            if bright:  # a lamp that is on while the constraint is violated
                steps["image"][violated, :4, :4] = 255
                steps["image"][~violated, :4, :4] = 0
            store.add(make_header(), steps, "done")
    return folder


def test_a_classifier_is_taught_by_labels_and_tried_on_others(tmp_path: Path) -> None:
    store, out = labelled_store(tmp_path / "store", 24, True), tmp_path / "violation.safetensors"
    result = run_verb("data", "classifier", str(store), "--outcome", "violation", "--out", str(out))
    assert result.exit_code == 0, result.output
    assert "held back" in result.output and len(Classifier.load(out).cameras) >= 1


@pytest.mark.parametrize(("episodes", "bright", "words"), [(24, False, "are asked for"), (1, True, "too few")])
def test_what_cannot_be_taught_is_said_and_nothing_is_written(
    tmp_path: Path, episodes: int, bright: bool, words: str
) -> None:
    store, out = labelled_store(tmp_path / "store", episodes, bright), tmp_path / "violation.safetensors"
    result = run_verb("data", "classifier", str(store), "--outcome", "violation", "--out", str(out))
    assert result.exit_code == 1 and words in " ".join(result.output.split()), result.output
    assert not out.exists()
