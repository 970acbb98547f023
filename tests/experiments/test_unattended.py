"""A robot that learns unattended, in lockstep: experience, candidate, gate, take-over, probation and its end."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("mujoco")
pytest.importorskip("gymnasium")
from experiments.unattended import UnattendedRobot
from export.exporter import export_bundle
from fosp_edge.cli.home import Home
from fosp_edge.cli.learning_process import LearnerProcess, LearnSettings
from fosp_edge.experience.episode import EpisodeHeader
from fosp_edge.experience.store import ExperienceStore
from fosp_edge.simulation.collect import collect_episode
from fosp_edge.simulation.recording import SAFEREACH_RECORDING
from tests.export.agents import make_agent, make_episode
from tests.export.test_exporter import CONTRACT

SETTINGS = LearnSettings(mode="light", updates_per_candidate=4, episodes_per_candidate=1, compared_episodes=8,
                         offline_rows=300, gate=False)  # fmt: skip

"""Without the gate: the agent was never trained, and has nothing to show for itself. The probation is as it is."""


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_from_experience_to_a_bundle_that_drove_and_was_decided_upon(tmp_path: Path) -> None:
    recording = SAFEREACH_RECORDING
    contract = replace(CONTRACT, robot=recording.robot, state=recording.state, actions=recording.action)
    first = export_bundle(
        make_agent(), contract, [make_episode(1, onset=8), make_episode(2), make_episode(3, onset=6)], name="tiny",
        miss_rate=0.5, data_sha256="0" * 64, provenance={}, parent_folder=tmp_path / "first", storage="float32",
    ).path  # fmt: skip
    with ExperienceStore(tmp_path / "data", "a") as store:
        for seed in range(100_110, 100_122):
            steps, told = collect_episode("standard", seed, "unsafe")
            header = EpisodeHeader(recording, "unsafe", scenario="standard", seed=seed)
            store.add(header, steps, "success" if told["success"] else "timeout")
    home = Home(tmp_path / "robot")
    robot = UnattendedRobot(home, first, "standard")
    try:
        for seed in range(8):
            robot.live(seed)
        versions = home.versions(first)
        learner = LearnerProcess(
            home, first, [tmp_path / "data"], SETTINGS, stopped=lambda: versions.state.proposed is not None,
            say=lambda _: None, lived=robot.store,
        )  # fmt: skip
        learner.run()
        proposed = versions.state.proposed
        assert proposed is not None
        seed = 8
        robot.live(seed)
        assert robot.swapper.swaps == 1 and versions.state.current == proposed and versions.state.probation
        while versions.state.probation and seed < 100:
            seed += 1
            robot.live(seed)
    finally:
        robot.close()
    state = versions.state
    assert not state.probation, "eighty episodes decide at the latest"
    told = home.events.read_text()
    assert "took over from" in told
    if state.current == proposed:
        assert "passed its probation" in told
    else:
        assert state.current == first.name and proposed in state.refused and "is taken back" in told
    with ExperienceStore(home.experience) as store:
        drivers = [info.header.bundle for info in store.episodes()]
        assert drivers[0] == first.name and proposed in drivers
        assert all(problem is None for _, problem in store.verify())
        assert np.isfinite(store.read(store.episodes()[-1].id)["state"]).all()
