"""Engines: made once, named by all they depend on, never trusted blindly, never made while driving."""

import json
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from fosp_edge.bundle.manifest import BundleError
from fosp_edge.control import engines
from fosp_edge.control.device import CPU_DEVICE, Device, available_providers, check_available, open_session
from fosp_edge.control.engines import engine_key, engines_folder, find_engine, open_prepared, prepare
from fosp_edge.control.inference import PolicyRuntime
from fosp_edge.control.types import Observation
from tests.faults.bundles import scripted_bundle, scripted_graph

GRAPH = scripted_graph()
TENSORRT = Device("tensorrt", (("trt_fp16_enable", "1"),))
REAL = ort.InferenceSession


class FakeSession:
    """A session on a machine with TensorRT: compiles a graph if it is asked to, and computes on the CPU."""

    compiled = 0
    spoil = False
    fall_back = False

    def __init__(self, graph, options, providers, provider_options=None):
        wants_engine = "TensorrtExecutionProvider" in providers
        self.providers = ["CPUExecutionProvider"] if self.fall_back else providers
        if wants_engine and not graph.startswith(b"engine"):
            if not has_entry(options, "ep.context_enable"):
                raise AssertionError("TensorRT was made to compile while a session was opened")
            FakeSession.compiled += 1
            Path(options.get_session_config_entry("ep.context_file_path")).write_bytes(b"engine" + graph)
        elif graph.startswith(b"engine"):
            graph = graph.removeprefix(b"engine")
            if self.spoil:
                graph = scripted_graph(action=(0.9, 0.1, 0.05))
        self.real = REAL(graph, providers=["CPUExecutionProvider"])

    def get_providers(self):
        return self.providers

    def __getattr__(self, name):
        return getattr(self.real, name)


def has_entry(options: ort.SessionOptions, name: str) -> bool:
    try:
        return bool(options.get_session_config_entry(name))
    except RuntimeError:
        return False


@pytest.fixture
def tensorrt(monkeypatch: pytest.MonkeyPatch) -> type[FakeSession]:
    names = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(ort, "get_available_providers", lambda: names)
    monkeypatch.setattr(ort, "InferenceSession", FakeSession)
    monkeypatch.setattr(FakeSession, "compiled", 0)
    return FakeSession


def options() -> ort.SessionOptions:
    return ort.SessionOptions()


def test_providers_are_found_out_and_a_missing_one_is_said() -> None:
    assert available_providers()["cpu"] == "CPUExecutionProvider"
    with pytest.raises(BundleError, match=r"'tensorrt' is not in this onnxruntime .*offers: .*cpu.*Jetson"):
        check_available("tensorrt")
    with pytest.raises(BundleError, match=r"'quantum' is not in this onnxruntime"):
        PolicyRuntime(scripted_bundle(), device=Device("quantum"))


def test_the_key_changes_with_everything_an_engine_depends_on() -> None:
    versions = {"onnxruntime": "1.32.0", "driver": "540.3"}
    keys = [
        engine_key(GRAPH, TENSORRT, versions),
        engine_key(scripted_graph(action=(0.2, 0.1, 0.05)), TENSORRT, versions),
        engine_key(GRAPH, Device("tensorrt"), versions),
        engine_key(GRAPH, Device("tensorrt", (("trt_fp16_enable", "0"),)), versions),
        engine_key(GRAPH, Device("cuda", TENSORRT.options), versions),
        engine_key(GRAPH, TENSORRT, versions | {"driver": "540.4"}),
        engine_key(GRAPH, TENSORRT, versions | {"libnvinfer.so.10": "libnvinfer.so.10.3.0"}),
    ]
    assert len(set(keys)) == len(keys)
    swapped = Device("tensorrt", (("b", "2"), ("a", "1")))
    assert engine_key(GRAPH, swapped, versions) == engine_key(
        GRAPH, Device("tensorrt", (("a", "1"), ("b", "2"))), versions
    )


def test_an_engine_for_this_processor_is_made_once_read_only_and_computes_the_same(tmp_path: Path) -> None:
    engine = prepare(GRAPH, CPU_DEVICE, tmp_path)
    assert engine.path.name == engine_key(GRAPH, CPU_DEVICE, engines.platform_versions())
    assert engine.record["largest_action_difference"] == 0.0
    assert all(path.stat().st_mode & 0o222 == 0 for path in engine.path.iterdir())
    before = (engine.path / "engine.onnx").stat().st_mtime_ns
    assert prepare(GRAPH, CPU_DEVICE, tmp_path).data == engine.data
    assert (engine.path / "engine.onnx").stat().st_mtime_ns == before
    assert [path.name for path in tmp_path.iterdir()] == [engine.path.name]
    session = open_prepared(GRAPH, CPU_DEVICE, options(), tmp_path)
    feeds = engines._made_up(session, np.random.default_rng(1), first=True)
    feeds |= {"deterministic": np.zeros((1, 1), np.float32), "stochastic": np.zeros((1, 3), np.int64)}
    plain = REAL(GRAPH, providers=["CPUExecutionProvider"])
    for one, other in zip(session.run(None, feeds), plain.run(None, feeds), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_runtime_drives_with_the_prepared_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOSP_EDGE_ENGINES", str(tmp_path))
    assert engines_folder() == tmp_path
    bundle, observation = scripted_bundle(), Observation(np.zeros((64, 64, 6), np.uint8), np.zeros(9, np.float32))
    results = []
    for prepared in (False, True):
        if prepared:
            prepare(bundle.graph_bytes, CPU_DEVICE)
        runtime = PolicyRuntime(bundle)
        runtime.reset(3)
        results.append(runtime.step(observation, np.zeros(3, np.float32)).candidates)
    np.testing.assert_array_equal(*results)


def test_a_compiling_provider_is_refused_until_it_is_prepared_and_never_compiles_then(tensorrt, tmp_path) -> None:
    with pytest.raises(BundleError, match=r"no engine of this graph is prepared for tensorrt.*bundles prepare BUNDLE"):
        open_prepared(GRAPH, TENSORRT, options(), tmp_path)
    assert tensorrt.compiled == 0
    engine = prepare(GRAPH, TENSORRT, tmp_path)
    assert tensorrt.compiled == 1 and engine.record["provider"] == "tensorrt"
    assert engine.record["options"] == {"trt_fp16_enable": "1"}
    session = open_prepared(GRAPH, TENSORRT, options(), tmp_path)
    assert session.get_providers()[0] == "TensorrtExecutionProvider" and tensorrt.compiled == 1
    prepare(GRAPH, TENSORRT, tmp_path)
    assert tensorrt.compiled == 1


@pytest.mark.parametrize("change", ["weights", "options", "versions"])
def test_whatever_changes_the_old_engine_is_not_taken(tensorrt, tmp_path, monkeypatch, change) -> None:
    prepare(GRAPH, TENSORRT, tmp_path)
    graph, device = GRAPH, TENSORRT
    if change == "weights":
        graph = scripted_graph(action=(0.2, 0.1, 0.05))
    elif change == "options":
        device = Device("tensorrt")
    else:
        monkeypatch.setattr(engines, "platform_versions", lambda: {"onnxruntime": "9.9.9"})
    with pytest.raises(BundleError, match="no engine of this graph is prepared"):
        open_prepared(graph, device, options(), tmp_path)
    prepare(graph, device, tmp_path)
    open_prepared(graph, device, options(), tmp_path)
    assert tensorrt.compiled == 2 and len(list(tmp_path.iterdir())) == 2


def test_a_changed_engine_is_refused(tensorrt, tmp_path) -> None:
    engine = prepare(GRAPH, TENSORRT, tmp_path)
    file = engine.path / "engine.onnx"
    file.chmod(0o644)
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(BundleError, match="not the file that was prepared"):
        open_prepared(GRAPH, TENSORRT, options(), tmp_path)
    record = engine.path / "engine.json"
    record.chmod(0o644)
    record.write_text("[" * 10)
    with pytest.raises(BundleError, match=r"cannot be read|not the file"):
        find_engine(GRAPH, TENSORRT, tmp_path)


def test_a_folder_that_others_can_write_to_is_refused(tmp_path) -> None:
    engine = prepare(GRAPH, CPU_DEVICE, tmp_path)
    tmp_path.chmod(0o777)
    with pytest.raises(BundleError, match="others can write to"):
        find_engine(GRAPH, CPU_DEVICE, tmp_path)
    tmp_path.chmod(0o755)
    assert find_engine(GRAPH, CPU_DEVICE, tmp_path).data == engine.data


def test_an_engine_that_computes_something_else_is_not_kept(tensorrt, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tensorrt, "spoil", True)
    with pytest.raises(BundleError, match=r"differs from the CPU by .* not kept"):
        prepare(GRAPH, TENSORRT, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_fall_back_to_the_cpu_is_refused_and_not_lived_with(tensorrt, monkeypatch) -> None:
    monkeypatch.setattr(tensorrt, "fall_back", True)
    with pytest.raises(BundleError, match=r"cuda was asked for, but onnxruntime fell back to cpu.*--provider cpu"):
        open_session(GRAPH, Device("cuda"), options())


def test_the_record_says_what_it_was_made_for(tmp_path) -> None:
    engine = prepare(GRAPH, CPU_DEVICE, tmp_path)
    record = json.loads((engine.path / "engine.json").read_text())
    assert record["versions"]["onnxruntime"] == ort.__version__ and record["versions"]["machine"]
    assert set(record) >= {"graph_sha256", "sha256", "provider", "options", "versions", "compile_seconds"}
