"""Arms, bases and robots by name, or by the file that describes one.

An arm is geometry, and so is a base: a bundle is made for one, by name. A robot is such a mechanism and the wire that
it usually hangs on. The wire does not decide which arm moves: where a calibration says that its servos form another
arm, that one counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fosp_edge.robots.arm import DESKTOP_ARM, ArmDescription
from fosp_edge.robots.arm_file import ArmFile
from fosp_edge.robots.base import RobotError
from fosp_edge.robots.base_file import BaseFile
from fosp_edge.robots.mobile_base import TWO_WHEELS
from fosp_edge.robots.robot_file import RobotFile, read_robot
from fosp_edge.robots.so101 import SO101_ARM, SO101_WORKSPACE
from fosp_edge.robots.wires import CONTROLLER
from fosp_edge.robots.workspace import DESKTOP_WORKSPACE, Workspace

ARMS: dict[str, tuple[ArmDescription, Workspace]] = {
    DESKTOP_ARM.name: (DESKTOP_ARM, DESKTOP_WORKSPACE),
    SO101_ARM.name: (SO101_ARM, SO101_WORKSPACE),
}
BASES = {TWO_WHEELS.name: TWO_WHEELS}
SIMULATED_TASKS = (DESKTOP_ARM.name, TWO_WHEELS.name)
"""Those that have a task in simulation, SafeReach and SafeRoom, where agents are measured."""
MECHANISMS = (*ARMS, *BASES)
"""The names that bundles and recordings know."""


@dataclass(frozen=True)
class RobotKind:
    """What a name on the command line stands for."""

    wire: str
    """CONTROLLER, `feetech` or `dynamixel`."""
    motor_ids: str
    """Ids of the servos from base to tool, as one writes them with --ids; empty for a board."""
    moved: str
    """What `mechanism` takes: one of MECHANISMS, or the path of a file."""
    about: str


ROBOTS: dict[str, RobotKind] = {
    "serial": RobotKind(CONTROLLER, "", DESKTOP_ARM.name, "the desktop arm on a controller board"),
    "so101": RobotKind("feetech", "1-6", SO101_ARM.name, "an SO-101: six STS3215 servos on one line"),
    "widowx250": RobotKind(
        "dynamixel", "1,2,4,6,7,8", DESKTOP_ARM.name, "a WidowX-250-class arm: Dynamixel X servos on one line"
    ),
    TWO_WHEELS.name: RobotKind(CONTROLLER, "", TWO_WHEELS.name, "a small base on two wheels, on a controller board"),
}


def robot_kind(name: str, also: Sequence[str] = ()) -> RobotKind:
    """A robot by its name, or by the path of its file (`robot_file`); `also` is what else may be chosen there.

    Raises:
        RobotError: there is none of that name, the message lists those there are; or the file does not describe one.
    """
    if name in ROBOTS:
        return ROBOTS[name]
    robot = _described(name, f"unknown robot {name!r}; choose one of: {', '.join([*also, *ROBOTS])}, or FILE.json")
    wire = "a controller board" if robot.bus == CONTROLLER else f"{robot.bus} servos {robot.ids}"
    return RobotKind(robot.bus, robot.ids, str(Path(name).resolve()), f"{robot.name} on {wire}")


def mechanism(name: str) -> RobotFile:
    """An arm or a base, by its name or by the path of its robot's file.

    Raises:
        RobotError: there is none of that name, the message lists those there are; or the file does not describe one.
    """
    if name in ARMS:
        return ArmFile(*ARMS[name])
    if name in BASES:
        return BaseFile(BASES[name])
    known = f"{', '.join(MECHANISMS)}, or a robot's FILE.json"
    return _described(name, f"unknown arm or base {name!r}; choose one of: {known}")


def arm_named(name: str) -> tuple[ArmDescription, Workspace]:
    """An arm and the box that its fingertip may not leave, by its name or by the path of its robot's file.

    Raises:
        RobotError: as `mechanism`; or it is no arm.
    """
    found = mechanism(name)
    if not isinstance(found, ArmFile):
        raise RobotError(f"{found.name} is a base on wheels; an arm is needed here")
    return found.arm, found.workspace


def _described(name: str, otherwise: str) -> RobotFile:
    """What a file says; `otherwise` is told of a name that is no file's."""
    if not name.endswith(".json"):
        raise RobotError(otherwise)
    robot = read_robot(Path(name))
    if robot.name in MECHANISMS:  # bundles are made for one by its name
        raise RobotError(f"{name}: the name {robot.name!r} is taken by one of the catalogue; choose another")
    return robot
