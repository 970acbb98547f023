"""From a module to ONNX bytes: one file, checked, with what a person needs to recognise it inside."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import helper, numpy_helper

from export.step import INPUTS, OUTPUTS, StepModule

OPSET = 21
"""The newest that ONNX Runtime 1.18, the oldest supported one, executes whole (tests/export/test_oldest_runtime.py)."""
_IR_VERSION = 10
"""What torch writes with that opset."""


def export_step(module: StepModule, metadata: Mapping[str, str] | None = None) -> bytes:
    """The step as one self-contained ONNX model, checked. Raises RuntimeError as `export_module` does."""
    return export_module(module, INPUTS, OUTPUTS, metadata)


def export_module(
    module: torch.nn.Module, inputs: Sequence[str], outputs: Sequence[str], metadata: Mapping[str, str] | None = None
) -> bytes:
    """A module as one self-contained ONNX model, checked.

    Args:
        module: with static shapes and an `example_inputs()` that has them.
        inputs: names, in the order of its arguments.
        outputs: names, in the order of its results.
        metadata: goes into the model under `fosp_edge.`; readers of the file see it without the bundle.

    Raises:
        RuntimeError: an input or output got lost on the way (exporters drop what they think is unused).
    """
    module = module.eval()
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module,
            module.example_inputs(),  # type: ignore[operator]
            input_names=list(inputs),
            output_names=list(outputs),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = onnx.load_from_string(program.model_proto.SerializeToString())
    found = tuple(item.name for item in model.graph.input), tuple(item.name for item in model.graph.output)
    if found != (tuple(inputs), tuple(outputs)):
        raise RuntimeError(
            f"the exporter changed the graph's interface: expected {(tuple(inputs), tuple(outputs))}, found {found}"
        )
    return _finished(model, metadata or {})


def export_constants(values: Mapping[str, npt.NDArray[np.generic]], metadata: Mapping[str, str] | None = None) -> bytes:
    """A model without inputs whose outputs are known: they are its weights, and there is nothing to trace."""
    weights = [numpy_helper.from_array(value, name) for name, value in values.items()]
    outputs = [helper.make_tensor_value_info(item.name, item.data_type, item.dims) for item in weights]
    graph = helper.make_graph([], "main_graph", [], outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION)
    return _finished(model, metadata or {})


def _finished(model: onnx.ModelProto, metadata: Mapping[str, str]) -> bytes:
    """Bytes of a model, checked, without what the exporter notes about its own source files, and with what it is."""
    for item in (*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer):
        item.doc_string = ""
        del item.metadata_props[:]
    del model.graph.value_info[:], model.graph.metadata_props[:], model.metadata_props[:]
    model.producer_name, model.producer_version = "fosp-edge", ""
    helper.set_model_props(model, {f"fosp_edge.{name}": value for name, value in sorted(metadata.items())})
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString()
    return data


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter talks about itself, on every channel there is."""
    names = ("torch.onnx", "onnxscript", "onnx_ir")
    before = {name: logging.getLogger(name).level for name in names}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            yield
        finally:
            for name, level in before.items():
                logging.getLogger(name).setLevel(level)
