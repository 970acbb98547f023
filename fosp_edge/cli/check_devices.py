"""Examination of what is plugged in: cameras and serial ports, and whether this user may use them."""

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from fosp_edge.cli.extras import install_command
from fosp_edge.cli.findings import Finding, Health, Machine

_REALSENSE_VENDOR = "8086"
_LOG_IN_AGAIN = "then log out and in again"


def cameras(machine: Machine) -> Sequence[Finding]:
    """RealSense cameras on USB, and V4L2 nodes."""
    findings = [*_realsense(machine), *_video_nodes(machine)]
    if not findings:
        detail = "none found; the simulated robot brings its own"
        findings = [Finding("cameras", "cameras", Health.MISSING, detail, "plug one in, and run this again")]
    return findings


def serial_ports(machine: Machine) -> Sequence[Finding]:
    """Serial ports, their lasting names, whether they may be opened, and how long they sit on received bytes."""
    ports = [*machine.glob("dev/ttyACM*"), *machine.glob("dev/ttyUSB*"), *machine.glob("dev/ttyTHS*")]
    if not ports:
        detail = "none found; the simulated robot brings its own"
        mend = "plug the motor controller in, and run this again"
        return [Finding("serial ports", "serial ports", Health.MISSING, detail, mend)]
    lasting = {os.path.realpath(link): link for link in machine.glob("dev/serial/by-id/*")}
    findings = [_port(port, lasting.get(os.path.realpath(port))) for port in ports]
    return findings + [finding for port in ports for finding in _latency_timer(machine, port)]


def _port(port: Path, lasting: Path | None) -> Finding:
    name = f"/dev/{port.name}"
    alias = f", lasting name /dev/serial/by-id/{lasting.name}" if lasting else ""
    if os.access(port, os.R_OK | os.W_OK):
        return Finding("serial ports", name, Health.OK, f"may be opened{alias}")
    group = _group(port)
    mend = f"sudo usermod -aG {group} $USER, {_LOG_IN_AGAIN}"
    return Finding(
        "serial ports", name, Health.WARN, f"belongs to the group {group}, which you are not in{alias}", mend
    )


def _latency_timer(machine: Machine, port: Path) -> list[Finding]:
    text = machine.read(f"sys/bus/usb-serial/devices/{port.name}/latency_timer")
    if text is None or not text.isdecimal():
        return []
    name = f"/dev/{port.name} latency"
    if int(text) <= 1:
        return [Finding("serial ports", name, Health.OK, f"received bytes are passed on after {text} ms")]
    mend = f"echo 1 | sudo tee /sys/bus/usb-serial/devices/{port.name}/latency_timer"
    return [
        Finding(
            "serial ports",
            name,
            Health.WARN,
            f"received bytes wait up to {text} ms, more than a control step can spare",
            mend,
        )
    ]


def _realsense(machine: Machine) -> list[Finding]:
    found = []
    for device in machine.glob("sys/bus/usb/devices/*/idVendor"):
        folder = str(device.parent.relative_to(machine.root))
        product = machine.read(f"{folder}/product") or ""
        if machine.read(f"{folder}/idVendor") != _REALSENSE_VENDOR or "RealSense" not in product:
            continue
        speed = machine.read(f"{folder}/speed") or "?"
        if find_spec("pyrealsense2") is None:
            found.append(
                Finding("cameras", product, Health.WARN, "its driver is not installed", install_command("realsense"))
            )
        elif speed.isdecimal() and int(speed) < 5000:
            detail = f"on a USB 2 connection ({speed} Mbit/s): fewer and smaller pictures"
            found.append(Finding("cameras", product, Health.WARN, detail, "use a USB 3 port and cable"))
        else:
            found.append(Finding("cameras", product, Health.OK, f"USB, {speed} Mbit/s"))
    return found


def _video_nodes(machine: Machine) -> list[Finding]:
    found = []
    for node in machine.glob("dev/video*"):
        label = machine.read(f"sys/class/video4linux/{node.name}/name") or "V4L2"
        name = f"/dev/{node.name}"
        if not os.access(node, os.R_OK | os.W_OK):
            group = _group(node)
            mend = f"sudo usermod -aG {group} $USER, {_LOG_IN_AGAIN}"
            found.append(Finding("cameras", name, Health.WARN, f"{label}; you are not in the group {group}", mend))
        elif find_spec("cv2") is None:
            detail = f"{label}; OpenCV, which reads it, is not installed"
            found.append(Finding("cameras", name, Health.WARN, detail, install_command("cameras")))
        else:
            found.append(Finding("cameras", name, Health.OK, label))
    return found


def _group(path: Path) -> str:
    try:
        return path.group()
    except (KeyError, OSError):
        return "dialout"
