"""Which part of its box an arm reaches with the tool pointing down."""

from itertools import product

import numpy as np

from fosp_edge.robots.arm import ArmDescription, FloatArray
from fosp_edge.robots.kinematics import ArmKinematics
from fosp_edge.robots.workspace import Workspace

_NEAR, _ANYWHERE, _STARTS = 4, 8, 64


def grid(workspace: Workspace) -> FloatArray:
    """Corners, middles of edges and faces, and the centre of a box, shape [27, 3] (m)."""
    low, high = np.array(workspace.low_m), np.array(workspace.high_m)
    return np.array([low + (high - low) * np.array(part) for part in product((0.0, 0.5, 1.0), repeat=3)])


def reached(arm: ArmDescription, points_m: FloatArray, seed: int = 0) -> list[FloatArray | None]:
    """For each point, shape [N, 3], joint positions [J] with the fingertip there and the tool down, or None.

    Searched from home, from the postures found before, nearest first, and from some at random, so that nothing found is
    no proof that there is none.
    """
    kinematics, known = ArmKinematics(arm), [np.array(arm.home_rad)]
    generator = np.random.default_rng(seed)
    found: list[FloatArray | None] = []
    for point in points_m:
        near = sorted(known, key=lambda start: float(np.linalg.norm(kinematics.fingertip(start)[0] - point)))[:_NEAR]
        anywhere = generator.uniform(arm.lower_rad, arm.upper_rad, (_ANYWHERE, len(arm.joints)))
        posture = next(
            (one for start in (*near, *anywhere) if (one := _search(kinematics, point, start)) is not None), None
        )
        known += [] if posture is None else [posture]
        found.append(posture)
    return found


def posture_at(arm: ArmDescription, point_m: FloatArray, seed: int = 0) -> FloatArray | None:
    """Joint positions [J] at a point [3] with the tool down, as far from the joints' limits as was found, or None."""
    kinematics, generator = ArmKinematics(arm), np.random.default_rng(seed)
    lower, upper = arm.lower_rad, arm.upper_rad
    starts = [np.array(arm.home_rad), *generator.uniform(lower, upper, (_STARTS, len(lower)))]
    found = [posture for start in starts if (posture := _search(kinematics, point_m, start)) is not None]
    room = [float(np.min(np.minimum(posture - lower, upper - posture) / (upper - lower))) for posture in found]
    return found[int(np.argmax(room))] if found else None


def _search(kinematics: ArmKinematics, point_m: FloatArray, start_rad: FloatArray) -> FloatArray | None:
    arm = kinematics.arm
    if np.linalg.norm(point_m - np.array(arm.joints[0].offset_m)) > arm.reach_m:
        return None
    try:
        return kinematics.inverse(point_m, start_rad)
    except ValueError:
        return None
