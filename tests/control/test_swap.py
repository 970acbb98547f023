"""One bundle hands over to another while the arm moves: when, with what state, and what happens if it disappoints."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fosp_edge.bundle.folder import write_bundle
from fosp_edge.bundle.manifest import LatentContract, Manifest
from fosp_edge.bundle.versions import Versions
from fosp_edge.control.controller import Controller
from fosp_edge.control.loop import ControlLoop
from fosp_edge.control.machine import Machine
from fosp_edge.control.pacing import Pacer
from fosp_edge.control.probation import ProbationSettings
from fosp_edge.control.session import AutomaticOperator, Plan, RunSummary, Session
from fosp_edge.control.swap import Swapper
from fosp_edge.control.types import Reason, TickRecord
from fosp_edge.robots.base import Judgement
from tests.control.fakes import FakeCamera, FakeClock, FakeReferee, FakeRobot, make_graph, make_manifest

QUICK = ProbationSettings(least_episodes=3)


def put(versions: Versions, mark: int, manifest: Manifest | None = None, graph: bytes | None = None) -> str:
    manifest = replace(manifest or make_manifest(), name=f"tiny-{mark}")
    files = {"step.onnx": graph or make_graph(), "weights.safetensors": f"weights {mark}".encode()}
    return write_bundle(manifest, files, versions.folder).name


class KindReferee(FakeReferee):
    """Charges nothing unless told to."""

    costly = False

    def judge(self) -> Judgement:
        return replace(super().judge(), cost=float(self.costly))


class Rig:
    """A loop with a swapper whose background takes its turn whenever the robot's state is read."""

    def __init__(self, folder: Path, length: int = 12) -> None:
        fallback = write_bundle(make_manifest(), {"step.onnx": make_graph(), "weights.safetensors": b"0"}, folder / "s")
        self.versions = Versions(folder / "bundles", fallback)
        first, _ = self.versions.start()
        self.clock = FakeClock()
        self.robot = FakeRobot(self.clock)
        self.robot.state[5:8] = 0.1  # slow
        self.referee = KindReferee(length)
        self.records: list[TickRecord] = []
        self.drivers: list[str] = []
        controller = Controller(first)
        self.swapper = Swapper(self.versions, first.id, controller, Controller, probation=QUICK, log=folder / "log")
        self.robot.on_read = self.background
        self.actions: dict[int, object] = {}

        def observe(record, insight):
            self.records.append(record)
            self.swapper.record(record, insight)
            self.drivers.append(self.swapper.bundle_id)

        self.loop = ControlLoop(
            self.robot, [FakeCamera(self.clock, "fixed"), FakeCamera(self.clock, "wrist")], controller,
            Machine(self.clock), referee=self.referee, observer=observe, relay=self.swapper,
            pacer=Pacer(0.05, self.clock, self.clock.sleep), clock=self.clock, sleep=self.clock.sleep,
        )  # fmt: skip

    def background(self) -> None:
        for tick in [tick for tick in self.actions if len(self.robot.commands) >= tick]:
            self.actions.pop(tick)()
        for _ in range(3):
            self.swapper.step()

    def run(self, episodes: int = 1) -> RunSummary:
        return Session(self.loop, AutomaticOperator(), self.clock).run(Plan("standard", episodes=episodes))

    def propose(self, mark: int, **expected: float) -> str:
        name = put(self.versions, mark)
        self.versions.propose(self.versions.load(name), {"violation": 0.02, "failure": 0.02} | expected)
        return name


@pytest.fixture
def rig(tmp_path):
    return Rig(tmp_path)


def test_a_proposed_bundle_takes_over_between_two_ticks_and_the_motion_goes_on(rig):
    rig.actions[4] = lambda: rig.propose(1)
    summary = rig.run()
    assert summary.planned and rig.swapper.swaps == 1
    changed = next(i for i, name in enumerate(rig.drivers) if name != rig.drivers[0])
    assert 4 <= changed < 11, "inside the episode"
    assert len(rig.robot.commands) == 12 and summary.missed_deadlines == 0
    jumps = np.abs(np.diff(np.stack([record.action for record in rig.records[:12]]), axis=0))
    assert jumps.max() < 1e-6, "the same policy: the arm does not notice"
    state = rig.versions.state
    assert state.current == rig.drivers[-1] and state.previous == rig.drivers[0] and state.probation


def test_the_state_is_encoded_again_and_equals_that_of_a_bundle_that_drove_all_along(rig):
    """The tiny graph is a function of what it sees: with the same weights, the latent has to be the same too."""
    rig.actions[4] = lambda: rig.propose(1)
    twin = Controller(rig.versions.load(rig.swapper.bundle_id))
    rig.run()
    twin.reset(0)
    before = np.zeros(3, np.float32)
    for record in rig.records[:12]:
        twin.follow(record.observation, before)
        before = record.action
    np.testing.assert_array_equal(twin.runtime.latent.stochastic, rig.loop.controller.runtime.latent.stochastic)
    np.testing.assert_allclose(
        twin.runtime.latent.deterministic, rig.loop.controller.runtime.latent.deterministic, rtol=1e-6
    )
    assert twin.runtime.latent.tick == rig.loop.controller.runtime.latent.tick == 12


@pytest.mark.parametrize(("index", "value"), [(5, 0.9), (0, 0.28)])
def test_fast_or_near_the_edge_it_waits_for_the_end_of_the_episode(rig, index, value):
    rig.robot.state[index] = value
    rig.actions[4] = lambda: rig.propose(1)
    rig.run(2)
    assert len(set(rig.drivers[:13])) == 1 and len(set(rig.drivers[13:])) == 1
    assert rig.drivers[0] != rig.drivers[-1]


def test_probation_tightens_the_filter_and_passes(rig):
    name = rig.propose(1)
    rig.background()
    rig.run(40)
    tightened = QUICK.tighten_ratio * make_manifest().filter.feasible_reachability
    limits = [record.filter.feasible_reachability for record in rig.records if record.filter is not None]
    assert limits[0] == pytest.approx(tightened)
    assert limits[-1] == pytest.approx(make_manifest().filter.feasible_reachability)
    state = rig.versions.state
    assert state.current == name and not state.probation
    assert any("passed its probation" in event.sentence for event in rig.swapper.events)


def test_a_disappointing_bundle_is_taken_back_by_itself_and_not_proposed_again(rig):
    first = rig.swapper.bundle_id
    name = rig.propose(1)
    rig.actions[25] = lambda: setattr(rig.referee, "costly", True)
    rig.background()
    rig.run(30)
    assert rig.swapper.bundle_id == first and rig.swapper.swaps == 2
    state = rig.versions.state
    assert state.current == first and not state.probation and state.refused[name].reason.startswith("more violation")
    rig.background()
    assert rig.swapper.bundle_id == first


def test_a_bundle_whose_graph_breaks_down_is_refused_before_it_drives(rig):
    name = put(rig.versions, 7, graph=make_graph(image="picture"))
    rig.versions.propose(rig.versions.load(name), {})
    rig.run(2)
    assert rig.swapper.swaps == 0 and "image" in rig.versions.state.refused[name].reason


def test_a_bundle_for_another_robot_is_refused_before_it_drives(rig):
    manifest = make_manifest()
    swapped = replace(manifest, actions=(manifest.actions[1], manifest.actions[0], manifest.actions[2]))
    name = put(rig.versions, 8, swapped)
    rig.versions.propose(rig.versions.load(name), {})
    summary = rig.run(2)
    assert summary.planned and rig.swapper.swaps == 0
    assert "vy" in rig.versions.state.refused[name].reason


def test_not_a_number_on_probation_stops_the_motors_and_the_bundle_is_not_started_again(rig):
    first = rig.swapper.bundle_id
    name = rig.propose(1)
    rig.background()

    def spoil() -> None:
        rig.robot.state[8] = -2.0

    rig.actions[5] = spoil
    summary = rig.run(3)
    assert summary.reason is Reason.NOT_FINITE
    rig.swapper.close()
    assert rig.versions.start()[0].id == first and name in rig.versions.state.refused


def test_a_recovery_that_does_not_lead_back_counts_as_one_episode_and_many_take_it_back(tmp_path):
    rig = Rig(tmp_path, length=60)
    first, name = rig.swapper.bundle_id, rig.propose(1)
    rig.background()

    def lost() -> None:
        rig.robot.state[:5] = 0.5  # above feasible, below stop

    rig.actions[5] = lost
    rig.run(8)
    ended = [index for index, record in enumerate(rig.records) if record.reason is Reason.RECOVERY_EXHAUSTED]
    assert rig.drivers[ended[1]] == name, "not at once"
    assert rig.swapper.bundle_id == first and rig.versions.state.refused[name].reason.startswith("more failure")


def test_a_person_rolls_back_during_a_run(rig):
    first = rig.swapper.bundle_id
    name = rig.propose(1)
    rig.background()
    rig.actions[15] = lambda: rig.versions.roll_back("a person did not like it")
    rig.run(3)
    assert rig.swapper.bundle_id == first and rig.versions.state.refused[name].reason == "a person did not like it"
    assert rig.drivers[-1] == first and name in rig.drivers


def test_a_probation_cut_short_by_the_end_of_the_run_begins_again(rig, tmp_path):
    name = rig.propose(1)
    rig.background()
    rig.run(1)
    rig.swapper.close()
    bundle, _ = rig.versions.start()
    assert bundle.id == name
    again = Swapper(rig.versions, bundle.id, Controller(bundle), Controller, probation=QUICK)
    assert "probation, episode 1" in again.line()


def test_the_log_tells_the_story(rig, tmp_path):
    rig.propose(1)
    rig.background()
    rig.run(2)
    assert "took over from" in (tmp_path / "log").read_text()


def test_a_bundle_of_another_shape_waits_for_the_next_start(rig):
    """The rows of a recording have one width, and hold the latent state."""
    manifest = replace(make_manifest(), latent=LatentContract(deterministic=5, groups=3, classes=5))
    name = put(rig.versions, 9, manifest)
    rig.versions.propose(rig.versions.load(name), {})
    rig.run(2)
    assert rig.swapper.swaps == 0 and name not in rig.versions.state.refused
    assert sum("waits for the next start" in event.sentence for event in rig.swapper.events) == 1
    bundle, _ = rig.versions.start()
    assert bundle.id == name and rig.versions.state.probation
