import json
import os
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from fosp_edge.cli import check_machine, check_software, doctor
from fosp_edge.cli.check_devices import cameras, serial_ports
from fosp_edge.cli.check_machine import disk, memory, processor, scheduling
from fosp_edge.cli.check_software import agent, extras, gpu, inference, software
from fosp_edge.cli.extras import EXTRAS
from fosp_edge.cli.findings import Finding, Health, Machine, can_run


def tree(root: Path, **files: str) -> Machine:
    for path, content in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
    return Machine(root, root)


def test_this_machine_can_run_or_says_why_not():
    application = typer.Typer()
    application.command()(doctor.doctor)
    result = CliRunner().invoke(application, ["--json"])
    report = json.loads(result.stdout)
    assert result.exit_code == (0 if report["can_run"] else 1)
    assert {finding["topic"] for finding in report["findings"]} >= {"software", "inference", "disk", "memory", "extras"}
    for finding in report["findings"]:
        assert finding["health"] in ("ok", "warn", "missing")
        assert finding["detail"]
    printed = CliRunner().invoke(application, [])
    assert "fosp-edge run" in printed.stdout
    assert printed.exit_code == result.exit_code


def test_only_what_is_essential_decides_the_exit():
    lacking = Finding("extras", "learning", Health.MISSING, "lacks torch")
    assert can_run([lacking])
    assert can_run([Finding("a", "b", Health.WARN, "slow", essential=True)])
    assert not can_run([Finding("a", "b", Health.MISSING, "gone", essential=True)])


def test_neither_simulator_nor_serial_port_is_no_robot():
    simulator = Finding("extras", "simulation", Health.MISSING, "lacks mujoco")
    port = Finding("serial ports", "serial ports", Health.MISSING, "none found")
    assert not can_run(doctor.examine(Machine(), [lambda _: [simulator, port]]))
    assert can_run(
        doctor.examine(Machine(), [lambda _: [simulator, Finding("serial ports", "/dev/ttyACM0", Health.OK, "")]])
    )
    assert can_run(doctor.examine(Machine(), [lambda _: [Finding("extras", "simulation", Health.OK, ""), port]]))


def test_a_check_that_breaks_is_a_finding():
    def broken(machine):
        raise ZeroDivisionError("by design")

    (finding,) = doctor.examine(Machine(), [broken])
    assert (finding.health, "ZeroDivisionError" in finding.detail) == (Health.WARN, True)


def test_a_machine_with_nothing_plugged_in(tmp_path):
    assert [finding.health for finding in cameras(Machine(tmp_path))] == [Health.MISSING]
    assert [finding.health for finding in serial_ports(Machine(tmp_path))] == [Health.MISSING]


def test_serial_ports_with_their_lasting_names_and_slow_latency_timers(tmp_path):
    machine = tree(
        tmp_path,
        **{
            "dev/ttyUSB0": "",
            "dev/ttyACM0": "",
            "sys/bus/usb-serial/devices/ttyUSB0/latency_timer": "16\n",
            "dev/serial/by-id/.keep": "",
        },
    )
    (tmp_path / "dev/serial/by-id/usb-Maker_Board_123").symlink_to("../../ttyUSB0")
    findings = {finding.name: finding for finding in serial_ports(machine)}
    assert findings["/dev/ttyACM0"].health is Health.OK
    assert "usb-Maker_Board_123" in findings["/dev/ttyUSB0"].detail
    timer = findings["/dev/ttyUSB0 latency"]
    assert (timer.health, "16 ms" in timer.detail, "ttyUSB0/latency_timer" in timer.mend) == (Health.WARN, True, True)
    (tmp_path / "sys/bus/usb-serial/devices/ttyUSB0/latency_timer").write_text("1")
    assert {finding.health for finding in serial_ports(machine)} == {Health.OK}


def test_a_port_that_may_not_be_opened_names_the_group(tmp_path, monkeypatch):
    machine = tree(tmp_path, **{"dev/ttyACM0": ""})
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    (finding,) = serial_ports(machine)
    assert finding.health is Health.WARN
    assert f"usermod -aG {(tmp_path / 'dev/ttyACM0').group()}" in finding.mend


@pytest.mark.parametrize(
    ("installed", "speed", "health", "mend"),
    [
        (True, "5000", Health.OK, ""),
        (True, "480", Health.WARN, "USB 3"),
        (False, "5000", Health.WARN, "fosp-edge[realsense]"),
    ],
)
def test_realsense_cameras(tmp_path, monkeypatch, installed, speed, health, mend):
    device = "sys/bus/usb/devices/2-1"
    machine = tree(
        tmp_path,
        **{
            f"{device}/idVendor": "8086\n",
            f"{device}/product": "Intel(R) RealSense(TM) Depth Camera 435i\n",
            f"{device}/speed": f"{speed}\n",
            "sys/bus/usb/devices/1-1/idVendor": "046d\n",
        },
    )
    monkeypatch.setattr("fosp_edge.cli.check_devices.find_spec", lambda name: object() if installed else None)
    (finding,) = cameras(machine)
    assert finding.health is health
    assert "435i" in finding.name
    assert mend in finding.mend


def test_video_nodes_carry_the_name_of_their_device(tmp_path, monkeypatch):
    machine = tree(tmp_path, **{"dev/video0": "", "sys/class/video4linux/video0/name": "HD Webcam\n"})
    monkeypatch.setattr("fosp_edge.cli.check_devices.find_spec", lambda name: object())
    (finding,) = cameras(machine)
    assert (finding.name, finding.health, finding.detail) == ("/dev/video0", Health.OK, "HD Webcam")
    monkeypatch.setattr("fosp_edge.cli.check_devices.find_spec", lambda name: None)
    assert "fosp-edge[cameras]" in cameras(machine)[0].mend


@pytest.mark.parametrize(
    ("governor", "health"), [("performance", Health.OK), ("powersave", Health.WARN), (None, Health.OK)]
)
def test_governors(tmp_path, governor, health):
    path = "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
    machine = tree(tmp_path, **({path: f"{governor}\n"} if governor else {}))
    assert [finding.health for finding in processor(machine) if finding.name == "frequency"] == [health]


def test_shared_memory_is_essential(tmp_path):
    finding = memory(tree(tmp_path, **{"proc/meminfo": "MemTotal: 9 kB\nMemAvailable:  204800 kB\n"}))
    assert [item.health for item in finding] == [Health.WARN, Health.MISSING]
    assert not can_run(finding)
    (tmp_path / "dev/shm").mkdir(parents=True)
    assert can_run(memory(Machine(tmp_path)))


def test_asking_for_real_time_leaves_the_scheduling_as_it_was(tmp_path, monkeypatch):
    before = os.sched_getscheduler(0)
    findings = scheduling(Machine(tmp_path))
    assert os.sched_getscheduler(0) == before
    assert {finding.name for finding in findings} == {"real-time priority", "locked memory"}

    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    monkeypatch.setattr(check_machine.resource, "getrlimit", lambda _: (65536, 65536))
    refused = scheduling(Machine(tmp_path))
    assert [finding.health for finding in refused] == [Health.WARN, Health.WARN]
    assert "rtprio" in refused[0].mend
    assert "memlock" in refused[1].mend


def test_a_folder_that_is_not_there_yet_is_measured_at_its_parent(tmp_path):
    findings = disk(Machine(folder=tmp_path / "runs" / "later"))
    assert [finding.name for finding in findings] == ["room", "durable write"]
    assert not (tmp_path / "runs").exists()
    assert list(tmp_path.iterdir()) == []


def test_a_slow_disk_is_warned_of(tmp_path, monkeypatch):
    monkeypatch.setattr(check_machine, "_sync_latency_s", lambda folder: 0.4)
    assert disk(Machine(folder=tmp_path))[1].health is Health.WARN


def test_missing_packages_and_extras_are_named_with_their_cure(monkeypatch):
    monkeypatch.setattr(check_software, "find_spec", lambda name: None if name == "lmdb" else object())
    findings = software(Machine())
    assert [finding.name for finding in findings if finding.health is Health.MISSING] == ["lmdb"]
    assert not can_run(findings)
    monkeypatch.setitem(EXTRAS, "simulation", ("a_module_that_nobody_has",))
    (finding,) = [item for item in extras(Machine()) if item.name == "simulation"]
    assert (finding.health, finding.mend) == (Health.MISSING, "pip install 'fosp-edge[simulation]'")


def test_a_jetson_without_its_gpu_provider_is_told_where_to_get_it(tmp_path, monkeypatch):
    machine = tree(tmp_path, **{"proc/device-tree/model": "NVIDIA Jetson Orin Nano\0", "etc/nv_tegra_release": "# R36"})
    onnxruntime = pytest.importorskip("onnxruntime")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    (finding,) = inference(machine)
    assert (finding.health, "NVIDIA's index" in finding.mend) == (Health.WARN, True)
    assert "Jetson Orin Nano, # R36" in gpu(machine)[0].detail
    assert inference(Machine(tmp_path / "plain"))[0].health is Health.OK
    monkeypatch.setattr(onnxruntime, "get_available_providers", list)
    assert not can_run(inference(machine))


def test_the_shipped_bundle_is_verified(tmp_path, monkeypatch):
    from tests.bundle.manifests import make_bundle

    path = make_bundle(tmp_path)
    monkeypatch.setattr("fosp_edge.cli.shipped.shipped_bundle", lambda: path)
    assert agent(Machine())[0].health is Health.OK
    (path / "step.onnx").write_bytes(b"another")
    (finding,) = agent(Machine())
    assert (finding.health, "step.onnx" in finding.detail) == (Health.WARN, True)
