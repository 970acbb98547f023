"""Inference leaves nothing behind and calls nobody: onnxruntime's wheels report usage unless told not to."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_OPEN = """
import {package}
import numpy as np, onnx, onnxruntime
from onnx import TensorProto, helper
graph = helper.make_graph(
    [helper.make_node("Identity", ["x"], ["y"])], "identity",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
session.run(None, {{"x": np.ones(1, np.float32)}})
"""


@pytest.mark.parametrize("package", ["fosp_edge", "export"])
def test_that_opening_a_graph_writes_nothing_into_the_home_folder(package: str, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", _OPEN.format(package=package)], env=environment | home, check=True)
    assert sorted(tmp_path.rglob("*")) == []
