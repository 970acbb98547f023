"""Faults of the controlling process itself: `fosp-edge run` as a process, driving a device that outlives it."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from firmware_bridge.codes import Fault
from fosp_edge.bundle.folder import write_bundle
from fosp_edge.bundle.manifest import GRAPH_FILE, WEIGHTS_FILE
from fosp_edge.control.flight.replay import open_flight
from fosp_edge.experience.store import ExperienceStore
from tests.faults.bundles import arm_manifest, scripted_graph
from tests.faults.patience import real_time

pytest.importorskip("mujoco")
RATE_HZ = 5.0
"""Slow, because all patience is counted in control periods and the machine that runs the tests may be busy."""
ROOT = Path(__file__).resolve().parents[2]
RUN = [sys.executable, "-c", "import typer; from fosp_edge.cli.run import run; typer.run(run)", "--headless"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "OMP_NUM_THREADS": "1"}


class Device:
    """The device process, spoken to without the software that is to be broken."""

    def __init__(self) -> None:
        self._complaints = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fosp_edge.simulation.device"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            text=True,
            cwd=ROOT,
        )
        self.ready = self._answer()
        self._number = 0

    @property
    def starved(self) -> bool:
        self._complaints.seek(0)
        return "too busy" in self._complaints.read()

    def renew(self) -> None:
        self.close()
        self.__init__()  # type: ignore[misc]

    def _answer(self) -> dict:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def ask(self, verb: str, **arguments: object) -> dict:
        assert self.process.stdin is not None
        self._number += 1
        self.process.stdin.write(json.dumps({"id": self._number, "verb": verb, **arguments}) + "\n")
        self.process.stdin.flush()
        return self._answer()

    @property
    def options(self) -> list[str]:
        """What makes `fosp-edge run` drive this device as if it were a board on a port."""
        cameras = [f"--camera={name}=ring:{about['ring']}" for name, about in self.ready["cameras"].items()]
        return ["--robot", "serial", "--port", self.ready["port"], "--yes", *cameras]

    def wait_until(self, **wanted: object) -> dict:
        deadline = time.monotonic() + 20.0
        while time.monotonic() < deadline:
            status = self.ask("status")
            if all(status[name] == value for name, value in wanted.items()):
                return status
            time.sleep(0.02)
        pytest.fail(f"the device did not come to {wanted}: {status}")

    def wait_until_still(self) -> dict:
        deadline = time.monotonic() + 20.0
        while time.monotonic() < deadline:
            status = self.ask("status")
            if np.max(np.abs(status["velocities_rad_s"])) < 0.02:
                return status
            time.sleep(0.02)
        pytest.fail(f"the arm still moves: {status}")

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(10.0)
        self._complaints.close()


@pytest.fixture
def device() -> Iterator[Device]:
    device = Device()
    try:
        yield device
    finally:
        device.close()


@pytest.fixture(autouse=True)
def latches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pseudo-terminals get the same numbers again: a stop that one test leaves latched is not the next one's."""
    monkeypatch.setitem(ENVIRONMENT, "XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    files = {GRAPH_FILE: scripted_graph(), WEIGHTS_FILE: b""}
    return write_bundle(arm_manifest(RATE_HZ), files, tmp_path / "bundles")


def start(bundle: Path, folder: Path, *options: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*RUN, "--bundle", str(bundle), "--out", str(folder), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=ENVIRONMENT,
    )


def summary_of(folder: Path) -> dict:
    (path,) = folder.glob("*/summary.json")
    return json.loads(path.read_text())


def recorded(folder: Path) -> list:
    (path,) = folder.glob("*/experience")
    with ExperienceStore(path) as store:
        assert all(problem is None for _, problem in store.verify())
        return store.episodes()


def wait_until_moving(device: Device, process: "subprocess.Popen[str]", least_commands: int = 24) -> None:
    """Until the arm is armed and at least so many commands were applied."""
    deadline = time.monotonic() + 30.0
    while device.ask("status")["counters"]["commands_applied"] < least_commands:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "the run did not begin to move the arm"
        time.sleep(0.05)


@real_time
def test_a_killed_controller_leaves_an_arm_at_rest_and_its_experience_whole(
    device: Device, bundle: Path, tmp_path: Path
) -> None:
    process = start(bundle, tmp_path / "runs", *device.options)
    wait_until_moving(device, process)
    process.kill()
    process.communicate()
    status = device.wait_until(state="FAULT")
    assert Fault(status["faults"]) & Fault.WATCHDOG
    device.wait_until_still()
    # The recorder outlives the controller by as long as it takes to write what that one had handed over.
    deadline = time.monotonic() + 20.0
    while not (episode := recorded(tmp_path / "runs")[0]).summary.finished and time.monotonic() < deadline:
        time.sleep(0.1)
    assert episode.summary.rows >= 20 and episode.summary.outcome == "interrupted"
    (folder,) = (tmp_path / "runs").iterdir()
    assert sum(1 for _ in open_flight(folder).ticks()) == episode.summary.rows
    # The next run takes over where the killed one left the arm.
    refused = start(bundle, tmp_path / "refused", *device.options)
    output, _ = refused.communicate(timeout=60.0)
    assert refused.returncode == 2 and "ended without a word" in output and "--release-stop" in output
    code = start(bundle, tmp_path / "again", *device.options, "--release-stop", "--seconds", "2").wait(60.0)
    assert code == 0
    assert recorded(tmp_path / "again")[0].summary.finished


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@real_time
def test_a_signal_stops_the_motors_first_and_then_sums_up(
    device: Device, bundle: Path, tmp_path: Path, number: signal.Signals
) -> None:
    process = start(bundle, tmp_path / "runs", *device.options)
    wait_until_moving(device, process)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60.0)
    assert process.returncode == 128 + number, output
    assert "OPERATOR_STOP" in output and "Traceback" not in output
    end = summary_of(tmp_path / "runs")["end"]
    assert (end["state"], end["reason"], end["stop_acknowledged"]) == ("stopped", "OPERATOR_STOP", True)
    assert Fault(device.wait_until_still()["faults"]) == Fault.HOST_STOP
    (episode,) = recorded(tmp_path / "runs")
    assert episode.summary.outcome == "operator stop" and episode.summary.rows >= 20


@pytest.mark.parametrize("press", ["file", "signal"])
@real_time
def test_the_emergency_stop_reaches_the_motors_and_stays_latched(
    device: Device, bundle: Path, tmp_path: Path, press: str
) -> None:
    switch = tmp_path / "value"
    switch.write_text("0\n")
    process = start(bundle, tmp_path / "runs", *device.options, "--estop-file", str(switch))
    wait_until_moving(device, process)
    if press == "file":
        switch.write_text("1\n")
    else:
        process.send_signal(signal.SIGUSR1)
    output, _ = process.communicate(timeout=60.0)
    assert process.returncode == 1 and "the motors confirmed it" in output, output
    summary = summary_of(tmp_path / "runs")
    assert summary["end"]["reason"] == "EMERGENCY_STOP" and summary["emergency_stop"]["acknowledged"]
    assert Fault(device.wait_until_still()["faults"]) & Fault.HOST_STOP
    again = start(bundle, tmp_path / "again", *device.options)
    output, _ = again.communicate(timeout=60.0)
    assert again.returncode == 2 and "emergency stop" in output


@real_time
def test_a_bundle_that_is_removed_while_it_drives_drives_on(device: Device, bundle: Path, tmp_path: Path) -> None:
    process = start(bundle, tmp_path / "runs", *device.options, "--seconds", "12")
    wait_until_moving(device, process)
    shutil.rmtree(bundle)  # everything was read, and verified, before the motors were armed
    output, _ = process.communicate(timeout=90.0)
    assert process.returncode == 0 and "RUN_COMPLETE" in output, output
    again = start(bundle, tmp_path / "again", *device.options)
    output, _ = again.communicate(timeout=60.0)
    assert again.returncode == 2 and "there is no bundle" in output


@real_time
def test_a_controller_that_is_paused_finds_the_motors_stopped_and_does_not_start_them_again(
    device: Device, bundle: Path, tmp_path: Path
) -> None:
    process = start(bundle, tmp_path / "runs", *device.options)
    wait_until_moving(device, process)
    process.send_signal(signal.SIGSTOP)
    try:
        device.wait_until(state="FAULT")
        device.wait_until_still()
    finally:
        process.send_signal(signal.SIGCONT)
    output, _ = process.communicate(timeout=60.0)
    assert process.returncode == 1 and "Traceback" not in output, output
    assert summary_of(tmp_path / "runs")["end"]["reason"] in ("ROBOT_FAULT", "ROBOT_LOST", "DEADLINE", "FRAME_STALE")
    assert device.ask("status")["state"] == "FAULT"


@real_time
def test_without_memory_the_arm_comes_to_rest(device: Device, bundle: Path, tmp_path: Path) -> None:
    process = start(bundle, tmp_path / "runs", *device.options, "--seconds", "20")
    wait_until_moving(device, process)
    size = int(Path(f"/proc/{process.pid}/statm").read_text().split()[0]) * resource.getpagesize()
    resource.prlimit(process.pid, resource.RLIMIT_AS, (size, size))  # not one page more, from now on
    process.communicate(timeout=90.0)  # it may do without to the end, or not
    assert process.returncode in (0, 1)
    device.wait_until_still()
    status = device.ask("status")
    assert status["state"] == "FAULT", status
    limits = ("value", "position", "velocity", "acceleration", "distance", "effort")
    assert all(status["counters"][f"refused_{limit}"] == 0 for limit in limits), status


@real_time
def test_a_tampered_bundle_is_refused_before_anything_is_opened(bundle: Path, tmp_path: Path) -> None:
    graph = bundle / GRAPH_FILE
    graph.write_bytes(graph.read_bytes()[:-1] + b"\x01")
    process = start(bundle, tmp_path / "runs", "--robot", "serial", "--port", "/dev/null")
    output, _ = process.communicate(timeout=60.0)
    assert process.returncode == 2
    assert output.startswith("refused: ") and GRAPH_FILE in output and "Traceback" not in output
    assert not (tmp_path / "runs").exists()


@real_time
def test_a_disk_that_takes_no_more_stops_the_robot_and_keeps_what_was_written(
    device: Device, bundle: Path, tmp_path: Path
) -> None:
    # Only the recorder's process writes to the disk, so only it is limited, to a few kilobytes a file.
    limiter = tmp_path / "limited-python"
    limiter.write_text(f'#!/bin/sh\nulimit -f 200\nexec {sys.executable} "$@"\n')
    limiter.chmod(0o755)
    limited = f"import sys, typer; sys.executable = {str(limiter)!r}; from fosp_edge.cli.run import run; typer.run(run)"
    process = subprocess.run(
        [sys.executable, "-c", limited, *RUN[3:], "--bundle", str(bundle), "--out", str(tmp_path), *device.options,
         "--seconds", "60", "--no-flight"],
        capture_output=True, text=True, env=ENVIRONMENT, timeout=120.0, check=False,
    )  # fmt: skip
    assert process.returncode == 1, process.stdout + process.stderr
    assert "RECORDER_FAILED" in process.stdout and "--no-record" in process.stdout
    assert "Traceback" not in process.stdout + process.stderr
    assert Fault(device.wait_until_still()["faults"]) == Fault.HOST_STOP
    assert sum(episode.summary.rows for episode in recorded(tmp_path)) >= 20
