"""A bundle's own episodes, as rows that the store takes and the calibration can use."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mujoco")
from fosp_edge.bundle.folder import write_bundle
from fosp_edge.bundle.manifest import GRAPH_FILE, WEIGHTS_FILE
from fosp_edge.control.recorder import REASONS
from fosp_edge.control.types import Reason
from fosp_edge.experience.schema import check_steps
from fosp_edge.simulation.collect_policy import collect_policy_episode
from fosp_edge.simulation.evaluation import BundleActor
from tests.faults.bundles import arm_manifest, scripted_graph


@pytest.mark.parametrize("filtered", [False, True])
def test_rows_say_what_was_wanted_and_done_and_why(filtered: bool, tmp_path: Path) -> None:
    graph = scripted_graph(action=(0.4, 0.0, 0.1), reachability=(0.9, 0.9, 0.9, 0.05, 0.9))
    path = write_bundle(arm_manifest(), {GRAPH_FILE: graph, WEIGHTS_FILE: b""}, tmp_path)
    steps, summary = collect_policy_episode(BundleActor(path, filter_enabled=filtered), "standard", 1)
    assert check_steps(steps) == summary["steps"] + 1
    np.testing.assert_allclose(steps["nominal"][:-1], [[0.4, 0.0, 0.1]] * summary["steps"])
    np.testing.assert_allclose(steps["action"][:-1], 0.0 if filtered else steps["nominal"][:-1], atol=1e-6)
    wanted = Reason.SAFER_CANDIDATE if filtered else Reason.FILTER_OFF
    assert {REASONS[index] for index in steps["reason"][:-1]} == {wanted}
    assert summary["behaviour"] == "bundle" and steps["image"].shape[-1] == 6
