"""Whether the robot's motion can tell where the camera is, and which motion is missing."""

from dataclasses import dataclass

import numpy as np

from .errors import CalibrationError
from .geometry import Array, inverse, is_rigid, vector_from_rotation

LEAST_VIEWS = 8
LEAST_TURN_RAD = np.radians(15.0)
LEAST_SECOND_AXIS_RAD = np.radians(4.0)
GOOD_AXIS_RAD = np.radians(12.0)


@dataclass(frozen=True)
class Motion:
    """Rotations between the poses, seen from the moving side (the gripper)."""

    largest_turn_rad: float
    axes: Array
    """Three directions in the gripper's frame, rows, from the most to the least excited."""
    turn_rad: Array
    """Root mean square rotation about each of them, over all pairs of poses."""
    missing: list[str]
    """What to do next; empty when all axes are excited."""


def analyse(base_from_gripper: Array) -> Motion:
    """Which rotations a series of gripper poses [views, 4, 4] contains."""
    first, second = np.triu_indices(len(base_from_gripper), 1)
    turns = inverse(base_from_gripper[second]) @ base_from_gripper[first]
    vectors = vector_from_rotation(turns[:, :3, :3]) if len(first) else np.zeros((1, 3))
    values, directions = np.linalg.eigh(vectors.T @ vectors / max(len(vectors), 1))
    spread = np.sqrt(np.maximum(values[::-1], 0.0))
    axes = directions.T[::-1]
    advice = []
    for axis, rms in zip(axes, spread, strict=True):
        if rms < GOOD_AXIS_RAD:
            advice.append(
                f"turn the gripper about {_axis_name(axis)} by 20 to 30 degrees each way (so far "
                f"{np.degrees(rms):.0f} on average)"
            )
    largest = float(np.linalg.norm(vectors, axis=1).max())
    return Motion(largest, axes, spread, advice)


def require_enough(base_from_gripper: Array) -> Motion:
    """Raises CalibrationError for poses that are not poses, too few, or leave the camera's place open."""
    if base_from_gripper.ndim != 3 or not is_rigid(base_from_gripper):
        raise CalibrationError(
            "the robot's poses must be 4 x 4 matrices base_from_gripper with proper rotations, in metres: check the "
            "pose file's columns"
        )
    reach_m = float(np.linalg.norm(base_from_gripper[:, :3, 3], axis=1).max(initial=0.0))
    if reach_m > 20.0:
        raise CalibrationError(
            f"the robot's poses reach {reach_m:.0f} m: positions are expected in metres, these look like millimetres"
        )
    count = len(base_from_gripper)
    if count < LEAST_VIEWS:
        raise CalibrationError(
            f"hand-eye calibration needs at least {LEAST_VIEWS} poses with the board in view, found {count}: take 15 "
            f"to 20"
        )
    motion = analyse(base_from_gripper)
    if motion.largest_turn_rad < LEAST_TURN_RAD:
        raise CalibrationError(
            f"the gripper turns by at most {np.degrees(motion.largest_turn_rad):.1f} degrees between the poses: shifts "
            "alone do not show where the camera is; turn the gripper by 20 to 30 degrees about two axes"
        )
    if motion.turn_rad[1] < LEAST_SECOND_AXIS_RAD:
        raise CalibrationError(
            f"the gripper turns about one axis only ({_axis_name(motion.axes[0])}), so the camera's place along it "
            f"stays "
            f"open: also {motion.missing[0]}"
        )
    return motion


def _axis_name(axis: Array) -> str:
    """The gripper's own axis where it is close to one, else the direction."""
    index = int(np.argmax(np.abs(axis)))
    if np.abs(axis[index]) > 0.9:
        return f"its {'xyz'[index]} axis"
    signed = axis * np.sign(axis[index])
    return f"the direction ({signed[0]:.1f}, {signed[1]:.1f}, {signed[2]:.1f}) of its frame"
