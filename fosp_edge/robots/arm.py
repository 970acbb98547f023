"""The arm of SafeReach: six revolute joints with the proportions of a common desktop arm.

The numbers are those of a WidowX-250-class six-degree-of-freedom arm (manufacturer's kinematic table, rounded to
millimetres and hundredths of a radian). They are the single description from which the kinematics, the simulated
plant and the limits uploaded to the motor controller are built.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Joint:
    """One revolute joint: where it sits on its parent link, its axis, and what it may do."""

    name: str
    offset_m: tuple[float, float, float]
    """Position of the joint in the frame of the link before it, at zero angle."""
    axis: tuple[float, float, float]
    lower_rad: float
    upper_rad: float
    velocity_limit_rad_s: float
    acceleration_limit_rad_s2: float


def _fixed(values: Sequence[float]) -> FloatArray:
    """An array that is made once and read every tick."""
    array = np.array(values)
    array.setflags(write=False)
    return array


@dataclass(frozen=True)
class ArmDescription:
    """A serial chain of revolute joints and the tool at its end."""

    name: str
    joints: tuple[Joint, ...]
    tool_offset_m: tuple[float, float, float]
    """Fingertip in the frame of the link that carries it."""
    home_rad: tuple[float, ...]
    resting_joints: tuple[int, ...] = ()
    """Joints that motion of the fingertip does not need: they are drawn back to their home position."""
    joints_beyond_tool: int = 0
    """Joints at the end of the chain that do not move the fingertip, as the jaw of a gripper: they stay as they are."""
    tool_axis: tuple[float, float, float] = (1.0, 0.0, 0.0)
    """Unit vector along the tool, out of it, in the frame of the link that carries it: this points down at work."""

    @property
    def tool_link(self) -> int:
        """Index of the joint whose link carries the fingertip."""
        return len(self.joints) - 1 - self.joints_beyond_tool

    def within(self, ranges_rad: Sequence[tuple[float, float]]) -> "ArmDescription":
        """The same arm with each joint's range cut to what is also within `ranges_rad`, one pair per joint.

        Raises:
            ValueError: another number of joints, or a joint that is left with no range.
        """
        if len(ranges_rad) != len(self.joints):
            raise ValueError(f"{self.name} has {len(self.joints)} joints, {len(ranges_rad)} ranges were given")
        cut = []
        for joint, (low, high) in zip(self.joints, ranges_rad, strict=True):
            lower, upper = max(joint.lower_rad, low), min(joint.upper_rad, high)
            if not lower < upper:
                raise ValueError(
                    f"{joint.name} of {self.name} goes from {joint.lower_rad:+.2f} to {joint.upper_rad:+.2f} rad, but "
                    f"its servo is calibrated for {low:+.2f} to {high:+.2f} rad: calibrate again, from the zero pose"
                )
            cut.append(replace(joint, lower_rad=lower, upper_rad=upper))
        return replace(self, joints=tuple(cut))

    @cached_property
    def reach_m(self) -> float:
        """From the first joint to the fingertip with all links stretched out."""
        links = [*(joint.offset_m for joint in self.joints[1 : self.tool_link + 1]), self.tool_offset_m]
        return float(np.sum(np.linalg.norm(links, axis=1)))

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Names of the joints from base to tool."""
        return tuple(joint.name for joint in self.joints)

    @cached_property
    def lower_rad(self) -> FloatArray:
        """Lower position limits, shape [J]."""
        return _fixed([joint.lower_rad for joint in self.joints])

    @cached_property
    def upper_rad(self) -> FloatArray:
        """Upper position limits, shape [J]."""
        return _fixed([joint.upper_rad for joint in self.joints])

    @cached_property
    def velocity_limit_rad_s(self) -> FloatArray:
        """Largest joint speed, shape [J]."""
        return _fixed([joint.velocity_limit_rad_s for joint in self.joints])

    @cached_property
    def acceleration_limit_rad_s2(self) -> FloatArray:
        """Largest joint acceleration, shape [J]."""
        return _fixed([joint.acceleration_limit_rad_s2 for joint in self.joints])


_Y = (0.0, 1.0, 0.0)
_X = (1.0, 0.0, 0.0)

DESKTOP_ARM = ArmDescription(
    name="desktop-arm-6dof",
    joints=(
        Joint("waist", (0.0, 0.0, 0.072), (0.0, 0.0, 1.0), -3.14, 3.14, 2.0, 12.0),
        Joint("shoulder", (0.0, 0.0, 0.039), _Y, -1.88, 1.99, 2.0, 12.0),
        Joint("elbow", (0.05, 0.0, 0.25), _Y, -2.15, 1.61, 2.0, 12.0),
        Joint("forearm_roll", (0.12, 0.0, 0.0), _X, -3.14, 3.14, 2.5, 15.0),
        Joint("wrist_pitch", (0.13, 0.0, 0.0), _Y, -1.75, 2.15, 2.5, 15.0),
        Joint("wrist_roll", (0.065, 0.0, 0.0), _X, -3.14, 3.14, 3.0, 20.0),
    ),
    tool_offset_m=(0.115, 0.0, 0.0),
    home_rad=(0.0, -0.60, 0.75, 0.0, 1.42, 0.0),
    resting_joints=(3,),
)
