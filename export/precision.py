"""The step graph in fewer bits: what a device may compute faster. Every form has the same inputs and outputs.

| precision | products | convolutions | needs onnxruntime |
| --- | --- | --- | --- |
| float32 | float32 | float32 | 1.18 |
| float16 | float16 | float16 | 1.18; for GPUs, slower on a CPU |
| int8-dynamic | int8, activations scaled each tick | float32 | 1.18 |
| int8-static | int8, activations scaled by recorded frames | int8 | 1.20 |
| int8-blocks | 8-bit blocks of 32, activations scaled per block | float32 | 1.22 |
| int8-mixed | as int8-blocks | int8, scaled by recorded frames | 1.22 |

Sensitive layers stay in float32: those with few inputs (actions, joint angles), the last of each head, and everything
that is not a product: softmax, logarithms, norms. The logits of the latent state do not: with them in float32 the
shipped agent strayed as far (docs/export.md).
"""

import contextlib
import logging
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

from export.storage import BLOCK, to_blocks

Precision = Literal["float32", "float16", "int8-dynamic", "int8-static", "int8-blocks", "int8-mixed"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
OLDEST_RUNTIME: dict[Precision, str] = {
    "float32": "1.18",
    "float16": "1.18",
    "int8-dynamic": "1.18",
    "int8-static": "1.20",
    "int8-blocks": "1.22",
    "int8-mixed": "1.22",
}
"""Oldest onnxruntime that runs each; tried out, see docs/export.md."""
Feeds = dict[str, npt.NDArray[np.generic]]

_SENSITIVE = re.compile(r"rest\.\d+\.5\b|input_action|by_action|encoder\.state")
_FEWEST_WEIGHTS = 16_384
"""Smaller matrices gain nothing."""
CALIBRATION_TICKS = 128


def convert(graph: bytes, precision: Precision, recorded: Callable[[], Iterable[Feeds]]) -> bytes:
    """The step graph in another precision.

    Args:
        graph: float32, with its matrices as they are multiplied (not `compact`).
        precision: which.
        recorded: makes the graph's inputs along recorded episodes, for the ranges of activations.
    """
    model = onnx.load_from_string(graph)
    if precision == "float16":
        model = _half(model)
    elif precision == "int8-dynamic":
        model = _dynamic(model)
    elif precision == "int8-static":
        model = _static(model, ["MatMul", "Conv"], recorded())
    elif precision == "int8-blocks":
        model = _blocks(model)
    elif precision == "int8-mixed":
        model = _blocks(_static(model, ["Conv"], recorded()))
    properties = {item.key: item.value for item in onnx.load_from_string(graph).metadata_props}
    properties |= {"fosp_edge.precision": precision, "fosp_edge.oldest_onnxruntime": OLDEST_RUNTIME[precision]}
    del model.metadata_props[:]
    helper.set_model_props(model, properties)
    model.producer_name, model.producer_version = "fosp-edge", ""
    data: bytes = model.SerializeToString()
    return data


def _weights(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    return {item.name: item for item in model.graph.initializer}


def _kept(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes whose weights are sensitive."""
    return [node.name for node in model.graph.node if any(_SENSITIVE.search(name) for name in node.input)]


def _half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Products and convolutions in float16, everything between them in float32."""
    weights, nodes = _weights(model), []
    for node in model.graph.node:
        item = weights.get(node.input[1]) if node.op_type in ("MatMul", "Conv") else None
        if item is None or len(node.input) > 2 or _SENSITIVE.search(item.name):
            nodes.append(node)
            continue
        if item.data_type == onnx.TensorProto.FLOAT:
            item.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(item).astype(np.float16), item.name))
        data, result = node.input[0], node.output[0]
        node.input[0], node.output[0] = f"{node.name}.half_in", f"{node.name}.half_out"
        nodes += [
            helper.make_node("Cast", [data], [node.input[0]], name=f"{node.name}.in", to=onnx.TensorProto.FLOAT16),
            node,
            helper.make_node("Cast", [node.output[0]], [result], name=f"{node.name}.out", to=onnx.TensorProto.FLOAT),
        ]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    return model


def _dynamic(model: onnx.ModelProto) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder, _quiet():
        target = Path(folder) / "graph.onnx"
        quantize_dynamic(
            model, target, op_types_to_quantize=["MatMul"], weight_type=QuantType.QInt8, per_channel=True,
            nodes_to_exclude=_kept(model),
        )  # fmt: skip
        return onnx.load(target)


def _static(model: onnx.ModelProto, kinds: Sequence[str], recorded: Iterable[Feeds]) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder, _quiet():
        source, target = Path(folder) / "float32.onnx", Path(folder) / "graph.onnx"
        onnx.save_model(model, source)
        quantize_static(
            str(source), str(target), _Recorded(recorded), quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, per_channel=True,
            op_types_to_quantize=list(kinds), nodes_to_exclude=_kept(model),
        )  # fmt: skip
        return onnx.load(target)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The quantiser advises, through the root logger, a step that would leave work in the graph (docs/export.md)."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


class _Recorded(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Recorded inputs, one tick at a time, as ONNX Runtime's calibration asks for them."""

    def __init__(self, recorded: Iterable[Feeds]) -> None:
        self._recorded = iter(recorded)

    def get_next(self) -> Feeds | None:
        return next(self._recorded, None)


def _blocks(model: onnx.ModelProto) -> onnx.ModelProto:
    """Every large product as MatMulNBits with the blocks of `export.storage`: exact if the agent is stored as int8."""
    weights, done = _weights(model), set()
    for node in model.graph.node:
        item = weights.get(node.input[1]) if node.op_type == "MatMul" else None
        if item is None or _SENSITIVE.search(item.name) or len(item.dims) != 2:
            continue
        rows, columns = item.dims
        if rows * columns < _FEWEST_WEIGHTS or rows % BLOCK:
            continue
        integers, exponents = to_blocks(np.ascontiguousarray(numpy_helper.to_array(item).T))
        if item.name not in done:
            unsigned = (integers.astype(np.int16) + 128).astype(np.uint8).reshape(columns, rows // BLOCK, BLOCK)
            scales = np.exp2(exponents.astype(np.float32)).reshape(-1)
            model.graph.initializer.append(numpy_helper.from_array(unsigned, item.name + ".blocks"))
            model.graph.initializer.append(numpy_helper.from_array(scales, item.name + ".scales"))
        inputs = [node.input[0], item.name + ".blocks", item.name + ".scales"]
        product: Any = helper.make_node(
            "MatMulNBits", inputs, [node.output[0]], name=node.name, domain="com.microsoft",
            K=rows, N=columns, bits=8, block_size=BLOCK, accuracy_level=4,
        )  # fmt: skip
        node.CopyFrom(product)
        done.add(item.name)
    kept = [item for item in model.graph.initializer if item.name not in done]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    if not any(item.domain == "com.microsoft" for item in model.opset_import):
        model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model
