"""The box that the fingertip may not leave: one pure function, used by the robot and by the simulated task alike."""

from dataclasses import dataclass

import numpy as np

from fosp_edge.robots.arm import FloatArray


@dataclass(frozen=True)
class Workspace:
    """An axis-aligned box in the base frame."""

    low_m: tuple[float, float, float]
    high_m: tuple[float, float, float]


DESKTOP_WORKSPACE = Workspace(low_m=(0.18, -0.27, 0.03), high_m=(0.42, 0.27, 0.16))


def limit_to_workspace(
    tip_m: FloatArray, velocity_m_s: FloatArray, horizon_s: float, workspace: Workspace = DESKTOP_WORKSPACE
) -> FloatArray:
    """The part of a fingertip velocity that stays inside the box for `horizon_s`, shape [3] (m/s).

    Each component is treated alone, so that the fingertip slides along a face instead of sticking to it. A component
    that would leave the box within the horizon is cut to what just reaches the face; at the face and beyond it,
    nothing outward is left. From outside, motion back is let through.

    Args:
        tip_m: fingertip position in the base frame, shape [3].
        velocity_m_s: wanted fingertip velocity, shape [3].
        horizon_s: for how long the velocity will be applied at most; more than zero.
        workspace: the box.

    Raises:
        ValueError: for a value that is not a finite number, a wrong shape, or a horizon that is not positive.
    """
    if tip_m.shape != (3,) or velocity_m_s.shape != (3,):
        raise ValueError(f"expected shapes [3] and [3], found {tip_m.shape} and {velocity_m_s.shape}")
    if not (np.all(np.isfinite(tip_m)) and np.all(np.isfinite(velocity_m_s)) and 0.0 < horizon_s < np.inf):
        raise ValueError("fingertip position, velocity and horizon must be finite numbers, the horizon more than zero")
    slowest = np.minimum((np.asarray(workspace.low_m) - tip_m) / horizon_s, 0.0)
    fastest = np.maximum((np.asarray(workspace.high_m) - tip_m) / horizon_s, 0.0)
    limited: FloatArray = np.clip(velocity_m_s, slowest, fastest)
    return limited
