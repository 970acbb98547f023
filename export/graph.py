"""From the step module to ONNX bytes."""

import io
import warnings

import onnx
import torch

from export.step import INPUTS, OUTPUTS, StepModule

OPSET = 18
"""Old enough for onnxruntime 1.18, the oldest that this product supports."""


def export_step(module: StepModule) -> bytes:
    """The step as one self-contained ONNX model, checked.

    Raises:
        RuntimeError: an input or output got lost on the way (exporters drop what they think is unused).
    """
    module = module.eval()
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            module.example_inputs(),
            buffer,  # type: ignore[arg-type]  # the annotation forgets file objects, the documentation does not
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            opset_version=OPSET,
            dynamo=False,
        )
    model = onnx.load_from_string(buffer.getvalue())
    onnx.checker.check_model(model, full_check=True)
    found = tuple(item.name for item in model.graph.input), tuple(item.name for item in model.graph.output)
    if found != (INPUTS, OUTPUTS):
        raise RuntimeError(f"the exporter changed the graph's interface: expected {(INPUTS, OUTPUTS)}, found {found}")
    data: bytes = model.SerializeToString()
    return data
