"""From an agent to a bundle that the robot's own controller loads and runs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from export.exporter import Contract, Exported, export_bundle
from export.restore import agent_of_bundle
from export.step import candidate_names
from export.thresholds import TooLittleDataError
from fosp_edge.bundle.folder import load_bundle
from fosp_edge.bundle.manifest import WEIGHTS_FILE, BundleError, CameraContract, Channel
from fosp_edge.control.controller import Controller
from fosp_edge.control.types import Observation
from tests.export.agents import make_agent, make_episode

CONTRACT = Contract(
    robot="test-arm",
    rate_hz=20.0,
    cameras=(CameraContract("fixed", 64, 64), CameraContract("wrist", 64, 64)),
    state=tuple(Channel(f"s{index}", "rad", -3.0, 3.0) for index in range(9)),
    actions=tuple(Channel(name, "m/s", -0.25, 0.25) for name in ("vx", "vy", "vz")),
)


def export(parent: Path, miss_rate: float = 0.5) -> Exported:
    return export_bundle(
        make_agent(), CONTRACT, [make_episode(1, onset=8), make_episode(2), make_episode(3, onset=6)],
        name="tiny", miss_rate=miss_rate, data_sha256="0" * 64, parent_folder=parent,
        provenance={"seed": 0, "config": make_agent().config.to_dict()},
    )  # fmt: skip


def test_a_bundle_is_written_verified_and_run_by_the_controller(tmp_path: Path) -> None:
    exported = export(tmp_path)
    bundle = load_bundle(exported.path)
    manifest, calibration = bundle.manifest, exported.calibration
    assert manifest.candidates == candidate_names() and manifest.filter.sample_size == 2
    assert manifest.filter.feasible_reachability == calibration.feasible_reachability
    assert manifest.parity.steps == 36 and manifest.parity.action_error < 1e-4
    assert manifest.provenance["seed"] == 0
    weights = load_file(exported.path / WEIGHTS_FILE)
    expected = {name for name in make_agent().state_dict() if not name.startswith("slow_")}
    assert weights.keys() == expected

    controller = Controller(bundle)
    actions = []
    for seed in (3, 3, 4):
        controller.reset(seed)
        steps = make_episode(9)
        taken = [
            controller.decide(Observation(steps["image"][row].astype(np.uint8), steps["state"][row].astype(np.float32)))
            for row in range(5)
        ]
        actions.append(np.stack([decision.action for decision, _ in taken]))
        assert all(np.isfinite(scores.surprise) for _, scores in taken)
        assert np.all(np.abs(actions[-1]) <= 1.0)
    assert np.array_equal(actions[0], actions[1]) and not np.array_equal(actions[0], actions[2])


def test_too_little_data_for_the_level_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(TooLittleDataError, match=r"at least 9 .* found 2"):
        export(tmp_path, miss_rate=0.1)
    assert list(tmp_path.iterdir()) == []


def test_the_agent_comes_back_out_of_its_bundle(tmp_path: Path) -> None:
    restored, agent = agent_of_bundle(load_bundle(export(tmp_path).path)), make_agent()
    assert restored.config == agent.config
    for (name, found), expected in zip(restored.state_dict().items(), agent.state_dict().values(), strict=True):
        assert torch.equal(found, expected), name


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"config": None}, "carries no training configuration"),
        ({"config": {"taste": 1}}, "unknown to this version: taste"),
        ({"config": make_agent(hidden=8).config.to_dict()}, "do not fit its configuration"),
    ],
)
def test_a_bundle_that_gives_no_agent_back_says_why(tmp_path: Path, change: dict, sentence: str) -> None:
    bundle = load_bundle(export(tmp_path).path)
    manifest = replace(bundle.manifest, provenance=bundle.manifest.provenance | change)
    with pytest.raises(BundleError, match=sentence):
        agent_of_bundle(replace(bundle, manifest=manifest))
