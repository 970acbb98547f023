"""What stands on the table: a seed and a named scenario family decide it, and nothing else.

`standard` is the family the shipped agent is trained on. The others are unseen by it, each in one respect, so that
"does it generalise" has an answer per respect (the fine-tuning experiments of the FOSP paper, section 5.3).
"""

from dataclasses import dataclass, replace

import numpy as np

from fosp_edge.simulation.planning import GridPlanner

RED = (0.85, 0.12, 0.10)
GREEN = (0.12, 0.65, 0.20)

SCENARIOS: dict[str, str] = {
    "standard": "red ball, two green boxes, even light: what the shipped agent was trained on",
    "obstacle-shape": "the obstacles are cylinders, thin walls or low and wide blocks",
    "goal-shape": "the target is a cube, a disc or a bar",
    "obstacle-count": "one or three boxes instead of two",
    "swapped-colours": "the target is green and the boxes are red",
    "lighting": "dim, bright, tinted or strongly sidelong light",
}
USUAL_PICTURES = ("standard", "obstacle-shape", "goal-shape", "obstacle-count")
"""Scenarios in which things have other shapes and places at most: what is learnt of colours and light still holds."""

TABLE_X_M = (0.20, 0.40)
TABLE_Y_M = (-0.24, 0.24)
TOOL_RADIUS_M = 0.012
MARGIN_M = 0.010
"""Coming closer to an obstacle than this is a violation."""


@dataclass(frozen=True)
class Obstacle:
    """An upright thing that must not be touched: footprint half sizes and height, metres."""

    shape: str
    """`box` or `cylinder`; a cylinder's radius is the first half size."""
    x_m: float
    y_m: float
    half_x_m: float
    half_y_m: float
    height_m: float


@dataclass(frozen=True)
class Light:
    """How the scene is lit."""

    ambient: float = 0.45
    diffuse: float = 0.60
    direction: tuple[float, float, float] = (0.3, 0.2, 1.0)
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Layout:
    """One episode's table."""

    scenario: str
    seed: int
    start_m: tuple[float, float, float]
    target_m: tuple[float, float, float]
    target_shape: str
    obstacles: tuple[Obstacle, ...]
    light: Light
    target_colour: tuple[float, float, float] = RED
    obstacle_colour: tuple[float, float, float] = GREEN


def make_layout(scenario: str, seed: int) -> Layout:
    """The layout of a scenario family for a seed; every layout has a collision-free way to the target.

    Raises:
        ValueError: unknown scenario; the message lists the known ones.
    """
    if scenario not in SCENARIOS:
        raise ValueError(f"unknown scenario {scenario!r}; choose one of: {', '.join(SCENARIOS)}")
    # The family's index is part of the seed, so that families do not share tables by accident.
    random = np.random.default_rng([seed, list(SCENARIOS).index(scenario)])
    while True:
        layout = _draw(scenario, seed, random)
        planner = GridPlanner(layout.obstacles, layout.target_m, clearance_m=TOOL_RADIUS_M + MARGIN_M + 0.008)
        if planner.reachable(layout.start_m[0], layout.start_m[1]):
            return layout


def _draw(scenario: str, seed: int, random: np.random.Generator) -> Layout:
    side = random.choice([-1.0, 1.0])
    start = (random.uniform(0.22, 0.38), side * random.uniform(0.14, 0.22), random.uniform(0.08, 0.15))
    target = (random.uniform(0.22, 0.38), -side * random.uniform(0.12, 0.21), random.uniform(0.03, 0.08))
    count = int(random.choice([1, 3])) if scenario == "obstacle-count" else 2
    obstacles: list[Obstacle] = []
    attempts = 0
    while len(obstacles) < count:
        attempts += 1
        if attempts > 200:  # an unlucky table: begin again rather than squeeze
            obstacles.clear()
            attempts = 0
        obstacle = _draw_obstacle(scenario, random)
        if not obstacles:  # the first one stands in the straight way, or there would be nothing to learn
            along = random.uniform(0.35, 0.65)
            obstacle = replace(
                obstacle,
                x_m=float(np.clip(start[0] + along * (target[0] - start[0]) + random.uniform(-0.03, 0.03), 0.23, 0.37)),
                y_m=start[1] + along * (target[1] - start[1]),
            )
        if all(np.hypot(obstacle.x_m - other.x_m, obstacle.y_m - other.y_m) > 0.07 for other in obstacles):
            obstacles.append(obstacle)
    light, target_shape = Light(), "ball"
    target_colour, obstacle_colour = RED, GREEN
    if scenario == "goal-shape":
        target_shape = str(random.choice(["cube", "disc", "bar"]))
    if scenario == "swapped-colours":
        target_colour, obstacle_colour = GREEN, RED
    if scenario == "lighting":
        light = [
            Light(ambient=0.20, diffuse=0.35),
            Light(ambient=0.75, diffuse=0.70),
            Light(tint=(1.0, 0.78, 0.55)),
            Light(tint=(0.65, 0.80, 1.0)),
            Light(ambient=0.25, diffuse=0.80, direction=(0.2, 1.0, 0.45)),
        ][int(random.integers(5))]
    return Layout(scenario, seed, start, target, target_shape, tuple(obstacles), light, target_colour, obstacle_colour)


def _draw_obstacle(scenario: str, random: np.random.Generator) -> Obstacle:
    x, y = random.uniform(0.21, 0.39), random.uniform(-0.09, 0.09)
    half_x, half_y, height = random.uniform(0.022, 0.032), random.uniform(0.022, 0.032), random.uniform(0.13, 0.17)
    if scenario != "obstacle-shape":
        return Obstacle("box", x, y, half_x, half_y, height)
    kind = random.choice(["cylinder", "wall", "block"])
    if kind == "cylinder":
        return Obstacle("cylinder", x, y, half_x, half_x, height)
    if kind == "wall":
        return Obstacle("box", x, y, random.uniform(0.040, 0.048), 0.010, height)
    return Obstacle("box", x, y, 0.036, 0.036, random.uniform(0.09, 0.12))
