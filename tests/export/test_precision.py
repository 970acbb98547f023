"""The graph in fewer bits: the same interface, close to the agent, sensitive layers untouched; and the choice."""

import functools
from collections.abc import Iterator

import numpy as np
import onnx
import onnxruntime
import pytest

from export.candidates import Candidates
from export.conversion import Yardstick, is_admitted
from export.drift import recorded_inputs
from export.graph import export_step
from export.graph_policy import GraphPolicy
from export.precision import PRECISIONS, Feeds, convert
from export.recorded_actions import graph_reachability
from export.reference import ReferencePolicy
from export.step import INPUTS, OUTPUTS, StepModule
from export.storage import rounded
from export.trial import Trial, Trials
from fosp_edge.bundle.manifest import BundleError
from tests.export.agents import make_agent, make_episode

# Wide enough that every precision finds matrices worth its while.
AGENT = rounded(make_agent(hidden=128, deterministic=128, groups=8, classes=8), "int8")
EPISODES = [make_episode(1, rows=16, onset=10), make_episode(2, rows=8), make_episode(3, rows=8, onset=6)]


GRAPH = functools.cache(lambda: export_step(StepModule(AGENT), {"bundle_name": "tiny"}))


@pytest.fixture(scope="module")
def graph() -> bytes:
    return GRAPH()


def recorded() -> Iterator[Feeds]:
    policy = GraphPolicy(GRAPH(), AGENT.config)
    for inputs in recorded_inputs(EPISODES[:1], 8, 8, 6, 3, seed=9):
        yield policy.feeds(inputs)
        policy.step(inputs)


@functools.cache
def converted_once(graph: bytes, precision: str) -> bytes:
    return convert(graph, precision, recorded)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_converted_graph_keeps_its_interface_and_stays_close(graph: bytes, precision: str) -> None:
    converted = converted_once(graph, precision)
    model = onnx.load_from_string(converted)
    assert tuple(item.name for item in model.graph.input) == INPUTS
    assert tuple(item.name for item in model.graph.output) == OUTPUTS
    said = {item.key: item.value for item in model.metadata_props}
    assert said["fosp_edge.precision"] == precision and said["fosp_edge.bundle_name"] == "tiny"
    before, after = GraphPolicy(graph, AGENT.config), GraphPolicy(converted, AGENT.config)
    for inputs in recorded_inputs(EPISODES[1:2], 8, 8, 6, 3):
        one, other = before.step(inputs), after.step(inputs)
        after.deterministic, after.stochastic = before.deterministic, before.stochastic
        if np.array_equal(one.stochastic, other.stochastic):
            np.testing.assert_allclose(one.candidates, other.candidates, atol=0.1)
            np.testing.assert_allclose(one.reachability, other.reachability, atol=0.1)


@pytest.mark.parametrize("precision", PRECISIONS[1:])
def test_products_change_and_sensitive_layers_do_not(graph: bytes, precision: str) -> None:
    before = {item.name: item for item in onnx.load_from_string(graph).graph.initializer}
    after = {item.name: item for item in onnx.load_from_string(converted_once(graph, precision)).graph.initializer}
    for name in ("rest.0.5.weight", "by_action.weight"):
        np.testing.assert_array_equal(*(onnx.numpy_helper.to_array(items[name]) for items in (after, before)))
    changed = "encoder.image.9.weight" if precision == "int8-static" else "posterior_embedding.weight"
    assert after.get(changed) != before[changed]


def test_blocks_hold_the_weights_of_an_int8_agent_exactly(graph: bytes) -> None:
    model = onnx.load_from_string(converted_once(graph, "int8-blocks"))
    found = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type == "MatMulNBits"]
    assert nodes
    originals = {item.name: onnx.numpy_helper.to_array(item) for item in onnx.load_from_string(graph).graph.initializer}
    for node in nodes:
        blocks, scales = found[node.input[1]].astype(np.float32) - 128.0, found[node.input[2]]
        weight = (blocks * scales.reshape(*blocks.shape[:2], 1)).reshape(len(blocks), -1).T
        np.testing.assert_array_equal(weight, originals[node.input[1].removesuffix(".blocks")])


def test_the_graph_scores_any_recorded_action(graph: bytes) -> None:
    """Beside the critic itself, on the latents that the reference visits with the same noise."""
    import torch

    config, rows = AGENT.config, Candidates.of(AGENT)
    (found,) = graph_reachability(GraphPolicy(graph, config), rows, EPISODES[:1], 8, 8, 3)
    reference = ReferencePolicy(AGENT)
    for row, inputs in enumerate(recorded_inputs(EPISODES[:1], 8, 8, rows.samples, 3, seed=2)):
        reference.step(inputs)
        assert reference._latent is not None
        action = torch.from_numpy(EPISODES[0]["action"][row].astype(np.float32))[None]
        with torch.no_grad():
            pair = torch.cat([reference._latent.features(), action], -1)
            expected = float(torch.sigmoid(AGENT.critics.reach_action(pair)))
        assert found[row] == pytest.approx(expected, abs=1e-4)


@pytest.fixture(scope="module")
def yardstick() -> Yardstick:
    return Yardstick(AGENT, EPISODES)


def test_an_agent_does_not_stray_from_itself_and_another_agent_does(yardstick: Yardstick) -> None:
    same = yardstick.measure("same", ReferencePolicy(AGENT))
    assert same.latent_agreement == 1.0 and same.action_drift == 0.0 and is_admitted(same)
    assert yardstick.own.action_mean > 0.0
    other = make_agent(seed=5, hidden=128, deterministic=128, groups=8, classes=8)
    strange = yardstick.measure("strange", ReferencePolicy(other))
    assert not is_admitted(strange)


def test_nan_is_never_admitted(yardstick: Yardstick) -> None:
    broken = make_agent(hidden=128, deterministic=128, groups=8, classes=8)
    broken.policy.head[-1].bias.data[0] = float("nan")
    assert not is_admitted(yardstick.measure("nan", ReferencePolicy(broken)))


def trials(yardstick: Yardstick, graph: bytes, returns: dict[int, tuple[float, float]] | None = None) -> Trials:
    """Trials whose closed loop answers by the number of its call: the first is float32's."""
    calls = iter(range(100))

    def drive(_graph, _calibration):
        reward, cost = (returns or {}).get(next(calls), (10.0, 0.0))
        return [(reward + index, cost) for index in range(10)]

    return Trials(yardstick, graph, EPISODES, 0.4, drive)


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Latencies as a device would have them on which every precision gains, in an order that is known.

    What rounding costs is left out: processors without VNNI add products of bytes up in 16 bits, which overflow.
    """
    speed = dict(zip(PRECISIONS, (1.0, 1.2, 0.6, 0.5, 0.4, 0.3), strict=True))

    def timed(_self: Trials, items: list[Trial]) -> None:
        for item in items:
            item.median_ms = item.p99_ms = speed[item.precision]

    monkeypatch.setattr(Trials, "_time", timed)
    monkeypatch.setattr("export.trial.convert", lambda graph, precision, _: converted_once(graph, precision))
    monkeypatch.setattr("export.trial.is_admitted", lambda conversion: conversion.kind != "int8-mixed")
    monkeypatch.setattr("export.trial.FALSE_ALARMS", 1.0)


def test_auto_takes_the_fastest_that_keeps_all_bounds(yardstick: Yardstick, graph: bytes, fast: None) -> None:
    chosen, tried = trials(yardstick, graph).choose(None)
    verdicts = {trial.precision: trial.verdict for trial in tried}
    assert chosen.precision == "int8-blocks" and chosen.verdict.startswith("taken")
    assert "strays too far" in verdicts["int8-mixed"]
    assert verdicts["float16"] == "not faster than float32 by a tenth"
    assert [trial.precision for trial in tried] == list(PRECISIONS)
    row = chosen.to_json()
    assert row["closed_loop"]["episodes"] == 10 and row["filter"]["sample_size"] == 2 and row["bytes"] > 0


@pytest.mark.parametrize(
    ("answer", "word"), [((5.0, 0.0), "earns less"), ((10.0, 3.0), "violates more often")], ids=["worse", "unsafe"]
)
def test_auto_refuses_what_drives_worse(yardstick, graph, fast, answer, word) -> None:
    chosen, tried = trials(yardstick, graph, {1: answer}).choose(None)
    verdicts = {trial.precision: trial.verdict for trial in tried}
    assert word in verdicts["int8-blocks"] and chosen.precision == "int8-static"


def test_auto_refuses_a_filter_that_cries_wolf(yardstick, graph, fast, monkeypatch) -> None:
    monkeypatch.setattr("export.trial.FALSE_ALARMS", -1.01)
    chosen, tried = trials(yardstick, graph).choose(None)
    verdicts = {trial.precision: trial.verdict for trial in tried}
    assert "more false alarms at the same miss rate" in verdicts["int8-blocks"] and chosen.precision == "float32"


def test_auto_keeps_float32_when_nothing_else_will_do(yardstick, graph, fast) -> None:
    chosen, _ = trials(yardstick, graph, {1: (0.0, 1.0), 2: (0.0, 1.0), 3: (0.0, 1.0)}).choose(None)
    assert chosen.precision == "float32" and chosen.verdict == "taken: nothing faster stays within all bounds"


def test_what_this_runtime_cannot_run_is_said(yardstick, graph, fast, monkeypatch) -> None:
    real = onnxruntime.InferenceSession

    def old(model, *arguments, **options):
        if isinstance(model, bytes) and b"MatMulNBits" in model:
            raise RuntimeError("Only 4b quantization is supported\nand more")
        return real(model, *arguments, **options)

    monkeypatch.setattr("export.graph_policy.onnxruntime.InferenceSession", old)
    chosen, tried = trials(yardstick, graph).choose(None)
    verdicts = {trial.precision: trial.verdict for trial in tried}
    assert verdicts["int8-blocks"] == "this onnxruntime does not run it (Only 4b quantization is supported)"
    assert chosen.precision == "int8-static"
    with pytest.raises(BundleError, match=r"int8-blocks: this onnxruntime does not run it .* choose another"):
        trials(yardstick, graph).choose("int8-blocks")


def test_a_precision_that_is_asked_for_is_taken_and_its_faults_are_said(yardstick, graph, fast) -> None:
    chosen, tried = trials(yardstick, graph, {1: (5.0, 0.0)}).choose("int8-dynamic")
    assert [trial.precision for trial in tried] == ["float32", "int8-dynamic"]
    assert chosen.verdict.startswith("taken as asked, although it earns less")
