"""A run over some projects keeps what an earlier one found about the others, with the commit it was found at."""

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")
from experiments.foreign_parity import kept


def test_cases_that_were_not_measured_again_are_kept_with_their_commit(tmp_path: Path) -> None:
    path = tmp_path / "parity.json"
    assert kept(path, [{"family": "fosp", "case": "tiny"}]) == []
    earlier = [{"family": "fosp", "case": "tiny"}, {"family": "fosp", "case": "large", "commit": "b"}]
    path.write_text(json.dumps({"commit": "a", "versions": {}, "results": earlier}))
    found = kept(path, [{"family": "fosp", "case": "tiny"}])
    assert found == [{"family": "fosp", "case": "large", "commit": "b", "versions": {}}]
