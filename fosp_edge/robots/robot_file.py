"""A robot that is not in the catalogue, described in a JSON file: its arm, the box of its fingertip, its wire.

    {
      "name": "my-arm",
      "bus": "feetech", "ids": "1-4",
      "joints": [
        {"name": "waist", "offset_m": [0, 0, 0.07], "axis": [0, 0, 1], "lower_rad": -1.9, "upper_rad": 1.9,
         "velocity_limit_rad_s": 1.0, "acceleration_limit_rad_s2": 5.0},
        ...
      ],
      "tool": {"offset_m": [0.12, 0, 0], "axis": [1, 0, 0]},
      "home_rad": [0, -0.35, 0.55, 1.37],
      "resting_joints": [],
      "joints_beyond_tool": [],
      "workspace": {"low_m": [0.15, -0.12, 0.03], "high_m": [0.25, 0.12, 0.10]}
    }

Joints go from base to tool. All frames are parallel at zero: an offset is where the joint sits on the link before it,
an axis is a unit vector, both as they are with every joint at zero. `tool.axis` points out of the tool, and down at
work. `bus` is `controller` (a board that speaks PROTOCOL.md), or a family of servos with their ids from base to tool.
`resting_joints` are drawn back to their home, `joints_beyond_tool` (a jaw) stay as they are; both may be left out, as
may `bus`. Nothing else is optional, and what is not known is refused: a limit that was misspelt is no limit.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, sqrt
from pathlib import Path
from typing import Any

from firmware_bridge import units
from fosp_edge.robots.arm import ArmDescription, Joint
from fosp_edge.robots.base import RobotError
from fosp_edge.robots.entry import Entry
from fosp_edge.robots.wires import CONTROLLER, WIRES
from fosp_edge.robots.workspace import Workspace

MOST_JOINTS = 16
"""As many as a telemetry frame carries (PROTOCOL.md, section 5)."""
_WORD = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.,_-]*[A-Za-z0-9])?")
_UNIT_TOLERANCE = 1e-3
_LIMITS = {
    "velocity_limit_rad_s": units.VELOCITY_MAX_URAD_S / units.PER_MICRO,
    "acceleration_limit_rad_s2": units.ACCELERATION_MAX_URAD_S2 / units.PER_MICRO,
}
_FARTHEST_RAD = units.POSITION_MAX_URAD / units.PER_MICRO
_FARTHEST_M = 10.0


@dataclass(frozen=True)
class RobotFile:
    """What a file says."""

    arm: ArmDescription
    workspace: Workspace
    bus: str = CONTROLLER
    ids: str = ""
    """Of the servos from base to tool, as one writes them with --ids; empty for a board."""

    def to_json(self) -> str:
        """The text that reads back as this."""
        arm, names = self.arm, self.arm.joint_names
        joints = [
            {
                "name": joint.name, "offset_m": list(joint.offset_m), "axis": list(joint.axis),
                "lower_rad": joint.lower_rad, "upper_rad": joint.upper_rad,
                "velocity_limit_rad_s": joint.velocity_limit_rad_s,
                "acceleration_limit_rad_s2": joint.acceleration_limit_rad_s2,
            }
            for joint in arm.joints
        ]  # fmt: skip
        wire = {"bus": self.bus} | ({"ids": self.ids} if self.ids else {})
        rest: dict[str, Any] = {
            "tool": {"offset_m": list(arm.tool_offset_m), "axis": list(arm.tool_axis)},
            "home_rad": list(arm.home_rad),
            "resting_joints": [names[index] for index in arm.resting_joints],
            "joints_beyond_tool": list(names[arm.tool_link + 1 :]),
            "workspace": {"low_m": list(self.workspace.low_m), "high_m": list(self.workspace.high_m)},
        }
        lines = [f'  "name": {json.dumps(arm.name)}']
        lines += [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in wire.items()]
        lines.append('  "joints": [\n' + ",\n".join(f"    {json.dumps(joint)}" for joint in joints) + "\n  ]")
        lines += [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in rest.items()]
        return "{\n" + ",\n".join(lines) + "\n}\n"


def read_robot(path: Path) -> RobotFile:
    """Read a robot's file.

    Raises:
        RobotError: it cannot be read, or says something that cannot be meant; the message names the place.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RobotError(f"{path} is not JSON ({error})") from error
    except OSError as error:
        raise RobotError(f"the robot's file {path} cannot be read: {error.strerror}") from error
    return parse_robot(text, str(path))


def parse_robot(text: str, source: str) -> RobotFile:
    """What a robot's file says; `source` is what it is called in messages.

    Raises:
        RobotError: it says something that cannot be meant; the message names the place.
    """
    try:
        raw = json.loads(text, object_pairs_hook=_once_each)
    except (ValueError, RecursionError) as error:
        raise RobotError(f"{source} is not JSON ({error})") from error
    try:
        return _robot(_Entry(raw, ""))
    except ValueError as error:
        raise RobotError(f"{source}: {error} (fosp-edge robots show so101 prints an example)") from error


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names are all different: of two limits of one name, which would count?"""
    _distinct([name for name, _ in pairs])
    return dict(pairs)


class _Entry(Entry):
    """An object of the file; complaints say where it stands."""

    def __init__(self, values: object, place: str) -> None:
        self._place = f"{place}: " if place else ""
        if not isinstance(values, dict):
            raise ValueError(f"{self._place}expected an object, found {values!r}")
        super().__init__(values)

    def take(self, name: str) -> Any:
        try:
            return self.pop(name)
        except ValueError as error:
            raise ValueError(f"{self._place}{error}") from error

    def wrong(self, name: str, expected: str, found: object) -> ValueError:
        return ValueError(f"{self._place}{name}: expected {expected}, found {found!r}")

    def word(self, name: str) -> str:
        value = self.take(name)
        if not isinstance(value, str) or _WORD.fullmatch(value) is None:
            raise self.wrong(name, "letters, digits, and . , _ - between them", value)
        return value

    def words(self, name: str) -> list[str]:
        value = self.take(name) if name in self else []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.wrong(name, "a list of names", value)
        return value

    def number(self, name: str, low: float, high: float) -> float:
        value = self.take(name)
        if not _is_number(value) or not low <= value <= high:
            raise self.wrong(name, f"a number from {low:g} to {high:g}", value)
        return float(value)

    def numbers(self, name: str, count: int, farthest: float) -> tuple[float, ...]:
        value = self.take(name)
        fits = isinstance(value, list) and len(value) == count
        if not fits or not all(_is_number(item) and abs(item) <= farthest for item in value):
            raise self.wrong(name, f"{count} numbers within +-{farthest:g}", value)
        return tuple(map(float, value))

    def point(self, name: str) -> tuple[float, float, float]:
        x, y, z = self.numbers(name, 3, _FARTHEST_M)
        return x, y, z

    def direction(self, name: str) -> tuple[float, float, float]:
        x, y, z = self.numbers(name, 3, 1.0 + _UNIT_TOLERANCE)
        length = sqrt(x * x + y * y + z * z)
        if abs(length - 1.0) > _UNIT_TOLERANCE:
            raise self.wrong(name, "a vector of length 1", [x, y, z])
        return x / length, y / length, z / length

    def done(self) -> None:
        if self.left:
            raise ValueError(f"{self._place}unknown entry {', '.join(map(repr, self.left))}")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)


def _robot(entry: _Entry) -> RobotFile:
    name, joints = entry.word("name"), _joints(entry)
    names = [joint.name for joint in joints]
    tool = _Entry(entry.take("tool"), "tool")
    offset_m, axis = tool.point("offset_m"), tool.direction("axis")
    tool.done()
    home_rad = entry.numbers("home_rad", len(joints), _FARTHEST_RAD)
    for joint, at_rad in zip(joints, home_rad, strict=True):
        if not joint.lower_rad <= at_rad <= joint.upper_rad:
            raise entry.wrong("home_rad", f"{joint.name} within {joint.lower_rad:g} to {joint.upper_rad:g}", at_rad)
    resting, beyond = entry.words("resting_joints"), entry.words("joints_beyond_tool")
    if not set(resting) <= set(names):
        raise entry.wrong("resting_joints", f"names out of {', '.join(names)}", resting)
    if len(beyond) >= len(names) or names[len(names) - len(beyond) :] != beyond:
        raise entry.wrong("joints_beyond_tool", f"the last names of {', '.join(names)}, in order", beyond)
    arm = ArmDescription(
        name=name, joints=joints, tool_offset_m=offset_m, home_rad=home_rad,
        resting_joints=tuple(names.index(item) for item in resting), joints_beyond_tool=len(beyond), tool_axis=axis,
    )  # fmt: skip
    box = _Entry(entry.take("workspace"), "workspace")
    workspace = Workspace(box.point("low_m"), box.point("high_m"))
    box.done()
    if not all(low < high for low, high in zip(workspace.low_m, workspace.high_m, strict=True)):
        raise ValueError(f"workspace: low_m {workspace.low_m} has to lie below high_m {workspace.high_m} everywhere")
    bus = entry.take("bus") if "bus" in entry else CONTROLLER
    if bus not in WIRES:
        raise entry.wrong("bus", f"one of {', '.join(WIRES)}", bus)
    ids = "" if bus == CONTROLLER else entry.word("ids")
    entry.done()
    return RobotFile(arm, workspace, bus, ids)


def _joints(entry: _Entry) -> tuple[Joint, ...]:
    raw = entry.take("joints")
    if not isinstance(raw, list) or not 1 <= len(raw) <= MOST_JOINTS:
        raise entry.wrong("joints", f"a list of 1 to {MOST_JOINTS} joints", raw)
    joints = tuple(_joint(_Entry(values, f"joint {number}")) for number, values in enumerate(raw, 1))
    _distinct([joint.name for joint in joints])
    return joints


def _joint(entry: _Entry) -> Joint:
    joint = Joint(
        name=entry.word("name"),
        offset_m=entry.point("offset_m"),
        axis=entry.direction("axis"),
        lower_rad=entry.number("lower_rad", -_FARTHEST_RAD, _FARTHEST_RAD),
        upper_rad=entry.number("upper_rad", -_FARTHEST_RAD, _FARTHEST_RAD),
        velocity_limit_rad_s=entry.number("velocity_limit_rad_s", 1e-3, _LIMITS["velocity_limit_rad_s"]),
        acceleration_limit_rad_s2=entry.number(
            "acceleration_limit_rad_s2",
            units.ACCELERATION_MIN_URAD_S2 / units.PER_MICRO, _LIMITS["acceleration_limit_rad_s2"],
        ),
    )  # fmt: skip
    entry.done()
    if not joint.lower_rad < joint.upper_rad:
        raise ValueError(f"joint {joint.name}: lower_rad {joint.lower_rad:g} has to lie below {joint.upper_rad:g}")
    return joint


def _distinct(names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} is there more than once")
