"""How far a pixel can be trusted, and how far apart two calibrations of one camera are.

Two calibrations may differ by a tiny rotation of the camera's own axes without differing in anything a robot sees: the
rotation goes into the hand-eye transform. It is taken out of differences and of uncertainties alike, as in D. Kogan's
mrcal (the "implied transform").
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import chdtrc

from .geometry import Array, cross_matrix, rotation_from_vector
from .lens import FISHEYE, LensModel


@dataclass(frozen=True)
class Camera:
    """A calibrated lens on a sensor."""

    lens: LensModel
    parameters: Array
    """See lens.py."""
    covariance: Array
    """Of the parameters, [size, size]; zeros for a camera that is known exactly."""
    size_px: tuple[int, int]
    """Width and height."""

    @property
    def matrix(self) -> Array:
        """The 3 x 3 camera matrix."""
        fx, fy, cx, cy = self.parameters[:4]
        return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


FISHEYE_FOCAL_WIDENING = 2.5
"""What the corners' noise alone says of a fisheye's focal lengths, times this, is stated.

In strongly bent pictures a corner is off by some 0.005 px that go together with the board's tilt, and so look like
another focal length. Found over 30 calibrations through rendered pictures, checked over further ones
(`experiments/calibration_intrinsics.py pictures`); with corners whose errors are independent it says too much."""


def widened(lens: LensModel, covariance: Array) -> Array:
    """The covariance that is stated for a lens, [size, size], from that of independent corner errors."""
    scale = np.ones(lens.size)
    if lens is FISHEYE:
        scale[:2] = FISHEYE_FOCAL_WIDENING
    stated: Array = covariance * np.outer(scale, scale)
    return stated


def pixel_grid(size_px: tuple[int, int], columns: int = 24, rows: int = 18, margin: float = 0.0) -> Array:
    """Pixels evenly over the picture, [rows, columns, 2]; `margin` leaves out that part of each side."""
    width, height = size_px
    x = np.linspace(margin * (width - 1), (1 - margin) * (width - 1), columns)
    y = np.linspace(margin * (height - 1), (1 - margin) * (height - 1), rows)
    return np.stack(np.meshgrid(x, y), axis=-1)


def _derivatives_without_rotation(camera: Camera, pixels: Array) -> tuple[Array, Array]:
    """d pixel / d parameters at pixels [n, 2], as [2 n, size], the part a rotation can undo taken out; and which n
    count.
    """
    rays = camera.lens.unproject(camera.parameters, pixels)
    usable = np.all(np.isfinite(rays), axis=1)
    rays = np.where(usable[:, None], rays, np.array([0.0, 0.0, 1.0]))
    _, by_point, by_parameters = camera.lens.project_with_derivatives(camera.parameters, rays)
    # a rational lens has no derivative at its pole, though a direction may be found there
    usable = usable & np.all(np.isfinite(by_point), axis=(1, 2)) & np.all(np.isfinite(by_parameters), axis=(1, 2))
    inside = usable[:, None, None]
    by_rotation = np.where(inside, -by_point @ cross_matrix(rays), 0.0).reshape(-1, 3)
    by_parameters = np.where(inside, by_parameters, 0.0).reshape(-1, camera.lens.size)
    fit = np.linalg.lstsq(by_rotation, by_parameters, rcond=None)[0]
    return by_parameters - by_rotation @ fit, usable


def projection_covariance_px2(camera: Camera, pixels: Array) -> Array:
    """Covariance of where points at pixels [n, 2] project, [n, 2, 2]; NaN where the lens sees nothing.

    The rotation that is taken out is the one that fits best over these pixels: hand in a grid over the whole picture.
    """
    derivatives, usable = _derivatives_without_rotation(camera, pixels)
    each = derivatives.reshape(-1, 2, camera.lens.size)
    covariance = each @ camera.covariance @ np.swapaxes(each, 1, 2)
    return np.where(usable[:, None, None], covariance, np.nan)


def uncertainty_map_px(camera: Camera, columns: int = 24, rows: int = 18) -> Array:
    """The larger standard deviation of a projected point over the picture, [rows, columns], in pixels."""
    covariance = projection_covariance_px2(camera, pixel_grid(camera.size_px, columns, rows).reshape(-1, 2))
    finite = np.where(np.isfinite(covariance), covariance, 0.0)
    largest = np.sqrt(np.maximum(np.linalg.eigvalsh(finite)[:, -1], 0.0))
    return np.where(np.isfinite(covariance[:, 0, 0]), largest, np.nan).reshape(rows, columns)


def projection_difference_px(first: Camera, second: Camera, pixels: Array) -> Array:
    """How far `second` projects from `first` for what `first` sees at pixels [n, 2], the best rotation taken out."""
    rays = first.lens.unproject(first.parameters, pixels)
    usable = np.all(np.isfinite(rays), axis=1)
    rays = np.where(usable[:, None], rays, np.array([0.0, 0.0, 1.0]))
    rotation = np.eye(3)
    for _ in range(8):
        turned = rays @ rotation.T
        seen, by_point, _ = second.lens.project_with_derivatives(second.parameters, turned)
        usable = usable & np.all(np.isfinite(seen), axis=1)
        error = np.where(usable[:, None], seen - pixels, 0.0)
        by_rotation = np.where(usable[:, None, None], -by_point @ cross_matrix(turned), 0.0)
        step = np.linalg.lstsq(by_rotation.reshape(-1, 3), -error.ravel(), rcond=None)[0]
        rotation = rotation_from_vector(step) @ rotation
    return np.where(usable[:, None], second.lens.project(second.parameters, rays @ rotation.T) - pixels, np.nan)


@dataclass(frozen=True)
class Agreement:
    """Two calibrations of one camera, compared over its picture."""

    difference_px: float
    """Root mean square of the distance between their projections."""
    expected_px: float
    """The same, as their stated uncertainties predict it."""
    chi_square: float
    degrees: int
    probability: float
    """Chance of a difference at least this large if both statements are true."""


def compare(first: Camera, second: Camera, pixels: Array | None = None) -> Agreement:
    """Whether two independent calibrations agree within their joint uncertainty.

    Two cameras of one lens model are compared to first order about the better known of the two. Each about its own
    place would be wrong: where half the views leave a corner of the picture open by pixels, the two sets of derivatives
    differ, and a difference that both statements allow falls into directions that neither seems to.
    """
    if pixels is None:
        pixels = pixel_grid(first.size_px, 8, 6, margin=0.05).reshape(-1, 2)
    difference = projection_difference_px(first, second, pixels)
    if first.lens == second.lens:
        known = min((first, second), key=lambda each: _spread_px2(each, pixels))
        derivatives, seen = _derivatives_without_rotation(known, pixels)
        judged = derivatives @ (second.parameters - first.parameters)
        covariance = derivatives @ (first.covariance + second.covariance) @ derivatives.T
    else:
        seen, judged = np.all(np.isfinite(difference), axis=1), np.nan_to_num(difference).ravel()
        covariance = np.zeros((2 * len(pixels), 2 * len(pixels)))
        for camera in (first, second):
            derivatives, usable = _derivatives_without_rotation(camera, pixels)
            seen &= usable
            covariance += derivatives @ camera.covariance @ derivatives.T
    keep = np.repeat(seen, 2)
    covariance = covariance[np.ix_(keep, keep)]
    values, vectors = np.linalg.eigh(covariance)
    # directions in which the statements allow less than a hundredth of their largest spread decide nothing a robot
    # could see, and what is left out of a first order would rule there
    strong = values > 1e-4 * max(values[-1], 1e-300)
    along = vectors[:, strong].T @ judged[keep]
    chi_square = float(np.sum(along**2 / values[strong])) if values[-1] > 0 else float("inf")
    degrees = int(strong.sum())
    distance = difference[seen & np.all(np.isfinite(difference), axis=1)]
    return Agreement(
        float(np.sqrt(np.sum(distance**2) / max(len(distance), 1))),
        float(np.sqrt(np.trace(covariance) / max(int(seen.sum()), 1))),
        chi_square,
        degrees,
        float(chdtrc(degrees, chi_square)),
    )


def _spread_px2(camera: Camera, pixels: Array) -> float:
    """Mean variance of a projected point over the pixels; infinite for a lens that sees nothing there."""
    traces = np.trace(projection_covariance_px2(camera, pixels), axis1=1, axis2=2)
    return float(np.nanmean(traces)) if np.any(np.isfinite(traces)) else float("inf")
