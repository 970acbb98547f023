"""Forward kinematics from a URDF file: joint positions from telemetry -> pose of the gripper.

Reads what calibration needs: links, joints (fixed, revolute, continuous, prismatic), origins, axes, mimic. Meshes,
inertias and limits are ignored. Source: the URDF XML specification of ROS.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from .errors import CalibrationError
from .geometry import Array, pose, rotation_from_vector

_MOVING = ("revolute", "continuous", "prismatic")


@dataclass(frozen=True)
class Joint:
    """One joint; moving joints have an axis of length one."""

    name: str
    kind: str
    parent: str
    child: str
    origin: Array
    """parent_from_joint at position 0, [4, 4]"""
    axis: Array
    mimic: tuple[str, float, float] | None
    """Name of the joint that drives this one, factor and offset."""

    def motion(self, position: float) -> Array:
        """The pose that `position` (rad or m) adds after the origin."""
        if self.kind == "prismatic":
            return pose(np.eye(3), self.axis * position)
        if self.kind == "fixed":
            return np.eye(4)
        return pose(rotation_from_vector(self.axis * position), np.zeros(3))


@dataclass(frozen=True)
class Chain:
    """The joints between two links."""

    base: str
    tip: str
    joints: tuple[Joint, ...]

    @property
    def moving(self) -> tuple[str, ...]:
        """Names of the joints whose positions are needed, from base to tip."""
        names: list[str] = []
        for joint in self.joints:
            name = joint.mimic[0] if joint.mimic else joint.name
            if joint.kind in _MOVING and name not in names:
                names.append(name)
        return tuple(names)

    def pose(self, positions: Mapping[str, float]) -> Array:
        """base_from_tip [4, 4] at joint positions in rad or m. Raises CalibrationError for a missing joint."""
        missing = [name for name in self.moving if name not in positions]
        if missing:
            raise CalibrationError(
                f"the positions of joints {', '.join(missing)} are missing; the chain {self.base} to {self.tip} needs "
                f"{', '.join(self.moving)}"
            )
        result = np.eye(4)
        for joint in self.joints:
            if joint.mimic:
                driver, factor, offset = joint.mimic
                value = factor * positions[driver] + offset
            else:
                value = positions.get(joint.name, 0.0)
            if joint.kind in _MOVING and not math.isfinite(value):
                raise CalibrationError(f"joint {joint.name} has the position {value}: leave that view out")
            result = result @ joint.origin @ joint.motion(float(value))
        return result


def load_chain(path: Path, tip: str | None = None, base: str | None = None) -> Chain:
    """The chain from `base` (default: the root link) to `tip` (default: the only leaf). Raises CalibrationError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CalibrationError(f"the robot description {path} cannot be read: {error}") from None
    return parse_chain(text, tip, base)


def parse_chain(text: str, tip: str | None = None, base: str | None = None) -> Chain:
    """As `load_chain`, from the XML text."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise CalibrationError("the robot description defines XML entities, which a URDF has no use for: not read")
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - entities, the danger of XML, are refused above
    except ElementTree.ParseError as error:
        raise CalibrationError(f"the robot description is no XML: {error}") from None
    if root.tag != "robot":
        raise CalibrationError(f"the robot description begins with <{root.tag}>, expected <robot>: expand xacro first")
    links = [str(link.get("name")) for link in root.findall("link")]
    by_child: dict[str, Joint] = {}
    for element in root.findall("joint"):
        joint = _joint(element)
        if joint.child in by_child:
            raise CalibrationError(f"link {joint.child} has two parent joints: a URDF is a tree")
        by_child[joint.child] = joint
    parents = {joint.parent for joint in by_child.values()}
    if tip is None:
        leaves = [link for link in links if link in by_child and link not in parents]
        if len(leaves) != 1:
            raise CalibrationError(f"name the gripper's link: the robot ends in {', '.join(leaves) or 'no link'}")
        tip = leaves[0]
    for link in (tip, base):
        if link is not None and link not in links:
            raise CalibrationError(f"the robot has no link {link!r}; it has {', '.join(links)}")
    joints: list[Joint] = []
    link = tip
    while link != base and link in by_child:
        joints.append(by_child[link])
        link = by_child[link].parent
        if len(joints) > len(by_child):
            raise CalibrationError("the robot description's joints form a ring: a URDF is a tree")
    if base is not None and link != base:
        raise CalibrationError(f"no chain of joints leads from {base} to {tip}")
    return Chain(link, tip, tuple(reversed(joints)))


def _joint(element: ElementTree.Element) -> Joint:
    name, kind = str(element.get("name")), str(element.get("type"))
    if kind not in (*_MOVING, "fixed"):
        raise CalibrationError(f"joint {name} is of type {kind}: only fixed, {', '.join(_MOVING)} joints are supported")
    parent, child = element.find("parent"), element.find("child")
    if parent is None or child is None:
        raise CalibrationError(f"joint {name} lacks its parent or child link")
    origin, axis, mimic = element.find("origin"), element.find("axis"), element.find("mimic")
    place = np.eye(4)
    if origin is not None:
        roll, pitch, yaw = _three(origin.get("rpy", "0 0 0"), name)
        turns = [rotation_from_vector(np.eye(3)[i] * angle) for i, angle in ((2, yaw), (1, pitch), (0, roll))]
        place = pose(turns[0] @ turns[1] @ turns[2], _three(origin.get("xyz", "0 0 0"), name))
    direction = _three(axis.get("xyz", "1 0 0"), name) if axis is not None else np.array([1.0, 0.0, 0.0])
    length = float(np.linalg.norm(direction))
    if kind in _MOVING and length < 1e-9:
        raise CalibrationError(f"joint {name} turns about an axis of length zero")
    driven = None
    if mimic is not None:
        factor, offset = _three(f"{mimic.get('multiplier', '1')} {mimic.get('offset', '0')} 0", name)[:2]
        driven = str(mimic.get("joint")), float(factor), float(offset)
    return Joint(
        name,
        kind,
        str(parent.get("link")),
        str(child.get("link")),
        place,
        direction / max(length, 1e-9),
        driven,
    )


def _three(text: str, joint: str) -> Array:
    try:
        values = np.array([float(part) for part in text.split()])
    except ValueError:
        values = np.zeros(0)
    if values.shape != (3,) or not np.all(np.isfinite(values)):
        raise CalibrationError(f"joint {joint}: expected three numbers, found {text!r}")
    return values
