"""Looking ahead: scores are raised and never lowered, repeatable from seed and tick, and part of the calibration."""

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from fosp_edge.bundle.manifest import IMAGINATION_FILE, BundleError
from fosp_edge.control.arming import refusals
from fosp_edge.control.controller import Controller
from fosp_edge.control.inference import NotFinite, PolicyRuntime
from fosp_edge.control.look_ahead import LookAheadRuntime, open_runtime
from fosp_edge.control.types import Observation, Reason
from tests.control.fakes import ACTIONS, CANDIDATES, SIZE_PX, TinyBundle, feasible_state

HORIZON, ROWS = 2, len(CANDIDATES)


def imagination_graph(rows: int = ROWS, offset: float = 0.0) -> bytes:
    """The largest noise of each candidate's futures (at most 1), plus an offset."""
    F, I = TensorProto.FLOAT, TensorProto.INT64  # noqa: E741
    nodes = [
        helper.make_node("ReduceMax", ["latent_noise"], ["largest"], axes=[0, 2, 3], keepdims=0),
        helper.make_node("Add", ["largest", "offset"], ["max_reachability"]),
    ]
    inputs = [
        helper.make_tensor_value_info("deterministic", F, (1, 4)),
        helper.make_tensor_value_info("stochastic", I, (1, 3)),
        helper.make_tensor_value_info("candidates", F, (rows, ACTIONS)),
        helper.make_tensor_value_info("latent_noise", F, (HORIZON, rows, 3, 5)),
    ]
    outputs = [helper.make_tensor_value_info("max_reachability", F, (rows,))]
    constant = helper.make_tensor("offset", F, (), [offset])
    graph = helper.make_graph(nodes, "imagination", inputs, outputs, [constant])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


@dataclass
class AheadBundle(TinyBundle):
    imagination_bytes: bytes | None = None


def make_bundle(graph: bytes | None) -> AheadBundle:
    bundle = AheadBundle(imagination_bytes=graph)
    digest = hashlib.sha256(graph or b"").hexdigest()
    limits = replace(bundle.manifest.filter, look_ahead_sha256=digest)
    bundle.manifest = replace(bundle.manifest, filter=limits, files={IMAGINATION_FILE: digest})
    return bundle


def observation() -> Observation:
    return Observation(np.full((SIZE_PX, SIZE_PX, 6), 9, np.uint8), feasible_state())


def reachability(runtime: PolicyRuntime, seed: int, ticks: int = 4) -> np.ndarray:
    runtime.reset(seed)
    return np.stack([runtime.step(observation(), np.zeros(ACTIONS, np.float32)).reachability for _ in range(ticks)])


def test_scores_are_raised_to_what_is_imagined_and_never_lowered() -> None:
    plain = reachability(open_runtime(TinyBundle()), 3)
    ahead = reachability(open_runtime(make_bundle(imagination_graph())), 3)
    assert np.all(ahead > 0.5) and np.all(plain < 0.2)  # the largest of thirty numbers in (0, 1)
    np.testing.assert_array_equal(reachability(open_runtime(make_bundle(imagination_graph(offset=-2.0))), 3), plain)


def test_the_noise_is_a_function_of_seed_and_tick() -> None:
    runtime = open_runtime(make_bundle(imagination_graph()))
    one = reachability(runtime, 3)
    np.testing.assert_array_equal(reachability(runtime, 3), one)
    assert not np.array_equal(reachability(runtime, 4), one) and not np.array_equal(one[0], one[1])


def test_the_filter_judges_by_it() -> None:
    controller = Controller(make_bundle(imagination_graph()))
    assert isinstance(controller.runtime, LookAheadRuntime)
    controller.reset(0)
    assert controller.decide(observation())[0].reason in (Reason.HOLD, Reason.RECOVERY, Reason.SAFER_CANDIDATE)
    controller = Controller(make_bundle(imagination_graph(offset=-2.0)))
    controller.reset(0)
    assert controller.decide(observation())[0].reason is Reason.POLICY


@pytest.mark.parametrize(
    ("graph", "words"),
    [(None, "has no imagination.onnx"), (b"no graph", "does not load"), (imagination_graph(rows=4), "promises")],
)
def test_a_bundle_without_a_fitting_graph_is_refused(graph: bytes | None, words: str) -> None:
    with pytest.raises(BundleError, match=words):
        open_runtime(make_bundle(graph))


def test_nan_is_raised() -> None:
    runtime = open_runtime(make_bundle(imagination_graph(offset=float("nan"))))
    runtime.reset(0)
    with pytest.raises(NotFinite):
        runtime.step(observation(), np.zeros(ACTIONS, np.float32))


def test_another_imagination_graph_than_the_calibrated_one_does_not_arm() -> None:
    manifest = make_bundle(imagination_graph()).manifest
    assert refusals(manifest, "a" * 64) == []
    changed = replace(manifest, files={IMAGINATION_FILE: "b" * 64})
    assert "imagination graph" in refusals(changed, "a" * 64)[0]
    assert "has none" in refusals(replace(manifest, files={}), "a" * 64)[0]


def test_the_fake_is_a_valid_graph() -> None:
    onnx.checker.check_model(onnx.load_from_string(imagination_graph()))


def test_a_runtime_that_does_not_look_ahead_is_refused_by_a_filter_that_does() -> None:
    bundle = make_bundle(imagination_graph())
    with pytest.raises(BundleError, match="would now not look ahead"):
        Controller(bundle, runtime=PolicyRuntime(bundle))
