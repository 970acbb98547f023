"""Lens models: how a direction in front of the camera becomes a pixel, with derivatives.

Parameters are one vector: `fx fy cx cy` in pixels, then the distortion coefficients in OpenCV's order. Pixel (0, 0) is
the centre of the first pixel. Camera axes: x right, y down, z forward.
Sources: D. C. Brown (1971) and OpenCV's documentation for `pinhole` and `rational`; J. Kannala and S. Brandt (2006) for
`fisheye`.
"""

from dataclasses import dataclass

import numpy as np

from .geometry import Array

FOCAL_AND_CENTRE = ("fx", "fy", "cx", "cy")


@dataclass(frozen=True)
class LensModel:
    """One family of lenses; `project` and `unproject` are inverse to one another where the lens is one-to-one."""

    name: str
    distortion_names: tuple[str, ...]
    ros_name: str
    """What ROS calls it in `camera_info`."""

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of the whole parameter vector."""
        return FOCAL_AND_CENTRE + self.distortion_names

    @property
    def size(self) -> int:
        """Length of the parameter vector."""
        return 4 + len(self.distortion_names)

    def project(self, parameters: Array, points: Array) -> Array:
        """Points [..., 3] in camera coordinates (any scale) -> pixels [..., 2]."""
        return self.project_with_derivatives(parameters, points)[0]

    def project_with_derivatives(self, parameters: Array, points: Array) -> tuple[Array, Array, Array]:
        """Points [..., 3] -> pixels [..., 2], d pixel / d point [..., 2, 3], d pixel / d parameters [..., 2, size]."""
        distort = _distort_fisheye if self.name == "fisheye" else _distort_pinhole
        plane, by_point, by_coefficient = distort(parameters[4:], points)
        focal = parameters[:2]
        pixels = plane * focal + parameters[2:4]
        by_parameters = np.zeros((*plane.shape[:-1], 2, self.size))
        by_parameters[..., 0, 0] = plane[..., 0]
        by_parameters[..., 1, 1] = plane[..., 1]
        by_parameters[..., 0, 2] = 1.0
        by_parameters[..., 1, 3] = 1.0
        by_parameters[..., 4:] = by_coefficient * focal[:, None]
        return pixels, by_point * focal[:, None], by_parameters

    def unproject(self, parameters: Array, pixels: Array) -> Array:
        """Pixels [..., 2] -> unit directions [..., 3]; NaN where no direction projects to the pixel."""
        plane = (pixels - parameters[2:4]) / parameters[:2]
        invert = _undistort_fisheye if self.name == "fisheye" else _undistort_pinhole
        rays = invert(parameters[4:], plane)
        norm = np.linalg.norm(rays, axis=-1, keepdims=True)
        return np.asarray(rays / norm)


PINHOLE = LensModel("pinhole", ("k1", "k2", "p1", "p2", "k3"), "plumb_bob")
RATIONAL = LensModel("rational", ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6"), "rational_polynomial")
FISHEYE = LensModel("fisheye", ("k1", "k2", "k3", "k4"), "equidistant")
LENS_MODELS = (PINHOLE, FISHEYE, RATIONAL)
"""From the most ordinary to the most flexible: ties in the choice of model go to the first."""


def lens_model(name: str) -> LensModel:
    """The model of that name; ValueError names the ones there are."""
    for model in LENS_MODELS:
        if name in (model.name, model.ros_name):
            return model
    known = ", ".join(model.name for model in LENS_MODELS)
    raise ValueError(f"the lens model is {name!r}, but only {known} are known: choose one of these")


def _distort_pinhole(coefficients: Array, points: Array) -> tuple[Array, Array, Array]:
    """Brown-Conrady, with a denominator where there are eight coefficients. Shapes as in project_with_derivatives."""
    k1, k2, p1, p2, k3 = coefficients[:5]
    depth = points[..., 2]
    depth = np.where(np.abs(depth) < 1e-9, 1e-9, depth)
    x, y = points[..., 0] / depth, points[..., 1] / depth
    r2 = x * x + y * y
    r4, r6 = r2 * r2, r2 * r2 * r2
    numerator = 1.0 + k1 * r2 + k2 * r4 + k3 * r6
    numerator_slope = k1 + 2.0 * k2 * r2 + 3.0 * k3 * r4
    denominator = np.ones_like(r2)
    gain, slope = numerator, numerator_slope
    if len(coefficients) == 8:
        k4, k5, k6 = coefficients[5:]
        denominator = 1.0 + k4 * r2 + k5 * r4 + k6 * r6
        # past a zero of the denominator the picture turns inside out: such a lens is no lens, and no fit may go there
        denominator = np.where(denominator < 1e-3, np.nan, denominator)
        gain = numerator / denominator
        slope = (numerator_slope - gain * (k4 + 2.0 * k5 * r2 + 3.0 * k6 * r4)) / denominator
    plane = np.stack(
        [x * gain + 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x), y * gain + p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y],
        axis=-1,
    )
    xx = gain + 2.0 * x * x * slope + 2.0 * p1 * y + 6.0 * p2 * x
    xy = 2.0 * x * y * slope + 2.0 * p1 * x + 2.0 * p2 * y
    yy = gain + 2.0 * y * y * slope + 6.0 * p1 * y + 2.0 * p2 * x
    by_point = np.empty((*r2.shape, 2, 3))
    by_point[..., 0, 0], by_point[..., 0, 1] = xx / depth, xy / depth
    by_point[..., 1, 0], by_point[..., 1, 1] = xy / depth, yy / depth
    by_point[..., 0, 2] = -(xx * x + xy * y) / depth
    by_point[..., 1, 2] = -(xy * x + yy * y) / depth
    radial = [r2, r4, r6]
    columns = [
        *[np.stack([x, y], -1) * (power / denominator)[..., None] for power in radial[:2]],
        np.stack([2.0 * x * y, r2 + 2.0 * y * y], -1),
        np.stack([r2 + 2.0 * x * x, 2.0 * x * y], -1),
        np.stack([x, y], -1) * (r6 / denominator)[..., None],
    ]
    if len(coefficients) == 8:
        columns += [np.stack([x, y], -1) * (-gain * power / denominator)[..., None] for power in radial]
    return plane, by_point, np.stack(columns, axis=-1)


def _distort_fisheye(coefficients: Array, points: Array) -> tuple[Array, Array, Array]:
    """Kannala-Brandt: the radius in the picture is a polynomial in the angle from the axis, so z may be negative."""
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    radius = np.maximum(np.hypot(x, y), 1e-12)
    square = radius**2 + z**2
    angle = np.arctan2(radius, z)
    powers = np.stack([angle ** (2 * i + 3) for i in range(4)], axis=-1)
    bent = angle + powers @ coefficients
    bent_slope = 1.0 + np.stack([(2 * i + 3) * angle ** (2 * i + 2) for i in range(4)], axis=-1) @ coefficients
    scale = bent / radius
    # d scale / d radius and d scale / d z; at the axis both terms of the first cancel to the limit 0
    by_radius = (bent_slope * z / square - scale) / radius
    by_radius = np.where(radius < 1e-7, 0.0, by_radius)
    by_z = -bent_slope / square
    by_point = np.empty((*x.shape, 2, 3))
    by_point[..., 0, 0] = scale + x * by_radius * x / radius
    by_point[..., 0, 1] = by_point[..., 1, 0] = x * by_radius * y / radius
    by_point[..., 1, 1] = scale + y * by_radius * y / radius
    by_point[..., 0, 2] = x * by_z
    by_point[..., 1, 2] = y * by_z
    direction = np.stack([x, y], axis=-1) / radius[..., None]
    return direction * bent[..., None], by_point, direction[..., None] * powers[..., None, :]


def _undistort_pinhole(coefficients: Array, plane: Array) -> Array:
    """Newton's method on the picture plane; NaN where it does not come back to the pixel."""
    target = np.asarray(plane, float)
    guess = target.copy()
    for _ in range(20):
        rays = np.concatenate([guess, np.ones((*guess.shape[:-1], 1))], axis=-1)
        value, jacobian, _ = _distort_pinhole(coefficients, rays)
        jacobian = jacobian[..., :2]
        error = value - target
        determinant = jacobian[..., 0, 0] * jacobian[..., 1, 1] - jacobian[..., 0, 1] * jacobian[..., 1, 0]
        determinant = np.where(np.abs(determinant) < 1e-6, 1e-6, determinant)
        step = np.stack(
            [
                jacobian[..., 1, 1] * error[..., 0] - jacobian[..., 0, 1] * error[..., 1],
                jacobian[..., 0, 0] * error[..., 1] - jacobian[..., 1, 0] * error[..., 0],
            ],
            axis=-1,
        )
        step = np.clip(step / determinant[..., None], -0.3, 0.3)
        guess = guess - step
        if np.abs(step).max(initial=0.0) < 1e-12:
            break
    rays = np.concatenate([guess, np.ones((*guess.shape[:-1], 1))], axis=-1)
    value, jacobian, _ = _distort_pinhole(coefficients, rays)
    jacobian = jacobian[..., :2]
    folded = jacobian[..., 0, 0] * jacobian[..., 1, 1] - jacobian[..., 0, 1] * jacobian[..., 1, 0] <= 0
    lost = (np.abs(value - target).max(axis=-1) > 1e-6) | folded
    return np.where(lost[..., None], np.nan, rays)


def _undistort_fisheye(coefficients: Array, plane: Array) -> Array:
    """Newton's method on the angle; NaN past the angle where the polynomial turns back, or past 180 degrees."""
    radius = np.linalg.norm(plane, axis=-1)
    angle = np.minimum(radius, np.pi)
    for _ in range(30):
        powers = np.stack([angle ** (2 * i + 3) for i in range(4)], axis=-1)
        slope = 1.0 + np.stack([(2 * i + 3) * angle ** (2 * i + 2) for i in range(4)], axis=-1) @ coefficients
        step = (angle + powers @ coefficients - radius) / np.where(np.abs(slope) < 1e-6, 1e-6, slope)
        angle = np.clip(angle - np.clip(step, -0.3, 0.3), 0.0, np.pi)
        if np.abs(step).max(initial=0.0) < 1e-13:
            break
    powers = np.stack([angle ** (2 * i + 3) for i in range(4)], axis=-1)
    slope = 1.0 + np.stack([(2 * i + 3) * angle ** (2 * i + 2) for i in range(4)], axis=-1) @ coefficients
    lost = (np.abs(angle + powers @ coefficients - radius) > 1e-6) | (slope <= 0)
    safe = np.where(radius < 1e-12, 1.0, radius)
    side = np.where(radius < 1e-12, 1.0, np.sin(angle) / safe)
    rays = np.concatenate([plane * side[..., None], np.cos(angle)[..., None]], axis=-1)
    return np.where(lost[..., None], np.nan, rays)
