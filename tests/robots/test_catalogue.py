"""The arms that can be named: the SO-101 against its maker's figures, boxes that are within reach, wires that exist."""

import itertools

import numpy as np
import pytest

from firmware_bridge.buses.families import FAMILIES
from fosp_edge.cli.motors_access import parse_ids
from fosp_edge.robots.arm import DESKTOP_ARM
from fosp_edge.robots.base import RobotError
from fosp_edge.robots.catalogue import ARMS, ROBOTS, arm_named
from fosp_edge.robots.kinematics import ArmKinematics
from fosp_edge.robots.so101 import SO101_ARM, SO101_WORKSPACE
from fosp_edge.robots.wires import CONTROLLER

SO101 = ArmKinematics(SO101_ARM)
HOME = np.array(SO101_ARM.home_rad)


def test_the_so101_at_zero_is_where_its_makers_model_has_it() -> None:
    # `gripperframe` of so101_new_calib.xml at zero, computed by MuJoCo from the maker's quaternions.
    tip, tool, _ = SO101.fingertip(np.zeros(6))
    np.testing.assert_allclose(tip, [0.39136, -0.00001, 0.22647], atol=5e-5)
    np.testing.assert_allclose(tool[:, 0], [1.0, 0.0, 0.0], atol=1e-12)


def test_the_jaw_does_not_move_the_fingertip() -> None:
    closed, open_ = HOME.copy(), HOME.copy()
    open_[5] = 1.0
    np.testing.assert_array_equal(SO101.fingertip(closed)[0], SO101.fingertip(open_)[0])
    assert not np.any(SO101.fingertip(open_)[2][:, 5])


def test_every_corner_of_the_so101s_box_is_within_reach_with_the_gripper_down() -> None:
    for corner in itertools.product(*zip(SO101_WORKSPACE.low_m, SO101_WORKSPACE.high_m, strict=True)):
        position = SO101.inverse(np.array(corner), HOME)
        tip, tool, _ = SO101.fingertip(position)
        np.testing.assert_allclose(tip, corner, atol=2e-4)
        assert tool[2, 0] < -0.999


def test_the_so101_moves_as_asked_and_leaves_roll_at_home_and_the_jaw_where_it_is() -> None:
    position = HOME.copy()
    position[5] = 0.7
    for velocity in ([0.05, 0.0, 0.0], [0.0, 0.05, 0.0], [0.0, 0.0, 0.02]):
        for _ in range(10):
            before = SO101.fingertip(position)[0]
            position = position + 0.02 * SO101.resolved_rate(position, np.array(velocity))
            moved = (SO101.fingertip(position)[0] - before) / 0.02
            np.testing.assert_allclose(moved, velocity, atol=0.012)
    assert abs(position[4] - HOME[4]) < 0.02 and position[5] == 0.7


@pytest.mark.parametrize("name", ARMS)
def test_descriptions_are_consistent(name: str) -> None:
    arm, box = arm_named(name)
    assert arm.name == name
    assert np.all(arm.lower_rad < arm.upper_rad) and np.all(np.array(box.low_m) < np.array(box.high_m))
    assert np.all((np.array(arm.home_rad) >= arm.lower_rad) & (np.array(arm.home_rad) <= arm.upper_rad))
    for joint in arm.joints:
        assert np.linalg.norm(joint.axis) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("name", ROBOTS)
def test_a_robot_has_a_wire_that_exists_and_a_servo_per_joint(name: str) -> None:
    kind = ROBOTS[name]
    assert kind.wire == CONTROLLER or kind.wire in FAMILIES
    if kind.wire != CONTROLLER:
        assert len(parse_ids(kind.motor_ids)) == len(arm_named(kind.moved)[0].joints)


def test_an_unknown_arm_is_a_sentence() -> None:
    with pytest.raises(RobotError, match="choose one of: desktop-arm-6dof, so101"):
        arm_named("crane")


def test_a_calibrated_range_cuts_the_limits() -> None:
    wide = [(-4.0, 4.0)] * 6
    assert DESKTOP_ARM.within(wide) == DESKTOP_ARM
    cut = DESKTOP_ARM.within([(-0.5, 0.25), *wide[1:]]).joints[0]
    assert (cut.lower_rad, cut.upper_rad) == (-0.5, 0.25)
    with pytest.raises(ValueError, match=r"waist.*calibrate again"):
        DESKTOP_ARM.within([(3.5, 4.0), *wide[1:]])
    with pytest.raises(ValueError, match="6 joints, 2 ranges"):
        DESKTOP_ARM.within(wide[:2])
