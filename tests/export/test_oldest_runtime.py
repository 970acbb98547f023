"""The graph on the oldest supported onnxruntime: FOSP_EDGE_OLDEST_PYTHON names an interpreter that has it.

python3.10 -m venv oldest && oldest/bin/pip install onnxruntime==1.18.1 'numpy<2'
FOSP_EDGE_OLDEST_PYTHON=oldest/bin/python pytest tests/export/test_oldest_runtime.py
"""

import os
import subprocess
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from export.compact import compact
from export.graph import export_step
from export.step import INPUTS, OUTPUTS, StepModule
from export.storage import STORAGES, rounded
from tests.export.agents import make_agent

PYTHON = os.environ.get("FOSP_EDGE_OLDEST_PYTHON")


@pytest.mark.skipif(PYTHON is None, reason="FOSP_EDGE_OLDEST_PYTHON names no interpreter with the oldest onnxruntime")
@pytest.mark.parametrize("storage", STORAGES)
def test_the_oldest_runtime_computes_what_the_newest_does(tmp_path: Path, storage: str) -> None:
    module = StepModule(rounded(make_agent(hidden=64), storage))
    graph, feeds, out = tmp_path / "step.onnx", tmp_path / "feeds.npz", tmp_path / "out.npz"
    graph.write_bytes(compact(export_step(module)))
    inputs = {name: value.numpy() for name, value in zip(INPUTS, module.example_inputs(), strict=True)}
    inputs["latent_noise"] = np.random.default_rng(0).uniform(0.01, 0.99, (1, 4, 4)).astype(np.float32)
    np.savez(feeds, **inputs)
    script = Path(__file__).with_name("oldest_runtime.py")
    subprocess.run([str(PYTHON), str(script), str(graph), str(feeds), str(out)], check=True, timeout=60)
    found = np.load(out)
    assert str(found["version"]).startswith("1.18.")
    expected = onnxruntime.InferenceSession(graph).run(list(OUTPUTS), inputs)
    for name, value in zip(OUTPUTS, expected, strict=True):
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5, err_msg=name)
