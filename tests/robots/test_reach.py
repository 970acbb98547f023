"""What an arm reaches, against its own kinematics."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from fosp_edge.robots.arm import DESKTOP_ARM
from fosp_edge.robots.kinematics import ArmKinematics
from fosp_edge.robots.reach import grid, posture_at, reached
from fosp_edge.robots.so101 import SO101_ARM, SO101_WORKSPACE
from fosp_edge.robots.urdf import arm_from_urdf
from fosp_edge.robots.workspace import Workspace
from tests.robots.bench_arm import write_urdf


def test_a_grid_has_the_corners_and_the_centre() -> None:
    points = grid(Workspace((0.0, 0.0, 0.0), (1.0, 2.0, 4.0)))
    assert points.shape == (27, 3)
    np.testing.assert_array_equal(points[0], [0.0, 0.0, 0.0])
    np.testing.assert_array_equal(points[13], [0.5, 1.0, 2.0])
    np.testing.assert_array_equal(points[-1], [1.0, 2.0, 4.0])


def test_what_is_reached_is_reached_with_the_tool_down() -> None:
    points, kinematics = grid(SO101_WORKSPACE), ArmKinematics(SO101_ARM)
    for point, posture in zip(points, reached(SO101_ARM, points), strict=True):
        assert posture is not None
        tip, tool, _ = kinematics.fingertip(posture)
        np.testing.assert_allclose(tip, point, atol=2e-4)
        assert tool[2, 0] < -0.999


def test_farther_than_the_arm_is_long_is_out_of_reach() -> None:
    assert reached(DESKTOP_ARM, np.array([[0.8, 0.0, 0.1], [0.3, 0.0, 0.1]]))[0] is None
    assert posture_at(DESKTOP_ARM, np.array([0.8, 0.0, 0.1])) is None


def test_a_tool_may_point_along_any_axis_of_its_link(tmp_path: Path) -> None:
    arm = arm_from_urdf(write_urdf(tmp_path / "a.urdf"), "tip", name="bench")
    point = np.array([0.25, 0.05, 0.1])
    home = posture_at(arm, point)
    assert home is not None
    arm = replace(arm, home_rad=tuple(home.tolist()))
    kinematics, position = ArmKinematics(arm), home
    tip, tool, _ = kinematics.fingertip(position)
    np.testing.assert_allclose(tip, point, atol=2e-4)
    np.testing.assert_allclose(tool @ np.array(arm.tool_axis), [0.0, 0.0, -1.0], atol=0.05)
    for _ in range(20):  # and stays down while it moves
        position = position + 0.05 * kinematics.resolved_rate(position, np.array([0.02, 0.05, 0.0]))
    moved, tool, _ = kinematics.fingertip(position)
    np.testing.assert_allclose(moved - tip, [0.02, 0.05, 0.0], atol=0.004)
    np.testing.assert_allclose(tool @ np.array(arm.tool_axis), [0.0, 0.0, -1.0], atol=0.05)


def test_the_chain_ends_at_the_fingertip() -> None:
    kinematics = ArmKinematics(DESKTOP_ARM)
    home = np.array(DESKTOP_ARM.home_rad)
    points = kinematics.chain(home)
    assert points.shape == (8, 3)
    np.testing.assert_array_equal(points[-1], kinematics.fingertip(home)[0])
    lengths = np.linalg.norm(np.diff(points, axis=0), axis=1)
    offsets = [*(joint.offset_m for joint in DESKTOP_ARM.joints), DESKTOP_ARM.tool_offset_m]
    np.testing.assert_allclose(lengths, np.linalg.norm(offsets, axis=1))
