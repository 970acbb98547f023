"""Depth cameras: is a metre a metre, and is a plane a plane.

The board gives the plane: corners in the picture and the calibrated lens say where it is, the depth picture says where
the depth camera believes it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .board_fit import fit_poses, views_of
from .boards import Board
from .detection import Detection
from .errors import CalibrationError
from .geometry import Array
from .uncertainty import Camera

LEAST_VIEWS = 3
SCALE_LIMIT = 0.02
"""A depth scale this far from one is a fault of the board's stated size or of the camera: not stored."""


@dataclass(frozen=True)
class DepthCheck:
    """How depth compares with the board; multiply measured depth by `scale` and add `offset_m`."""

    scale: float
    scale_sigma: float
    offset_m: float
    offset_sigma_m: float
    flatness_mm: float
    """Root mean square distance of depth points from their own best plane, the typical view."""
    worst_flatness_mm: float
    bias_mm: Array
    """Measured minus true distance along z, the mean of every view, [views]."""
    distance_m: Array
    """True mean distance of every view, [views]."""
    valid_part: float
    """Part of the board's pixels that had a depth."""


def check_depth(
    board: Board,
    detections: Sequence[Detection],
    depths_m: Sequence[npt.NDArray[np.floating]],
    camera: Camera,
    warp_m: Array | None = None,
    scale_limit: float = SCALE_LIMIT,
) -> DepthCheck:
    """Compare depth pictures (aligned to the camera, metres, 0 = none) with the board's plane.

    `warp_m` is the board's two sags where the intrinsics found the same board bent.

    Raises CalibrationError for too few views, no depth on the board, or a scale so far off that the board's stated size
    must be wrong.
    """
    if len(detections) < LEAST_VIEWS or len(detections) != len(depths_m):
        raise CalibrationError(
            f"the depth check needs at least {LEAST_VIEWS} views with a depth picture each, found {len(detections)} "
            f"views "
            f"and {len(depths_m)} depth pictures"
        )
    views = views_of(board, detections, warp_m)
    poses = fit_poses(camera.lens, camera.parameters, views).poses
    truth, measured, flatness, bias, distance, valid = [], [], [], [], [], []
    for detection, depth, pose in zip(detections, depths_m, poses, strict=True):
        width, height = detection.size_px
        if depth.shape != (height, width):
            raise CalibrationError(
                f"{detection.name}: the depth picture has shape {depth.shape}, the picture {width}x{height}: align "
                f"depth "
                "to the colour camera first"
            )
        pixels, expected = _board_pixels(board, camera, pose, detection.size_px)
        found = np.asarray(depth, dtype=np.float64)[pixels[:, 1], pixels[:, 0]]
        good = np.isfinite(found) & (found > 0)
        valid.append(float(good.mean()) if len(good) else 0.0)
        # edges of the board and flying pixels are no part of the plane
        good &= np.abs(found - expected) < 0.2 * expected
        if good.sum() < 200:
            raise CalibrationError(
                f"{detection.name}: only {int(good.sum())} pixels of the board have a depth near the board: check that "
                "the depth picture belongs to it and is in metres"
            )
        rays = camera.lens.unproject(camera.parameters, pixels[good].astype(float))
        points = rays / rays[:, 2:] * found[good, None]
        centred = points - points.mean(axis=0)
        normal = np.linalg.svd(centred, full_matrices=False)[2][2]
        flatness.append(1e3 * float(np.sqrt(np.mean((centred @ normal) ** 2))))
        bias.append(1e3 * float(np.mean(found[good] - expected[good])))
        distance.append(float(np.mean(expected[good])))
        # one number per view: pixels of one depth picture share their errors
        truth.append(float(np.median(expected[good])))
        measured.append(float(np.median(found[good])))
    scale, offset, sigmas = _line(np.array(measured), np.array(truth))
    if abs(scale - 1.0) > scale_limit and abs(scale - 1.0) > 3 * sigmas[0]:
        raise CalibrationError(
            f"by the depth camera the board's squares measure {1e3 * board.square_m / scale:.1f} mm, but "
            f"{1e3 * board.square_m:.1f} mm is stated: measure the print with a ruler; if it is right, the depth "
            f"camera "
            "needs its maker's calibration"
        )
    return DepthCheck(
        scale,
        sigmas[0],
        offset,
        sigmas[1],
        float(np.median(flatness)),
        max(flatness),
        np.array(bias),
        np.array(distance),
        float(np.mean(valid)),
    )


def _board_pixels(
    board: Board, camera: Camera, pose: Array, size_px: tuple[int, int]
) -> tuple[npt.NDArray[np.int64], Array]:
    """Pixels [n, 2] well inside the board, and the true depth of its plane there [n]."""
    width, height = size_px
    x, y = np.meshgrid(np.arange(0, width, 2), np.arange(0, height, 2))
    pixels = np.stack([x.ravel(), y.ravel()], axis=1)
    rays = camera.lens.unproject(camera.parameters, pixels.astype(float))
    normal, origin = pose[:3, 2], pose[:3, 3]
    with np.errstate(divide="ignore", invalid="ignore"):
        points = rays * ((normal @ origin) / (rays @ normal))[:, None]
    place = (points - origin) @ pose[:3, :2] / np.array(board.size_m)
    inside = np.all((place > 0.08) & (place < 0.92), axis=1) & (points[:, 2] > 0)
    return pixels[inside].astype(np.int64), points[inside, 2]


def _line(measured: Array, truth: Array) -> tuple[float, float, tuple[float, float]]:
    """truth = scale * measured + offset; the offset only where the distances differ enough to tell it from the
    scale.
    """
    if np.ptp(truth) < 0.3 * truth.mean() or len(truth) < 5:
        ratios = truth / measured
        return float(ratios.mean()), 0.0, (float(ratios.std(ddof=1) / np.sqrt(len(ratios))), 0.0)
    design = np.stack([measured, np.ones_like(measured)], axis=1)
    found = np.linalg.lstsq(design, truth, rcond=None)[0]
    variance = np.sum((truth - design @ found) ** 2) / (len(truth) - 2)
    spread = np.sqrt(np.diag(variance * np.linalg.inv(design.T @ design)))
    return float(found[0]), float(found[1]), (float(spread[0]), float(spread[1]))
