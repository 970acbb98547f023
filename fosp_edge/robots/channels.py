"""A robot's vectors as bundles and recordings describe them: names, units and ranges."""

from fosp_edge.bundle.manifest import Channel
from fosp_edge.robots.arm import ArmDescription
from fosp_edge.robots.base import ActionSpace


def state_channels(arm: ArmDescription) -> tuple[Channel, ...]:
    """What an arm says of itself: its joints, with the ranges of its description, and its fingertip."""
    joints = (Channel(joint.name, "rad", joint.lower_rad, joint.upper_rad) for joint in arm.joints)
    return (*joints, *(Channel(f"fingertip_{axis}", "m", -1.0, 1.0) for axis in "xyz"))


def action_channels(space: ActionSpace) -> tuple[Channel, ...]:
    """What a robot is told; the ranges are what [-1, 1] stands for."""
    return tuple(Channel(*item) for item in zip(space.names, space.units, space.low, space.high, strict=True))
