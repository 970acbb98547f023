"""Simulated captures: poses as a careful person takes them, and corners without the pictures between.

Corner-level simulation adds Gaussian noise to exact projections: thousands of times faster than rendering, for
statistics. Whether a detector's errors are like that is what `render.py` is for.
"""

from collections.abc import Sequence

import numpy as np

from .boards import Board
from .detection import Detection
from .geometry import Array, cross_matrix, pose_from_vectors, transform
from .lens import LensModel
from .render import warped_corners_m


def simulated_detections(
    board: Board,
    lens: LensModel,
    parameters: Array,
    size_px: tuple[int, int],
    poses: Array | Sequence[Array],
    noise_px: float,
    rng: np.random.Generator,
    warp_m: tuple[float, float] = (0.0, 0.0),
) -> list[Detection]:
    """Detections of every corner inside the picture, off by Gaussian noise of `noise_px` in each coordinate."""
    corners = warped_corners_m(board, np.array(warp_m))
    found = []
    for index, each in enumerate(poses):
        pixels = lens.project(parameters, transform(each, corners))
        pixels = pixels + rng.normal(size=pixels.shape) * noise_px
        inside = np.all((pixels > 0) & (pixels < np.array(size_px) - 1), axis=1)
        found.append(Detection(f"view {index:03d}", size_px, np.flatnonzero(inside), pixels[inside], 0.8))
    return found


def board_poses(
    board: Board,
    lens: LensModel,
    parameters: Array,
    size_px: tuple[int, int],
    count: int,
    rng: np.random.Generator,
    tilt_rad: float = 0.75,
    filling: tuple[float, float] = (0.35, 0.9),
    whole: bool = True,
) -> Array:
    """Poses `camera_from_board` [count, 4, 4] as a careful person takes them: all over the picture, near and far,
    tilted.

    `filling` is the part of the picture's width that the board spans if seen frontally; `whole` keeps all corners in
    view.
    """
    width, height = size_px
    centre = np.array([*board.size_m, 0.0]) / 2
    found: list[Array] = []
    for _ in range(count * 400):
        if len(found) == count:
            break
        axis_angle = rng.uniform(0, 2 * np.pi)
        tilt = rng.uniform(0, tilt_rad)
        turn = pose_from_vectors(np.array([np.cos(axis_angle), np.sin(axis_angle), 0.0]) * tilt, np.zeros(3))
        spin = pose_from_vectors(np.array([0.0, 0.0, rng.uniform(-0.4, 0.4)]), np.zeros(3))
        pixel = rng.uniform([0, 0], [width, height])
        ray = lens.unproject(parameters, pixel)
        if not np.all(np.isfinite(ray)) or ray[2] < 0.2:
            continue
        span = rng.uniform(*filling) * width
        distance = board.size_m[0] * parameters[0] / span
        # facing the ray, then tilted: near the edge of a fisheye a board parallel to the sensor would be invisible
        facing = _rotation_between(np.array([0.0, 0.0, 1.0]), ray)
        candidate = np.eye(4)
        candidate[:3, :3] = facing @ turn[:3, :3] @ spin[:3, :3]
        candidate[:3, 3] = ray * distance - candidate[:3, :3] @ centre
        points = transform(candidate, board.corners_m)
        if points[:, 2].min() < 0.05 * distance:
            continue
        pixels = lens.project(parameters, points)
        margin = 3.0
        inside = np.all((pixels > margin) & (pixels < np.array(size_px) - 1 - margin), axis=1)
        if np.mean(inside) <= 0.5 or (whole and not inside.all()):
            continue
        round_trip = lens.unproject(parameters, pixels)
        true_rays = points / np.linalg.norm(points, axis=1, keepdims=True)
        inside &= np.linalg.norm(round_trip - true_rays, axis=1) < 1e-6
        if inside.all() or (not whole and inside.mean() > 0.5):
            found.append(candidate)
    if len(found) < count:
        raise ValueError(f"only {len(found)} of {count} poses of the board fit the picture: make `filling` smaller")
    return np.array(found)


def _rotation_between(start: Array, end: Array) -> Array:
    """The shortest rotation that takes one unit direction to another."""
    hat = cross_matrix(np.cross(start, end))
    return np.asarray(np.eye(3) + hat + hat @ hat / (1.0 + start @ end))
