"""From a wanted fingertip velocity to joint velocities that the motor controller accepts: no wire, no clock of its own.

In this order: the workspace box, the arm's kinematics, the joints' speed and position limits, the acceleration budget.
The controller checks the last three again and on its own.
"""

import numpy as np

from firmware_bridge.telemetry import JointLimits
from fosp_edge.robots.arm import DESKTOP_ARM, ArmDescription, FloatArray
from fosp_edge.robots.base import ActionSpace
from fosp_edge.robots.channels import state_channels
from fosp_edge.robots.joint_limits import VelocityBudget, stay_within_joint_limits
from fosp_edge.robots.kinematics import ArmKinematics
from fosp_edge.robots.workspace import DESKTOP_WORKSPACE, Workspace, limit_to_workspace

SPEED_LIMIT_M_S = 0.25
FINGERTIP_VELOCITY = ActionSpace(
    names=("vx", "vy", "vz"), units=("m/s",) * 3, low=(-SPEED_LIMIT_M_S,) * 3, high=(SPEED_LIMIT_M_S,) * 3
)


class FingertipDrive:
    """Implements `Drive`: an arm's way from fingertip to joints."""

    action_space = FINGERTIP_VELOCITY
    endless = False

    def __init__(
        self, arm: ArmDescription = DESKTOP_ARM, workspace: Workspace = DESKTOP_WORKSPACE, period_s: float = 0.05
    ) -> None:
        """Stand at rest.

        Args:
            arm: kinematics and limits.
            workspace: the box that the fingertip may not leave.
            period_s: for how long one command is meant to be followed, which is the control period.
        """
        self.name, self.state, self.kinematics = arm.name, state_channels(arm), ArmKinematics(arm)
        self.limits = tuple(
            JointLimits(joint.lower_rad, joint.upper_rad, joint.velocity_limit_rad_s, joint.acceleration_limit_rad_s2)
            for joint in arm.joints
        )
        self._arm, self._workspace, self._period_s = arm, workspace, period_s
        self._budget = VelocityBudget(arm.acceleration_limit_rad_s2)

    def reset(self, now_ns: int) -> None:
        """The controller was armed, and the arm stands still."""
        self._budget.reset(now_ns)

    def resynchronise(self, now_ns: int) -> None:
        """The controller refused a command."""
        self._budget.resynchronise(now_ns)

    def state_vector(self, position_rad: FloatArray, velocity_rad_s: FloatArray) -> FloatArray:
        """Joint positions and fingertip, shape [J + 3]."""
        return np.concatenate([position_rad, self.kinematics.fingertip(position_rad)[0]])

    def joint_velocity(self, position_rad: FloatArray, wanted: FloatArray, now_ns: int) -> FloatArray:
        """Joint velocities [J] (rad/s) for a fingertip velocity [3] (m/s) at these positions [J]; they are charged."""
        tip = self.kinematics.fingertip(position_rad)[0]
        inside = limit_to_workspace(tip, wanted, self._period_s, self._workspace)
        joints = self.kinematics.resolved_rate(position_rad, inside)
        joints = stay_within_joint_limits(self._arm, position_rad, joints, self._period_s)
        return self._budget.spend(joints, now_ns)
