"""`fosp-edge export` as it is typed: every family of checkpoints arrives, and every bad one is a sentence."""

import pickle
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")
import torch

from fosp_edge.bundle.folder import load_bundle
from fosp_edge.bundle.manifest import Channel
from fosp_edge.experience.episode import Camera, Recording
from fosp_edge.experience.store import ExperienceStore
from tests.cli.tree import run_verb
from tests.experience.episodes import make_header
from tests.export.agents import make_episode
from tests.export.foreign import layouts

MOTION = tuple(Channel(name, "m/s", -0.25, 0.25) for name in ("vx", "vy", "vz"))
RECORDING = Recording(
    robot="test-arm",
    rate_hz=20.0,
    cameras=(Camera("front", 64, 64), Camera("back", 64, 64)),
    state=tuple(Channel(f"s{index}", "rad", -3.0, 3.0) for index in range(9)),
    action=MOTION,
)
FAMILIES: dict[str, tuple[Any, Any]] = {
    "fosp": (layouts.official, layouts.write_official),
    "safedreamer": (lambda: layouts.official(fosp=False), layouts.write_official),
    "dreamerv3": (layouts.dreamerv3, layouts.write_dreamerv3),
    "dreamerv3-torch": (layouts.dreamerv3_torch, layouts.write_torch),
    "r2dreamer": (layouts.r2dreamer, layouts.write_torch),
}


def record(folder: Path, recording: Recording = RECORDING) -> Path:
    with ExperienceStore(folder, "a") as store:
        for seed, onset in ((1, 8), (2, None), (3, 6), (4, 7)):
            steps = make_episode(seed, onset=onset)
            width = len(recording.action)
            steps |= {name: np.resize(steps[name], (12, width)) for name in ("action", "nominal")}
            store.add(replace(make_header(seed=seed), recording=recording), steps)
    return folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("data"))


def export(checkpoint: Path, dataset: Path, out: Path, *more: str) -> Any:
    return run_verb(
        "export", str(checkpoint), "--dataset", str(dataset), "--out", str(out), "--groups", str(layouts.GROUPS),
        "--storage", "float32", "--miss-rate", "0.4", *more,
    )  # fmt: skip


def refused(result: Any, words: str, out: Path) -> None:
    """A sentence, another status than success, nothing written."""
    told = re.sub(r"\s+", " ", result.output)
    assert result.exit_code != 0 and re.search(words, told), told
    assert "Traceback" not in told and not isinstance(result.exception, (KeyError, RuntimeError, TypeError)), told
    assert not out.exists() or not any(out.iterdir())


@pytest.mark.parametrize("family", list(FAMILIES))
@pytest.mark.parametrize("said", [True, False], ids=["--from", "found out"])
def test_every_family_becomes_a_bundle(family: str, said: bool, dataset: Path, tmp_path: Path) -> None:
    make, write = FAMILIES[family]
    arguments = ["--from", family] if said else []
    if family == "fosp":  # its random numbers call everything safe, and no threshold would mean anything
        arguments.append("--without-reachability")
    result = export(write(tmp_path / "it", make()), dataset, tmp_path / "out", *arguments)
    assert result.exit_code == 0, result.output
    (path,) = (tmp_path / "out").iterdir()
    manifest = load_bundle(path).manifest
    assert manifest.provenance["foreign"]["written_by"] == family
    assert "reachability" in manifest.unknown_scores
    assert "--no-filter" in result.output


def test_an_agent_that_learnt_without_costs_comes_without_a_filter(tmp_path: Path) -> None:
    harmless = tmp_path / "data"
    with ExperienceStore(harmless, "a") as store:
        for seed in range(12):
            store.add(replace(make_header(seed=seed), recording=RECORDING), make_episode(seed, onset=None))
    words = ["--dataset", str(harmless), "--preset", "nano", "--method", "bc", "--updates", "2"]
    trained = run_verb("train", *words, "--run", str(tmp_path / "run"))
    assert trained.exit_code == 0, trained.output
    result = run_verb("export", str(tmp_path / "run"), "--dataset", str(harmless), "--out", str(tmp_path / "out"))
    told = re.sub(r"[\s│]+", " ", result.output)
    assert result.exit_code == 0, told
    assert "none: the agent never learnt reachability" in told and "--no-filter" in told
    [path] = (tmp_path / "out").iterdir()
    assert set(load_bundle(path).manifest.unknown_scores) == {"cost_value", "reachability", "state_reachability"}


def test_another_family_than_said_is_refused(dataset: Path, tmp_path: Path) -> None:
    path = layouts.write_torch(tmp_path / "it", layouts.r2dreamer())
    result = export(path, dataset, tmp_path / "out", "--from", "dreamerv3-torch")
    refused(result, r"was written by r2dreamer, not by dreamerv3-torch", tmp_path / "out")


@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_truncated_file_is_refused(family: str, dataset: Path, tmp_path: Path) -> None:
    make, write = FAMILIES[family]
    path = write(tmp_path / "it", make())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refused(export(path, dataset, tmp_path / "out", "--from", family), r"damaged|refused|ends", tmp_path / "out")


@pytest.mark.parametrize("how", ["pickle", "torch"])
def test_a_malicious_file_is_refused_and_not_run(how: str, dataset: Path, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return open, (str(tmp_path / "executed"), "w")

    path = tmp_path / "it"
    if how == "pickle":
        path.write_bytes(pickle.dumps({"agent": layouts.official() | {"agent/wm/evil": Evil()}}))
    else:
        torch.save({"agent_state_dict": {"w": torch.zeros(1)}, "more": Evil()}, path)
    refused(export(path, dataset, tmp_path / "out"), r"refused|nothing in it was run", tmp_path / "out")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("family", list(FAMILIES))
def test_weights_that_are_not_numbers_are_refused(family: str, dataset: Path, tmp_path: Path) -> None:
    make, write = FAMILIES[family]
    arrays = make()
    name = next(name for name in arrays if name.endswith(("img_in/kernel", "dynin0/kernel", "_img_in_layers.0.weight",
                                                          "_dyn_in0.0.weight")))  # fmt: skip
    arrays[name] = np.full_like(arrays[name], np.nan)
    refused(export(write(tmp_path / "it", arrays), dataset, tmp_path / "out"), r"1 not finite", tmp_path / "out")


@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_shape_that_is_off_by_one_is_refused(family: str, dataset: Path, tmp_path: Path) -> None:
    make, write = FAMILIES[family]
    arrays = make()
    name = next(name for name in arrays if name.endswith(("h1/kernel", "linear1/kernel", "linear1.weight")))
    arrays[name] = arrays[name][:, :-1]
    refused(export(write(tmp_path / "it", arrays), dataset, tmp_path / "out"), r"of another shape", tmp_path / "out")


def test_an_agent_for_other_actions_is_refused(tmp_path: Path) -> None:
    other = record(tmp_path / "data", replace(RECORDING, action=MOTION[:2]))
    path = layouts.write_torch(tmp_path / "it", layouts.r2dreamer())
    refused(export(path, other, tmp_path / "out"), r"it has 3 actions, the recordings 2", tmp_path / "out")


def test_mixed_and_discrete_action_spaces_are_refused(dataset: Path, tmp_path: Path) -> None:
    arrays = layouts.dreamerv3()
    arrays |= {"pol/head/grip/logits/kernel": np.zeros((10, 2), np.float32)}
    path = layouts.write_dreamerv3(tmp_path / "mixed", arrays)
    refused(export(path, dataset, tmp_path / "out"), r"several action spaces \(action, grip\)", tmp_path / "out")
    arrays = layouts.r2dreamer()
    arrays["actor.last.weight"], arrays["actor.last.bias"] = np.zeros((5, 10), np.float32), np.zeros(5, np.float32)
    path = layouts.write_torch(tmp_path / "discrete", arrays)
    refused(export(path, dataset, tmp_path / "out"), r"discrete actions", tmp_path / "out")


def test_another_architecture_is_refused(dataset: Path, tmp_path: Path) -> None:
    arrays = layouts.r2dreamer()
    for index in (3,):
        for name in [name for name in arrays if f"encoder.encoders.0.layers.{4 * index}" in name]:
            del arrays[name]
    path = layouts.write_torch(tmp_path / "it", arrays)
    refused(export(path, dataset, tmp_path / "out"), r"3 convolutions, expected 4", tmp_path / "out")
