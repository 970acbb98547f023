"""Ground truth by trying: snapshots are exact, far is safe, full speed into a box from close by is not."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("mujoco")
from fosp_edge.robots.kinematics import ArmKinematics
from fosp_edge.robots.mobile_base import TWO_WHEELS
from fosp_edge.simulation.avoidance import ArmTrial, BaseTrial, leads_into_violation
from fosp_edge.simulation.base_plant import SCALE, BasePlant
from fosp_edge.simulation.environment import move
from fosp_edge.simulation.layout import MARGIN_M, make_layout
from fosp_edge.simulation.plant import ArmPlant


def plant_at(gap_m: float) -> tuple[ArmPlant, ArmKinematics]:
    """Fingertip at the height of a box's middle, `gap_m` in front of its face in y."""
    layout = make_layout("standard", 0)
    box = replace(layout.obstacles[0], x_m=0.30, y_m=0.05, half_x_m=0.03, half_y_m=0.025)
    start = (0.30, 0.05 - 0.025 - 0.012 - gap_m, 0.10)
    plant = ArmPlant(replace(layout, obstacles=(box,), start_m=start))
    return plant, ArmKinematics(plant.arm)


def test_a_snapshot_brings_back_every_number_that_follows() -> None:
    plant, kinematics = plant_at(0.05)
    move(plant, kinematics, np.array([0.0, 0.2, 0.0]), 0.02)
    before = plant.snapshot()

    def course() -> list[float]:
        found = []
        for _ in range(6):  # into the box, which slides
            move(plant, kinematics, np.array([0.0, 0.25, 0.0]), 0.02)
            found += [*plant.positions_rad().tolist(), plant.judge().clearance_m]
        return found

    one = course()
    plant.restore(before)
    assert course() == one


@pytest.mark.parametrize(
    ("gap_m", "speed", "expected"), [(0.06, 1.0, False), (0.0115, 1.0, True), (0.014, -1.0, False)]
)
def test_what_can_still_be_avoided_is_known_by_trying(gap_m: float, speed: float, expected: bool) -> None:
    plant, _ = plant_at(gap_m)
    assert not plant.judge().violation
    before = plant.positions_rad()
    assert leads_into_violation(ArmTrial(plant), np.array([0.0, speed, 0.0], np.float32)) is expected
    np.testing.assert_array_equal(plant.positions_rad(), before)


def base_at(clearance_m: float) -> BasePlant:
    """A base that looks straight at a wide box."""
    layout = make_layout("standard", 0)
    box = replace(layout.obstacles[0], shape="box", x_m=0.30, y_m=0.1, half_x_m=0.1, half_y_m=0.02)
    radius_m = TWO_WHEELS.track_m / 2.0 + 0.2 * TWO_WHEELS.wheel_radius_m
    start = (0.30, 0.1 - 0.02 - (radius_m + clearance_m) / SCALE, 0.10)
    plant = BasePlant(replace(layout, obstacles=(box,), start_m=start, target_m=(0.30, 0.2, 0.1)), TWO_WHEELS)
    assert plant.judge().clearance_m == pytest.approx(clearance_m)
    return plant


@pytest.mark.parametrize(
    ("over_margin_m", "speed", "turn", "expected"),
    [(0.11, 1.0, 0.0, False), (0.08, 1.0, 0.0, False), (0.045, 1.0, 0.0, True), (0.008, 0.1, 0.0, False),
     (0.008, -1.0, 0.0, False), (0.008, 0.0, 1.0, False)],
)  # fmt: skip
def test_a_base_knows_it_by_trying_too(over_margin_m: float, speed: float, turn: float, expected: bool) -> None:
    plant = base_at(SCALE * MARGIN_M + over_margin_m)
    before = plant.snapshot()
    assert leads_into_violation(BaseTrial(plant), np.array([speed, turn], np.float32)) is expected
    for name in ("physics", "target", "ramp"):
        np.testing.assert_array_equal(getattr(plant.snapshot(), name), getattr(before, name))


def test_a_snapshot_of_a_base_brings_back_every_number_that_follows() -> None:
    plant = base_at(0.3)
    plant.set_velocity_targets(np.array([6.0, 4.0]))
    plant.advance(0.1)
    before = plant.snapshot()

    def course() -> list[float]:
        plant.set_velocity_targets(np.array([2.0, 8.0]))
        found: list[float] = []
        for _ in range(6):
            plant.advance(0.05)
            found += [*plant.tip_m(), plant.heading_rad, *plant.positions_rad(), *plant.velocities_rad_s()]
        return found

    one = course()
    plant.restore(before)
    assert course() == one


def test_away_points_from_the_box_to_the_arm() -> None:
    plant, _ = plant_at(0.03)
    np.testing.assert_allclose(plant.away_from_obstacle(), [0.0, -1.0, 0.0], atol=0.2)
    assert plant.judge().clearance_m == pytest.approx(0.03, abs=0.003)
