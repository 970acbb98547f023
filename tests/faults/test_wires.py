"""Faults on the real wires: the device process, its pseudo-terminal, its frame rings. Each has one named end."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest

from firmware_bridge.codes import Fault
from firmware_bridge.link import MotorLink
from fosp_edge.control.controller import Controller, Insight
from fosp_edge.control.loop import ControlLoop, LoopSettings
from fosp_edge.control.machine import Machine
from fosp_edge.control.recorder import Recorder
from fosp_edge.control.session import AutomaticOperator, Plan, RunSummary, Session
from fosp_edge.control.types import Reason, State, TickRecord
from fosp_edge.robots.fingertip_drive import FingertipDrive
from fosp_edge.robots.serial_robot import SerialRobot
from fosp_edge.simulation.launcher import SimulatedRobot
from tests.control.fakes import MemoryWriter
from tests.faults.bundles import scripted_bundle
from tests.faults.patience import real_time

pytest.importorskip("mujoco")
RATE_HZ = 5.0
"""Slow, because all patience is counted in control periods and the machine that runs the tests may be busy."""


@dataclass
class Bench:
    """A running device, and a control loop that drives it with a scripted bundle."""

    device: SimulatedRobot
    writers: list[MemoryWriter] = field(default_factory=list)
    link: MotorLink = field(init=False)

    def run(
        self,
        harm: Callable[[SimulatedRobot], object] = lambda device: None,
        *,
        at_tick: int = 8,
        nan_after: int = 10**6,
    ) -> RunSummary:
        bundle = scripted_bundle(RATE_HZ, nan_after=nan_after)

        def open_episode(seed: int, scenario: str) -> MemoryWriter:
            self.writers.append(MemoryWriter())
            return self.writers[-1]

        def observe(record: TickRecord, insight: Insight | None) -> None:
            if record.tick == at_tick and insight is not None:
                harm(self.device)

        self.link = MotorLink(self.device.port, expected_joint_count=6)
        loop = ControlLoop(
            SerialRobot(
                self.device.port,
                FingertipDrive(period_s=1.0 / RATE_HZ),
                watchdog_s=0.8,
                telemetry_timeout_s=0.8,
                link=self.link,
            ),
            [self.device.cameras[camera.name] for camera in bundle.manifest.cameras],
            Controller(bundle),
            Machine(),
            referee=self.device.referee,
            recorder=Recorder(open_episode),
            observer=observe,
            settings=LoopSettings(max_frame_age_s=1.2, max_missed_in_a_row=25),
        )
        return Session(loop, AutomaticOperator()).run(Plan("standard", episodes=1, seconds=4.0))

    @property
    def starved(self) -> bool:
        return any("too busy" in line for line in self.device.log)

    def renew(self) -> None:
        self.device.close()
        self.device, self.writers = SimulatedRobot().__enter__(), []

    def status(self) -> dict[str, object]:
        return self.device.referee.ask("status")

    def wait_until_still(self) -> dict[str, object]:
        """The controller's status once the arm is at rest; fails if it does not come to rest."""
        deadline = time.monotonic() + 10.0
        while time.monotonic() < deadline:
            status = self.status()
            if np.max(np.abs(status["velocities_rad_s"])) < 0.02 and status["state"] != "ARMED":  # type: ignore[arg-type]
                return status
            time.sleep(0.05)
        pytest.fail(f"the arm still moves: {self.status()}")


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench(SimulatedRobot().__enter__())
    try:
        yield bench
    finally:
        bench.device.close()


def check_recording(bench: Bench, summary: RunSummary, least_rows: int = 8) -> None:
    rows = bench.writers[0].rows
    assert bench.writers[0].outcome == summary.reason.name.lower().replace("_", " ")
    assert len(rows) >= least_rows and summary.dropped == 0
    assert bool(rows[0]["is_first"]) and not any(row["is_first"] for row in rows[1:])
    np.testing.assert_array_equal(rows[-1]["action"], np.zeros(3))


@real_time
def test_without_harm_the_run_completes_and_every_command_is_accepted(bench: Bench) -> None:
    summary = bench.run()
    assert summary.reason is Reason.RUN_COMPLETE and summary.stop_acknowledged
    counters = bench.wait_until_still()["counters"]
    assert isinstance(counters, dict)
    assert {name: value for name, value in counters.items() if name.startswith("refused") and value} == {}
    assert counters["crc_errors"] == 0 and counters["watchdog_trips"] == 0


def freeze(device: SimulatedRobot) -> object:
    return device.referee.ask("freeze-camera", camera="wrist")


def remove(device: SimulatedRobot) -> object:
    return device.referee.ask("remove-camera", camera="fixed")


def unplug(device: SimulatedRobot) -> object:
    return device.referee.ask("unplug")


def garble(device: SimulatedRobot) -> object:
    return device.referee.ask("line-faults", corrupt_probability=0.5)


def lose_bytes(device: SimulatedRobot) -> object:
    return device.referee.ask("line-faults", drop_probability=0.9)


def brown_out(device: SimulatedRobot) -> object:
    return device.referee.ask("restart-controller")


@pytest.mark.parametrize(
    ("harm", "reasons", "acknowledged"),
    [
        (freeze, {Reason.FRAME_STALE}, True),
        (remove, {Reason.CAMERA_LOST, Reason.FRAME_STALE}, True),
        (unplug, {Reason.ROBOT_LOST}, False),
        # Whether the host first misses the controller or the controller the host is a race with two good ends.
        (garble, {Reason.ROBOT_LOST, Reason.ROBOT_FAULT}, None),
        (lose_bytes, {Reason.ROBOT_LOST, Reason.ROBOT_FAULT}, None),
        (brown_out, {Reason.ROBOT_LOST, Reason.ROBOT_FAULT}, None),
    ],
)
@real_time
def test_each_fault_ends_stopped_with_its_name_and_an_arm_at_rest(
    bench: Bench, harm: Callable[[SimulatedRobot], object], reasons: set[Reason], acknowledged: bool | None
) -> None:
    summary = bench.run(harm)
    assert summary.state is State.STOPPED and summary.reason in reasons, summary.detail
    assert len(summary.detail) > 20 and "Traceback" not in summary.detail
    if acknowledged is not None:
        assert summary.stop_acknowledged == acknowledged
    bench.wait_until_still()
    check_recording(bench, summary)


@real_time
def test_a_few_corrupt_bytes_are_caught_and_the_run_goes_on(bench: Bench) -> None:
    summary = bench.run(lambda device: device.referee.ask("line-faults", corrupt_probability=0.003))
    assert summary.reason is Reason.RUN_COMPLETE, summary.detail
    counters = bench.status()["counters"]
    assert isinstance(counters, dict)
    # Few commands go out at this rate; the telemetry that comes in is what surely was hit.
    host = bench.link._decoder.counters
    caught = [counters["crc_errors"], counters["framing_errors"], counters["malformed_frames"]]
    assert sum(caught) + host.crc_errors + host.framing_errors > 0
    assert counters["refused_value"] == counters["refused_velocity"] == counters["refused_position"] == 0


@real_time
def test_nan_from_the_graph_stops_the_arm_and_the_stop_is_acknowledged(bench: Bench) -> None:
    summary = bench.run(nan_after=10)
    assert summary.reason is Reason.NOT_FINITE and "surprise" in summary.detail
    assert summary.stop_acknowledged
    assert Fault.HOST_STOP & Fault(bench.wait_until_still()["faults"])  # type: ignore[arg-type]
    check_recording(bench, summary, least_rows=11)


@real_time
def test_killing_the_device_is_noticed_and_what_was_recorded_stays(bench: Bench) -> None:
    summary = bench.run(lambda device: os.kill(device.pid, signal.SIGKILL))
    assert summary.reason in {Reason.ROBOT_LOST, Reason.CAMERA_LOST}, summary.detail
    assert not summary.stop_acknowledged
    check_recording(bench, summary)


@real_time
def test_a_device_that_is_only_paused_is_noticed_and_stops_itself_when_it_goes_on(bench: Bench) -> None:
    pid = bench.device.pid
    try:
        summary = bench.run(lambda device: os.kill(device.pid, signal.SIGSTOP))
    finally:
        os.kill(pid, signal.SIGCONT)
    assert summary.reason in {Reason.ROBOT_LOST, Reason.FRAME_STALE, Reason.CAMERA_LOST}, summary.detail
    bench.wait_until_still()
