"""What a graph costs: parameters, multiply-adds and bytes per step, read off the graph itself.

Shapes are not inferred but observed: the graph is run once, unoptimised, with the inputs and outputs of every product
exposed. That works for any operator this onnxruntime runs.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

Values = dict[str, npt.NDArray[np.generic]]

_PRODUCTS = {"MatMul", "MatMulInteger", "Gemm", "MatMulNBits"}
_CONVOLUTIONS = {"Conv", "ConvInteger", "ConvTranspose"}


@dataclass(frozen=True)
class GraphSummary:
    """Figures of one graph."""

    opset: int
    nodes: int
    operators: dict[str, int]
    parameters: int
    """Numbers in the weights, however they are stored."""
    stored_bytes: int
    multiply_adds: int
    """Of products and convolutions, per step."""
    weight_bytes: int
    """Weights read per step as they are computed with: the floor of a small model is memory, not arithmetic."""


def summarise(graph: bytes) -> GraphSummary:
    """Read the figures off a graph with static shapes. Raises what ONNX Runtime raises if it does not run here."""
    model = onnx.load_from_string(graph)
    shapes = _observe(model)
    constant = constants(model)
    adds, touched = 0, 0
    for node in model.graph.node:
        if node.op_type in _PRODUCTS | _CONVOLUTIONS:
            inner, read = _inner(node, shapes)
            adds += int(np.prod(shapes[node.output[0]])) * inner
            if node.input[1] in constant:
                touched += read * _width(node, model)
        elif node.op_type == "Gather" and node.input[0] in constant:
            touched += int(np.prod(shapes[node.output[0]])) * 4
    return GraphSummary(
        opset=next(item.version for item in model.opset_import if item.domain in ("", "ai.onnx")),
        nodes=len(model.graph.node),
        operators=dict(Counter(node.op_type for node in model.graph.node).most_common()),
        parameters=_parameters(model.graph.initializer),
        stored_bytes=len(graph),
        multiply_adds=adds,
        weight_bytes=touched,
    )


def _inner(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> tuple[int, int]:
    """Multiply-adds per output number, and the number of weights."""
    if node.op_type == "MatMulNBits":
        sizes = {item.name: item.i for item in node.attribute}
        return sizes["K"], sizes["K"] * sizes["N"]
    weight = shapes[node.input[1]]
    count = int(np.prod(weight))
    if node.op_type in ("Conv", "ConvInteger"):
        return int(np.prod(weight[1:])), count
    if node.op_type == "ConvTranspose":
        stride = next((int(np.prod(item.ints)) for item in node.attribute if item.name == "strides"), 1)
        return max(1, weight[0] * int(np.prod(weight[2:])) // stride), count
    if node.op_type == "Gemm":
        transposed = any(item.name == "transB" and item.i for item in node.attribute)
        return weight[1] if transposed else weight[0], count
    return shapes[node.input[0]][-1], count


def _width(node: onnx.NodeProto, model: onnx.ModelProto) -> int:
    """Bytes per weight as the product reads it."""
    if node.op_type in ("MatMulNBits", "MatMulInteger", "ConvInteger"):
        return 1
    producers = {name: item for item in model.graph.node for name in item.output}
    source = producers.get(node.input[1])
    if source is not None and source.op_type == "DequantizeLinear":
        return 1
    halves = {i.name for i in model.graph.initializer if i.data_type == onnx.TensorProto.FLOAT16}
    return 2 if node.input[1] in halves else 4


def constants(model: onnx.ModelProto) -> set[str]:
    """Everything that no input of the graph reaches."""
    known = {item.name for item in model.graph.initializer}
    for node in model.graph.node:
        if all(name in known or not name for name in node.input):
            known.update(node.output)
    return known


def _parameters(initializers: Iterable[onnx.TensorProto]) -> int:
    kinds = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.INT8, onnx.TensorProto.UINT8)
    aids = (".scale", ".scales", "_scale", "_zero_point", ".ones")
    return sum(
        int(np.prod(item.dims)) for item in initializers if item.data_type in kinds and not item.name.endswith(aids)
    )


def zero_feeds(session: onnxruntime.InferenceSession) -> Values:
    """Inputs of the right shapes: zeros, and one half where noise is asked for, which has a logarithm."""
    kinds = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(int64)": np.int64}
    return {
        item.name: np.full(item.shape, 0.5 if item.name == "latent_noise" else 0.0).astype(kinds[item.type])
        for item in session.get_inputs()
    }


def _observe(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Shapes of the inputs and outputs of products and gathers."""
    shapes = {item.name: tuple(item.dims) for item in model.graph.initializer}
    for item in model.graph.input:
        shapes[item.name] = tuple(dimension.dim_value for dimension in item.type.tensor_type.shape.dim)
    outputs = {item.name for item in model.graph.output}
    wanted: dict[str, None] = {}
    for node in model.graph.node:
        if node.op_type in _PRODUCTS | _CONVOLUTIONS | {"Gather"}:
            wanted |= dict.fromkeys([*node.input[:2], *node.output])
    produced = {name for node in model.graph.node for name in node.output}
    names = [name for name in wanted if name in produced]
    if not names:
        return shapes
    exposed = onnx.ModelProto.FromString(model.SerializeToString())
    exposed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in outputs)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(exposed.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found = session.run(names, zero_feeds(session))
    return shapes | {name: value.shape for name, value in zip(names, found, strict=True)}
