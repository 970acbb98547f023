"""A strange picture in a whole run: the arm holds still, then the run stops by name, and moves again if it clears."""

import hashlib
from dataclasses import replace

import numpy as np

from fosp_edge.bundle.manifest import CLOSED_LOOP, GateThreshold
from fosp_edge.control.controller import Controller
from fosp_edge.control.gate import CELLS, GateParameters
from fosp_edge.control.gate_response import GateSettings
from fosp_edge.control.types import Reason, State
from tests.control.fakes import STATE, FakeReferee, TinyBundle
from tests.control.test_session import Rig

BRIGHT = 100.0


class GatedBundle(TinyBundle):
    gate_bytes: bytes = b""


def make_bundle() -> GatedBundle:
    """The picture's statistic is the brightness of its first cell over `BRIGHT`; the others never alarm."""
    width = CELLS * CELLS * 6
    whitening = np.zeros((width, width), np.float32)
    whitening[0, 0] = 1.0 / BRIGHT
    parameters = GateParameters(
        picture_mean=np.zeros(width, np.float32),
        picture_whitening=whitening,
        surprise_mean=np.zeros(1, np.float32),
        surprise_deviation=np.full(1, 1e6, np.float32),
        state_deviation=np.full(STATE, 1e6, np.float32),
        scale=np.ones(3, np.float32),
    )
    bundle = GatedBundle()
    graph = hashlib.sha256(bundle.graph_bytes).hexdigest()
    gate = GateThreshold(1.0, 0.05, 40, "2026-01-01", "0" * 64, graph, CLOSED_LOOP)
    bundle.manifest, bundle.gate_bytes = replace(bundle.manifest, gate=gate), parameters.to_bytes()
    return bundle


def make_rig() -> Rig:
    rig = Rig()
    rig.loop.controller = Controller(make_bundle(), gate_settings=GateSettings(2, 3, 6))
    rig.referee = rig.loop.referee = FakeReferee(length=40)
    return rig


def show(rig: Rig, brightness: int) -> None:
    """The next picture is so bright; each following one is brighter by one."""
    rig.cameras[0].sequence = brightness


def test_a_picture_that_stays_strange_stops_the_run_with_a_sentence() -> None:
    rig = make_rig()
    rig.at_command(10, lambda: show(rig, 200))
    summary = rig.run()
    assert summary.reason is Reason.UNFAMILIAR_STOP and summary.state is State.STOPPED
    assert "`picture` is at 2.0 times its alarm threshold" in summary.detail and "lens" in summary.detail
    reasons = [record.reason for record in rig.records]
    first = reasons.index(Reason.UNFAMILIAR)
    assert reasons[first : first + 6] == [Reason.UNFAMILIAR] * 6
    # Held at rest, as fast as the rate limit lets it, and not moved again.
    assert not np.any(np.stack(rig.robot.commands[first + 2 :]))
    assert all(record.filter is not None and record.filter.gate[1] > 1.0 for record in rig.records[first : first + 6])


def test_a_picture_that_clears_in_time_lets_the_policy_go_on() -> None:
    rig = make_rig()
    ticks = [0]

    def act() -> None:
        ticks[0] += 1
        show(rig, 200 if ticks[0] <= 4 else 20)

    rig.at_command(10, act)
    summary = rig.run()
    assert summary.reason is Reason.RUN_COMPLETE, summary.detail
    reasons = [record.reason for record in rig.records]
    assert Reason.UNFAMILIAR in reasons and reasons[-2] is Reason.POLICY
    targets = [item.target for item in rig.loop.machine.history]
    assert State.RECOVERING in targets and targets[targets.index(State.RECOVERING) + 1] is State.RUNNING
