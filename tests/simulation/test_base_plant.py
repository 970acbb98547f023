"""A base in a room: it rolls as its wheels turn, stops in front of things, and the room is that of the scenario."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("mujoco")

from fosp_edge.cameras.base import DepthFrame
from fosp_edge.robots.depth_window import DepthWindow
from fosp_edge.robots.mobile_base import TWO_WHEELS, Bumper, WheelDrive
from fosp_edge.simulation.base_plant import BasePlant
from fosp_edge.simulation.layout import SCENARIOS, make_layout
from fosp_edge.simulation.referee import lay_table


def in_a_room(scenario: str = "standard", seed: int = 0) -> BasePlant:
    return BasePlant(make_layout(scenario, seed), TWO_WHEELS)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_it_begins_free_in_every_room_and_mostly_sees_the_target(scenario: str) -> None:
    seen = 0
    for seed in range(5):
        plant = in_a_room(scenario, seed)
        outcome = plant.judge()
        assert not outcome.violation and not outcome.success and outcome.clearance_m > 0.05
        picture = plant.render("front").astype(int)
        assert picture.shape == (64, 64, 3)
        target, other = (1, 0) if scenario == "swapped-colours" else (0, 1)
        seen += np.sum(picture[..., target] > 2 * picture[..., other]) >= 4
    assert seen >= 3  # a wide box in front of one may hide it


def test_it_rolls_as_far_as_its_wheels_turn() -> None:
    plant = in_a_room()
    start = plant.tip_m()
    plant.set_velocity_targets(np.array([3.0, 3.0]))
    plant.advance(1.0)
    turned = plant.positions_rad()
    # 0.06 s of speeding up at 50 rad/s^2, then 3 rad/s.
    np.testing.assert_allclose(turned, 3.0 - 0.5 * 3.0 * 0.06, atol=0.01)
    assert np.linalg.norm(plant.tip_m() - start) == pytest.approx(turned[0] * 0.033, abs=1e-6)
    plant.set_hold()
    plant.advance(0.5)
    np.testing.assert_array_equal(plant.velocities_rad_s(), 0.0)


def test_it_cannot_be_driven_through_anything() -> None:
    plant = in_a_room(seed=2)  # a box stands straight ahead
    plant.set_velocity_targets(np.array([8.0, 8.0]))
    violated, before = False, plant.tip_m()
    for _ in range(300):
        plant.advance(0.1)
        outcome = plant.judge()
        violated |= outcome.violation
        assert outcome.clearance_m >= 0.0
        assert np.linalg.norm(plant.tip_m() - before) <= 0.1 * 8.0 * 0.033 + 1e-9
        before = plant.tip_m()
    assert violated
    # Into a corner of the room, where it stands while its wheels turn on.
    np.testing.assert_array_equal(plant.tip_m(), before)
    assert plant.velocities_rad_s()[0] == 8.0


def test_a_seed_is_a_room() -> None:
    one, same, other = (lay_table("standard", seed, TWO_WHEELS).plant.render("front") for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert np.any(one != other)


@pytest.mark.parametrize("seed", [2, 5, 9])
def test_with_a_bumper_it_stops_before_what_its_depth_camera_sees(seed: int) -> None:
    """Straight on at full speed, where without one it is in violation at the first box or wall."""
    base = replace(TWO_WHEELS, bumper=Bumper("front", 0.25, DepthWindow((0.0, 0.3, 1.0, 0.6))))
    plant, drive = in_a_room(seed=seed), WheelDrive(base, 0.05)

    def look() -> DepthFrame:
        return DepthFrame(np.rint(1e3 * plant.render_both("front")[1]).astype(np.uint16), 0.001, 0, 2**62)  # just now

    drive.look = look
    drive.reset(0)
    for tick in range(300):
        wheels = drive.joint_velocity(plant.positions_rad(), np.array([0.22, 0.0]), tick * 50_000_000)
        plant.set_velocity_targets(wheels)
        plant.advance(0.05)
        assert not plant.judge().violation
    assert np.max(np.abs(wheels)) < 0.1, "it stands in the end"
