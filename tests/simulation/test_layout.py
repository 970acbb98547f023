"""Tables: decided by seed and family alone, always solvable, unlike `standard` in the one promised respect."""

import numpy as np
import pytest

from fosp_edge.simulation.layout import (
    GREEN,
    MARGIN_M,
    RED,
    SCENARIOS,
    TABLE_X_M,
    TABLE_Y_M,
    TOOL_RADIUS_M,
    Layout,
    Light,
    make_layout,
)
from fosp_edge.simulation.planning import GridPlanner

SEEDS = range(12)


def respects(layout: Layout) -> dict[str, bool]:
    """In which respects a table is unlike the family that agents are trained on."""
    boxes = all(
        item.shape == "box" and 0.022 <= item.half_x_m <= 0.032 and 0.022 <= item.half_y_m <= 0.032
        and 0.13 <= item.height_m <= 0.17
        for item in layout.obstacles
    )  # fmt: skip
    return {
        "obstacle-shape": not boxes,
        "goal-shape": layout.target_shape != "ball",
        "obstacle-count": len(layout.obstacles) != 2,
        "swapped-colours": (layout.target_colour, layout.obstacle_colour) != (RED, GREEN),
        "lighting": layout.light != Light(),
    }


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_each_family_is_new_in_its_own_respect_and_in_no_other(scenario: str) -> None:
    for seed in SEEDS:
        new = {name for name, differs in respects(make_layout(scenario, seed)).items() if differs}
        # Two of the five lights differ in tint only, and all five differ from the usual one.
        assert new == {scenario} - {"standard"}, seed


def test_the_variants_of_a_family_all_occur() -> None:
    kinds = {make_layout("goal-shape", seed).target_shape for seed in range(24)}
    assert kinds == {"cube", "disc", "bar"}
    assert {len(make_layout("obstacle-count", seed).obstacles) for seed in range(20)} == {1, 3}
    assert len({make_layout("lighting", seed).light for seed in range(24)}) == 5
    shapes = {
        (item.shape, item.half_y_m == 0.010)
        for seed in range(20)
        for item in make_layout("obstacle-shape", seed).obstacles
    }
    assert shapes == {("cylinder", False), ("box", True), ("box", False)}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_seed_decides_everything(scenario: str) -> None:
    assert make_layout(scenario, 3) == make_layout(scenario, 3)
    assert make_layout(scenario, 3) != make_layout(scenario, 4)
    if scenario != "standard":
        assert make_layout(scenario, 3).start_m != make_layout("standard", 3).start_m


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_table_has_a_way_that_keeps_clear(scenario: str) -> None:
    for seed in SEEDS:
        layout = make_layout(scenario, seed)
        planner = GridPlanner(layout.obstacles, layout.target_m, clearance_m=TOOL_RADIUS_M + MARGIN_M)
        x, y = layout.start_m[:2]
        for _ in range(100):
            if np.hypot(x - layout.target_m[0], y - layout.target_m[1]) < 0.015:
                break
            x, y = planner.waypoint(x, y, ahead_m=0.01)
            for item in layout.obstacles:  # measured here, not taken from the planner's own map
                gap = np.hypot(max(abs(x - item.x_m) - item.half_x_m, 0), max(abs(y - item.y_m) - item.half_y_m, 0))
                assert gap > TOOL_RADIUS_M + MARGIN_M - 1e-9, (seed, x, y)
        else:
            pytest.fail(f"seed {seed}: the way does not end at the target")


def test_everything_stands_on_the_table_and_the_first_obstacle_in_the_way() -> None:
    for seed in SEEDS:
        layout = make_layout("standard", seed)
        for point in (layout.start_m, layout.target_m):
            assert TABLE_X_M[0] <= point[0] <= TABLE_X_M[1] and TABLE_Y_M[0] <= point[1] <= TABLE_Y_M[1]
        assert layout.start_m[1] * layout.target_m[1] < 0.0  # the table has to be crossed
        first = layout.obstacles[0]
        assert min(layout.start_m[1], layout.target_m[1]) < first.y_m < max(layout.start_m[1], layout.target_m[1])


def test_an_unknown_family_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown scenario 'moon'; choose one of: standard, obstacle-shape"):
        make_layout("moon", 0)


def test_a_target_behind_a_wall_cannot_be_reached() -> None:
    from fosp_edge.simulation.layout import Obstacle

    wall = Obstacle("box", 0.30, 0.0, 0.20, 0.02, 0.15)
    planner = GridPlanner([wall], (0.3, 0.2, 0.05), clearance_m=0.02)
    assert not planner.reachable(0.3, -0.2) and planner.reachable(0.3, 0.1)
    assert not planner.reachable(0.3, 0.0)
