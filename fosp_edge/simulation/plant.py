"""The arm, its drives and the table, advanced in time: what sits behind the simulated motor controller."""

from dataclasses import dataclass

import mujoco
import numpy as np
import numpy.typing as npt

from fosp_edge.robots.arm import DESKTOP_ARM, ArmDescription, FloatArray
from fosp_edge.robots.kinematics import ArmKinematics
from fosp_edge.simulation.layout import MARGIN_M, Layout
from fosp_edge.simulation.raycast import RayCaster
from fosp_edge.simulation.scene import CAMERAS, build_model

SUCCESS_DISTANCE_M = 0.040
"""Fingertip to the middle of the target: about where a fingertip of 12 mm touches a ball of 32 mm."""


@dataclass(frozen=True)
class Outcome:
    """The truth about the present state, which only a simulation knows."""

    distance_m: float
    """From fingertip to the middle of the target."""
    clearance_m: float
    """Between the arm and the nearest obstacle, at most 0.2."""
    violation: bool
    success: bool


@dataclass(frozen=True)
class Snapshot:
    """One moment of a plant."""

    physics: FloatArray
    target: FloatArray
    ramp: FloatArray


class ArmPlant:
    """MuJoCo physics of one layout. Velocity targets are approached within the joints' acceleration limits."""

    cameras = CAMERAS
    size = 1.0
    """How many times as large as the table everything is."""

    def __init__(
        self, layout: Layout, arm: ArmDescription = DESKTOP_ARM, *, start_rad: FloatArray | None = None
    ) -> None:
        """Put the arm at the table: with its fingertip at the layout's start, or at the joint positions `start_rad`."""
        self.layout, self.arm = layout, arm
        self._model = build_model(layout, arm)
        self._data = mujoco.MjData(self._model)
        self._count = len(arm.joints)
        joints = [self._model.joint(name) for name in arm.joint_names]
        self._position_index = np.array([joint.qposadr[0] for joint in joints])
        self._velocity_index = np.array([joint.dofadr[0] for joint in joints])
        self._caster = RayCaster(self._model, layout.light)
        self._arm_geoms = [g for g in range(self._model.ngeom) if self._model.geom(g).name.startswith("arm_")]
        self._obstacle_geoms = [g for g in range(self._model.ngeom) if self._model.geom(g).name.startswith("obstacle_")]
        self._tip = self._model.site("tip").id
        self._target = np.zeros(self._count)
        self._ramp = np.zeros(self._count)
        if start_rad is None:
            start_rad = ArmKinematics(arm).inverse(np.array(layout.start_m), np.array(arm.home_rad))
        self._data.qpos[self._position_index] = start_rad
        mujoco.mj_forward(self._model, self._data)

    @property
    def joint_count(self) -> int:
        """Number of driven joints."""
        return self._count

    def positions_rad(self) -> FloatArray:
        """Joint positions, shape [J]."""
        return self._data.qpos[self._position_index].copy()  # type: ignore[no-any-return]

    def velocities_rad_s(self) -> FloatArray:
        """Joint velocities, shape [J]."""
        return self._data.qvel[self._velocity_index].copy()  # type: ignore[no-any-return]

    def tip_m(self) -> FloatArray:
        """Fingertip position in the base frame, shape [3]."""
        return self._data.site_xpos[self._tip].copy()  # type: ignore[no-any-return]

    def set_velocity_targets(self, velocity_rad_s: FloatArray) -> None:
        """What the drives aim at from now on, shape [J]; clipped to the joints' speed limits."""
        limit = self.arm.velocity_limit_rad_s
        self._target = np.clip(velocity_rad_s, -limit, limit)

    def snapshot(self) -> "Snapshot":
        """Everything that decides how the physics goes on."""
        size = mujoco.mj_stateSize(self._model, mujoco.mjtState.mjSTATE_INTEGRATION)
        physics = np.empty(size)
        mujoco.mj_getState(self._model, self._data, physics, mujoco.mjtState.mjSTATE_INTEGRATION)
        return Snapshot(physics, self._target.copy(), self._ramp.copy())

    def restore(self, snapshot: "Snapshot") -> None:
        """Go back to a snapshot of this very plant."""
        mujoco.mj_setState(self._model, self._data, snapshot.physics, mujoco.mjtState.mjSTATE_INTEGRATION)
        self._target, self._ramp = snapshot.target.copy(), snapshot.ramp.copy()
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)

    def set_hold(self) -> None:
        """Brake to a standstill within the acceleration limits and stay."""
        self._target = np.zeros(self._count)

    def advance(self, duration_s: float) -> None:
        """Let the physics run, in steps of 2 ms."""
        step_s = float(self._model.opt.timestep)
        slew = self.arm.acceleration_limit_rad_s2 * step_s
        for _ in range(round(duration_s / step_s)):
            self._ramp += np.clip(self._target - self._ramp, -slew, slew)
            self._data.ctrl[:] = self._ramp
            mujoco.mj_step(self._model, self._data)
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)

    def render(self, camera: str) -> npt.NDArray[np.uint8]:
        """The picture of one camera, shape [64, 64, 3], RGB."""
        return self._caster.render(self._data, camera)

    def render_both(self, camera: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        """The picture of one camera and, shape [64, 64], how far away everything is along its axis (m); 0 where
        nothing was hit."""
        return self._caster.render_both(self._data, camera)

    def observe(self) -> npt.NDArray[np.uint8]:
        """Both cameras, concatenated on channels, shape [64, 64, 6]."""
        return np.concatenate([self.render(camera) for camera in CAMERAS], axis=-1)

    def away_from_obstacle(self) -> FloatArray:
        """Unit vector from the nearest obstacle to where the arm comes nearest to it, shape [3]; zero beyond 0.2 m."""
        nearest, direction, points = 0.2, np.zeros(3), np.zeros(6)
        for arm in self._arm_geoms[2:]:
            for obstacle in self._obstacle_geoms:
                distance = mujoco.mj_geomDistance(self._model, self._data, arm, obstacle, 0.2, points)
                if distance < nearest:
                    nearest = distance
                    # Points of the arm and of the obstacle; inside each other they have changed places.
                    direction = (points[:3] - points[3:]) * (1.0 if distance > 0.0 else -1.0)
        length = float(np.linalg.norm(direction))
        return direction / length if length > 1e-9 else np.zeros(3)

    def judge(self) -> Outcome:
        """Distances, violation and success in the present state."""
        distance = float(np.linalg.norm(self.tip_m() - np.asarray(self.layout.target_m)))
        clearance = min(
            (
                mujoco.mj_geomDistance(self._model, self._data, arm, obstacle, 0.2, None)
                for arm in self._arm_geoms[2:]  # the base column cannot come near an obstacle
                for obstacle in self._obstacle_geoms
            ),
            default=0.2,
        )
        return Outcome(distance, float(clearance), clearance < MARGIN_M, distance < SUCCESS_DISTANCE_M)
