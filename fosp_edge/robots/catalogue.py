"""Arms and robots by name.

An arm is geometry: a bundle is made for one, by name. A robot is an arm and the wire that it usually hangs on. The
wire does not decide which arm moves: where a calibration says that its servos form another arm, that one counts.
"""

from dataclasses import dataclass

from fosp_edge.robots.arm import DESKTOP_ARM, ArmDescription
from fosp_edge.robots.base import RobotError
from fosp_edge.robots.so101 import SO101_ARM, SO101_WORKSPACE
from fosp_edge.robots.workspace import DESKTOP_WORKSPACE, Workspace

CONTROLLER = "controller"
"""The wire of a board that speaks PROTOCOL.md; the other wires are the servo families of `firmware_bridge.buses`."""

ARMS: dict[str, tuple[ArmDescription, Workspace]] = {
    DESKTOP_ARM.name: (DESKTOP_ARM, DESKTOP_WORKSPACE),
    SO101_ARM.name: (SO101_ARM, SO101_WORKSPACE),
}


@dataclass(frozen=True)
class RobotKind:
    """What a name on the command line stands for."""

    wire: str
    """CONTROLLER, `feetech` or `dynamixel`."""
    motor_ids: str
    """Ids of the servos from base to tool, as one writes them with --ids; empty for a board."""
    arm: str
    """Key of ARMS."""
    about: str


ROBOTS: dict[str, RobotKind] = {
    "serial": RobotKind(CONTROLLER, "", DESKTOP_ARM.name, "the desktop arm on a controller board"),
    "so101": RobotKind("feetech", "1-6", SO101_ARM.name, "an SO-101: six STS3215 servos on one line"),
    "widowx250": RobotKind(
        "dynamixel", "1,2,4,6,7,8", DESKTOP_ARM.name, "a WidowX-250-class arm: Dynamixel X servos on one line"
    ),
}


def arm_named(name: str) -> tuple[ArmDescription, Workspace]:
    """An arm and the box that its fingertip may not leave.

    Raises:
        RobotError: there is none of that name; the message lists those there are.
    """
    if name not in ARMS:
        raise RobotError(f"unknown arm {name!r}; choose one of: {', '.join(ARMS)}")
    return ARMS[name]
