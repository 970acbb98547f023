"""The verbs that need hands: `calibrate` (move the limp arm) and `jog` (hold a key)."""

import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import typer

from firmware_bridge import JointLimits, MotorLink, Torque
from firmware_bridge.buses.bus import MotorState, ServoBus
from firmware_bridge.buses.calibration import MotorCalibration, save_calibration
from firmware_bridge.buses.families import TICKS_PER_TURN
from firmware_bridge.certificate import limits_around
from fosp_edge.cli.motors_access import (
    DEFAULT_CALIBRATION,
    Bus,
    CalibrationFile,
    HalfDuplex,
    Ids,
    Port,
    Release,
    WheelServos,
    parse_ids,
    wire,
)
from fosp_edge.robots.catalogue import ARMS, arm_named
from fosp_edge.robots.hand import HeldKey
from fosp_edge.robots.serial_robot import describe_faults
from fosp_edge.robots.wires import CONTROLLER

JOG_PERIOD_S = 0.02


def calibrate(
    bus: Annotated[str, typer.Option(help="Family of the servos: dynamixel or feetech.")],
    port: Port = None,
    ids: Ids = "1-6",
    calibration_file: CalibrationFile = DEFAULT_CALIBRATION,
    arm: Annotated[
        str | None, typer.Option(help=f"Which arm the servos form: {', '.join(ARMS)}, or a FILE.json.")
    ] = None,
    backwards: Annotated[str, typer.Option(help="Ids of servos that count against their joint, as in 2,5.")] = "",
    rs485: HalfDuplex = False,
) -> None:
    """Learn zero and range of each servo: the arm goes limp, you move it, the numbers are stored."""
    chosen = wire(port, bus, ids, calibration_file, rs485)
    if bus == CONTROLLER:
        raise ValueError("a controller board knows its own zero: calibrate is for servos (--bus dynamixel or feetech)")
    formed = None if arm is None else arm_named(arm)[0]
    if formed is not None and len(formed.joints) != len(chosen.motor_ids):
        raise ValueError(f"{formed.name} has {len(formed.joints)} joints, {len(chosen.motor_ids)} ids were given")
    reversed_ids = parse_ids(backwards) if backwards else ()
    if not set(reversed_ids) <= set(chosen.motor_ids):
        raise ValueError(f"--backwards {backwards} names a servo that is not among the ids {ids}")
    line = chosen.open_bus(chosen.port)
    try:
        models = [found.model_number for found in line.handshake()]
        typer.echo("hold the arm: its torque goes off. Put it at its zero pose, then press Enter")
        line.set_torque(False)
        zero = [state.position_ticks for state in _read_until_enter(line)[-1]]
        typer.echo("now move every joint through its whole range, then press Enter")
        seen = _read_until_enter(line)
    finally:
        line.close()
    motors = tuple(
        _calibrated(
            motor_id,
            model,
            zero[joint],
            [states[joint].position_ticks for states in seen],
            -1 if motor_id in reversed_ids else 1,
        )
        for joint, (motor_id, model) in enumerate(zip(chosen.motor_ids, models, strict=True))
    )
    save_calibration(calibration_file, chosen.adapter, motors, None if formed is None else formed.name)
    for motor in motors:
        low, high = motor.range_rad
        typer.echo(f"motor {motor.motor_id}: {low:+.3f} to {high:+.3f} rad")
    typer.echo(f"stored in {calibration_file}")


def _calibrated(motor_id: int, model: int, zero: int, ticks: list[int], direction: int) -> MotorCalibration:
    steps = np.diff(np.array(ticks))
    if np.any(np.abs(steps) > TICKS_PER_TURN // 2):
        raise ValueError(
            f"motor {motor_id} turned across the end of its count: put it in the middle of its range and run "
            "`fosp-edge motors setup --centre` for it, then calibrate again"
        )
    if max(ticks) - min(ticks) < 50:
        raise ValueError(f"motor {motor_id} hardly moved: move every joint through its whole range")
    return MotorCalibration(motor_id, model, zero, direction, min(ticks), max(ticks))


def _read_until_enter(line: ServoBus) -> list[list[MotorState]]:
    """Complete readings of all servos until a line is typed; at least one."""
    readings: list[list[MotorState]] = []
    while True:
        states = [state for state in line.read_states() if state is not None]
        if len(states) == len(line.motor_ids):
            readings.append(states)
        if readings and _enter_pressed():
            return readings


def _enter_pressed() -> bool:
    if not select.select([sys.stdin], [], [], 0.02)[0]:
        return False
    sys.stdin.readline()
    return True


@dataclass
class DeadMan:
    """Motion only while a key is held, as far as a terminal can tell: it reports repeats, never releases."""

    joints: int
    speed_rad_s: float
    joint: int = 0
    _held: HeldKey = field(default_factory=HeldKey)
    finished: bool = False

    def press(self, key: str, now_s: float) -> None:
        """A key came: a digit chooses the joint, + and - move it, q ends, anything else stops."""
        if key in "+=-":
            self._held.press(-1.0 if key == "-" else 1.0, now_s)
            return
        self._held.release()
        if key.isdigit() and 1 <= int(key) <= self.joints:
            self.joint = int(key) - 1
        else:
            self.finished = key == "q"

    def velocity_rad_s(self, now_s: float) -> np.ndarray:
        """What to command now, shape [J]."""
        velocity = np.zeros(self.joints)
        velocity[self.joint] = self._held.direction(now_s) * self.speed_rad_s
        return velocity


def jog(
    port: Port = None,
    bus: Bus = CONTROLLER,
    ids: Ids = "1-6",
    calibration_file: CalibrationFile = DEFAULT_CALIBRATION,
    speed: Annotated[float, typer.Option(help="Joint speed in rad/s, at most 0.3.")] = 0.1,
    reach: Annotated[float, typer.Option(help="How far each joint may go from where it starts, rad.")] = 0.5,
    release: Release = False,
    rs485: HalfDuplex = False,
    wheels: WheelServos = False,
) -> None:
    """Move one joint while a key is held: digits choose it, + and - move it, q ends."""
    if not 0.0 < speed <= 0.3 or not 0.0 < reach <= 3.0:
        raise ValueError("--speed is above 0 and at most 0.3 rad/s, --reach above 0 and at most 3 rad")
    if not sys.stdin.isatty():
        raise ValueError("jog needs a keyboard: run it in a terminal")
    chosen = wire(port, bus, ids, calibration_file, rs485, wheels=wheels)
    at_exit = Torque.OFF if release else Torque.HOLD
    with chosen.link(at_exit=at_exit) as link, _keys_at_once():
        handshake = link.connect()
        hand = DeadMan(handshake.joint_count, speed)
        prepare_to_jog(link, reach)
        typer.echo("1-9 joint, + and - move while held, q ends\r")
        try:
            while not hand.finished:
                if select.select([sys.stdin], [], [], JOG_PERIOD_S)[0]:
                    hand.press(sys.stdin.read(1), time.monotonic())
                _command(link, hand.velocity_rad_s(time.monotonic()))
        finally:
            link.stop()
            link.clear_faults()
            link.disarm(at_exit)


def prepare_to_jog(link: MotorLink, reach_rad: float) -> None:
    """Limits around where the arm is, a short watchdog, armed."""
    telemetry = link.latest()
    assert telemetry is not None
    link.clear_faults()
    limits: list[JointLimits] = [limits_around(float(position), reach_rad) for position in telemetry.position_rad]
    link.upload_limits(limits)
    link.configure_watchdog(0.2)
    link.arm()


def _command(link: MotorLink, velocity_rad_s: np.ndarray) -> None:
    telemetry = link.latest()
    assert telemetry is not None
    if telemetry.faults:
        reason = describe_faults(telemetry.faults)
        raise ValueError(f"the controller has stopped ({reason}): look at the arm, then start again")
    link.command_velocity(velocity_rad_s)


@contextmanager
def _keys_at_once() -> Iterator[None]:
    """Keys arrive one by one, without Enter; the terminal is as before afterwards, whatever happens."""
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
