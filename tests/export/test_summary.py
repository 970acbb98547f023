"""Parameters, multiply-adds and bytes of graphs whose figures are known."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.compact import compact
from export.precision import convert
from export.summary import summarise


def graph(nodes, inputs, outputs, **weights) -> bytes:
    def ports(items):
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in items.items()]

    built = helper.make_graph(
        nodes, "g", ports(inputs), ports(outputs), [numpy_helper.from_array(v, k) for k, v in weights.items()]
    )
    return helper.make_model(built, opset_imports=[helper.make_opsetid("", 21)], ir_version=10).SerializeToString()


def product(rows: int = 1) -> bytes:
    weight = np.random.default_rng(0).standard_normal((128, 256)).astype(np.float32).astype(np.float16)
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="product")
    return graph([node], {"x": [rows, 128]}, {"y": [rows, 256]}, w=weight.astype(np.float32))


def test_a_product_counts_its_rows_once_each_and_its_weights_once() -> None:
    one, nine = summarise(product()), summarise(product(9))
    assert one.parameters == nine.parameters == 128 * 256
    assert (one.multiply_adds, nine.multiply_adds) == (128 * 256, 9 * 128 * 256)
    assert one.weight_bytes == nine.weight_bytes == 128 * 256 * 4
    assert one.opset == 21 and one.operators == {"MatMul": 1}


def test_storage_changes_bytes_on_disk_and_not_what_is_computed() -> None:
    small = summarise(compact(product()))
    assert small.stored_bytes < 0.55 * summarise(product()).stored_bytes
    assert (small.multiply_adds, small.parameters, small.weight_bytes) == (128 * 256, 128 * 256, 128 * 256 * 4)


@pytest.mark.parametrize(("precision", "width"), [("int8-dynamic", 1), ("int8-blocks", 1), ("float16", 2)])
def test_precision_changes_the_bytes_that_are_read(precision: str, width: int) -> None:
    found = summarise(convert(product(), precision, lambda: []))
    assert found.multiply_adds == 128 * 256 and found.weight_bytes == 128 * 256 * width
    assert found.parameters == 128 * 256


def test_a_convolution_and_a_gather() -> None:
    kernel = np.zeros((8, 3, 4, 4), np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"], strides=[2, 2], pads=[1, 1, 1, 1])
    found = summarise(graph([node], {"x": [1, 3, 64, 64]}, {"y": [1, 8, 32, 32]}, w=kernel))
    assert found.multiply_adds == 8 * 32 * 32 * 3 * 16 and found.weight_bytes == kernel.size * 4
    rows = helper.make_node("Gather", ["table", "which"], ["y"])
    table, which = np.zeros((100, 50), np.float32), np.array([3, 7])
    found = summarise(graph([rows], {}, {"y": [2, 50]}, table=table, which=which))
    assert found.multiply_adds == 0 and found.weight_bytes == 2 * 50 * 4
