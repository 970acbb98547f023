"""Pictures of our boards whose every truth is known: the instrument that calibration is tested with.

Every pixel is the mean of several rays through the lens model onto the (possibly warped) board; then light, blur, shot
and
read noise, and 8-bit quantisation, in the order in which a real camera applies them.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from .boards import Board, picture
from .geometry import Array, inverse
from .lens import LensModel

Picture = npt.NDArray[np.uint8]


def warp_height_m(board: Board, warp_m: Array, points_m: Array) -> Array:
    """How far a bent board rises towards the viewer's far side, at points [..., 2] on it, in metres.

    Two numbers, the sag along x and along y: `z = a (1 - u^2) + b (1 - v^2)`, u and v from -1 to 1 across the board.
    """
    half = np.array(board.size_m) / 2
    scaled = (points_m - half) / half
    return np.asarray((1 - scaled**2) @ np.asarray(warp_m))


def warped_corners_m(board: Board, warp_m: Array) -> Array:
    """The corners [corners, 3] of a bent board."""
    corners = board.corners_m.copy()
    corners[:, 2] = warp_height_m(board, warp_m, corners[:, :2])
    return np.asarray(corners)


@dataclass(frozen=True)
class Conditions:
    """What stands between the scene and its picture. The defaults are a decent industrial camera."""

    blur_px: float = 0.7
    """Standard deviation of the (Gaussian) blur."""
    read_noise: float = 1.5
    """Standard deviation in grey levels of 255, everywhere the same."""
    shot_noise: float = 0.03
    """Variance per grey level: brighter pixels are noisier."""
    exposure: float = 1.0
    """Factor on the light."""
    light_gradient: float = 0.2
    """How much brighter one side of the picture is than the middle."""
    gamma: float = 1.0
    """Exponent applied to the light, below 1 for an ordinary video camera."""
    warp_m: tuple[float, float] = (0.0, 0.0)
    """The board's sag along x and y, see `warp_height_m`."""


class Renderer:
    """A camera that looks at one board; directions of all its pixels are worked out once."""

    def __init__(
        self,
        board: Board,
        lens: LensModel,
        parameters: Array,
        size_px: tuple[int, int],
        rays_per_side: int = 3,
        dots_per_m: float = 6000.0,
    ) -> None:
        self.board, self.lens, self.parameters, self.size_px = board, lens, parameters, size_px
        self._fine = rays_per_side
        self._margin_m = 0.5 * board.square_m
        self._dots_per_m = dots_per_m
        self._drawn = picture(board, dots_per_m, self._margin_m).astype(np.float32)
        width, height = size_px
        fine = rays_per_side
        # rays at every pixel's centre and one beyond the edge, then linear in between: the error of that is the
        # curvature of the lens over one pixel, thousands of times below what a corner detector can see
        x, y = np.meshgrid(np.arange(-1, width + 1), np.arange(-1, height + 1))
        rays = lens.unproject(parameters, np.stack([x, y], axis=-1).astype(float))
        offsets = (np.arange(fine) + 0.5) / fine - 0.5
        columns = (np.arange(width)[:, None] + offsets + 1).ravel().astype(np.float32)
        rows = (np.arange(height)[:, None] + offsets + 1).ravel().astype(np.float32)
        map_x, map_y = np.meshgrid(columns, rows)
        self._rays = cv2.remap(rays.astype(np.float32), map_x, map_y, cv2.INTER_LINEAR)

    def depth_m(self, camera_from_board: Array, surround_m: float = 0.0) -> Array:
        """Distance along z to the board's plane at every pixel [height, width]; 0 off the board (wider by
        `surround_m`).
        """
        width, height = self.size_px
        x, y = np.meshgrid(np.arange(width), np.arange(height))
        rays = self.lens.unproject(self.parameters, np.stack([x, y], axis=-1).astype(float))
        normal, origin = camera_from_board[:3, 2], camera_from_board[:3, 3]
        reach = (normal @ origin) / (rays @ normal)
        points = rays * reach[..., None]
        on_board = (points - origin) @ camera_from_board[:3, :2]
        inside = np.all((on_board > -surround_m) & (on_board < np.array(self.board.size_m) + surround_m), axis=-1)
        return np.where(inside & (reach > 0), points[..., 2], 0.0)

    def render(
        self,
        camera_from_board: Array,
        conditions: Conditions,
        rng: np.random.Generator,
        background: Picture | None = None,
    ) -> Picture:
        """A picture [height, width], grey, uint8. Without a `background` the board hangs before soft clutter."""
        width, height = self.size_px
        board_from_camera = inverse(camera_from_board)
        origin = board_from_camera[:3, 3]
        directions = self._rays @ board_from_camera[:3, :3].T.astype(np.float32)
        with np.errstate(divide="ignore", invalid="ignore"):
            reach = -origin[2] / directions[..., 2]
            hit = origin[:2].astype(np.float32) + reach[..., None] * directions[..., :2]
            if any(conditions.warp_m):
                for _ in range(3):  # a sag of millimetres: the fixed point converges by 1/100 per step
                    rise = warp_height_m(self.board, np.array(conditions.warp_m), hit)
                    reach = (rise - origin[2]) / directions[..., 2]
                    hit = origin[:2].astype(np.float32) + reach[..., None] * directions[..., :2]
        dots = (hit + self._margin_m) * self._dots_per_m - 0.5
        seen = np.isfinite(dots).all(axis=-1) & (reach > 0)
        dots = np.where(seen[..., None], dots, -1e6).astype(np.float32)
        off_board = -1.0
        albedo = cv2.remap(
            self._drawn,
            dots[..., 0],
            dots[..., 1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(off_board,),
        )
        behind = _clutter(self.size_px, rng) if background is None else background.astype(np.float32) / 255.0
        behind = cv2.resize(behind, (width * self._fine, height * self._fine), interpolation=cv2.INTER_LINEAR)
        light = np.where(albedo < 0, behind, 0.06 + 0.74 * np.clip(albedo, 0, 1))
        light = cv2.resize(light.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
        return develop(light, conditions, rng)


def develop(light: npt.NDArray[np.float32], conditions: Conditions, rng: np.random.Generator) -> Picture:
    """From light per pixel (0 to 1) to what the camera delivers: gradient, exposure, blur, noise, quantisation."""
    height, width = light.shape
    ramp = np.linspace(-1, 1, width)[None, :] * 0.8 + np.linspace(-1, 1, height)[:, None] * 0.2
    light = light * (1 + conditions.light_gradient * ramp).astype(np.float32) * conditions.exposure
    if conditions.blur_px > 0:
        light = cv2.GaussianBlur(light, (0, 0), conditions.blur_px)
    grey = 255.0 * np.clip(light, 0, None) ** conditions.gamma
    variance = conditions.read_noise**2 + conditions.shot_noise * grey
    noisy = grey + rng.normal(size=grey.shape) * np.sqrt(variance)
    return np.asarray(np.clip(np.rint(noisy), 0, 255), dtype=np.uint8)


def _clutter(size_px: tuple[int, int], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """A soft, unremarkable wall: grey with broad stains."""
    coarse = rng.uniform(0.25, 0.6, (6, 8)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, size_px, interpolation=cv2.INTER_CUBIC), dtype=np.float32)
