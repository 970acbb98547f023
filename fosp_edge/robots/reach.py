"""Which part of its box an arm reaches with the tool pointing down."""

from itertools import product

import numpy as np

from fosp_edge.robots.arm import ArmDescription, FloatArray
from fosp_edge.robots.kinematics import ArmKinematics
from fosp_edge.robots.workspace import Workspace

_STARTS = 64


def grid(workspace: Workspace) -> FloatArray:
    """Corners, middles of edges and faces, and the centre of a box, shape [27, 3] (m)."""
    low, high = np.array(workspace.low_m), np.array(workspace.high_m)
    return np.array([low + (high - low) * np.array(part) for part in product((0.0, 0.5, 1.0), repeat=3)])


def reached(arm: ArmDescription, points_m: FloatArray) -> list[FloatArray | None]:
    """For each point, shape [N, 3], joint positions [J] with the fingertip there and the tool down, or None.

    Searched from home and from the postures found before, so it is no proof where it finds none.
    """
    kinematics, known = ArmKinematics(arm), [np.array(arm.home_rad)]
    found: list[FloatArray | None] = []
    for point in points_m:
        posture = None
        nearest = sorted(known, key=lambda start: float(np.linalg.norm(kinematics.fingertip(start)[0] - point)))
        for start in nearest[:4]:
            try:
                posture = kinematics.inverse(point, start)
            except ValueError:
                continue
            known.append(posture)
            break
        found.append(posture)
    return found


def posture_at(arm: ArmDescription, point_m: FloatArray, seed: int = 0) -> FloatArray | None:
    """Joint positions [J] at a point [3] with the tool down, as far from the joints' limits as was found, or None."""
    kinematics, generator = ArmKinematics(arm), np.random.default_rng(seed)
    lower, upper = arm.lower_rad, arm.upper_rad
    starts = [np.array(arm.home_rad), *generator.uniform(lower, upper, (_STARTS, len(lower)))]
    found = []
    for start in starts:
        try:
            found.append(kinematics.inverse(point_m, start))
        except ValueError:
            continue
    room = [float(np.min(np.minimum(posture - lower, upper - posture) / (upper - lower))) for posture in found]
    return found[int(np.argmax(room))] if found else None
