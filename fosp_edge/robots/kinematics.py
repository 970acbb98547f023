"""Forward kinematics and resolved-rate control of a serial arm, in numpy alone.

The control loop needs them without a physics engine: a Cartesian velocity that the policy asks for becomes joint
velocities here (Whitney 1969, "Resolved motion rate control"; damping after Nakamura and Hanafusa 1986).
"""

import numpy as np

from fosp_edge.robots.arm import ArmDescription, FloatArray

Pose = tuple[FloatArray, FloatArray, FloatArray]
"""Fingertip position [3] (m), tool orientation [3, 3] and geometric Jacobian [6, J] (linear over angular)."""


class ArmKinematics:
    """Where the fingertip is, and which joint velocities move it as asked."""

    def __init__(self, arm: ArmDescription) -> None:
        self.arm = arm
        self._offsets = [np.array(joint.offset_m) for joint in arm.joints]
        self._axes = [np.array(joint.axis) for joint in arm.joints]
        self._tool, self._tool_axis = np.array(arm.tool_offset_m), np.array(arm.tool_axis)
        self._resting = np.eye(len(arm.joints))[list(arm.resting_joints)]
        self._home = np.array(arm.home_rad)
        # Rodrigues: cos * 1 + (1 - cos) * axis axis^T + sin * [axis]x, of all joints at once.
        x, y, z = np.array([joint.axis for joint in arm.joints]).T
        zero = np.zeros_like(x)
        self._along = np.stack([np.outer(axis, axis) for axis in self._axes])
        self._across = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(-1, 3, 3)
        self._known: tuple[bytes, Pose] | None = None

    def fingertip(self, position_rad: FloatArray) -> Pose:
        """Fingertip position [3] (m), tool orientation [3, 3] and geometric Jacobian [6, J] (linear over angular).

        Asked again for the same positions, as within one tick, it answers from memory; the arrays are read-only.

        Raises:
            ValueError: if `position_rad` does not have one entry per joint.
        """
        if position_rad.shape != (len(self._offsets),):
            raise ValueError(f"expected {len(self._offsets)} joint positions, found shape {position_rad.shape}")
        asked = position_rad.tobytes()
        known = self._known  # one look: another thread may replace it meanwhile
        if known is None or known[0] != asked:
            known = self._known = asked, self._pose(position_rad)
        return known[1]

    def _pose(self, position_rad: FloatArray) -> Pose:
        count = len(self._offsets)
        origins, axes, tip, tool = self._frames(position_rad)
        (x, y, z), (along_x, along_y, along_z) = axes.T, (tip - origins).T
        jacobian = np.empty((count, 6)).T
        # The cross product of axis and lever; np.cross takes longer than all the rest.
        jacobian[0], jacobian[1], jacobian[2] = (
            y * along_z - z * along_y,
            z * along_x - x * along_z,
            x * along_y - y * along_x,
        )
        jacobian[3:] = axes.T
        jacobian[:, self.arm.tool_link + 1 :] = 0.0
        for array in (tip, tool, jacobian):
            array.setflags(write=False)
        return tip, tool, jacobian

    def _frames(self, position_rad: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Places [J, 3] and axes [J, 3] of the joints, fingertip [3] and tool orientation [3, 3]."""
        count = len(self._offsets)
        cosine, sine = np.cos(position_rad)[:, None, None], np.sin(position_rad)[:, None, None]
        rotations = np.eye(3) * cosine + self._along * (1.0 - cosine) + self._across * sine
        origin, orientation = np.zeros(3), np.eye(3)
        origins, axes = np.empty((count, 3)), np.empty((count, 3))
        for index in range(count):
            origin = origin + orientation @ self._offsets[index]
            origins[index], axes[index] = origin, orientation @ self._axes[index]
            orientation = orientation @ rotations[index]
            if index == self.arm.tool_link:
                tip, tool = origin + orientation @ self._tool, orientation
        return origins, axes, tip, tool

    def chain(self, position_rad: FloatArray) -> FloatArray:
        """Base, every joint up to the tool's, and the fingertip, for drawing, shape [J + 2, 3] (m)."""
        origins, _, tip, _ = self._frames(position_rad)
        return np.vstack([np.zeros(3), origins[: self.arm.tool_link + 1], tip])

    def resolved_rate(
        self,
        position_rad: FloatArray,
        velocity_m_s: FloatArray,
        *,
        damping: float = 0.03,
        upright_gain_1_s: float = 4.0,
    ) -> FloatArray:
        """Joint velocities [J] (rad/s) that move the fingertip at `velocity_m_s` [3] with the tool pointing down.

        The tool's direction is held by feeding its tilt back as an angular velocity; rotation about the vertical
        follows the waist, so that the wrist camera keeps looking away from the base. If a joint would exceed its
        speed limit the whole motion is slowed in proportion, which keeps its direction.
        """
        _, orientation, jacobian = self.fingertip(position_rad)
        along_x, along_y, _ = orientation @ self._tool_axis
        tilt = np.array([-along_y, along_x])  # what turns the tool's axis down, about x and y
        # The turn about the vertical is left to the damped least-norm solution; joints that nothing asks for are pulled
        # home, so that the forearm does not roll. A jaw's column is zero, so least norm leaves it where it is.
        resting = list(self.arm.resting_joints)
        task = np.concatenate([jacobian[:5], self._resting])
        homewards = upright_gain_1_s * (self._home - position_rad)[resting]
        wanted = np.concatenate([velocity_m_s, upright_gain_1_s * tilt, homewards])
        damped = task @ task.T + damping**2 * np.eye(len(task))
        joint_velocity: FloatArray = task.T @ np.linalg.solve(damped, wanted)
        excess = float(np.max(np.abs(joint_velocity) / self.arm.velocity_limit_rad_s))
        return joint_velocity / max(1.0, excess)

    def inverse(self, target_m: FloatArray, start_rad: FloatArray, *, tolerance_m: float = 1e-4) -> FloatArray:
        """Joint positions [J] with the fingertip at `target_m` and the tool down, searched from `start_rad`.

        Raises:
            ValueError: if no posture within the joint limits is found (the point is out of reach).
        """
        position: FloatArray = start_rad.copy()
        for _ in range(400):
            tip, orientation, _ = self.fingertip(position)
            error = target_m - tip
            upright = float(orientation[2] @ self._tool_axis) < -0.999
            if float(np.linalg.norm(error)) < tolerance_m and upright:
                return position
            step = self.resolved_rate(position, 8.0 * error, damping=0.01)
            position = np.array(np.clip(position + 0.05 * step, self.arm.lower_rad, self.arm.upper_rad))
        raise ValueError(f"no posture of {self.arm.name} reaches {np.round(target_m, 3).tolist()} m with the tool down")
