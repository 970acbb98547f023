"""Pictures of our boards whose every truth is known: the instrument that calibration is tested with.

Many rays per pixel go through the lens model onto the (possibly warped) board; the optics blur them, the pixels sum
them up; then shot and read noise, and 8-bit quantisation, in the order in which a real camera applies them. The order
matters: blur after the sum would leave edges sampled too coarsely, and corners off by up to 0.03 px with their place
in the pixel.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from .boards import Board, picture
from .geometry import Array, inverse, transform
from .lens import LensModel

Picture = npt.NDArray[np.uint8]
_OFF_BOARD = -1.0


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
    """A camera that looks at one board; directions of all its pixels are worked out once.

    Where a pixel's ray meets the board is worked out at pixel centres and is linear in between, and `rays_per_side`
    squared samples of the printed board are blurred and averaged per pixel. Together that moves a corner by less than
    a tenth of what a good detector errs; tests/calib/test_render.py says how much.
    """

    def __init__(
        self,
        board: Board,
        lens: LensModel,
        parameters: Array,
        size_px: tuple[int, int],
        rays_per_side: int = 4,
    ) -> None:
        self.board, self.lens, self.parameters, self.size_px = board, lens, parameters, size_px
        self._fine = rays_per_side
        self._margin_m = 0.5 * board.square_m
        self._drawn: dict[float, npt.NDArray[np.float32]] = {}
        width, height = size_px
        # one pixel beyond every edge: the outermost samples lie between two centres as well
        x, y = np.meshgrid(np.arange(-1, width + 1), np.arange(-1, height + 1))
        self._rays = lens.unproject(parameters, np.stack([x, y], axis=-1).astype(float))

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
        wall = _clutter(self.size_px, rng) if background is None else background.astype(np.float32) / 255.0
        light = _blurred(wall, conditions.blur_px)
        reach_px = int(np.ceil(4 * conditions.blur_px)) + 1
        left, top, right, bottom = self._window_px(camera_from_board, conditions.warp_m, reach_px)
        if left < right and top < bottom:
            rays = self._rays[top : bottom + 2, left : right + 2]
            paper, cover = self._paper(self._hits_m(rays, camera_from_board, conditions.warp_m))
            behind = cv2.resize(wall[top:bottom, left:right], cover.shape[::-1], interpolation=cv2.INTER_LINEAR)
            fine = _blurred(paper + (1 - cover) * behind, conditions.blur_px * self._fine)
            size = right - left, bottom - top
            light[top:bottom, left:right] = cv2.resize(fine, size, interpolation=cv2.INTER_AREA)
        return develop(light, conditions, rng)

    def _window_px(
        self, camera_from_board: Array, warp_m: tuple[float, float], reach_px: int
    ) -> tuple[int, int, int, int]:
        """The part of the picture (left, top, right, bottom) that can show the board, wider by `reach_px`; all of it
        where that is open.
        """
        along = np.linspace(0.0, 1.0, 33)[:, None]
        unit = np.concatenate(
            [np.hstack(pair) for side in (along * 0, along * 0 + 1) for pair in ((along, side), (side, along))]
        )
        outline = unit * (np.array(self.board.size_m) + 2 * self._margin_m) - self._margin_m
        rise = warp_height_m(self.board, np.array(warp_m), outline)
        points = transform(camera_from_board, np.column_stack([outline, rise]))
        pixels = self.lens.project(self.parameters, points)
        # a point outside of what the lens sees may project anywhere: it does not come back to where it was
        back = self.lens.unproject(self.parameters, pixels) * np.linalg.norm(points, axis=1, keepdims=True)
        if not np.allclose(back, points, atol=1e-6):
            return (0, 0, *self.size_px)
        left, top = np.maximum(np.floor(pixels.min(axis=0)).astype(int) - reach_px, 0)
        right, bottom = np.minimum(np.ceil(pixels.max(axis=0)).astype(int) + 1 + reach_px, self.size_px)
        return int(left), int(top), int(right), int(bottom)

    def _hits_m(self, rays: Array, camera_from_board: Array, warp_m: tuple[float, float]) -> Array:
        """Where rays [..., 3] meet the board, in its own coordinates [..., 2]; NaN where they do not."""
        board_from_camera = inverse(camera_from_board)
        origin = board_from_camera[:3, 3]
        directions = rays @ board_from_camera[:3, :3].T
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = directions[..., :2] / directions[..., 2:]
            hits = origin[:2] - origin[2] * slope
            for _ in range(3 if any(warp_m) else 0):  # a sag of millimetres: each step leaves a hundredth of the error
                rise = warp_height_m(self.board, np.array(warp_m), hits)
                hits = origin[:2] + (rise - origin[2])[..., None] * slope
            near = (-origin[2] / directions[..., 2] > 0) & np.all(np.abs(hits) < 1e3, axis=-1)
        return np.where(near[..., None], hits, np.nan)

    def _dots_per_m(self, hits_m: Array) -> float:
        """How finely to draw the board: dots about as far apart as the samples, or edges between dots would jump."""
        inside = np.all((hits_m > 0) & (hits_m < np.array(self.board.size_m)), axis=-1)
        steps_m = np.linalg.norm(np.diff(hits_m, axis=1), axis=-1)[inside[:, 1:] & inside[:, :-1]]
        wanted = self._fine / float(np.median(steps_m)) if len(steps_m) else 1000.0
        return float(2.0 ** (round(2 * np.log2(np.clip(wanted, 300.0, 20000.0))) / 2))

    def _paper(self, hits_m: Array) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Light from the board, and 1 where it covers what is behind, per sample; `hits_m` has one pixel more on every
        side.
        """
        dots_per_m = self._dots_per_m(hits_m)
        if dots_per_m not in self._drawn:
            self._drawn[dots_per_m] = picture(self.board, dots_per_m, self._margin_m).astype(np.float32)
        dots = ((hits_m + self._margin_m) * dots_per_m - 0.5).astype(np.float32)
        height, width = dots.shape[:2]
        fine = self._fine
        between = cv2.resize(dots, (width * fine, height * fine), interpolation=cv2.INTER_LINEAR)
        between = np.ascontiguousarray(between[fine:-fine, fine:-fine])
        cv2.patchNaNs(between, -1e6)
        ink = cv2.remap(
            self._drawn[dots_per_m],
            between,
            None,
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(_OFF_BOARD,),
        )
        on_board = (ink >= 0).astype(np.float32)
        return np.asarray(on_board * (0.06 + 0.74 * np.clip(ink, 0, 1)), dtype=np.float32), on_board


def _blurred(light: npt.NDArray[np.float32], sigma: float) -> npt.NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(light, (0, 0), sigma) if sigma > 0 else light.copy(), dtype=np.float32)


def develop(light: npt.NDArray[np.float32], conditions: Conditions, rng: np.random.Generator) -> Picture:
    """From light per pixel (0 to 1) to what the camera delivers: gradient, exposure, noise, quantisation."""
    height, width = light.shape
    ramp = np.linspace(-1, 1, width)[None, :] * 0.8 + np.linspace(-1, 1, height)[:, None] * 0.2
    light = light * (1 + conditions.light_gradient * ramp).astype(np.float32) * conditions.exposure
    grey = 255.0 * np.clip(light, 0, None) ** conditions.gamma
    variance = conditions.read_noise**2 + conditions.shot_noise * grey
    noisy = grey + rng.standard_normal(grey.shape, dtype=np.float32) * np.sqrt(variance)
    return np.asarray(np.clip(np.rint(noisy), 0, 255), dtype=np.uint8)


def _clutter(size_px: tuple[int, int], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """A soft, unremarkable wall: grey with broad stains."""
    coarse = rng.uniform(0.25, 0.6, (6, 8)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, size_px, interpolation=cv2.INTER_CUBIC), dtype=np.float32)
