"""What intrinsics must reach to pass, and what no calibration may be made from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .detection import Rejection
from .errors import CalibrationError
from .geometry import Array
from .uncertainty import Camera
from .views import tilt_rad

HOPELESS_NOISE_PX = 2.0
"""Above this the board is not the one that was named, whatever the limits say."""


@dataclass(frozen=True)
class Limits:
    """What a calibration must reach to pass. Every field is printed with the result."""

    least_views: int = 10
    noise_px: float = 0.5
    """Largest root mean square corner error per coordinate."""
    uncertainty_px: float = 1.0
    """Largest standard deviation of a projected point within the middle 90 % of the picture."""
    agreement_probability: float = 1e-3
    """Least probability of the difference between the two half solves, if it is larger than `agreement_px`."""
    agreement_px: float = 0.4
    """Difference up to which the half solves need not agree: corners are off by some thousandths of a pixel that are
    alike from picture to picture, which in half the views comes to a few tenths over the image."""
    focal_part: float = 0.02
    """Largest standard deviation of the focal length, as a part of it."""
    least_tilt_rad: float = 0.17
    """At least three views must be tilted by this much."""


def require_views(count: int, limits: Limits, rejected: Sequence[Rejection]) -> None:
    """Raises CalibrationError for too few usable views."""
    if count < limits.least_views:
        left_out = f" ({len(rejected)} left out: {rejected[0].name}: {rejected[0].reason})" if rejected else ""
        raise CalibrationError(
            f"at least {limits.least_views} usable views are needed, found {count}{left_out}: take about 30, all over "
            "the picture, near and far, tilted"
        )


def require_tilt(poses: Array, limits: Limits) -> None:
    """Raises CalibrationError where all views are frontal; `poses` are camera_from_board [views, 4, 4]."""
    tilted = int(np.sum(tilt_rad(poses) > limits.least_tilt_rad))
    if tilted < 3:
        raise CalibrationError(
            f"only {tilted} views are tilted by more than {np.degrees(limits.least_tilt_rad):.0f} degrees: frontal "
            f"views "
            "cannot tell focal length from distance; tilt the board by 20 to 45 degrees each way"
        )


def require_determined(camera: Camera, noise_px: float, limits: Limits) -> None:
    """Raises CalibrationError for a solution that is no camera, or that the views do not determine."""
    sigma = np.sqrt(np.maximum(np.diag(camera.covariance)[:2], 0.0)) / np.abs(camera.parameters[:2])
    width, height = camera.size_px
    if noise_px > HOPELESS_NOISE_PX:
        raise CalibrationError(
            f"board and lens explain the corners only to {noise_px:.1f} px: check that the printed board is the one "
            f"given "
            "(its text is under it) and that it is flat"
        )
    centre = camera.parameters[2:4]
    if not (np.all(centre > 0) and centre[0] < width and centre[1] < height and np.all(camera.parameters[:2] > 0)):
        raise CalibrationError(
            f"the solution puts the optical centre at {centre[0]:.0f}, {centre[1]:.0f} in a {width}x{height} picture, "
            "which no uncropped camera has: take more views, tilted and all over the picture"
        )
    if sigma.max() > limits.focal_part or not np.all(np.isfinite(sigma)):
        raise CalibrationError(
            f"the views leave the focal length open by {100 * sigma.max():.1f} %, at most "
            f"{100 * limits.focal_part:g} % "
            "is useful: take more views, tilted by 20 to 45 degrees and filling the picture"
        )
