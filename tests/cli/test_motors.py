"""The `motors` verbs against an emulated board and emulated servos on pseudo-terminals."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from firmware_bridge import LinkError
from firmware_bridge.buses.bus import ServoBus
from firmware_bridge.buses.calibration import load_calibration
from firmware_bridge.buses.families import FAMILIES
from firmware_bridge.ports import PortInfo
from fosp_edge.cli import motors_access, motors_by_hand
from fosp_edge.cli.motors import app
from fosp_edge.cli.motors_by_hand import DeadMan
from fosp_edge.robots.hand import FIRST_HOLD_S, REPEAT_HOLD_S
from tests.firmware_bridge.plants import running_emulator
from tests.firmware_bridge.test_buses import chain_on_a_line, patient

runner = CliRunner()


@pytest.fixture(autouse=True)
def _patient_buses(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_bus(wire: motors_access.Wire, port: str, baud_rate: int | None = None) -> ServoBus:
        return patient(port, FAMILIES[wire.bus], wire.motor_ids, wheels=bool(wire.wheels))

    monkeypatch.setattr(motors_access.Wire, "open_bus", open_bus)


def run(*words: str, text: str | None = None) -> str:
    result = runner.invoke(app, list(words), input=text)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize(("text", "ids"), [("1-6", (1, 2, 3, 4, 5, 6)), ("3", (3,)), ("1, 2,5-6", (1, 2, 5, 6))])
def test_ids_are_read(text: str, ids: tuple[int, ...]) -> None:
    assert motors_access.parse_ids(text) == ids


@pytest.mark.parametrize("text", ["", "a", "1-", "1,1", "253", "3-2"])
def test_ids_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="ids"):
        motors_access.parse_ids(text)


def test_find_port_lists_and_offers_the_rule() -> None:
    assert "latency_timer" in run("find-port", "--udev-rule")
    assert isinstance(json.loads(run("find-port", "--json")), list)


def test_scan_finds_a_board() -> None:
    with running_emulator() as (line, _emulator):
        [found] = json.loads(run("scan", "--port", line.path, "--json"))
        assert (found["bus"], found["joint_count"]) == ("controller", 6)


def test_watch_and_stop_a_board() -> None:
    with running_emulator() as (line, emulator):
        output = run("watch", "--port", line.path, "--seconds", "0.3")
        assert "position rad" in output and "errors: " in output
        assert "stopped" in run("stop", "--port", line.path)
        assert emulator.controller.faults


def test_a_board_gets_its_certificate(tmp_path: Path) -> None:
    with running_emulator() as (line, _emulator):
        out = tmp_path / "certificate.json"
        run("test", "--port", line.path, "--out", str(out))
        certificate = json.loads(out.read_text())
        assert certificate["passed"] and len(certificate["checks"]) == 9


def test_stopping_servos_gives_up_their_goals_and_leaves_limp_ones_limp() -> None:
    with chain_on_a_line(FAMILIES["feetech"], joints=2) as chain:
        for name, value in (("goal_position", 3000), ("torque_enable", 1)):
            chain.chain.servos[0].write(name, value)
        assert "1 of 2 motors hold" in run("stop", "--bus", "feetech", "--ids", "1-2", "--port", chain.line.path)
        goal = chain.chain.servos[0].read("goal_position")
        assert goal < 3000 and chain.chain.servos[1].read("torque_enable") == 0
        assert "torque is off" in run(
            "stop", "--bus", "feetech", "--ids", "1-2", "--port", chain.line.path, "--release"
        )
        assert chain.chain.servos[0].read("torque_enable") == 0


def test_a_servo_is_set_up() -> None:
    with chain_on_a_line(FAMILIES["feetech"], joints=1) as chain:
        chain.plant.position = [0.5]
        output = run("setup", "--bus", "feetech", "--port", chain.line.path, "--id", "4", "--centre")
        assert "id 4" in output
        assert chain.chain.servos[0].read("return_delay") == 0
        assert abs(chain.chain.servos[0].read("present_position") - 2048) <= 1
        assert chain.chain.servos[0].read("lock") == 1


def test_calibration_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "calibration.json"
    with chain_on_a_line(FAMILIES["dynamixel"], joints=2) as chain:
        # Hands: one reading at zero, then readings over the range.
        poses = iter([[0.0, 0.0], [-0.5, -1.0], [0.5, 1.0]])
        original = motors_by_hand.ServoBus.read_states

        def moved_by_hand(bus: motors_by_hand.ServoBus) -> list[object]:
            pose = next(poses, None)
            if pose is not None:
                chain.plant.position = pose
                chain.chain.advance(0.0)
            return original(bus)  # type: ignore[return-value]

        monkeypatch.setattr(motors_by_hand.ServoBus, "read_states", moved_by_hand)
        pressed = iter([True, False, True])
        monkeypatch.setattr(motors_by_hand, "_enter_pressed", lambda: next(pressed))
        wire = motors_access.wire(chain.line.path, "dynamixel", "1-2", path)
        motors_by_hand.calibrate("dynamixel", chain.line.path, "1-2", path)
        first, second = load_calibration(path, wire.adapter, (1, 2))
    assert first.range_rad == pytest.approx((-0.5, 0.5), abs=2e-3)
    assert second.range_rad == pytest.approx((-1.0, 1.0), abs=2e-3)


def test_without_a_calibration_servos_are_not_moved_by_hand(tmp_path: Path) -> None:
    wire = motors_access.wire("/dev/null", "feetech", "1-6", tmp_path / "none.json")
    with pytest.raises(LinkError, match="motors calibrate"):
        wire.link()


def test_the_hand_is_off_the_key() -> None:
    hand = DeadMan(3, 0.2)
    hand.press("2", 0.0)
    hand.press("+", 1.0)
    assert np.array_equal(hand.velocity_rad_s(1.0 + FIRST_HOLD_S / 2), [0.0, 0.2, 0.0])
    hand.press("+", 1.5)
    assert np.array_equal(hand.velocity_rad_s(1.5 + REPEAT_HOLD_S / 2), [0.0, 0.2, 0.0])
    assert not np.any(hand.velocity_rad_s(1.5 + REPEAT_HOLD_S))
    hand.press("-", 3.0)
    assert hand.velocity_rad_s(3.0)[1] == -0.2
    hand.press(" ", 3.1)
    assert not np.any(hand.velocity_rad_s(3.1)) and not hand.finished
    hand.press("9", 3.2)
    assert hand.joint == 1
    hand.press("q", 3.3)
    assert hand.finished


def test_jogging_moves_only_within_reach() -> None:
    with running_emulator() as (line, emulator), motors_access.wire(line.path, "controller", "1").link() as link:
        link.connect(10.0)
        motors_by_hand.prepare_to_jog(link, 0.2)
        link.command_velocity([0.1] + [0.0] * 5)
        limits = emulator.controller._armed_limits
        assert limits[0].position_max_urad == 200_000 and limits[0].velocity_max_urad_s == 300_000


def test_jog_needs_a_keyboard_and_sane_numbers() -> None:
    with pytest.raises(ValueError, match="keyboard"):
        run("jog", "--port", "/dev/null", text="q")
    with pytest.raises(ValueError, match="speed"):
        run("jog", "--port", "/dev/null", "--speed", "2")
    with pytest.raises(ValueError, match="unknown bus"):
        run("watch", "--port", "/dev/null", "--bus", "can")


def test_wheels_are_set_up_proven_and_stopped() -> None:
    with chain_on_a_line(FAMILIES["dynamixel"], joints=1) as chain:
        run("setup", "--bus", "dynamixel", "--port", chain.line.path, "--id", "1", "--wheel")
        assert chain.chain.servos[0].read("operating_mode") == 1
    with chain_on_a_line(FAMILIES["dynamixel"], joints=2, wheels=(1, -1)) as chain:
        on = ["--bus", "dynamixel", "--port", chain.line.path, "--ids", "1,2"]
        assert "FAILED" not in run("test", *on, "--wheels")
        with pytest.raises(LinkError, match="say so with --wheels"):
            run("watch", *on, "--seconds", "0.1")
        for servo in chain.chain.servos:
            servo.write("torque_enable", 1)
            servo.write("goal_velocity", 40)
        assert "2 of 2 motors hold" in run("stop", *on)  # it need not be told that they turn
        assert [servo.read("goal_velocity") for servo in chain.chain.servos] == [0, 0]


def test_there_is_one_id_for_each_wheel() -> None:
    with pytest.raises(ValueError, match="2 wheels, but 3 ids were given"):
        motors_access.wire("/dev/null", "dynamixel", "1-3", wheels=(1, -1))


def test_the_one_port_is_what_is_plugged_in_before_what_is_on_board(monkeypatch: pytest.MonkeyPatch) -> None:
    plugged, another = (PortInfo(f"/dev/ttyUSB{n}", f"/dev/ttyUSB{n}", "adapter", True, 1) for n in (0, 1))
    header, spare = (PortInfo(f"/dev/ttyTHS{n}", f"/dev/ttyTHS{n}", "", True, None) for n in (1, 2))
    for found, expected in (([header, plugged, spare], "/dev/ttyUSB0"), ([header], "/dev/ttyTHS1")):
        monkeypatch.setattr(motors_access, "find_ports", lambda found=found: found)
        assert motors_access.only_port() == expected
    for found in ([header, spare], [header, plugged, another]):
        monkeypatch.setattr(motors_access, "find_ports", lambda found=found: found)
        with pytest.raises(ValueError, match="choose one with --port: /dev/tty"):
            motors_access.only_port()
