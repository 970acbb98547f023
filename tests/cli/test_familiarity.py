"""What a candidate's gate has to notice."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")
from fosp_edge.bundle.folder import load_bundle, read_files, write_bundle
from fosp_edge.bundle.manifest import GATE_FILE, BundleError
from fosp_edge.cli.familiarity import DISTURBANCES, alertness
from fosp_edge.control.gate import GateParameters
from tests.cli.test_learning_process import first, plain  # noqa: F401 - a fixture

EPISODES = [(None, plain(seed)) for seed in range(10)]


def test_a_gate_that_got_used_to_everything_notices_less(first, tmp_path) -> None:  # noqa: F811
    running = load_bundle(first)
    files = read_files(running)
    parameters = GateParameters.from_bytes(files[GATE_FILE], running.manifest)
    dull = replace(parameters, scale=parameters.scale * np.float32(100.0))
    path = write_bundle(running.manifest, files | {GATE_FILE: dull.to_bytes()}, tmp_path)
    found = alertness(load_bundle(path), [running], EPISODES)
    assert found.disturbed == len(DISTURBANCES) * len(EPISODES)
    assert found.noticed < found.noticed_before
    same = alertness(running, [running], EPISODES)
    assert same.noticed == same.noticed_before == found.noticed_before


def test_a_candidate_without_a_gate_does_not_follow_a_bundle_with_one(first, tmp_path) -> None:  # noqa: F811
    running = load_bundle(first)
    files = {name: data for name, data in read_files(running).items() if name != GATE_FILE}
    bare = load_bundle(write_bundle(replace(running.manifest, gate=None), files, tmp_path))
    with pytest.raises(BundleError, match="has no out-of-distribution gate"):
        alertness(bare, [running], EPISODES)
    assert alertness(running, [bare], EPISODES) is None
