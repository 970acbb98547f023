"""An arm's file: its chain of joints, its tool, the box of its fingertip, its wire.

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
from dataclasses import dataclass
from typing import Any

from firmware_bridge import units
from fosp_edge.robots.arm import ArmDescription, Joint
from fosp_edge.robots.robot_entry import RobotEntry, distinct
from fosp_edge.robots.wires import CONTROLLER, WIRES
from fosp_edge.robots.workspace import Workspace

MOST_JOINTS = 16
"""As many as a telemetry frame carries (PROTOCOL.md, section 5)."""
FASTEST_RAD_S = units.VELOCITY_MAX_URAD_S / units.PER_MICRO
GENTLEST_RAD_S2, HARDEST_RAD_S2 = (
    value / units.PER_MICRO for value in (units.ACCELERATION_MIN_URAD_S2, units.ACCELERATION_MAX_URAD_S2)
)
_FARTHEST_RAD = units.POSITION_MAX_URAD / units.PER_MICRO


@dataclass(frozen=True)
class ArmFile:
    """What it says."""

    arm: ArmDescription
    workspace: Workspace
    bus: str = CONTROLLER
    ids: str = ""
    """Of the servos from base to tool, as one writes them with --ids; empty for a board."""

    @property
    def name(self) -> str:
        """Of the arm."""
        return self.arm.name

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


def arm_of(entry: RobotEntry) -> ArmFile:
    """What an entry says. Raises ValueError with the place of what cannot be meant."""
    name, joints = entry.word("name"), _joints(entry)
    names = [joint.name for joint in joints]
    tool = RobotEntry(entry.take("tool"), "tool")
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
    box = RobotEntry(entry.take("workspace"), "workspace")
    workspace = Workspace(box.point("low_m"), box.point("high_m"))
    box.done()
    if not all(low < high for low, high in zip(workspace.low_m, workspace.high_m, strict=True)):
        raise ValueError(f"workspace: low_m {workspace.low_m} has to lie below high_m {workspace.high_m} everywhere")
    bus = entry.take("bus") if "bus" in entry else CONTROLLER
    if bus not in WIRES:
        raise entry.wrong("bus", f"one of {', '.join(WIRES)}", bus)
    ids = "" if bus == CONTROLLER else entry.word("ids")
    entry.done()
    return ArmFile(arm, workspace, bus, ids)


def _joints(entry: RobotEntry) -> tuple[Joint, ...]:
    raw = entry.take("joints")
    if not isinstance(raw, list) or not 1 <= len(raw) <= MOST_JOINTS:
        raise entry.wrong("joints", f"a list of 1 to {MOST_JOINTS} joints", raw)
    joints = tuple(_joint(RobotEntry(values, f"joint {number}")) for number, values in enumerate(raw, 1))
    distinct([joint.name for joint in joints])
    return joints


def _joint(entry: RobotEntry) -> Joint:
    joint = Joint(
        name=entry.word("name"),
        offset_m=entry.point("offset_m"),
        axis=entry.direction("axis"),
        lower_rad=entry.number("lower_rad", -_FARTHEST_RAD, _FARTHEST_RAD),
        upper_rad=entry.number("upper_rad", -_FARTHEST_RAD, _FARTHEST_RAD),
        velocity_limit_rad_s=entry.number("velocity_limit_rad_s", 1e-3, FASTEST_RAD_S),
        acceleration_limit_rad_s2=entry.number("acceleration_limit_rad_s2", GENTLEST_RAD_S2, HARDEST_RAD_S2),
    )  # fmt: skip
    entry.done()
    if not joint.lower_rad < joint.upper_rad:
        raise ValueError(f"joint {joint.name}: lower_rad {joint.lower_rad:g} has to lie below {joint.upper_rad:g}")
    return joint
