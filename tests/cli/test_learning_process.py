"""The learner starts anew when the robot takes back what it proposed, and not because the gate said no."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")
from fosp_edge.cli.home import Home
from fosp_edge.cli.learning_process import LearnerProcess, LearnSettings
from tests.bundle.test_versions import make


def test_only_what_was_proposed_and_taken_back_counts_as_lost(tmp_path):
    home = Home(tmp_path / "robot")
    home.make()
    process = LearnerProcess(home, None, [], LearnSettings(), stopped=lambda: True, say=lambda _: None)
    process.versions.start()
    refused, proposed = make(process.versions.folder, 1), make(process.versions.folder, 2)
    process.versions.refuse(refused, "cost, own: expected cost worse by +9 %")
    assert not process._lost(process.versions.state.refused)
    process._remember(proposed)
    process.versions.adopt(proposed)
    assert not process._lost(process.versions.state.refused)
    process.versions.roll_back("a person did not like it")
    assert process._lost(process.versions.state.refused)
