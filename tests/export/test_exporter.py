"""From an agent to a bundle that the robot's own controller loads and runs."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from export.candidates import Candidates
from export.exporter import Exported, export_bundle
from export.restore import agent_of_bundle
from export.storage import rounded, unpack
from export.thresholds import TooLittleDataError
from fosp_edge.agent.agent import Agent
from fosp_edge.bundle.contract import RobotContract
from fosp_edge.bundle.folder import load_bundle
from fosp_edge.bundle.manifest import IMAGINATION_FILE, WEIGHTS_FILE, BundleError, CameraContract, Channel
from fosp_edge.control.controller import Controller
from fosp_edge.control.look_ahead import LookAheadRuntime
from fosp_edge.control.types import Observation
from tests.export.agents import make_agent, make_episode

CONTRACT = RobotContract(
    robot="test-arm",
    rate_hz=20.0,
    cameras=(CameraContract("fixed", 64, 64), CameraContract("wrist", 64, 64)),
    state=tuple(Channel(f"s{index}", "rad", -3.0, 3.0) for index in range(9)),
    actions=tuple(Channel(name, "m/s", -0.25, 0.25) for name in ("vx", "vy", "vz")),
)


def export(parent: Path, miss_rate: float = 0.5, agent: Agent | None = None, **options: Any) -> Exported:
    return export_bundle(
        agent or make_agent(), CONTRACT, [make_episode(1, onset=8), make_episode(2), make_episode(3, onset=6)],
        name="tiny", miss_rate=miss_rate, data_sha256="0" * 64, parent_folder=parent,
        provenance={"seed": 0}, **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export(tmp_path_factory.mktemp("bundles"), storage="int8", look_ahead=True, decoder=True)


def test_a_bundle_is_written_verified_and_run_by_the_controller(exported: Exported) -> None:
    bundle = load_bundle(exported.path)
    manifest, calibration = bundle.manifest, exported.calibration
    assert manifest.candidates == Candidates.of(make_agent()).names and manifest.filter.sample_size == 2
    assert manifest.filter.feasible_reachability == calibration.feasible_reachability
    assert manifest.parity.steps == 36 and manifest.parity.action_error < 1e-4
    assert manifest.provenance["seed"] == 0
    assert manifest.storage is not None and manifest.storage.kind == "int8" and manifest.storage.ticks == 36
    assert 0.0 < manifest.storage.action_drift < manifest.storage.own_action_drift
    weights = unpack((exported.path / WEIGHTS_FILE).read_bytes())
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


def test_every_graph_of_a_bundle_opens_and_says_whose_it_is(exported: Exported) -> None:
    graphs = sorted(exported.path.glob("*.onnx"))
    assert [path.name for path in graphs] == ["decoder.onnx", "imagination.onnx", "initial.onnx", "step.onnx"]
    for path in graphs:
        session = onnxruntime.InferenceSession(path)
        said = session.get_modelmeta().custom_metadata_map
        assert said["fosp_edge.bundle_name"] == "tiny" and said["fosp_edge.robot"] == "test-arm"
        assert said["fosp_edge.latent"] == "deterministic 16, stochastic 4 x 4"


def test_a_filter_that_looks_ahead_is_calibrated_with_what_it_goes_by(tmp_path: Path) -> None:
    made = export(tmp_path, storage="float32", judged_ahead=True)
    bundle = load_bundle(made.path)
    assert bundle.manifest.filter.look_ahead_sha256 == bundle.manifest.files[IMAGINATION_FILE]
    assert isinstance(Controller(bundle).runtime, LookAheadRuntime)
    plain = export(tmp_path, storage="float32").calibration
    assert made.calibration.feasible_reachability > plain.feasible_reachability  # what is imagined can only raise it
    with pytest.raises(ValueError, match=r"needs a step graph in float32, asked was any"):
        export(tmp_path, precision=None, judged_ahead=True)


def test_too_little_data_for_the_level_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(TooLittleDataError, match=r"at least 9 .* found 2"):
        export(tmp_path, miss_rate=0.1, storage="float32")
    assert list(tmp_path.iterdir()) == []


def spoiled(name: str, value: float) -> Agent:
    agent = make_agent()
    with torch.no_grad():
        dict(agent.named_parameters())[name].view(-1)[3] = value
    return agent


@pytest.mark.parametrize(
    ("agent", "sentence"),
    [
        (spoiled("policy.head.0.weight", math.nan), "not all finite numbers, first in policy.head.0.weight"),
        (spoiled("world_model.rssm.gru.weight", 1e6), "rssm.gru.weight has a weight beyond 65024, which int8"),
        (make_agent(action_size=4), "4 actions, the recordings 3"),
        (make_agent(state_size=8), "8 state components, the recordings 9"),
        (make_agent(image_channels=3), "3 image channels, the recordings 6"),
    ],
    ids=["nan", "huge", "action", "state", "camera"],
)
def test_an_agent_that_cannot_be_meant_writes_nothing(tmp_path: Path, agent: Agent, sentence: str) -> None:
    with pytest.raises(BundleError, match=sentence):
        export(tmp_path, agent=agent, storage="int8")
    assert list(tmp_path.iterdir()) == []


def test_the_agent_comes_back_out_of_its_bundle_as_it_runs(exported: Exported) -> None:
    restored, agent = agent_of_bundle(load_bundle(exported.path)), rounded(make_agent(), "int8")
    assert restored.config == agent.config
    for (name, found), expected in zip(restored.state_dict().items(), agent.state_dict().values(), strict=True):
        assert torch.equal(found, expected), name
    moved = [
        name for name, value in make_agent().state_dict().items() if not torch.equal(value, restored.state_dict()[name])
    ]
    assert moved and all("weight" in name for name in moved)  # matrices are rounded, and nothing else


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"config": None}, "carries no training configuration"),
        ({"config": {"taste": 1}}, "unknown to this version: taste"),
        ({"config": make_agent(hidden=8).config.to_dict()}, "do not fit its configuration"),
        ({"config": make_agent(action_size=4).config.to_dict()}, "do not fit its configuration"),
    ],
)
def test_a_bundle_that_gives_no_agent_back_says_why(exported: Exported, change: dict, sentence: str) -> None:
    bundle = load_bundle(exported.path)
    manifest = replace(bundle.manifest, provenance=bundle.manifest.provenance | change)
    with pytest.raises(BundleError, match=sentence):
        agent_of_bundle(replace(bundle, manifest=manifest))
