"""The options of every verb that moves a robot, written once."""

from pathlib import Path
from typing import Annotated

import typer

from fosp_edge.cli.camera_check import OnMoved
from fosp_edge.cli.rig import KINDS

RobotName = Annotated[str, typer.Option(help=f"One of: {', '.join(KINDS)}, or a robot's FILE.json.")]
MotorPort = Annotated[str | None, typer.Option(help="Serial port of the motors, for a real robot.")]
MotorIds = Annotated[str | None, typer.Option(help="Ids of the servos from base to tool, if not the usual.")]
CameraSources = Annotated[
    list[str] | None,
    typer.Option(
        help="NAME=ADDRESS, once per camera, for a real robot: fixed=realsense:123456789, fixed=v4l2:/dev/video0."
    ),
]
CameraStore = Annotated[Path, typer.Option(help="Folder of the cameras' calibrations, each SERIAL.json.")]
CameraMoved = Annotated[
    OnMoved, typer.Option(help="When a camera has moved, was refocused, or does not recognise its scene: what to do.")
]
EmergencyFile = Annotated[
    Path | None, typer.Option(help="Emergency switch: a file as of a GPIO pin; 1, or unreadable, is pressed.")
]
ReleaseStop = Annotated[
    bool, typer.Option("--release-stop", help="Release the stop that the last run on this port left latched.")
]
SLOW = 0.25
"""Part of the full speed that `--camera-moved slow` leaves."""
