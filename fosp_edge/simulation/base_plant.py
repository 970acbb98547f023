"""A base on two wheels in a room, advanced in time: what sits behind the simulated motor controller of a base.

The room is the table of SafeReach five times as large: the base starts where the fingertip would, looking at the red
target, with the same boxes in its way, so that every scenario family has its room. Wheels roll without slipping, except
that nothing is pushed: at a box or a wall the base slides along, or stands still, while its wheels turn on.
"""

from math import cos, hypot, sin

import mujoco
import numpy as np
import numpy.typing as npt

from fosp_edge.robots.arm import FloatArray
from fosp_edge.robots.mobile_base import BaseDescription
from fosp_edge.simulation.layout import MARGIN_M, Layout
from fosp_edge.simulation.plant import Outcome, Snapshot
from fosp_edge.simulation.raycast import RayCaster

SCALE = 5.0
CAMERAS = ("front",)
_MIDDLE_X_M = 0.30
"""Of the table; the middle of the room."""
_HALF_ROOM_M = (0.80, 1.50)
_STEP_S = 0.002
_TARGET_RADIUS_M, _TARGET_HEIGHT_M, _BOX_HEIGHT_M = 0.10, 0.80, 0.22
"""The target is seen over the boxes."""
_REACHED_M = 0.10
"""Between base and target."""
_FAR_M = 1.0


class BasePlant:
    """Rolling on wheels that approach their velocity targets within their acceleration limits."""

    cameras = CAMERAS
    size = SCALE
    """How many times as large as the table everything is."""

    def __init__(self, layout: Layout, base: BaseDescription) -> None:
        """Put the base at its start, looking at the target."""
        self.layout, self.base, self._radius_m = layout, base, _radius_m(base)
        self._model = mujoco.MjModel.from_xml_string(_xml(layout, base))
        self._data = mujoco.MjData(self._model)
        self._caster = RayCaster(self._model, layout.light)
        self._wheels_rad: FloatArray = np.zeros(2)
        self._speed_rad_s: FloatArray = np.zeros(2)
        self._target_rad_s: FloatArray = np.zeros(2)
        start, self._goal_m = _in_room(*layout.start_m[:2]), _in_room(*layout.target_m[:2])
        self._pose = np.array([*start, np.arctan2(*(self._goal_m - start)[::-1])])

    @property
    def joint_count(self) -> int:
        """Two wheels."""
        return 2

    def positions_rad(self) -> FloatArray:
        """How far the wheels have turned, left and right, shape [2]."""
        positions: FloatArray = self._wheels_rad.copy()
        return positions

    def velocities_rad_s(self) -> FloatArray:
        """How fast they turn, shape [2]."""
        velocities: FloatArray = self._speed_rad_s.copy()
        return velocities

    def tip_m(self) -> FloatArray:
        """Where the base is in the room, on the floor, shape [3]."""
        return np.array([self._pose[0], self._pose[1], 0.0])

    @property
    def heading_rad(self) -> float:
        """Where it looks, from the room's x-axis."""
        return float(self._pose[2])

    def on_the_table_m(self) -> FloatArray:
        """Where it would be on the table of which this room is a large one, at the target's height, shape [3]."""
        return np.array([self._pose[0] / SCALE + _MIDDLE_X_M, self._pose[1] / SCALE, self.layout.target_m[2]])

    def set_velocity_targets(self, velocity_rad_s: FloatArray) -> None:
        """What the motors aim at from now on, shape [2]; clipped to the wheels' speed limit."""
        limit = self.base.wheel_velocity_limit_rad_s
        self._target_rad_s = np.clip(velocity_rad_s, -limit, limit)

    def snapshot(self) -> Snapshot:
        """Everything that decides how it rolls on."""
        return Snapshot(
            np.concatenate([self._pose, self._wheels_rad]), self._target_rad_s.copy(), self._speed_rad_s.copy()
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot of this very plant."""
        self._pose, self._wheels_rad = snapshot.physics[:3].copy(), snapshot.physics[3:].copy()
        self._target_rad_s, self._speed_rad_s = snapshot.target.copy(), snapshot.ramp.copy()

    def set_hold(self) -> None:
        """Brake to a standstill within the acceleration limits and stay."""
        self._target_rad_s = np.zeros(2)

    def advance(self, duration_s: float) -> None:
        """Let time pass, in steps of 2 ms."""
        change = self.base.wheel_acceleration_limit_rad_s2 * _STEP_S
        for _ in range(round(duration_s / _STEP_S)):
            self._speed_rad_s += np.clip(self._target_rad_s - self._speed_rad_s, -change, change)
            self._wheels_rad += self._speed_rad_s * _STEP_S
            speed, turn_rate = self.base.motion_from_wheels @ self._speed_rad_s
            x, y, heading = self._pose
            ahead_x, ahead_y = speed * _STEP_S * cos(heading), speed * _STEP_S * sin(heading)
            # Where something stands in the way, along it; where that does not go either, nowhere.
            for to_x, to_y in ((x + ahead_x, y + ahead_y), (x + ahead_x, y), (x, y + ahead_y), (x, y)):
                if self._is_free(to_x, to_y):
                    x, y = to_x, to_y
                    break
            self._pose = np.array([x, y, heading + turn_rate * _STEP_S])

    def render(self, camera: str) -> npt.NDArray[np.uint8]:
        """The picture of one camera, shape [64, 64, 3], RGB."""
        self._stand()
        return self._caster.render(self._data, camera)

    def render_both(self, camera: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        """The picture of one camera and, shape [64, 64], how far away everything is along its axis (m); 0 where
        nothing was hit."""
        self._stand()
        return self._caster.render_both(self._data, camera)

    def _stand(self) -> None:
        """Put the model where the base is."""
        self._data.qpos[:] = self._pose
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)

    def observe(self) -> npt.NDArray[np.uint8]:
        """All cameras, concatenated on channels, shape [64, 64, 3]."""
        return np.concatenate([self.render(camera) for camera in CAMERAS], axis=-1)

    def judge(self) -> Outcome:
        """Distances, violation and success in the present state."""
        x, y, _ = self._pose
        distance, clearance = float(np.hypot(*(self._pose[:2] - self._goal_m))), self._clearance_m(x, y)
        reached = distance < self._radius_m + _TARGET_RADIUS_M + _REACHED_M
        return Outcome(distance, clearance, clearance < SCALE * MARGIN_M, reached)

    def _is_free(self, x_m: float, y_m: float) -> bool:
        """Whether the base may stand there: off the boxes, and within the walls."""
        radius, (half_x, half_y) = self._radius_m, _HALF_ROOM_M
        return abs(x_m) < half_x - radius and abs(y_m) < half_y - radius and self._clearance_m(x_m, y_m) > 0.0

    def _clearance_m(self, x_m: float, y_m: float) -> float:
        """Between the base, which is round, and the nearest box or cylinder; at most a metre."""
        nearest = _FAR_M
        for item in self.layout.obstacles:
            away_x, away_y = abs(x_m / SCALE + _MIDDLE_X_M - item.x_m), abs(y_m / SCALE - item.y_m)
            if item.shape == "cylinder":
                outside = hypot(away_x, away_y) - item.half_x_m
            else:
                outside = hypot(max(away_x - item.half_x_m, 0.0), max(away_y - item.half_y_m, 0.0))
            nearest = min(nearest, SCALE * outside - self._radius_m)
        return nearest


def _radius_m(base: BaseDescription) -> float:
    """Of the disc that covers wheels and body."""
    return base.track_m / 2.0 + 0.2 * base.wheel_radius_m


def _in_room(x_m: float, y_m: float) -> FloatArray:
    """A place of the table, in the room."""
    return SCALE * np.array([x_m - _MIDDLE_X_M, y_m])


def _colour(rgb: tuple[float, float, float]) -> str:
    return " ".join(f"{value:.3g}" for value in rgb)


def _xml(layout: Layout, base: BaseDescription) -> str:
    radius, height = _radius_m(base), 2.0 * base.wheel_radius_m
    target_x, target_y = _in_room(*layout.target_m[:2])
    obstacles = ""
    for index, item in enumerate(layout.obstacles):
        x, y = _in_room(item.x_m, item.y_m)
        half_x, half_y = SCALE * item.half_x_m, SCALE * item.half_y_m
        shape = (
            f'type="cylinder" size="{half_x:.4g} {_BOX_HEIGHT_M / 2}"' if item.shape == "cylinder"
            else f'type="box" size="{half_x:.4g} {half_y:.4g} {_BOX_HEIGHT_M / 2}"'
        )  # fmt: skip
        obstacles += (
            f'<geom name="obstacle_{index}" {shape} pos="{x:.4g} {y:.4g} {_BOX_HEIGHT_M / 2}" '
            f'rgba="{_colour(layout.obstacle_colour)} 1"/>'
        )
    half_x, half_y = _HALF_ROOM_M
    sides = [(side * half_x, 0.0, 0.02, half_y) for side in (-1, 1)]
    sides += [(0.0, side * half_y, half_x, 0.02) for side in (-1, 1)]
    walls = "".join(
        f'<geom name="wall_{index}" type="box" pos="{x} {y} 0.2" size="{size_x} {size_y} 0.2" rgba="0.72 0.74 0.80 1"/>'
        for index, (x, y, size_x, size_y) in enumerate(sides)
    )
    return f"""
<mujoco model="room">
  <compiler angle="radian"/>
  <default><geom contype="0" conaffinity="0"/></default>
  <worldbody>
    <geom name="floor" type="plane" size="4 4 0.05" rgba="0.80 0.78 0.74 1"/>
    <geom name="target" type="cylinder" size="{_TARGET_RADIUS_M} {_TARGET_HEIGHT_M / 2}"
      pos="{target_x:.4g} {target_y:.4g} {_TARGET_HEIGHT_M / 2}" rgba="{_colour(layout.target_colour)} 1"/>
    {obstacles}{walls}
    <body name="base">
      <joint name="x" type="slide" axis="1 0 0"/><joint name="y" type="slide" axis="0 1 0"/>
      <joint name="heading" type="hinge" axis="0 0 1"/>
      <inertial pos="0 0 0" mass="1" diaginertia="0.01 0.01 0.01"/>
      <geom name="base" type="cylinder" pos="0 0 {height / 2:.4g}" size="{radius:.4g} {height / 2:.4g}"
        rgba="0.3 0.3 0.35 1"/>
      <camera name="front" pos="{radius:.4g} 0 {height + 0.05:.4g}" xyaxes="0 -1 0 0.17 0 0.985" fovy="75"/>
    </body>
  </worldbody>
</mujoco>"""
