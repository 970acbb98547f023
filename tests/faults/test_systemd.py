"""The service under a real systemd: `pytest -m slow tests/faults/test_systemd.py`, as root, on any Linux with systemd.

systemd becomes process 1 of namespaces of its own, so the machine need not have been started with it, and nothing
outside notices: /run and the units are file systems in memory that end with it. It starts the service and nothing else.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from firmware_bridge.codes import Fault
from tests.faults.test_process import ROOT, Device, bundle, device

pytest.importorskip("mujoco")
pytestmark = pytest.mark.slow
__all__ = ["bundle", "device"]  # fixtures
SYSTEMD = Path("/lib/systemd/systemd")
TOOLS = ("unshare", "nsenter", "systemctl")
START = f"""
mount --make-rprivate / && mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /etc/systemd/system || exit 1
printf '[Unit]\\nDefaultDependencies=no\\n' > /etc/systemd/system/alone.target
mkdir /etc/systemd/system/fosp-edge.service.d
printf '%s' "$DROP_IN" > /etc/systemd/system/fosp-edge.service.d/alone.conf
exec env -i PATH="$PATH" container=other {SYSTEMD} --system --unit=alone.target --show-status=false
"""


class Service:
    """`fosp-edge service` and systemctl, in the namespaces of a systemd."""

    def __init__(self, pid: int, environment: dict[str, str], folder: Path) -> None:
        self._enter = ["nsenter", "-t", str(pid), "-m", "-p", "-u", "-i", "--wd=" + str(folder), "--"]
        self._environment = environment

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([*self._enter, *words], capture_output=True, text=True, env=self._environment)

    def fosp_edge(self, *words: str) -> str:
        done = self.run(sys.executable, "-m", "fosp_edge.cli", "service", *words)
        return done.stdout + done.stderr

    def signal(self, name: str) -> None:
        done = self.run("systemctl", "kill", "--kill-whom=main", f"--signal={name}", "fosp-edge")
        assert done.returncode == 0, done.stderr

    def show(self, name: str) -> str:
        return self.run("systemctl", "show", "fosp-edge", "--value", f"--property={name}").stdout.strip()

    def wait_until(self, name: str, holds: Callable[[str], bool], timeout_s: float = 60.0) -> str:
        deadline = time.monotonic() + timeout_s
        while not holds(value := self.show(name)):
            assert time.monotonic() < deadline, f"{name} is still {value!r}"
            time.sleep(0.1)
        return value


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    if os.geteuid() or not SYSTEMD.exists() or any(shutil.which(tool) is None for tool in TOOLS):
        pytest.skip("needs root, systemd and util-linux")
    drop_in = (
        "[Unit]\nDefaultDependencies=no\n[Service]\nEnvironment=OMP_NUM_THREADS=1 COLUMNS=200 "
        f"XDG_STATE_HOME={tmp_path}/state XDG_CACHE_HOME={tmp_path}/cache\nStandardOutput=append:{tmp_path}/log\n"
        f"StandardError=append:{tmp_path}/log\n"
    )
    spaces = ["unshare", "--fork", "--kill-child", "--pid", "--mount-proc", "--mount", "--uts", "--ipc"]
    process = subprocess.Popen([*spaces, "sh", "-c", START], env={**os.environ, "DROP_IN": drop_in})
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    try:
        deadline = time.monotonic() + 20.0
        state = ""
        while state != "running":
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.skip(f"systemd does not start in namespaces here ({state or process.returncode})")
            time.sleep(0.1)
            if pids := children.read_text().split():
                found = Service(int(pids[0]), {**os.environ, "PYTHONPATH": str(ROOT),
                                               "XDG_STATE_HOME": f"{tmp_path}/state"}, tmp_path)  # fmt: skip
                state = found.run("systemctl", "is-system-running").stdout.strip()
        yield found
    finally:
        process.kill()  # and with it process 1 of the namespaces, and all that it started
        process.wait()


@pytest.fixture
def driving(service: Service, device: Device, bundle: Path) -> Service:
    """The service, driving an arm behind a port."""
    options = ["--bundle", str(bundle), *device.options, "--max-steps", "10000"]
    said = service.fosp_edge("install", "--system", "--", *options)
    assert "running" in said, said
    _until_it_moves(device)
    return service


def _until_it_moves(device: Device) -> None:
    before, deadline = device.ask("status")["counters"]["commands_applied"], time.monotonic() + 40.0
    while device.ask("status")["counters"]["commands_applied"] < before + 20:
        assert time.monotonic() < deadline, "the service does not move the arm"
        time.sleep(0.1)


def _log(tmp_path: Path) -> str:
    return (tmp_path / "log").read_text()


def test_it_is_started_says_how_it_is_and_stops_the_motors_when_told(
    driving: Service, device: Device, tmp_path: Path
) -> None:
    assert driving.show("ActiveState") == "active"
    assert "Hz" in driving.wait_until("StatusText", lambda text: "running" in text and "Hz" in text)
    assert "ActiveState=active" in driving.fosp_edge("status", "--system")
    began_s = time.monotonic()
    assert driving.run("systemctl", "stop", "fosp-edge").returncode == 0
    assert time.monotonic() - began_s < 20.0
    assert (driving.show("ActiveState"), driving.show("Result")) == ("inactive", "success")
    assert Fault(device.wait_until_still()["faults"]) == Fault.HOST_STOP  # stopped, not left to the watchdog
    assert "stopped by SIGTERM" in _log(tmp_path) and "not confirmed" not in _log(tmp_path)
    assert _log(tmp_path).count("latency p50") <= 2  # one line a minute
    # What a service was told to do it may do again.
    assert driving.run("systemctl", "start", "fosp-edge").returncode == 0
    _until_it_moves(device)
    assert "removed" in driving.fosp_edge("uninstall", "--system")
    device.wait_until_still()


def test_the_processes_that_a_run_needs_outlive_its_stop(service: Service, bundle: Path, tmp_path: Path) -> None:
    service.fosp_edge("install", "--system", "--", "--bundle", str(bundle))  # the simulated arm is one of them
    service.wait_until("StatusText", lambda text: "running" in text and "Hz" in text)
    assert service.run("systemctl", "stop", "fosp-edge").returncode == 0
    assert "stopped by SIGTERM" in _log(tmp_path) and "not confirmed" not in _log(tmp_path)


@pytest.mark.parametrize("fault", ["SIGKILL", "SIGSTOP", "SIGUSR1"])
def test_what_ended_badly_does_not_move_again_before_a_person_says_so(
    driving: Service, device: Device, tmp_path: Path, fault: str
) -> None:
    driving.signal(fault)
    status = device.wait_until(state="FAULT")
    expected = Fault.HOST_STOP if fault == "SIGUSR1" else Fault.WATCHDOG
    assert Fault(status["faults"]) & expected
    # It is started again, finds the latch, and is not started any more.
    driving.wait_until("ActiveState", lambda state: state == "failed")
    assert (driving.show("ExecMainStatus"), driving.show("Result")) == ("2", "exit-code")
    assert int(driving.show("NRestarts")) == 1
    assert "service release" in _log(tmp_path) or "--release-stop" in _log(tmp_path)
    device.wait_until_still()
    assert "released" in driving.fosp_edge("release", "--port", device.ready["port"])
    assert driving.run("systemctl", "start", "fosp-edge").returncode == 0
    _until_it_moves(device)
    assert driving.show("ActiveState") == "active"
