"""From what a policy wants to joint velocities that the motor controller accepts: what every kind of robot brings."""

from typing import Protocol

from firmware_bridge.telemetry import JointLimits
from fosp_edge.bundle.manifest import Channel
from fosp_edge.robots.arm import FloatArray
from fosp_edge.robots.base import ActionSpace


class Drive(Protocol):
    """A mechanism between actions and motors. Remembers what of the acceleration budget is spent; no wire, no clock."""

    name: str
    """Of the robot, as bundles and recordings know it."""
    action_space: ActionSpace
    state: tuple[Channel, ...]
    """What the vector is that a policy sees."""
    limits: tuple[JointLimits, ...]
    """Of each joint, for the controller."""
    endless: bool
    """Whether the joints turn on and on, as wheels do, so that the controller has to tell positions within a turn."""

    def reset(self, now_ns: int) -> None:
        """The controller was armed, and stands still."""

    def resynchronise(self, now_ns: int) -> None:
        """The controller refused a command."""

    def state_vector(self, position_rad: FloatArray, velocity_rad_s: FloatArray) -> FloatArray:
        """What a policy sees, shape [S], of joints that stand and move like this, shape [J] each."""

    def joint_velocity(self, position_rad: FloatArray, wanted: FloatArray, now_ns: int) -> FloatArray:
        """Joint velocities [J] (rad/s) for an action [A] in physical units, at these positions [J]; charged."""
