"""`fosp-edge calibrate-filter`: thresholds from the policy's own unfiltered episodes, or a refusal that says why."""

from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from export.thresholds import TooLittleDataError
from fosp_edge.bundle.folder import load_bundle, write_bundle
from fosp_edge.bundle.manifest import CLOSED_LOOP, GRAPH_FILE, WEIGHTS_FILE
from fosp_edge.cli.calibrate_filter import calibrate_filter
from fosp_edge.control.controller import Controller
from fosp_edge.control.recorder import REASONS, recording_of
from fosp_edge.control.types import Reason
from fosp_edge.experience.episode import EpisodeHeader
from fosp_edge.experience.schema import Steps
from fosp_edge.experience.store import ExperienceStore
from tests.faults.bundles import arm_manifest, scripted_graph

ACTION = (0.4, 0.0, 0.1)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    graph = scripted_graph(action=ACTION, reachability=(0.25, 0.9, 0.9, 0.05, 0.9))
    return write_bundle(arm_manifest(), {GRAPH_FILE: graph, WEIGHTS_FILE: b"w"}, tmp_path_factory.mktemp("bundles"))


def make_episode(seed: int, reason: Reason, wanted: tuple[float, ...] = ACTION, rows: int = 14) -> Steps:
    random = np.random.default_rng(seed)
    nominal = np.tile(np.array(wanted, np.float32), (rows, 1))
    nominal[-1] = 0.0
    violation = (np.arange(rows) >= 10).astype(np.float32)
    return {
        "image": random.integers(0, 256, (rows, 64, 64, 6)).astype(np.uint8),
        "state": random.normal(size=(rows, 9)).astype(np.float32),
        "action": nominal,
        "nominal": nominal,
        "reward": np.zeros(rows, np.float32),
        "cost": np.append(violation[1:], 0.0).astype(np.float32),
        "violation": violation,
        "is_first": np.arange(rows) == 0,
        "is_terminal": np.zeros(rows, np.bool_),
        "reason": np.full(rows, REASONS.index(reason), np.uint8),
        "time_ns": np.arange(rows, dtype=np.int64),
    }


def fill(folder: Path, bundle: Path, count: int, reason: Reason = Reason.FILTER_OFF, **changes: object) -> Path:
    recording = recording_of(load_bundle(bundle).manifest)
    with ExperienceStore(folder, "a") as store:
        for seed in range(count):
            header = EpisodeHeader(
                recording, "bundle", seed=seed, bundle=bundle.name, reasons=tuple(r.name for r in REASONS)
            )
            store.add(header, make_episode(seed, reason, **changes), "timeout")
    return folder


def call(bundle: Path, data: Path, out: Path, *more: str):
    application = typer.Typer()
    application.command()(calibrate_filter)
    return CliRunner().invoke(application, [str(bundle), "--dataset", str(data), "--out", str(out), *more])


def test_a_new_bundle_with_thresholds_gate_and_parent_is_written_and_arms(bundle: Path, tmp_path: Path) -> None:
    data = fill(tmp_path / "own", bundle, 24)
    fill(data, bundle, 3, Reason.POLICY)  # driven with the filter on: good for the gate, not for the miss rate
    result = call(bundle, data, tmp_path / "out", "--miss-rate", "0.1", "--false-alarm-rate", "0.2")
    assert result.exit_code == 0, result.output
    (path,) = (tmp_path / "out").iterdir()
    made, before = load_bundle(path), load_bundle(bundle)
    assert made.manifest.parent == before.id and made.graph_bytes == before.graph_bytes
    limits, gate = made.manifest.filter, made.manifest.gate
    assert (limits.level, limits.sample_size, limits.trajectories) == (0.1, 24, CLOSED_LOOP)
    assert limits.feasible_reachability < np.float32(0.25) and limits.feasible_reachability == pytest.approx(0.25)
    assert limits.graph_sha256 == made.manifest.files[GRAPH_FILE] and len(limits.data_sha256) == 64
    assert gate is not None and gate.level == 0.2 and gate.sample_size >= 4
    Controller(made)
    # Calibrating the result again starts from it: its gate is replaced, not kept beside the new one.
    again = call(path, data, tmp_path / "again", "--no-gate")
    assert again.exit_code == 0, again.output
    (path,) = (tmp_path / "again").iterdir()
    assert load_bundle(path).manifest.gate is None and load_bundle(path).manifest.parent == made.id


def test_too_few_violations_are_refused_with_how_many_are_needed(bundle: Path, tmp_path: Path) -> None:
    data = fill(tmp_path / "own", bundle, 8)
    result = call(bundle, data, tmp_path / "out", "--miss-rate", "0.1")
    assert isinstance(result.exception, TooLittleDataError)
    assert "at least 9" in str(result.exception) and "found 8" in str(result.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("changes", [{"wanted": (0.4, 0.1, 0.1)}, {"reason": Reason.POLICY}])
def test_another_networks_episodes_and_filtered_ones_do_not_count(changes, bundle: Path, tmp_path: Path) -> None:
    data = fill(tmp_path / "own", bundle, 10, **changes)
    result = call(bundle, data, tmp_path / "out")
    assert isinstance(result.exception, TooLittleDataError)
    assert "no episode of this data set was driven by the network" in str(result.exception)
    assert "data collect" in str(result.exception)
