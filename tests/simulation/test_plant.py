"""Physics and pictures of the plant against the arm's description and a scene that is known."""

import numpy as np
import pytest

pytest.importorskip("mujoco")
import mujoco

from fosp_edge.robots.arm import DESKTOP_ARM
from fosp_edge.robots.kinematics import ArmKinematics
from fosp_edge.simulation.layout import MARGIN_M, Layout, Light, Obstacle
from fosp_edge.simulation.plant import SUCCESS_DISTANCE_M, ArmPlant
from fosp_edge.simulation.raycast import RayCaster
from fosp_edge.simulation.scene import CAMERAS, build_model

BOX = Obstacle("box", 0.30, 0.0, 0.03, 0.03, 0.15)
START = (0.30, -0.15, 0.10)


def make_plant(start: tuple[float, float, float] = START, light: Light | None = None) -> ArmPlant:
    return ArmPlant(Layout("standard", 0, start, (0.30, 0.18, 0.05), "ball", (BOX,), light or Light()))


def test_the_plant_begins_at_the_start_and_agrees_with_the_kinematics() -> None:
    plant, kinematics = make_plant(), ArmKinematics(DESKTOP_ARM)
    np.testing.assert_allclose(plant.tip_m(), START, atol=2e-4)
    np.testing.assert_array_equal(plant.velocities_rad_s(), 0.0)
    plant.set_velocity_targets(np.array([0.5, 0.3, -0.4, 0.2, 0.6, -0.3]))
    for _ in range(4):
        plant.advance(0.05)
        np.testing.assert_allclose(kinematics.fingertip(plant.positions_rad())[0], plant.tip_m(), atol=1e-9)


def test_velocities_are_reached_within_the_limits_of_acceleration_and_speed() -> None:
    plant, limit = make_plant(), DESKTOP_ARM.acceleration_limit_rad_s2
    plant.set_velocity_targets(np.array([-10.0, 0.0, 0.0, 0.0, 0.0, 10.0]))  # away from the box
    before = plant.velocities_rad_s()
    for _ in range(60):
        plant.advance(0.01)
        now = plant.velocities_rad_s()
        assert np.all(np.abs(now - before) <= 1.05 * limit * 0.01 + 1e-3)
        assert np.all(np.abs(now) <= 1.01 * DESKTOP_ARM.velocity_limit_rad_s)
        before = now
    assert before[0] == pytest.approx(-2.0, rel=0.05) and before[5] == pytest.approx(3.0, rel=0.05)
    plant.set_hold()
    plant.advance(0.3)
    np.testing.assert_allclose(plant.velocities_rad_s(), 0.0, atol=0.02)


def test_time_passes_in_steps_of_the_physics() -> None:
    one, two = make_plant(), make_plant()
    for plant in (one, two):
        plant.set_velocity_targets(np.full(6, 0.3))
    one.advance(0.05)
    for _ in range(25):
        two.advance(0.002)
    np.testing.assert_array_equal(one.positions_rad(), two.positions_rad())


@pytest.mark.parametrize(("y_m", "violation"), [(-0.15, False), (-0.08, False), (-0.045, True)])
def test_nearness_is_judged_by_the_margin(y_m: float, violation: bool) -> None:
    # The tool has a radius of 12 mm, the box ends at 30 mm, the margin is 10 mm.
    outcome = make_plant((0.30, y_m, 0.10)).judge()
    assert outcome.clearance_m == pytest.approx(-y_m - 0.030 - 0.012, abs=1e-3)
    assert outcome.violation == violation == (outcome.clearance_m < MARGIN_M)


def test_distance_and_success_are_those_of_the_fingertip() -> None:
    far = make_plant().judge()
    assert far.distance_m == pytest.approx(np.linalg.norm([0.0, 0.33, 0.05]), abs=1e-3) and not far.success
    near = make_plant((0.30, 0.18 - SUCCESS_DISTANCE_M + 0.005, 0.05)).judge()
    assert near.success and near.distance_m == pytest.approx(0.035, abs=1e-3)
    assert not make_plant((0.30, 0.18 - SUCCESS_DISTANCE_M - 0.005, 0.05)).judge().success


def test_a_box_that_is_pushed_gives_way() -> None:
    plant, kinematics = make_plant((0.30, -0.07, 0.08)), ArmKinematics(DESKTOP_ARM)
    box = plant._model.joint("obstacle_0_y").qposadr[0]
    for _ in range(16):
        plant.set_velocity_targets(kinematics.resolved_rate(plant.positions_rad(), np.array([0.0, 0.2, 0.0])))
        plant.advance(0.05)
    assert float(plant._data.qpos[box]) > 0.01
    assert plant.judge().violation


KNOWN = """<mujoco><worldbody>
  <camera name="above" pos="0 0 1" xyaxes="1 0 0 0 1 0" fovy="60"/>
  <camera name="aside" pos="-1 0 0.1" xyaxes="0 -1 0 0 0 1" fovy="60"/>
  <geom name="box" type="box" pos="0 0 0.1" size="0.2 0.2 0.1" rgba="1 0 0 1"/>
</worldbody></mujoco>"""


def test_depth_and_colour_of_a_known_scene() -> None:
    model = mujoco.MjModel.from_xml_string(KNOWN)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    caster = RayCaster(model, Light(ambient=0.2, diffuse=0.6, direction=(0.0, 0.0, 1.0)))
    image, depth = caster.render_both(data, "above")
    # From 0.8 m above its top the box covers 0.2 / (0.8 tan 30 degrees) of the half picture: 13.9 of 32 pixels.
    hit = depth > 0
    assert hit[32].sum() == pytest.approx(27.7, abs=1.0) and hit[:, 32].sum() == hit[32].sum()
    np.testing.assert_allclose(depth[hit], 0.8, atol=1e-6)  # along the axis, not along the ray
    assert np.all(image[hit] == [round(255 * 0.8), 0, 0])  # ambient plus diffuse, lit from straight above
    assert np.all(image[~hit] == image[0, 0]) and image[0, 0, 2] > 50
    lit, side = caster.render_both(data, "aside")
    assert side[32, 32] == pytest.approx(0.8, abs=1e-6)
    assert tuple(lit[32, 32]) == (round(255 * 0.2), 0, 0)  # a face that the light does not reach
    with pytest.raises(ValueError, match="no camera 'nowhere'"):
        caster.render(data, "nowhere")


def test_a_picture_is_the_right_way_up() -> None:
    # A box to the right of the view and one further up: columns grow to the right, rows grow downwards.
    moved = KNOWN.replace('pos="0 0 0.1" size="0.2 0.2 0.1"', 'pos="0.3 0.3 0.1" size="0.1 0.1 0.1"')
    model = mujoco.MjModel.from_xml_string(moved)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    rows, columns = np.nonzero(RayCaster(model, Light()).render_both(data, "above")[1])
    assert rows.max() < 32 and columns.min() > 32


@pytest.mark.parametrize("camera", CAMERAS)
def test_the_cameras_of_the_arm_see_the_table_and_move_or_stay(camera: str) -> None:
    plant = make_plant()
    before, depth = plant.render_both(camera)
    np.testing.assert_array_equal(before, plant.render(camera))
    assert before.shape == (64, 64, 3) and before.dtype == np.uint8
    assert float(depth.max()) < 2.0 and float(np.mean(depth > 0)) > 0.5
    plant.set_velocity_targets(np.array([-0.5, 0.0, 0.0, 0.0, 0.0, 0.0]))
    plant.advance(0.3)
    after = plant.render(camera)
    assert np.any(before != after)
    # The box stands still: so does its picture in the fixed camera, and in the other one it wanders.
    shift_px = np.linalg.norm(_green_middle(after) - _green_middle(before))
    assert shift_px > 2.0 if camera == "wrist" else shift_px < 2.0


def _green_middle(image: np.ndarray) -> np.ndarray:
    colours = image.astype(float)
    found = (colours[..., 1] > 1.5 * colours[..., 0]) & (colours[..., 1] > 1.5 * colours[..., 2])
    assert found.sum() > 20
    return np.argwhere(found).mean(axis=0)


def test_both_cameras_are_observed_in_order_and_in_their_light() -> None:
    plant = make_plant()
    image = plant.observe()
    np.testing.assert_array_equal(image[..., :3], plant.render("fixed"))
    np.testing.assert_array_equal(image[..., 3:], plant.render("wrist"))
    dim = make_plant(light=Light(ambient=0.2, diffuse=0.35)).observe()
    assert float(dim.mean()) < 0.7 * float(image.mean())


def test_every_shape_of_obstacle_and_target_makes_a_model() -> None:
    cylinder = Obstacle("cylinder", 0.30, 0.0, 0.03, 0.03, 0.15)
    for shape in ("ball", "cube", "disc", "bar"):
        model = build_model(Layout("standard", 0, START, (0.3, 0.18, 0.05), shape, (cylinder,), Light()))
        assert model.geom("target").size[0] > 0
        assert model.geom("obstacle_0").size[0] == pytest.approx(0.03)
