"""From a wanted fingertip velocity to joint velocities that the motor controller accepts: no wire, no clock of its own.

In this order: the workspace box, the arm's kinematics, the joints' speed and position limits, the acceleration budget.
The controller checks the last three again and on its own.
"""

from fosp_edge.robots.arm import ArmDescription, FloatArray
from fosp_edge.robots.joint_limits import VelocityBudget, stay_within_joint_limits
from fosp_edge.robots.kinematics import ArmKinematics
from fosp_edge.robots.workspace import Workspace, limit_to_workspace


class FingertipDrive:
    """One arm's way from fingertip to joints; remembers what of the acceleration budget is spent."""

    def __init__(self, arm: ArmDescription, workspace: Workspace, period_s: float) -> None:
        """`period_s` is for how long one command is meant to be followed."""
        self.kinematics = ArmKinematics(arm)
        self._arm, self._workspace, self._period_s = arm, workspace, period_s
        self._budget = VelocityBudget(arm.acceleration_limit_rad_s2)

    def reset(self, now_ns: int) -> None:
        """The controller was armed, and the arm stands still."""
        self._budget.reset(now_ns)

    def resynchronise(self, now_ns: int) -> None:
        """The controller refused a command."""
        self._budget.resynchronise(now_ns)

    def joint_velocity(self, position_rad: FloatArray, wanted_m_s: FloatArray, now_ns: int) -> FloatArray:
        """Joint velocities [J] (rad/s) for a fingertip velocity [3] (m/s) at these positions [J]; they are charged."""
        tip = self.kinematics.fingertip(position_rad)[0]
        inside = limit_to_workspace(tip, wanted_m_s, self._period_s, self._workspace)
        joints = self.kinematics.resolved_rate(position_rad, inside)
        joints = stay_within_joint_limits(self._arm, position_rad, joints, self._period_s)
        return self._budget.spend(joints, now_ns)
