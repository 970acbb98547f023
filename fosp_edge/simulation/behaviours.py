"""Scripted behaviours with the truth at hand, from which the offline mixture is made: safe, unsafe, random.

They see the layout, which the agent never does. Noise and short random bursts take them off their paths, so that
the data also hold how one comes back.
"""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from fosp_edge.robots.fingertip_drive import SPEED_LIMIT_M_S
from fosp_edge.simulation.layout import MARGIN_M, TOOL_RADIUS_M, Layout
from fosp_edge.simulation.planning import GridPlanner

Action = npt.NDArray[np.float32]


class Behaviour(Protocol):
    """Chooses actions in [-1, 1], shape [3], knowing where the fingertip is."""

    def act(self, tip_m: npt.NDArray[np.float64]) -> Action:
        """The next action."""


class _Noise:
    """Ornstein-Uhlenbeck noise, in m/s, shape [3]."""

    def __init__(self, random: np.random.Generator, scale_m_s: float) -> None:
        self._random, self._scale, self._value = random, scale_m_s, np.zeros(3)

    def __call__(self) -> npt.NDArray[np.float64]:
        self._value = 0.8 * self._value + 0.6 * self._scale * self._random.standard_normal(3)
        return self._value


def _normalise(velocity_m_s: npt.NDArray[np.float64]) -> Action:
    return np.clip(velocity_m_s / SPEED_LIMIT_M_S, -1.0, 1.0).astype(np.float32)


class _ToTarget:
    """Towards a waypoint at a chosen speed; the height follows the remaining way."""

    def __init__(self, layout: Layout, random: np.random.Generator) -> None:
        self._target = np.asarray(layout.target_m)
        self._random = random
        self._speed_m_s = random.uniform(0.16, 0.25)
        self._noise = _Noise(random, random.choice([0.0, 0.02, 0.05]))
        self._burst, self._burst_left = np.zeros(3), 0
        self._burst_probability = random.choice([0.0, 0.03, 0.06])

    def _move(self, tip_m: npt.NDArray[np.float64], waypoint_m: npt.NDArray[np.float64]) -> Action:
        if self._burst_left == 0 and self._random.random() < self._burst_probability:
            self._burst_left = int(self._random.integers(3, 9))
            self._burst = self._random.uniform(-1, 1, 3) * SPEED_LIMIT_M_S
        if self._burst_left > 0:
            self._burst_left -= 1
            return _normalise(self._burst + self._noise())
        offset = waypoint_m - tip_m
        remaining = float(np.linalg.norm((self._target - tip_m)[:2]))
        # Come down over the last 15 cm; until then stay at the height one has.
        wanted_z = self._target[2] if remaining < 0.15 else max(self._target[2], min(tip_m[2], 0.12))
        offset[2] = wanted_z - tip_m[2]
        length = float(np.linalg.norm(offset))
        speed = min(self._speed_m_s, 8.0 * length)
        return _normalise(offset / max(length, 1e-6) * speed + self._noise())


class Safe(_ToTarget):
    """Round the obstacles with a clearance of its own, then down to the target."""

    clearance_range_m = (0.010, 0.020)
    """What it keeps beyond the margin."""

    def __init__(self, layout: Layout, random: np.random.Generator) -> None:
        super().__init__(layout, random)
        clearance_m = TOOL_RADIUS_M + MARGIN_M + random.uniform(*self.clearance_range_m)
        self._planner = GridPlanner(layout.obstacles, layout.target_m, clearance_m=clearance_m)

    def act(self, tip_m: npt.NDArray[np.float64]) -> Action:
        """The next action, along the shortest way that keeps the clearance."""
        near = float(np.linalg.norm((self._target - tip_m)[:2])) < 0.05
        x, y = self._planner.waypoint(float(tip_m[0]), float(tip_m[1]))
        return self._move(tip_m, self._target if near else np.array([x, y, tip_m[2]]))


class Careful(Safe):
    """As `Safe`, but as far round the obstacles as a person would show it; squeezes through where there is no room."""

    clearance_range_m = (0.025, 0.040)


class Unsafe(_ToTarget):
    """Straight to the target, whatever stands in the way."""

    def act(self, tip_m: npt.NDArray[np.float64]) -> Action:
        """The next action, straight ahead."""
        return self._move(tip_m, self._target)


class Random:
    """Smooth random motion that knows nothing."""

    def __init__(self, layout: Layout, random: np.random.Generator) -> None:
        del layout
        self._noise = _Noise(random, random.uniform(0.08, 0.25))
        self._drift = random.uniform(-0.1, 0.1, 3) * np.array([1.0, 1.0, 0.3])

    def act(self, tip_m: npt.NDArray[np.float64]) -> Action:
        """The next action, whatever the state."""
        del tip_m
        return _normalise(self._drift + self._noise())


BEHAVIOURS: dict[str, type[Safe] | type[Careful] | type[Unsafe] | type[Random]] = {
    "safe": Safe,
    "careful": Careful,
    "unsafe": Unsafe,
    "random": Random,
}
