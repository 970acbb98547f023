from __future__ import annotations

import fcntl
import json
import time
from pathlib import Path

import numpy as np
import pytest

from firmware_bridge import HandshakeMismatchError, JointLimits, LinkLostError, MotorLink, PortMissingError, State
from firmware_bridge.certificate import certify
from firmware_bridge.codes import Capability
from firmware_bridge.controller import Controller, Identity
from firmware_bridge.emulator import PseudoTerminal
from firmware_bridge.files import write_atomically
from firmware_bridge.ports import UDEV_RULE, find_ports, lasting_name, latency_timer_ms, shorten_latency
from firmware_bridge.transport import Rs485, SerialTransport
from tests.firmware_bridge.plants import running_emulator


def test_lasting_names(tmp_path: Path) -> None:
    device = tmp_path / "ttyUSB0"
    device.touch()
    by_id = tmp_path / "by-id"
    assert lasting_name(str(device), by_id) == str(device)
    by_id.mkdir()
    (by_id / "usb-FTDI_0001-if00-port0").symlink_to(device)
    assert lasting_name(str(device), by_id).endswith("usb-FTDI_0001-if00-port0")


def test_latency_timers(tmp_path: Path) -> None:
    assert latency_timer_ms("/dev/ttyUSB7", tmp_path) is None
    assert shorten_latency("/dev/ttyUSB7", tmp_path) is True
    folder = tmp_path / "bus/usb-serial/devices/ttyUSB7"
    folder.mkdir(parents=True)
    (folder / "latency_timer").write_text("16\n")
    assert latency_timer_ms("/dev/ttyUSB7", tmp_path) == 16
    assert shorten_latency("/dev/ttyUSB7", tmp_path) is True
    assert latency_timer_ms("/dev/ttyUSB7", tmp_path) == 1
    assert "latency_timer" in UDEV_RULE


def test_ports_of_this_machine_are_listed_without_harm() -> None:
    for port in find_ports():
        assert port.device.startswith("/dev/") and port.adapter


def test_the_pin_header_of_a_jetson_is_a_port(tmp_path: Path) -> None:
    for name in ("ttyTHS1", "ttyS0", "video0"):
        (tmp_path / name).touch()
    (header,) = (port for port in find_ports(tmp_path) if port.device.startswith(str(tmp_path)))
    assert header.device == header.lasting_name == str(tmp_path / "ttyTHS1") and header.may_open and header.on_board


def test_a_file_is_the_old_one_or_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    write_atomically(path, "old")
    monkeypatch.setattr("os.fsync", lambda _fd: (_ for _ in ()).throw(OSError(28, "no space left")))
    with pytest.raises(OSError, match="no space"):
        write_atomically(path, "new")
    assert path.read_text() == "old" and [one.name for one in tmp_path.iterdir()] == ["a.json"]


def test_reconnecting_uploads_limits_again_and_does_not_arm() -> None:
    limits = [JointLimits(-2.0, 2.0, 1.0, 20.0)] * 6
    with running_emulator() as (line, emulator), MotorLink(line.path) as link:
        link.connect(10.0)
        link.upload_limits(limits)
        link.configure_watchdog(0.5)
        link.arm()
        # The board is unplugged and plugged in again: it boots.
        emulator.controller = Controller(emulator.controller.identity)
        deadline_s = time.monotonic() + 10
        with pytest.raises(LinkLostError):
            while time.monotonic() < deadline_s:
                link.latest()
                time.sleep(0.002)
        link.reconnect(10.0)
        assert emulator.controller.state is State.DISARMED
        link.arm()
        link.command_velocity(np.zeros(6))


def test_another_board_on_the_same_port_is_refused() -> None:
    with running_emulator() as (line, emulator), MotorLink(line.path) as link:
        link.connect(10.0)
        emulator.controller = Controller(Identity(6, Capability(3), "another", "X"))
        with pytest.raises(HandshakeMismatchError, match="Another controller"):
            link.reconnect(10.0)


def test_reconnecting_to_nothing_ends_in_time() -> None:
    link = MotorLink("/dev/serial/by-id/nothing-here")
    with pytest.raises(PortMissingError):
        link.reconnect(0.1)


def test_a_controller_is_certified() -> None:
    with running_emulator() as (line, emulator), MotorLink(line.path) as link:
        certificate = certify(link, link.connect(10.0))
        failed = [check for check in certificate.checks if not check.passed and "watchdog" not in check.name]
        assert failed == []
        assert len(certificate.checks) == 9 and emulator.controller.state is State.DISARMED
        assert json.dumps([check.name for check in certificate.checks])


def test_a_controller_without_limits_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_emulator() as (line, _emulator), MotorLink(line.path) as link:
        handshake = link.connect(10.0)
        monkeypatch.setitem(__import__("firmware_bridge.safety", fromlist=["x"])._CHECKS, 1, _allow_all)
        monkeypatch.setattr("firmware_bridge.certificate.PATIENCE_S", 0.3)
        assert not certify(link, handshake).passed


def _allow_all(_limits: object, _measured: object, memory: object, _target: int) -> object:
    from firmware_bridge.codes import Refusal

    return Refusal.NONE, memory


def test_a_driver_without_rs485_is_a_sentence() -> None:
    with PseudoTerminal() as line:
        with pytest.raises(PortMissingError, match="leave --rs485 out"):
            SerialTransport(line.path, rs485=Rs485())
        # The port was given back.
        SerialTransport(line.path).close()


@pytest.mark.parametrize("high_sends", [True, False])
def test_the_kernel_is_told_how_to_turn_the_line_round(high_sends: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What reaches the driver, in the layout of linux/serial.h: flags, delay before and after sending in ms."""
    told: list[list[int]] = []
    original = fcntl.ioctl

    def ioctl(fd: int, request: int, argument: object = 0, *rest: object) -> object:
        if request == 0x542E:  # TIOCGRS485
            return 0
        if request == 0x542F:  # TIOCSRS485
            told.append(list(argument))  # type: ignore[call-overload]
            return 0
        return original(fd, request, argument, *rest)  # type: ignore[call-overload]

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    with PseudoTerminal() as line:
        SerialTransport(line.path, rs485=Rs485(high_sends, before_send_ms=1, after_send_ms=2)).close()
    enabled, on_send, after_send = 1, 2, 4
    assert told == [[enabled | (on_send if high_sends else after_send), 1, 2, 0, 0, 0, 0, 0]]
