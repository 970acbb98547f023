"""What no step graph can be faster than on this machine: its weights over memory bandwidth, its arithmetic over peak.

Both are measured here, on one thread, in the run that uses them. Which weights one step touches, and how many
multiply-adds it makes, is read off the graph: dense layers touch all of theirs, table look-ups only the rows they take.
"""

import math
import time
from dataclasses import asdict, dataclass

import numpy as np
import onnx
from onnx import helper, shape_inference

from export.summary import constants

_DENSE = {"MatMul", "Gemm", "Conv", "ConvTranspose", "MatMulNBits", "MatMulInteger", "QLinearConv", "QLinearMatMul",
          "ConvInteger", "FusedConv", "FusedMatMul"}  # fmt: skip
_LOOKUP = {"Gather", "GatherND", "GatherElements"}


@dataclass(frozen=True)
class Work:
    """What one step must do at least."""

    weight_bytes: int
    multiply_adds: int
    parts: tuple[tuple[int, int], ...] = ()
    """Of each layer: bytes, multiply-adds. A layer takes as long as the slower of the two, and they follow one another:
    each needs the answer of the one before."""


@dataclass(frozen=True)
class Machine:
    """What one core can do at most, measured."""

    cold_bandwidth_gb_s: float
    """Reading once through far more than the caches hold."""
    warm_bandwidth_gb_s: float
    """Reading as many bytes as the graph has again and again."""
    peak_gmac_s: float


def work_of(graph: bytes) -> Work:
    """Weights touched and multiply-adds of one step of an ONNX graph.

    A weight that is stored packed, and unpacked by nodes without any other input, counts as what it is unpacked to: a
    runtime does that once, when it loads the graph.
    """
    model = shape_inference.infer_shapes(onnx.load_from_string(graph))
    shapes: dict[str, tuple[int, ...]] = {}
    item_bytes: dict[str, int] = {}
    for value in [*model.graph.input, *model.graph.output, *model.graph.value_info]:
        kind = value.type.tensor_type
        shapes[value.name] = tuple(dim.dim_value for dim in kind.shape.dim)
        item_bytes[value.name] = helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize
    for item in model.graph.initializer:
        shapes[item.name] = tuple(item.dims)
        item_bytes[item.name] = helper.tensor_dtype_to_np_dtype(item.data_type).itemsize
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear":  # its product is made of the integers themselves
            item_bytes[node.output[0]] = item_bytes[node.input[0]]
    size = {name: math.prod(shapes[name]) * item_bytes[name] for name in shapes}
    constant = constants(model)
    touched: dict[str, int] = {}
    multiply_adds, parts = 0, []
    for node in model.graph.node:
        if node.output[0] in constant:
            continue
        output = math.prod(shapes.get(node.output[0], (1,)))
        if node.op_type in _LOOKUP and node.input[0] in constant:
            table = node.input[0]
            touched[node.output[0]] = min(size[table], output * item_bytes[table])
            parts.append((touched[node.output[0]], 0))
        elif node.op_type in _DENSE:
            fresh = [name for name in node.input if name in constant and name not in touched]
            touched |= {name: size[name] for name in fresh}
            products = output * _depth(node, shapes)
            multiply_adds += products
            parts.append((sum(size[name] for name in fresh), products))
    return Work(sum(touched.values()), multiply_adds, tuple(parts))


def _depth(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> int:
    """How many products are summed up in each element of a dense layer's output."""
    if "Conv" in node.op_type:
        return math.prod(shapes[node.input[1]][1:])
    if node.op_type == "MatMulNBits":
        return next(item.i for item in node.attribute if item.name == "K")
    return int(shapes[node.input[0]][-1] or 1)


def measure_machine(weight_bytes: int, seconds: float = 1.0) -> Machine:
    """The best of many attempts at reading and at multiplying, on one thread. Needs *_NUM_THREADS=1."""
    cold, warm = np.ones(64 << 20, np.float32), np.ones(max(1 << 18, weight_bytes // 4), np.float32)
    side = 768
    a, b = np.ones((side, side), np.float32), np.ones((side, side), np.float32)
    out = np.empty_like(a)
    return Machine(
        cold_bandwidth_gb_s=round(cold.nbytes / _best(lambda: np.dot(cold, cold), seconds) / 1e9, 2),
        warm_bandwidth_gb_s=round(warm.nbytes / _best(lambda: np.dot(warm, warm), seconds) / 1e9, 2),
        peak_gmac_s=round(side**3 / _best(lambda: np.matmul(a, b, out=out), seconds) / 1e9, 1),
    )


def _best(action: object, seconds: float) -> float:
    assert callable(action)
    best, end = np.inf, time.perf_counter() + seconds
    while time.perf_counter() < end:
        begin = time.perf_counter_ns()
        action()
        best = min(best, time.perf_counter_ns() - begin)
    return float(best) * 1e-9


def floor_of(graph: bytes) -> dict[str, object]:
    """Everything about the floor of one graph, milliseconds included."""
    work = work_of(graph)
    machine = measure_machine(work.weight_bytes)
    return {
        "weight_bytes": work.weight_bytes,
        "multiply_adds": work.multiply_adds,
        **asdict(machine),
        "arithmetic_ms": round(work.multiply_adds / machine.peak_gmac_s / 1e6, 4),
        "memory_cold_ms": round(work.weight_bytes / machine.cold_bandwidth_gb_s / 1e6, 4),
        "memory_warm_ms": round(work.weight_bytes / machine.warm_bandwidth_gb_s / 1e6, 4),
        "floor_cold_ms": round(_floor_ms(work, machine.cold_bandwidth_gb_s, machine.peak_gmac_s), 4),
        "floor_warm_ms": round(_floor_ms(work, machine.warm_bandwidth_gb_s, machine.peak_gmac_s), 4),
    }


def _floor_ms(work: Work, bandwidth_gb_s: float, peak_gmac_s: float) -> float:
    """Each layer bound by memory or by arithmetic, one after the other."""
    return sum(max(size / bandwidth_gb_s, products / peak_gmac_s) for size, products in work.parts) / 1e6
