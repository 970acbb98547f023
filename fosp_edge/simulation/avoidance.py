"""The truth that a safety filter approximates: from here, can a violation still be avoided?

In simulation it can be tried. The state is saved, the action in question is taken, and then everything is done that a
script with the truth at hand can do about it: brake, back off from the obstacle, rise, go back the way it came. If each
of them ends in a violation, the action led into the set from which there is no way out.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from fosp_edge.robots.kinematics import ArmKinematics
from fosp_edge.simulation.environment import move
from fosp_edge.simulation.plant import ArmPlant
from fosp_edge.simulation.task import ACTION_SPACE, SPEED_LIMIT_M_S

FloatArray = npt.NDArray[np.float64]
Reflex = Callable[[ArmPlant, FloatArray], FloatArray]
"""From the plant and the velocity that led here to a fingertip velocity, m/s, [3]."""

_UP = np.array([0.0, 0.0, SPEED_LIMIT_M_S])
_ROUND_TICKS = 10
"""Half a second: by then the arm stands still or is on its way out."""
_DELAY_S = 0.024
"""Of the commands, about the mean of the environment's."""
_FAR_M = 0.10
"""One tick at full speed and braking from it take less than this: no need to try."""


def _hold(plant: ArmPlant, led_here: FloatArray) -> FloatArray:
    del plant, led_here
    return np.zeros(3)


def _away(plant: ArmPlant, led_here: FloatArray) -> FloatArray:
    del led_here
    velocity: FloatArray = plant.away_from_obstacle() * SPEED_LIMIT_M_S
    return velocity


def _away_and_up(plant: ArmPlant, led_here: FloatArray) -> FloatArray:
    velocity: FloatArray = _away(plant, led_here) + _UP
    return velocity


def _up(plant: ArmPlant, led_here: FloatArray) -> FloatArray:
    del plant, led_here
    return _UP


def _back(plant: ArmPlant, led_here: FloatArray) -> FloatArray:
    del plant
    return -led_here


REFLEXES: tuple[Reflex, ...] = (_hold, _away, _away_and_up, _back, _up)


def leads_into_violation(plant: ArmPlant, kinematics: ArmKinematics, action: npt.NDArray[np.float32]) -> bool:
    """Whether no reflex avoids a violation once `action` (normalised, [3]) has been taken for one tick.

    The plant is as it was when this returns.
    """
    if plant.judge().clearance_m > _FAR_M:
        return False
    velocity = ACTION_SPACE.physical(np.clip(np.asarray(action, np.float32), -1.0, 1.0))
    before = plant.snapshot()
    try:
        move(plant, kinematics, velocity, _DELAY_S)
        if plant.judge().violation:
            return True
        after = plant.snapshot()
        for reflex in REFLEXES:
            plant.restore(after)
            if not _violates(plant, kinematics, reflex, velocity):
                return False
        return True
    finally:
        plant.restore(before)


def _violates(plant: ArmPlant, kinematics: ArmKinematics, reflex: Reflex, led_here: FloatArray) -> bool:
    for _ in range(_ROUND_TICKS):
        move(plant, kinematics, np.clip(reflex(plant, led_here), -SPEED_LIMIT_M_S, SPEED_LIMIT_M_S), _DELAY_S)
        if plant.judge().violation:
            return True
    return False
