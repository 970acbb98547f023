"""Pictures without a graphics card: one ray per pixel, MuJoCo's own ray caster, Lambert shading.

Needs no OpenGL, no display and no system package; depth comes for free. About a millisecond for 64x64 pixels.
"""

import mujoco
import numpy as np
import numpy.typing as npt

from fosp_edge.simulation.layout import Light

_SKY = np.array([0.62, 0.70, 0.80])
_FAR_M = 4.0


class RayCaster:
    """Renders the named cameras of one model."""

    def __init__(self, model: mujoco.MjModel, light: Light, *, width_px: int = 64, height_px: int = 64) -> None:
        self._model, self._light = model, light
        self.width_px, self.height_px = width_px, height_px
        count = width_px * height_px
        self._geom = np.full(count, -1, np.int32)
        self._distance = np.empty(count)
        self._normal = np.empty(3 * count)
        self._rays: dict[int, npt.NDArray[np.float64]] = {}
        direction = np.asarray(light.direction, float)
        self._towards_light = direction / np.linalg.norm(direction)
        self._table = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_GEOM, "table")

    def render(self, data: mujoco.MjData, camera: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        """Colour [H, W, 3] uint8 and depth along the ray's camera axis [H, W] in metres (0 = nothing hit).

        Raises:
            ValueError: the model has no camera of that name.
        """
        index = mujoco.mj_name2id(self._model, mujoco.mjtObj.mjOBJ_CAMERA, camera)
        if index < 0:
            raise ValueError(f"the scene has no camera {camera!r}")
        orientation = data.cam_xmat[index].reshape(3, 3)
        rays = self._camera_rays(index) @ orientation.T
        origin = data.cam_xpos[index].reshape(3, 1)
        count = rays.shape[0]
        mujoco.mj_multiRay(
            self._model, data, origin, rays.reshape(-1, 1), None, True, -1,
            self._geom, self._distance, self._normal, count, _FAR_M,
        )  # fmt: skip
        hit = self._geom >= 0
        normal = self._normal.reshape(-1, 3)
        albedo = self._model.geom_rgba[self._geom, :3].astype(np.float64)
        table = self._geom == self._table
        point = origin[:, 0] + rays[table] * self._distance[table, None]
        checker = (np.floor(point[:, 0] / 0.05) + np.floor(point[:, 1] / 0.05)) % 2
        albedo[table] *= (0.92 + 0.08 * checker)[:, None]
        facing = np.clip(normal @ self._towards_light, 0.0, 1.0)
        shade = self._light.ambient + self._light.diffuse * facing
        colour = np.where(hit[:, None], albedo * shade[:, None], _SKY * (self._light.ambient + 0.4))
        colour = np.clip(colour * np.asarray(self._light.tint), 0.0, 1.0)
        image = (255.0 * colour + 0.5).astype(np.uint8).reshape(self.height_px, self.width_px, 3)
        along_axis = -(rays @ orientation)[:, 2] * self._distance
        depth = np.where(hit, along_axis, 0.0).astype(np.float32).reshape(self.height_px, self.width_px)
        return image, depth

    def _camera_rays(self, index: int) -> npt.NDArray[np.float64]:
        """Unit ray directions in the camera's frame, shape [H * W, 3]; MuJoCo cameras look along -z, y up."""
        if index not in self._rays:
            half = np.tan(np.radians(self._model.cam_fovy[index]) / 2)
            v = (1 - (2 * np.arange(self.height_px) + 1) / self.height_px) * half
            u = ((2 * np.arange(self.width_px) + 1) / self.width_px - 1) * half * self.width_px / self.height_px
            grid_v, grid_u = np.meshgrid(v, u, indexing="ij")
            rays = np.stack([grid_u, grid_v, -np.ones_like(grid_u)], -1).reshape(-1, 3)
            self._rays[index] = rays / np.linalg.norm(rays, axis=1, keepdims=True)
        return self._rays[index]
