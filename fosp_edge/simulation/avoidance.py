"""The truth that a safety filter approximates: from here, can a violation still be avoided?

In simulation it can be tried. The state is saved, the action in question is taken, and then everything is done that a
script with the truth at hand can do about it: an arm brakes, backs off from the obstacle, rises, goes back the way it
came; a base brakes, goes back the way it came, drives straight on or backwards, and turns away to either side. If each
of them ends in a violation, the action led into the set from which there is no way out.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fosp_edge.robots.base import ActionSpace
from fosp_edge.robots.fingertip_drive import FINGERTIP_VELOCITY, SPEED_LIMIT_M_S
from fosp_edge.robots.kinematics import ArmKinematics
from fosp_edge.simulation.base_plant import BasePlant
from fosp_edge.simulation.environment import Environment, SafeReach, move
from fosp_edge.simulation.layout import MARGIN_M
from fosp_edge.simulation.plant import ArmPlant
from fosp_edge.simulation.recording import SAFEROOM_RECORDING

FloatArray = npt.NDArray[np.float64]
Reflex = Callable[[FloatArray], FloatArray]
"""From the action that led here to the next, in physical units, [A] both."""

_UP = np.array([0.0, 0.0, SPEED_LIMIT_M_S])
_DELAY_S = 0.024
"""Of the commands, about the mean of the environment's."""


class Trial(Protocol):
    """A robot in simulation, with whatever it can do about what is in its way."""

    action_space: ActionSpace
    far_m: float
    """With as much clearance there is no need to try: one tick at full speed and braking from it take less."""
    ticks: int
    """After so many the robot stands still or is on its way out."""
    reflexes: tuple[Reflex, ...]

    @property
    def plant(self) -> ArmPlant | BasePlant:
        """Where it stands."""

    def move(self, wanted: FloatArray) -> None:
        """One tick of an action in physical units, [A]."""


class ArmTrial:
    """A fingertip past boxes. Implements `Trial`."""

    action_space, far_m, ticks = FINGERTIP_VELOCITY, 0.10, 10

    def __init__(self, plant: ArmPlant) -> None:
        self.plant, self._kinematics = plant, ArmKinematics(plant.arm)
        self.reflexes: tuple[Reflex, ...] = (
            lambda led_here: np.zeros(3),
            lambda led_here: self._away(),
            lambda led_here: self._away() + _UP,
            lambda led_here: -led_here,
            lambda led_here: _UP,
        )

    def move(self, wanted: FloatArray) -> None:
        """A fingertip velocity, m/s, [3]."""
        move(self.plant, self._kinematics, np.clip(wanted, -SPEED_LIMIT_M_S, SPEED_LIMIT_M_S), _DELAY_S)

    def _away(self) -> FloatArray:
        velocity: FloatArray = self.plant.away_from_obstacle() * SPEED_LIMIT_M_S
        return velocity


class BaseTrial:
    """A base past boxes. Implements `Trial`."""

    ticks = 4
    _PERIOD_S = 1.0 / SAFEROOM_RECORDING.rate_hz

    def __init__(self, plant: BasePlant) -> None:
        self.plant = plant
        self.action_space = plant.base.action_space
        self.far_m = plant.size * MARGIN_M + 0.10
        speed, turn = self.action_space.high
        ways = [(0.0, 0.0), *((v, w) for v in (speed, -speed) for w in (0.0, turn, -turn))]
        self.reflexes: tuple[Reflex, ...] = (
            lambda led_here: -led_here,
            *(_always(np.array(way)) for way in ways),
        )

    def move(self, wanted: FloatArray) -> None:
        """Speed and turn rate, [2]."""
        self.plant.advance(_DELAY_S)
        self.plant.set_velocity_targets(self.plant.base.wheel_speeds(wanted))
        self.plant.advance(self._PERIOD_S - _DELAY_S)


def _always(wanted: FloatArray) -> Reflex:
    return lambda led_here: wanted


def trial_of(environment: Environment) -> Trial:
    """The robot of an environment's present episode."""
    if isinstance(environment, SafeReach):
        return ArmTrial(environment.plant)
    return BaseTrial(environment.plant)


def leads_into_violation(trial: Trial, action: npt.NDArray[np.float32]) -> bool:
    """Whether no reflex avoids a violation once `action` (normalised, [A]) has been taken for one tick.

    The plant is as it was when this returns.
    """
    plant = trial.plant
    if plant.judge().clearance_m > trial.far_m:
        return False
    led_here = trial.action_space.physical(np.clip(np.asarray(action, np.float32), -1.0, 1.0))
    before = plant.snapshot()
    try:
        trial.move(led_here)
        if plant.judge().violation:
            return True
        after = plant.snapshot()
        for reflex in trial.reflexes:
            plant.restore(after)
            if not _violates(trial, reflex, led_here):
                return False
        return True
    finally:
        plant.restore(before)


def _violates(trial: Trial, reflex: Reflex, led_here: FloatArray) -> bool:
    for _ in range(trial.ticks):
        trial.move(reflex(led_here))
        if trial.plant.judge().violation:
            return True
    return False
