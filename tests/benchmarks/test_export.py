"""Results add up agent by agent, and a repeated one takes the place of the old."""

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")
from benchmarks.export import merged


def test_agents_that_were_not_measured_again_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    assert merged(path, [{"agent": "nano", "rows": 1}]) == [{"agent": "nano", "rows": 1}]
    path.write_text(json.dumps({"agents": [{"agent": "nano", "rows": 1}, {"agent": "small", "rows": 2}]}))
    found = merged(path, [{"agent": "nano", "rows": 3}])
    assert found == [{"agent": "small", "rows": 2}, {"agent": "nano", "rows": 3}]
