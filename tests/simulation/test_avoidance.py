"""Ground truth by trying: snapshots are exact, far is safe, full speed into a box from close by is not."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("mujoco")
from fosp_edge.robots.kinematics import ArmKinematics
from fosp_edge.simulation.avoidance import leads_into_violation
from fosp_edge.simulation.environment import move
from fosp_edge.simulation.layout import make_layout
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
    plant, kinematics = plant_at(gap_m)
    assert not plant.judge().violation
    before = plant.positions_rad()
    assert leads_into_violation(plant, kinematics, np.array([0.0, speed, 0.0], np.float32)) is expected
    np.testing.assert_array_equal(plant.positions_rad(), before)


def test_away_points_from_the_box_to_the_arm() -> None:
    plant, _ = plant_at(0.03)
    np.testing.assert_allclose(plant.away_from_obstacle(), [0.0, -1.0, 0.0], atol=0.2)
    assert plant.judge().clearance_m == pytest.approx(0.03, abs=0.003)
