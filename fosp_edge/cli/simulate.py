"""`fosp-edge simulate`: a simulated robot on a serial line, for `run` and `motors` to open like a real one."""

import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from firmware_bridge.buses.calibration import centred, forget_calibration, save_calibration
from firmware_bridge.ports import lasting_name
from fosp_edge.cli.motors_access import DEFAULT_CALIBRATION, parse_ids
from fosp_edge.cli.simulated_ports import forget_cameras, note_cameras
from fosp_edge.robots.arm import DESKTOP_ARM
from fosp_edge.robots.arm_file import ArmFile
from fosp_edge.robots.base import RobotError
from fosp_edge.robots.base_file import BaseFile
from fosp_edge.robots.catalogue import ARMS, BASES, ROBOTS, RobotKind, mechanism, robot_kind
from fosp_edge.robots.robot_file import RobotFile
from fosp_edge.robots.wires import CONTROLLER

if TYPE_CHECKING:
    from fosp_edge.simulation.launcher import SimulatedRobot


def simulate(
    robot: Annotated[
        str, typer.Option(help=f"What hangs on the line: {', '.join(ROBOTS)}, or a robot's FILE.json.")
    ] = "so101",
    arm: Annotated[
        str | None,
        typer.Option(
            help=f"Which arm the motors move: {', '.join(ARMS)}. By default that of the file, otherwise the first, "
            "which the shipped agent knows."
        ),
    ] = None,
    scenario: Annotated[str, typer.Option(help="Scenario family of the table.")] = "standard",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the table.")] = 0,
    calibration_file: Annotated[
        Path,
        typer.Option("--calibration", help="Where the simulated servos' calibration is while they live."),
    ] = DEFAULT_CALIBRATION,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="End after so long; at Ctrl-C if left out.")] = None,
) -> None:
    """Put a simulated arm or base behind an emulated motor bus on a pseudo-terminal, with cameras, until Ctrl-C.

    Nothing but the line and the cameras leads to it, so that every program here drives it through the drivers that
    real motors need.
    """
    from fosp_edge.simulation.launcher import SimulatedRobot

    kind, console = robot_kind(robot), Console()
    ids = parse_ids(kind.motor_ids) if kind.motor_ids else ()
    moved = arm or (DESKTOP_ARM.name if robot in ROBOTS and kind.moved not in BASES else kind.moved)
    described = mechanism(moved)
    name, calibrated = described.name, kind.wire != CONTROLLER and isinstance(described, ArmFile)
    with SimulatedRobot(scenario, seed, wire=kind.wire, arm=moved, motor_ids=ids) as device:
        adapter = Path(lasting_name(device.port)).name
        cameras = {name: f"ring:{one.ring}" for name, one in device.cameras.items()}
        note_cameras(device.port, cameras)
        if calibrated:
            save_calibration(calibration_file, adapter, centred(ids), name)
        try:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.default_int_handler)
            _introduce(console, robot, kind, described, device.port, cameras)
            _wait(device, seconds)
        except KeyboardInterrupt:
            pass
        finally:
            forget_cameras(device.port)
            if calibrated:
                forget_calibration(calibration_file, adapter)


def _introduce(
    console: Console, robot: str, kind: RobotKind, moved: RobotFile, port: str, cameras: dict[str, str]
) -> None:
    motors = f"--bus {kind.wire} --ids {kind.motor_ids} " if kind.wire != CONTROLLER else ""
    if motors and isinstance(moved, BaseFile):
        motors += "--wheels "
    lines = [
        f"{robot} ({kind.about}) on {port} moves the simulated {moved.name}; in another terminal, in this folder:",
        f"  fosp-edge run --robot {robot} --port {port}",
        f"  fosp-edge motors watch {motors}--port {port}",
        "cameras: " + " ".join(f"--camera {name}={address}" for name, address in cameras.items()) + " (run finds them)",
    ]
    if moved.name != DESKTOP_ARM.name:
        lines.append(f"no agent for {moved.name} is shipped: run needs --bundle")
    for line in [*lines, "Ctrl-C ends it"]:
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def _wait(device: "SimulatedRobot", seconds: float | None) -> None:
    """Until the time is up or the device has ended by itself."""
    until_s = None if seconds is None else time.monotonic() + seconds
    while until_s is None or time.monotonic() < until_s:
        if not device.alive:
            raise RobotError(device.log[-1] if device.log else "the simulated robot has ended")
        time.sleep(0.2)
