"""Scripted behaviours that know the simulator's truth, for the offline mixture: safe, unsafe, random.

One driver serves all tasks: it heads for a place and holds a speed, by the robot's own two actions. What differs is
the place (a goal, a button, or behind the box that is to be pushed) and what has to be kept away from.
"""

import math
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fosp_edge.simulation.safety_gym.navigation import FloorPlanner, Point
from fosp_edge.simulation.safety_gym.tasks import Task

Action = npt.NDArray[np.float32]

_ROBOT_M = 0.14
"""How far a robot reaches beyond its own centre."""
_REPLAN_EVERY = 4
"""Actions after which a way past things that move is planned anew."""


class Behaviour(Protocol):
    """Chooses actions, knowing everything."""

    def act(self) -> Action:
        """The next action, [2], within [-1, 1]."""


class Driver:
    """Turns a wanted place and speed into the two actions of a robot."""

    def __init__(self, task: Task, truth: Any) -> None:
        self._car, self._truth = task.robot == "Car", truth

    @property
    def place_m(self) -> Point:
        """Where the robot is, [2]."""
        return np.array(self._truth.agent.pos[:2])

    def towards(self, place_m: Point, speed_m_s: float) -> npt.NDArray[np.float64]:
        """The action, [2], within [-1, 1]."""
        robot = self._truth.agent
        forward = -robot.mat[:2, 1] if self._car else robot.mat[:2, 0]
        velocity = np.array(robot.vel[:2])
        speed = float(velocity @ forward)
        # What carries a robot out of a bend is its sideways speed: steered against.
        way = place_m - self.place_m - 0.35 * (velocity - speed * forward)
        error = math.atan2(forward[0] * way[1] - forward[1] * way[0], float(forward @ way))
        wanted = speed_m_s * max(0.0, math.cos(error)) ** 2
        if not self._car:
            return np.clip([3.0 * (wanted - speed), 1.6 * error], -1.0, 1.0)
        # Its motors saturate at a fiftieth of their range: only an inner wheel that stands or turns back makes a bend.
        turning_rad_s = float(self._truth.data.body("agent").cvel[2])
        bend = error - 0.15 * turning_rad_s
        inner = 1.0 - abs(bend) / 0.2
        wheels = [1.0, inner] if bend > 0.0 else [inner, 1.0]
        return np.clip(wheels, -1.0, 1.0) * (1.0 if speed < speed_m_s or abs(bend) > 0.2 else -0.5)


class _ToTarget:
    """Towards what the task rewards, past `obstacles`.

    It changes its mind about how fast to go, and noise, drawn anew for every action, takes it off its way: so the data
    hold how one brakes, and how one comes back. Noise that lasts, or a speed of its own for every episode, would be
    foretold by what was done just before, and whoever imitates would learn to go on as before.
    """

    speed_range_m_s = (0.2, 1.3)
    new_speed_probability = 0.12
    """For each action."""
    clearance_range_m = (0.04, 0.12)
    noise_range = (0.1, 0.6)
    """Standard deviations."""
    heeds_costs = True

    def __init__(self, task: Task, truth: Any, random: np.random.Generator) -> None:
        self._truth, self._random, self._driver = truth, random, Driver(task, truth)
        self._speed_m_s = random.uniform(*self.speed_range_m_s)
        self._clearance_m = random.uniform(*self.clearance_range_m)
        self._noise = random.uniform(*self.noise_range)
        self._planner: FloorPlanner | None = None
        self._pushing = False
        self._planned_for, self._actions = np.full(2, np.inf), 0

    def act(self) -> Action:
        """The next action."""
        if self._random.random() < self.new_speed_probability:
            self._speed_m_s = self._random.uniform(*self.speed_range_m_s)
        place_m, speed_m_s = self._next_place()
        action = self._driver.towards(place_m, speed_m_s) + self._noise * self._random.standard_normal(2)
        self._actions += 1
        return np.clip(action, -1.0, 1.0).astype(np.float32)

    def _next_place(self) -> tuple[Point, float]:
        if hasattr(self._truth, "push_box"):
            return self._behind_the_box()
        target = np.array(self._truth.goal.pos[:2])
        return self._way_from(self._driver.place_m, target, self._obstacles()), self._speed_m_s

    def _way_from(self, place_m: Point, target_m: Point, obstacles: list[tuple[Point, float]]) -> Point:
        moving = hasattr(self._truth, "gremlins") or hasattr(self._truth, "push_box")
        stale = moving and self._actions % _REPLAN_EVERY == 0
        if self._planner is None or stale or np.linalg.norm(target_m - self._planned_for) > 0.1:
            centres = np.array([centre for centre, _ in obstacles]).reshape(-1, 2)
            self._planner = FloorPlanner(centres, np.array([radius for _, radius in obstacles]), target_m)
            self._planned_for = target_m
        return self._planner.waypoint(place_m)

    def _behind_the_box(self) -> tuple[Point, float]:
        """Pushing: stand behind the box as the way of the box leads, then drive into it."""
        box, goal, robot = np.array(self._truth.push_box.pos[:2]), self._truth.goal.pos[:2], self._driver.place_m
        way = FloorPlanner(*_arrays(self._obstacles(extra_m=0.1)), goal).waypoint(box) - box
        direction = way / max(float(np.linalg.norm(way)), 1e-6)
        offset = robot - box
        along, aside = float(offset @ direction), float(offset @ np.array([-direction[1], direction[0]]))
        # Begun only from right behind, and gone on with as long as it goes well.
        self._pushing = along < -0.1 and abs(aside) < (0.2 if self._pushing else 0.06)
        if self._pushing:
            across = np.array([-direction[1], direction[0]])
            return box + 0.2 * direction - 1.5 * aside * across, min(self._speed_m_s, 0.5)
        self._planner = None  # the box moves
        around = [*self._obstacles(), (box, 0.3 + _ROBOT_M)]
        behind = box - 0.5 * direction
        near = float(np.linalg.norm(robot - behind)) < 0.25
        return (behind if near else self._way_from(robot, behind, around)), 0.25 if near else self._speed_m_s

    def _obstacles(self, extra_m: float = 0.0) -> list[tuple[Point, float]]:
        """Centres and radii, with clearance, of what has to be kept away from now."""
        truth, found = self._truth, []
        if _has(truth, "pillars"):  # cost nothing, and stand in the way
            found += [(item, truth.pillars.size + _ROBOT_M) for item in truth.pillars.pos]
        if self.heeds_costs:
            if _has(truth, "hazards"):  # its centre counts
                found += [(item, truth.hazards.size + self._clearance_m) for item in truth.hazards.pos]
            if _has(truth, "vases") and truth.vases.is_constrained:
                found += [(item, 0.14 + _ROBOT_M + 0.5 * self._clearance_m) for item in truth.vases.pos]
            if _has(truth, "gremlins"):
                found += [(item, 0.24 + _ROBOT_M + self._clearance_m) for item in truth.gremlins.pos]
            if _has(truth, "buttons"):
                wrong = [item for index, item in enumerate(truth.buttons.pos) if index != truth.buttons.goal_button]
                found += [(item, truth.buttons.size + _ROBOT_M + 0.5 * self._clearance_m) for item in wrong]
        return [(np.array(centre[:2]), radius + extra_m) for centre, radius in found]


class Safe(_ToTarget):
    """Round everything that costs, with a clearance of its own."""


class Unsafe(_ToTarget):
    """Straight to what the task rewards, whatever it costs."""

    heeds_costs = False
    speed_range_m_s = (0.2, 1.8)


class Random:
    """Any action, every time anew."""

    def __init__(self, task: Task, truth: Any, random: np.random.Generator) -> None:
        del task, truth
        self._random = random

    def act(self) -> Action:
        """The next action, whatever the state."""
        return self._random.uniform(-1.0, 1.0, 2).astype(np.float32)


BEHAVIOURS: dict[str, type[Safe] | type[Unsafe] | type[Random]] = {"safe": Safe, "unsafe": Unsafe, "random": Random}


def _has(truth: Any, name: str) -> bool:
    return hasattr(truth, name) and getattr(truth, name).num > 0


def _arrays(obstacles: list[tuple[Point, float]]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    return np.array([centre for centre, _ in obstacles]).reshape(-1, 2), np.array([radius for _, radius in obstacles])
