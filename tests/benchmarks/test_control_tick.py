"""The benchmark measures what it says: every phase of every tick, at the far end of a real wire."""

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.control_tick import BACK_TO_BACK, measure, report_of
from benchmarks.peers import Peer, PeerProgram
from benchmarks.samples import Samples
from benchmarks.tick import PHASES, describe
from fosp_edge.bundle.folder import load_bundle, write_bundle
from fosp_edge.bundle.manifest import GRAPH_FILE, WEIGHTS_FILE
from fosp_edge.control.inference import Execution
from tests.faults.bundles import arm_manifest, scripted_graph


def test_short_measurements_add_up_and_their_phases_fit_into_the_tick(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    files = {GRAPH_FILE: scripted_graph(), WEIGHTS_FILE: b""}
    bundle = load_bundle(write_bundle(arm_manifest(), files, tmp_path / "bundles"))
    for _ in range(2):
        samples = Samples(tmp_path / "kept")
        measure(samples, bundle, Execution(), [], {BACK_TO_BACK: 20, 20.0: 10})
        samples.add("a peer|back to back", np.array([0.001, 0.002, 0.003]))
        samples.save()
    assert Samples(tmp_path / "kept").parts == 2
    floors = {bundle.id: {"floor_cold_ms": 0.1, "floor_warm_ms": 0.1}}
    (entry,) = report_of(Samples(tmp_path / "kept"), {bundle.id: bundle}, floors, {})["bundles"]
    assert set(entry["modes"]) == {"back to back", "paced 20 Hz"} and entry["threads"] == 1
    for mode, count in (("back to back", 40), ("paced 20 Hz", 20)):
        figures = entry["modes"][mode]
        assert all(figures[phase]["ticks"] == count for phase in PHASES)
        slowest_part = max(figures[phase]["median_ms"] for phase in PHASES[:-1])
        assert 0.0 < slowest_part <= figures["tick"]["median_ms"]
        assert figures["tick over floor"] == pytest.approx(10.0 * figures["tick"]["median_ms"], abs=0.01)
    # Medians of 2 ms beside a floor of 0.1 ms; nobody was timed with pauses.
    assert [entry["modes"][mode]["peers over floor"] for mode in ("back to back", "paced 20 Hz")] == [
        {"a peer": 20.0},
        {},
    ]


def test_a_peer_is_timed_in_a_process_of_its_own(tmp_path: Path) -> None:
    program = tmp_path / "peer_of_a_test.py"
    program.write_text(
        "import time\nfrom benchmarks.peers import serve\nprint('noise')\n"
        "serve(lambda: time.sleep(0.002), {'what': 'a nap'})\n"
    )
    peer = Peer(PeerProgram("nap", sys.executable, str(program), (), by_path=True))
    try:
        assert peer.about == {"what": "a nap"}
        assert len(peer.time(5, None)) == 5 and min(peer.time(3, 100.0)) >= 0.002
    finally:
        peer.close()


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
    assert work.parts == ((3 * 32 * 4, 0), (32 * 8 * 4, 3 * 8 * 32))


@pytest.mark.parametrize(("unpacking", "item_bytes"), [("Cast", 4), ("DequantizeLinear", 1)])
def test_the_floor_counts_a_packed_weight_as_what_it_is_computed_with(unpacking: str, item_bytes: int) -> None:
    onnx = pytest.importorskip("onnx")
    from benchmarks.floor import work_of

    h, F = onnx.helper, onnx.TensorProto.FLOAT
    packed = onnx.numpy_helper.from_array(np.ones((8, 32), np.int8), "packed")
    scale = onnx.numpy_helper.from_array(np.float32(0.5), "scale")
    nodes = {
        "Cast": [
            h.make_node("Cast", ["packed"], ["wide"], to=F),
            h.make_node("Transpose", ["wide"], ["w"], perm=[1, 0]),
        ],
        "DequantizeLinear": [
            h.make_node("Transpose", ["packed"], ["turned"], perm=[1, 0]),
            h.make_node("DequantizeLinear", ["turned", "scale"], ["w"]),
        ],
    }[unpacking]
    graph = h.make_graph(
        [*nodes, h.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [h.make_tensor_value_info("x", F, (1, 32))],
        [h.make_tensor_value_info("y", F, (1, 8))],
        [packed, scale],
    )
    work = work_of(h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=9).SerializeToString())
    assert work.parts == ((32 * 8 * item_bytes, 8 * 32),)
