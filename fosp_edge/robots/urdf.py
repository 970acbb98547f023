"""An arm out of a URDF file: the chain from its base to one link, in frames that are parallel at zero.

What a URDF says of speed is what the maker's motors can do, not what a robot that learns should: it is capped.
Specification: wiki.ros.org/urdf/XML/joint.
"""

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from math import pi
from pathlib import Path

import numpy as np

from fosp_edge.robots.arm import ArmDescription, FloatArray, Joint
from fosp_edge.robots.base import RobotError

_MOVING, _FIXED = ("revolute", "continuous"), "fixed"


@dataclass(frozen=True)
class Caps:
    """What a joint may do at most, whatever the file says."""

    velocity_rad_s: float = 1.0
    acceleration_rad_s2: float = 5.0


@dataclass(frozen=True)
class _UrdfJoint:
    """One joint as it is written."""

    name: str
    kind: str
    parent: str
    child: str
    offset_m: FloatArray
    rotation: FloatArray
    axis: FloatArray
    lower_rad: float
    upper_rad: float
    velocity_rad_s: float


def arm_from_urdf(
    path: Path,
    tip: str,
    *,
    name: str,
    base: str | None = None,
    tool_axis: tuple[float, float, float] = (0.0, 0.0, 1.0),
    caps: Caps = Caps(),
) -> ArmDescription:
    """The chain of joints that ends at the link `tip`, whose origin is the fingertip; home is the middle of all ranges.

    Args:
        path: of the URDF file; meshes and everything but joints are ignored.
        tip: name of the fingertip's link.
        name: of the arm, for bundles and recordings.
        base: link that stands still, in whose frame the fingertip is told; the root of the tree if left out.
        tool_axis: unit vector out of the tool in the frame of `tip`.
        caps: limits of joints that the file lets go faster; of its speeds the slower one counts.

    Raises:
        RobotError: the file cannot be read, or has no such chain of revolute joints.
    """
    joints = []
    offset, rotation = np.zeros(3), np.eye(3)
    for joint in _chain(_joints(path), tip, base, path):
        offset = offset + rotation @ joint.offset_m
        rotation = rotation @ joint.rotation
        if joint.kind == _FIXED:
            continue
        x, y, z = _tidy(offset).tolist()
        along, across, up = _tidy(rotation @ joint.axis).tolist()
        joints.append(
            Joint(
                joint.name, (x, y, z), (along, across, up), joint.lower_rad, joint.upper_rad,
                min(joint.velocity_rad_s, caps.velocity_rad_s), caps.acceleration_rad_s2,
            )
        )  # fmt: skip
        offset = np.zeros(3)
    if not joints:
        raise RobotError(f"{path}: nothing moves between {base or 'the root'} and {tip}")
    x, y, z = _tidy(offset).tolist()
    along, across, up = _tidy(rotation @ np.array(tool_axis)).tolist()
    home_rad = tuple(round((joint.lower_rad + joint.upper_rad) / 2.0, 6) for joint in joints)
    return ArmDescription(name, tuple(joints), (x, y, z), home_rad, tool_axis=(along, across, up))


def _chain(joints: list[_UrdfJoint], tip: str, base: str | None, path: Path) -> list[_UrdfJoint]:
    """From base to tip."""
    above = {joint.child: joint for joint in joints}
    links = sorted({joint.parent for joint in joints} | set(above))
    for link in (tip, base):
        if link is not None and link not in links:
            raise RobotError(f"{path} has no link {link!r}; it has {', '.join(links)}")
    chain: list[_UrdfJoint] = []
    link = tip
    while link != base and link in above:
        if len(chain) > len(joints):
            raise RobotError(f"{path}: the links above {tip!r} form a ring")
        chain.insert(0, above[link])
        link = above[link].parent
    if base is not None and link != base:
        raise RobotError(f"{path}: {tip!r} does not hang on {base!r}")
    for joint in chain:
        if joint.kind not in (*_MOVING, _FIXED):
            raise RobotError(
                f"{path}: joint {joint.name!r} is {joint.kind}; only arms of revolute joints are known here"
            )
    return chain


def _joints(path: Path) -> list[_UrdfJoint]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RobotError(f"the URDF {path} cannot be read ({error})") from error
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise RobotError(f"{path} declares entities, which no URDF needs: it is not read")
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - without entities there is nothing to expand
    except ElementTree.ParseError as error:
        raise RobotError(
            f"{path} is not XML ({error}); a .xacro file has to be expanded first: xacro IN > OUT"
        ) from error
    if root.tag != "robot":
        raise RobotError(f"{path} is not a URDF: expected <robot>, found <{root.tag}>")
    try:
        return [_joint(element) for element in root.findall("joint")]
    except (KeyError, ValueError) as error:
        raise RobotError(f"{path}: a joint cannot be understood ({error})") from error


def _joint(element: ElementTree.Element) -> _UrdfJoint:
    name, kind = element.attrib["name"], element.attrib["type"]
    origin, limit = _child(element, "origin"), _child(element, "limit")
    axis = _three(_child(element, "axis").get("xyz", "1 0 0"))
    length = float(np.linalg.norm(axis))
    if kind in _MOVING and not length > 0.0:
        raise ValueError(f"the axis of {name} has no direction")
    if kind == "revolute" and not {"lower", "upper"} <= limit.keys():
        raise ValueError(f"{name} has no limits")
    lower, upper = (-pi, pi) if kind == "continuous" else (float(limit.get("lower", 0)), float(limit.get("upper", 0)))
    links = [_child(element, end).get("link") for end in ("parent", "child")]
    if links[0] is None or links[1] is None:
        raise ValueError(f"{name} lacks its parent or its child")
    return _UrdfJoint(
        name, kind, links[0], links[1], _three(origin.get("xyz", "0 0 0")),
        _rotation(*_three(origin.get("rpy", "0 0 0"))), axis / max(length, 1e-12), lower, upper,
        float(limit.get("velocity") or np.inf),
    )  # fmt: skip


def _child(element: ElementTree.Element, tag: str) -> dict[str, str]:
    found = element.find(tag)
    return {} if found is None else dict(found.attrib)


def _three(text: str) -> FloatArray:
    values = np.array([float(word) for word in text.split()])
    if values.shape != (3,) or not np.all(np.isfinite(values)):
        raise ValueError(f"expected three numbers, found {text!r}")
    return values


def _tidy(values: FloatArray) -> FloatArray:
    """To the nanometre, and no zero with a sign."""
    tidy: FloatArray = values.round(9) + 0.0
    return tidy


def _rotation(roll: float, pitch: float, yaw: float) -> FloatArray:
    """Fixed axes: about x by roll, then y by pitch, then z by yaw."""
    (cr, cp, cy), (sr, sp, sy) = np.cos([roll, pitch, yaw]), np.sin([roll, pitch, yaw])
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )
