"""The benchmark measures what it says: every phase of every tick, at the far end of a real wire."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.control_tick import PHASES, describe, measure
from fosp_edge.bundle.folder import write_bundle
from fosp_edge.bundle.manifest import GRAPH_FILE, WEIGHTS_FILE
from tests.faults.bundles import arm_manifest, scripted_graph


def test_a_short_measurement_counts_every_tick_and_its_phases_fit_into_it(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    bundle = write_bundle(arm_manifest(), {GRAPH_FILE: scripted_graph(), WEIGHTS_FILE: b""}, tmp_path)
    report = measure(bundle, ticks=20, rates_hz=[20.0], threads=1, eager=None)
    modes = report["modes"]
    assert isinstance(modes, dict) and set(modes) == {"back to back", "paced 20 Hz"}
    for mode, count in (("back to back", 20), ("paced 20 Hz", 20)):
        figures = modes[mode]
        assert all(figures[phase]["ticks"] == count for phase in PHASES)
        slowest_part = max(figures[phase]["median_ms"] for phase in PHASES[:-1])
        assert 0.0 < slowest_part <= figures["tick"]["median_ms"]


def test_figures_are_quantiles_in_milliseconds() -> None:
    figures = describe(np.arange(1, 10_002) * 1e-6)
    assert figures["median_ms"] == pytest.approx(5.001)
    assert figures["p99_ms"] == pytest.approx(9.901)
    assert figures["max_ms"] == pytest.approx(10.001)


def test_the_floor_counts_weights_and_products_of_dense_layers_and_rows_of_tables() -> None:
    onnx = pytest.importorskip("onnx")
    from benchmarks.floor import work_of

    h, F = onnx.helper, onnx.TensorProto.FLOAT
    weight = onnx.numpy_helper.from_array(np.ones((32, 8), np.float32), "w")
    table = onnx.numpy_helper.from_array(np.ones((100, 32), np.float32), "t")
    nodes = [h.make_node("Gather", ["t", "i"], ["rows"]), h.make_node("MatMul", ["rows", "w"], ["y"])]
    graph = h.make_graph(
        nodes,
        "g",
        [h.make_tensor_value_info("i", onnx.TensorProto.INT64, (3,))],
        [h.make_tensor_value_info("y", F, (3, 8))],
        [weight, table],
    )
    work = work_of(h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=9).SerializeToString())
    assert work.weight_bytes == 32 * 8 * 4 + 3 * 32 * 4
    assert work.multiply_adds == 3 * 8 * 32
