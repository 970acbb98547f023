"""Weights in fewer bits: rounded once, then exact in every layout, and refused when damaged."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from export.compact import SUFFIX, compact
from export.storage import BLOCK, STORAGES, from_blocks, pack, rounded, to_blocks, unpack
from fosp_edge.bundle.manifest import BundleError
from tests.export.agents import make_agent


def matrix(seed: int, rows: int, columns: int, scale: float) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal((rows, columns)) * scale).astype(np.float32)


@settings(max_examples=100)
@given(seed=st.integers(0, 999), rows=st.integers(1, 5), columns=st.integers(1, 100), exponent=st.integers(-12, 8))
def test_rounding_errs_by_at_most_half_a_step_and_a_second_time_by_nothing(seed, rows, columns, exponent):
    values = matrix(seed, rows, columns, 2.0**exponent)
    once = from_blocks(*to_blocks(values))
    assert once.shape == values.shape
    for row in range(rows):
        for start in range(0, columns, BLOCK):
            part = slice(start, start + BLOCK)
            largest = np.abs(values[row, part]).max()
            step = max(2.0 ** np.ceil(np.log2(max(largest, 1e-30) / 127)), 2.0**-24)
            assert np.abs(once[row, part] - values[row, part]).max() <= step / 2 * (1 + 1e-6)
    assert np.array_equal(from_blocks(*to_blocks(once)), once)
    assert np.array_equal(once.astype(np.float16).astype(np.float32), once)


def test_any_part_of_a_rounded_matrix_in_whole_blocks_is_exact_again():
    values = from_blocks(*to_blocks(matrix(0, 7, 4 * BLOCK, 0.1)))
    for part in (values[2:5, BLOCK:], values[:, 2 * BLOCK : 3 * BLOCK], np.concatenate([values, values[:2]])):
        assert np.array_equal(from_blocks(*to_blocks(part)), part)


def test_a_block_of_zeros_and_very_small_numbers_become_zero():
    assert np.array_equal(from_blocks(*to_blocks(np.zeros((2, 40), np.float32))), np.zeros((2, 40)))
    assert np.array_equal(from_blocks(*to_blocks(np.full((2, 40), 1e-12, np.float32))), np.zeros((2, 40)))


@pytest.mark.parametrize("storage", STORAGES)
def test_what_is_packed_is_unpacked_bit_for_bit(storage):
    agent = rounded(make_agent(hidden=48), storage)
    data = pack(agent.state_dict(), storage)
    found = unpack(data)
    for name, value in agent.state_dict().items():
        assert torch.equal(found[name], value), name
    if storage == "int8":
        assert len(data) < 0.5 * len(pack(agent.state_dict(), "float32"))


@settings(max_examples=60)
@given(data=st.data())
def test_truncated_weights_are_refused_in_a_sentence(packed, data):
    with pytest.raises(BundleError, match="get the bundle again"):
        unpack(packed[: data.draw(st.integers(0, len(packed) - 1))])


@pytest.fixture(scope="module")
def packed():
    return pack(rounded(make_agent(), "int8").state_dict(), "int8")


def test_the_same_weights_are_the_same_bytes(packed):
    again = {pack(rounded(make_agent(), "int8").state_dict(), "int8") for _ in range(12)}
    assert again == {packed}


def test_integers_without_their_scales_are_refused():
    broken = {"w": torch.zeros((8, 200), dtype=torch.int8)}
    with pytest.raises(BundleError, match="the weights of w lack the scales"):
        unpack(pack(broken, "float32"))
    with pytest.raises(BundleError, match="the weights of w lack the scales"):
        unpack(pack(broken | {"w.scale_exponents": torch.zeros((8, 6), dtype=torch.int8)}, "float32"))


def product_graph(weight: np.ndarray) -> bytes:
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, len(weight)])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, weight.shape[1]])],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10).SerializeToString()


@pytest.mark.parametrize("storage", ["as it is", "float16", "rows", "columns"])
def test_a_compact_graph_computes_the_same_numbers(storage):
    weight = matrix(3, 4 * BLOCK, 3 * BLOCK, 0.1)
    if storage == "float16":
        weight = weight.astype(np.float16).astype(np.float32)
    elif storage == "rows":
        weight = from_blocks(*to_blocks(weight))
    elif storage == "columns":
        weight = np.ascontiguousarray(from_blocks(*to_blocks(np.ascontiguousarray(weight.T))).T)
    graph = product_graph(weight)
    small = compact(graph)
    x = np.random.default_rng(1).standard_normal((1, len(weight))).astype(np.float32)
    before, after = (onnxruntime.InferenceSession(item).run(None, {"x": x})[0] for item in (graph, small))
    assert np.array_equal(before, after)
    share = len(small) / len(graph)
    bounds = {"as it is": (0.99, 1.01), "float16": (0.49, 0.55), "rows": (0.25, 0.32), "columns": (0.25, 0.32)}
    assert bounds[storage][0] < share < bounds[storage][1]
    stored = [item.name for item in onnx.load_from_string(small).graph.initializer if item.name.endswith(SUFFIX)]
    assert bool(stored) == (storage != "as it is")
