"""The robot and the cameras that a command line asks for, opened and closed together."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from firmware_bridge import LinkError, Torque
from firmware_bridge.buses.calibration import calibrated_arm
from firmware_bridge.buses.virtual import BUS_WATCHDOG_S
from fosp_edge.bundle.manifest import CameraContract, Channel
from fosp_edge.cameras.base import CameraError, DepthCamera, DepthFrame
from fosp_edge.cameras.opening import open_camera
from fosp_edge.cameras.policy_camera import PolicyCamera
from fosp_edge.cli.motors_access import DEFAULT_CALIBRATION, wire
from fosp_edge.cli.simulated_ports import cameras_beside
from fosp_edge.control.telemetry import Telemetry
from fosp_edge.robots.arm import DESKTOP_ARM
from fosp_edge.robots.arm_file import ArmFile
from fosp_edge.robots.base import Referee, Robot, RobotError
from fosp_edge.robots.base_file import BaseFile
from fosp_edge.robots.catalogue import ARMS, ROBOTS, RobotKind, mechanism, robot_kind
from fosp_edge.robots.channels import state_channels
from fosp_edge.robots.drive import Drive
from fosp_edge.robots.fingertip_drive import FingertipDrive
from fosp_edge.robots.mobile_base import WheelDrive
from fosp_edge.robots.robot_file import RobotFile
from fosp_edge.robots.serial_robot import SerialRobot
from fosp_edge.robots.wires import CONTROLLER

SIMULATED = "simulated"
KINDS = (SIMULATED, *ROBOTS)
_SIMULATED_PATIENCE_PERIODS, _PATIENCE_PERIODS = 10.0, 4.0
"""Host and motor controller each stop when they have not heard the other for so many control periods, and pictures
that are older are not acted upon: 0.2 s at 20 Hz. A simulated robot hurts nobody and shares its computer with its own
physics, so it is given more."""
_LONGEST_PATIENCE_S = 1.0
"""More than that no motor controller waits (PROTOCOL.md), however slow the commands are meant to come."""


@dataclass(frozen=True)
class MotorOptions:
    """What the command line says about the motors of a real robot."""

    port: str | None = None
    ids: str | None = None
    """In place of the ids that a robot of this kind usually has."""
    calibration_file: Path = DEFAULT_CALIBRATION
    rs485: bool = False
    at_exit: Torque = Torque.HOLD


@dataclass(frozen=True)
class Rig:
    """What the control loop is given."""

    robot: Robot
    cameras: tuple[PolicyCamera, ...]
    """In the order of the bundle."""
    referee: Referee | None
    """Only a simulation knows reward and cost."""
    description: str
    state: tuple[Channel, ...]
    """What the robot says of itself, as it is described, before a calibration cuts an arm's ranges."""
    patience_s: float
    """How long host and motor controller wait for one another, and how old a picture may be."""


@contextmanager
def open_rig(
    kind: str,
    wanted: Sequence[CameraContract],
    rate_hz: float,
    *,
    motors: MotorOptions,
    camera_sources: list[str],
    scenario: str,
    seed: int,
    simulated: str = DESKTOP_ARM.name,
) -> Iterator[Rig]:
    """Open what `kind` names: `simulated` starts the device process, all others take a port and cameras.

    Args:
        kind: SIMULATED, or what `robots.catalogue.robot_kind` takes.
        wanted: the cameras that are needed, in their order.
        rate_hz: how often commands come.
        motors: port and servos of a real robot.
        camera_sources: `NAME=ADDRESS` for each camera (`cameras/address.py`) of a real robot.
        scenario: first table of the simulated robot.
        seed: its seed.
        simulated: which arm or base the simulated robot is, as `robots.catalogue.mechanism` takes it.

    Raises:
        RobotError, CameraError: with a sentence.
    """
    names = [contract.name for contract in wanted]
    period_s = 1.0 / rate_hz
    periods = _SIMULATED_PATIENCE_PERIODS if kind == SIMULATED else _PATIENCE_PERIODS
    patience_s = min(periods * period_s, _LONGEST_PATIENCE_S)
    with ExitStack() as stack:
        if kind == SIMULATED:
            from fosp_edge.simulation.launcher import SimulatedRobot

            if motors.port is not None or camera_sources:
                raise RobotError(
                    "--port and --camera belong to a real robot: leave them out, or name it with --robot "
                    + " or ".join(ROBOTS)
                )
            device = stack.enter_context(SimulatedRobot(scenario, seed, arm=simulated))
            cameras = tuple(
                PolicyCamera(device.cameras[contract.name], contract.picture)
                for contract in wanted
                if contract.name in device.cameras
            )
            found = mechanism(simulated)
            drive = _drive(found, period_s)
            robot = SerialRobot(device.port, drive, watchdog_s=patience_s, telemetry_timeout_s=patience_s)
            _look_ahead(robot, cameras, patience_s)
            about = f"simulated {'base' if isinstance(found, BaseFile) else 'arm'} on {device.port}"
            yield Rig(robot, cameras, device.referee, about, drive.state, patience_s)
        else:
            chosen = kind_of(kind)
            if motors.port is None:
                raise RobotError(
                    f"a robot {kind} needs its port: --port /dev/ttyACM0 (`fosp-edge motors find-port` lists them)"
                )
            robot, state = _robot(chosen, motors, motors.port, period_s, patience_s)
            beside = [f"{name}={address}" for name, address in cameras_beside(motors.port).items() if name in names]
            opened = _open_cameras(wanted, camera_sources or beside, stack)
            _look_ahead(robot, opened, patience_s)
            yield Rig(robot, opened, None, f"{kind} ({robot.name}) on {motors.port}", state, patience_s)


def kind_of(robot: str) -> RobotKind:
    """A robot other than the simulated one, by name or file. Raises RobotError, with every name there is."""
    return robot_kind(robot, also=(SIMULATED,))


def _robot(
    kind: RobotKind, motors: MotorOptions, port: str, period_s: float, patience_s: float
) -> tuple[SerialRobot, tuple[Channel, ...]]:
    """The robot behind a port, not connected yet, and what it says of itself.

    On a wire of servos the calibration says which arm they form, and no joint may leave its servo's calibrated range.

    Raises:
        RobotError: no calibration, or one that does not fit the arm.
    """
    described, link = mechanism(kind.moved), None
    moved = described
    if kind.wire != CONTROLLER:
        wheels = described.directions if isinstance(described, BaseFile) else False
        try:
            chosen = wire(
                port, kind.wire, motors.ids or kind.motor_ids, motors.calibration_file, motors.rs485, wheels=wheels
            )
            if isinstance(described, ArmFile):
                calibrated = calibrated_arm(motors.calibration_file, chosen.adapter)
                if calibrated is not None and calibrated != described.name:
                    described = _calibrated_as(calibrated)
                ranges = [motor.range_rad for motor in chosen.calibration(required=True)]
                moved = replace(described, arm=described.arm.within(ranges))
            link = chosen.link(
                at_exit=motors.at_exit, bus_watchdog_s=max(BUS_WATCHDOG_S, patience_s), state_max_age_s=period_s
            )
        except (LinkError, ValueError) as error:
            raise RobotError(str(error)) from error
    drive = _drive(moved, period_s)
    state = state_channels(described.arm) if isinstance(described, ArmFile) else drive.state
    robot = SerialRobot(
        port, drive, watchdog_s=patience_s, telemetry_timeout_s=patience_s, link=link, at_exit=motors.at_exit
    )
    return robot, state


def distances(camera: PolicyCamera, patience_s: float) -> DepthFrame:
    """What a camera measures, as it measures it: not cut and shrunk to what a policy sees. Raises CameraError."""
    if not isinstance(camera.source, DepthCamera):
        raise CameraError(f"camera {camera.name} measures no distances")
    return camera.source.latest_depth(patience_s)


def _look_ahead(robot: SerialRobot, cameras: Sequence[PolicyCamera], patience_s: float) -> None:
    """Give a base with a bumper the camera that it is made of. Raises RobotError, CameraError: there is none."""
    drive = robot.drive
    if not isinstance(drive, WheelDrive) or drive.base.bumper is None:
        return
    name = drive.base.bumper.camera
    camera = next((camera for camera in cameras if camera.name == name), None)
    if camera is None:
        found = ", ".join(camera.name for camera in cameras) or "none"
        raise RobotError(f"the bumper of {robot.name} looks through the camera {name}, here are: {found}")
    camera.start()
    drive.look = partial(distances, camera, patience_s)
    drive.look()  # whether it measures any is better known before anything moves


def count_what_holds_back(robot: Robot, telemetry: Telemetry) -> None:
    """Count the ticks in which a tether or a bumper let a base drive less than it was asked to."""
    if isinstance(robot, SerialRobot) and isinstance(robot.drive, WheelDrive):
        robot.drive.tell = telemetry.count


def _drive(described: RobotFile, period_s: float) -> Drive:
    """How what is described moves, within its own ranges."""
    if isinstance(described, BaseFile):
        return WheelDrive(described.base, period_s)
    return FingertipDrive(described.arm, described.workspace, period_s)


def _calibrated_as(name: str) -> ArmFile:
    if name not in ARMS:
        raise RobotError(
            f"the servos on this port were calibrated as the arm {name!r}: name its file with --robot FILE.json, or "
            "calibrate again"
        )
    return ArmFile(*ARMS[name])


def _open_cameras(wanted: Sequence[CameraContract], sources: list[str], stack: ExitStack) -> tuple[PolicyCamera, ...]:
    """The cameras the bundle wants, in its order, brought to its picture size.

    They are started here, because a driver knows its camera's serial number only then, and the bundle may ask for it.
    """
    by_name = dict(_split(source) for source in sources)
    names = [contract.name for contract in wanted]
    if sorted(by_name) != sorted(names):
        raise CameraError(
            f"the bundle sees through the cameras {', '.join(names)}; give each one: "
            + " ".join(f"--camera {name}=ADDRESS" for name in names)
        )
    cameras = []
    for contract in wanted:
        source = open_camera(contract.name, by_name[contract.name])
        camera = PolicyCamera(source, contract.picture)
        stack.callback(camera.close)
        camera.start()
        cameras.append(camera)
    return tuple(cameras)


def _split(source: str) -> tuple[str, str]:
    name, _, address = source.partition("=")
    if not name or not address:
        raise CameraError(f"--camera {source!r}: expected NAME=ADDRESS, for instance fixed=realsense:123456789")
    return name, address
