"""`fosp-edge robots ...`: the robots that are known, and how to describe another one."""

from dataclasses import replace
from math import degrees
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from fosp_edge.cli.extras import require
from fosp_edge.cli.files import write_atomically
from fosp_edge.cli.motors_access import parse_ids
from fosp_edge.robots.arm import ArmDescription, FloatArray
from fosp_edge.robots.arm_file import ArmFile
from fosp_edge.robots.base_file import BaseFile
from fosp_edge.robots.catalogue import MECHANISMS, ROBOTS, mechanism, robot_kind
from fosp_edge.robots.kinematics import ArmKinematics
from fosp_edge.robots.mobile_base import BaseDescription
from fosp_edge.robots.reach import grid, posture_at, reached
from fosp_edge.robots.robot_file import RobotFile, parse_robot
from fosp_edge.robots.urdf import Caps, arm_from_urdf
from fosp_edge.robots.wires import CONTROLLER, WIRES
from fosp_edge.robots.workspace import Workspace

_NAMES = ", ".join(dict.fromkeys([*ROBOTS, *MECHANISMS]))
Named = Annotated[str, typer.Argument(help=f"One of: {_NAMES}, or a robot's FILE.json.")]


def ls() -> None:
    """List the robots that can be named.

    Example: fosp-edge robots ls
    """
    table = Table()
    for title in ("robot", "what it is", "moves", "motors on", "ids"):
        table.add_column(title)
    for name, kind in ROBOTS.items():
        table.add_row(name, kind.about, kind.moved, kind.wire, kind.motor_ids or "-")
    console = Console()
    console.print(table)
    console.print(
        "another one is described in a file: fosp-edge robots show so101 > my-arm.json (or two-wheels > my-base.json), "
        "then --robot my-arm.json",
        soft_wrap=True,
    )


def show(robot: Named) -> None:
    """Print a robot's description as a file, to begin another one from.

    Example: fosp-edge robots show so101 > my-arm.json
    """
    typer.echo(_described(robot).to_json(), nl=False)


def check(
    robot: Named,
    picture: Annotated[
        Path | None, typer.Option(help="Draw arm and box, from the side and from above, to this file.")
    ] = None,
) -> None:
    """Say what a robot's description means: joints, fingertip, and how much of its box is within reach; of a base, how
    it drives and stops.

    Ends with status 1 where not even the middle of the box is, with the tool pointing down. Nothing is opened or moved.

    Example: fosp-edge robots check my-arm.json --picture my-arm.png
    """
    described, console = _described(robot), Console(highlight=False)
    if isinstance(described, BaseFile):
        if picture is not None:
            raise ValueError("there is a picture of an arm and its box, none of a base")
        _check_base(console, described.base)
        return
    arm, box = described.arm, described.workspace
    if picture is not None:
        require("visualisation")
    console.print(_joints(arm))
    tip, tool, _ = ArmKinematics(arm).fingertip(np.array(arm.home_rad))
    console.print(f"fingertip at home: {_point(tip)}, the tool along {_point(tool @ np.array(arm.tool_axis), '')}")
    console.print(f"box of the fingertip: {_point(np.array(box.low_m))} to {_point(np.array(box.high_m))}")
    points = grid(box)
    postures = reached(arm, points)
    if picture is not None:
        from fosp_edge.cli.robot_plot import plot_robot

        write_atomically(picture, plot_robot(arm, box, points, postures))
        console.print(f"plot in {picture}", soft_wrap=True)
    missing = [_point(point) for point, posture in zip(points, postures, strict=True) if posture is None]
    of = f"{len(points) - len(missing)} of {len(points)} points of the box are within reach with the tool down"
    if postures[len(points) // 2] is None:
        console.print(f"[red]{of}, its middle is not[/]: look at offsets, axes and ranges", soft_wrap=True)
        raise typer.Exit(1)
    console.print(of + (f"; not {', '.join(missing)}: there it stops before" if missing else ""), soft_wrap=True)


def from_urdf(
    urdf: Annotated[Path, typer.Argument(help="URDF of the arm, xacro expanded.")],
    out: Annotated[Path, typer.Argument(help="File to write, such as my-arm.json.")],
    tip: Annotated[str, typer.Option(help="Link whose origin is the fingertip.")],
    low: Annotated[str, typer.Option(help="Lower corner of the box that the fingertip may not leave: X,Y,Z in m.")],
    high: Annotated[str, typer.Option(help="Upper corner of that box.")],
    base: Annotated[str | None, typer.Option(help="Link that stands still; the root if left out.")] = None,
    tool_axis: Annotated[str, typer.Option(help="Direction out of the tool in the frame of the tip: X,Y,Z.")] = "0,0,1",
    velocity: Annotated[float, typer.Option(min=0.001, help="Fastest a joint may turn, rad/s.")] = Caps.velocity_rad_s,
    acceleration: Annotated[
        float, typer.Option(min=0.001, help="Hardest a joint may speed up or brake, rad/s^2.")
    ] = Caps.acceleration_rad_s2,
    bus: Annotated[str, typer.Option(help=f"What the motors hang on: {', '.join(WIRES)}.")] = CONTROLLER,
    ids: Annotated[str, typer.Option(help="Ids of the servos from base to tool, as in 1-6.")] = "",
) -> None:
    """Make a robot's file out of a URDF: the chain of joints from the base to one link.

    Home is a posture at the middle of the box with the tool down, far from the joints' limits. Joints beyond the tool,
    as a gripper's, are added by hand.

    Example: fosp-edge robots from-urdf arm.urdf my-arm.json --tip tool0 --low 0.2,-0.2,0.05 --high 0.4,0.2,0.2
    """
    if out.exists():
        raise ValueError(f"{out} is there already; remove it, or choose another name")
    axis = np.array(_three("--tool-axis", tool_axis))
    if not np.linalg.norm(axis) > 0.0:
        raise ValueError(f"--tool-axis {tool_axis} has no direction")
    x, y, z = (axis / np.linalg.norm(axis)).tolist()
    box = Workspace(_three("--low", low), _three("--high", high))
    arm = arm_from_urdf(
        urdf, tip, name=out.stem, base=base, tool_axis=(x, y, z), caps=Caps(velocity, acceleration)
    )  # fmt: skip
    centre = (np.array(box.low_m) + np.array(box.high_m)) / 2.0
    home = posture_at(arm, centre)
    if home is None:
        raise ValueError(
            f"no posture of {arm.name} was found with the tip at {_point(centre)} and the tool down: look at --low, "
            "--high and --tool-axis"
        )
    at_home = replace(arm, home_rad=tuple(home.round(4).tolist()))
    described = parse_robot(ArmFile(at_home, box, bus, ids).to_json(), str(out))
    _check_ids(described, str(out))
    write_atomically(out, described.to_json().encode())
    typer.echo(f"{out}: {len(arm.joints)} joints; to look at it: fosp-edge robots check {out} --picture {out.stem}.png")


def _described(name: str) -> RobotFile:
    """A robot, or an arm or base on a controller board."""
    if name in MECHANISMS and name not in ROBOTS:
        return mechanism(name)
    kind = robot_kind(name)
    described = replace(mechanism(kind.moved), bus=kind.wire, ids=kind.motor_ids)
    _check_ids(described, name)
    return described


def _check_ids(robot: RobotFile, name: str) -> None:
    moved, what = (2, "wheels") if isinstance(robot, BaseFile) else (len(robot.arm.joints), "joints")
    if robot.ids and (servos := len(parse_ids(robot.ids))) != moved:
        raise ValueError(f"{name}: {moved} {what}, but the ids {robot.ids} of {servos} servos; give one for each")


def _check_base(console: Console, base: BaseDescription) -> None:
    """How fast it is, what its wheels leave of that, and how far it needs to stop."""
    table = Table(title=base.name, title_justify="left", show_header=False)
    fastest_m_s = base.wheel_velocity_limit_rad_s * base.wheel_radius_m
    rows = {
        "wheels": f"radius {1e3 * base.wheel_radius_m:g} mm, {1e3 * base.track_m:g} mm apart",
        "fastest": f"{base.speed_limit_m_s:g} m/s ahead or back, {base.turn_limit_rad_s:g} rad/s on the spot",
        "what the wheels allow": f"{fastest_m_s:.3g} m/s, {2.0 * fastest_m_s / base.track_m:.3g} rad/s",
        "to stop from full speed": f"{1e3 * base.braking_distance_m:.0f} mm, after at most four control periods",
        "tether": f"{base.tether_m:g} m from where the motors were armed, by the wheels' count",
        "bumper": "none: what stands in the way only a filter sees"
        if base.bumper is None
        else f"stops {base.bumper.gap_m:g} m before what the depth camera {base.bumper.camera} sees ahead",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)
    if max(base.speed_limit_m_s, base.turn_limit_rad_s * base.track_m / 2.0) > fastest_m_s:
        console.print("[yellow]the wheels are slower than the limits of speed and turn: those are never reached[/]")


def _joints(arm: ArmDescription) -> Table:
    table = Table(title=arm.name, title_justify="left")
    for title in ("joint", "turns about, at zero", "from", "to", "home", "deg/s at most", ""):
        table.add_column(title, justify="right" if title in ("from", "to", "home", "deg/s at most") else "left")
    for index, joint in enumerate(arm.joints):
        remark = "back to home" if index in arm.resting_joints else "beyond the tool" if index > arm.tool_link else ""
        table.add_row(
            joint.name, _point(np.array(joint.axis), ""), f"{degrees(joint.lower_rad):.0f}",
            f"{degrees(joint.upper_rad):.0f}", f"{degrees(arm.home_rad[index]):.0f}",
            f"{degrees(joint.velocity_limit_rad_s):.0f}", remark,
        )  # fmt: skip
    return table


def _point(values: FloatArray, unit: str = " m") -> str:
    return "(" + ", ".join(f"{value + 0.0:.3g}" for value in values.round(3)) + f"){unit}"


def _three(option: str, text: str) -> tuple[float, float, float]:
    try:
        x, y, z = (float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"{option} {text!r}: expected three numbers, as in 0.2,-0.1,0.05") from None
    return x, y, z
