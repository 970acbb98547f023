"""A URDF read here against MuJoCo's reading of the same file, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from fosp_edge.robots.base import RobotError
from fosp_edge.robots.kinematics import ArmKinematics
from fosp_edge.robots.urdf import Caps, arm_from_urdf
from tests.robots.bench_arm import write_urdf


def test_the_fingertip_is_where_mujoco_has_it(tmp_path: Path) -> None:
    mujoco = pytest.importorskip("mujoco")
    path = write_urdf(tmp_path / "bench.urdf")
    arm = arm_from_urdf(path, "tip", name="bench")
    model = mujoco.MjModel.from_xml_path(str(path))
    data, kinematics = mujoco.MjData(model), ArmKinematics(arm)
    base = data.body("plate").id
    for position in np.random.default_rng(0).uniform(-2.0, 2.0, (50, len(arm.joints))):
        data.qpos[[model.joint(name).qposadr[0] for name in arm.joint_names]] = position
        mujoco.mj_kinematics(model, data)
        tip, tool, _ = kinematics.fingertip(position)
        np.testing.assert_allclose(tip, data.body("tip").xpos - data.xpos[base], atol=1e-6)
        z_axis_of_tip = data.body("tip").xmat.reshape(3, 3)[:, 2]
        np.testing.assert_allclose(tool @ np.array(arm.tool_axis), z_axis_of_tip, atol=1e-6)


def test_limits_are_the_files_and_speeds_are_capped(tmp_path: Path) -> None:
    arm = arm_from_urdf(write_urdf(tmp_path / "a.urdf"), "tip", name="bench", caps=Caps(1.5, 4.0))
    assert arm.joint_names == ("pan", "lift", "bend", "tilt", "roll")
    assert (arm.joints[1].lower_rad, arm.joints[1].upper_rad) == (-3.1, 0.5)
    assert (arm.joints[4].lower_rad, arm.joints[4].upper_rad) == (-np.pi, np.pi)
    assert [joint.velocity_limit_rad_s for joint in arm.joints] == [1.5, 1.5, 0.5, 1.5, 1.5]
    assert {joint.acceleration_limit_rad_s2 for joint in arm.joints} == {4.0}
    assert np.linalg.norm(arm.joints[2].axis) == pytest.approx(1.0)


def test_a_chain_may_begin_and_end_anywhere(tmp_path: Path) -> None:
    path = write_urdf(tmp_path / "a.urdf")
    assert arm_from_urdf(path, "hand", name="short", base="upper").joint_names == ("bend", "tilt")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("<robot", "not XML"),
        ("<sdf/>", "expected <robot>"),
        ('<!DOCTYPE r [<!ENTITY a "b">]><robot/>', "declares entities"),
        ('<robot><joint name="a" type="revolute"><parent link="x"/><child link="tip"/></joint></robot>', "no limits"),
        ('<robot><joint name="a" type="fixed"><child link="tip"/></joint></robot>', "lacks its parent"),
        ('<robot><joint name="a" type="fixed"><parent link="x"/><child link="tip"/></joint></robot>', "nothing moves"),
        ('<robot><joint name="a" type="prismatic"><parent link="x"/><child link="tip"/></joint></robot>', "prismatic"),
        ('<robot><joint name="a" type="fixed"><parent link="tip"/><child link="tip"/></joint></robot>', "form a ring"),
        (
            '<robot><joint name="a" type="continuous"><parent link="x"/><child link="tip"/><axis xyz="0 0 0"/></joint>'
            "</robot>",
            "no direction",
        ),
        (
            '<robot><joint name="a" type="fixed"><parent link="x"/><child link="tip"/><origin xyz="0 nan 0"/></joint>'
            "</robot>",
            "three numbers",
        ),
    ],
)
def test_what_cannot_be_meant_is_a_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.urdf"
    path.write_text(text)
    with pytest.raises(RobotError, match=sentence):
        arm_from_urdf(path, "tip", name="bad")


def test_links_that_are_not_there_are_named(tmp_path: Path) -> None:
    path = write_urdf(tmp_path / "a.urdf")
    with pytest.raises(RobotError, match="no link 'tool0'; it has column"):
        arm_from_urdf(path, "tool0", name="a")
    with pytest.raises(RobotError, match="does not hang on 'tip'"):
        arm_from_urdf(path, "hand", name="a", base="tip")
    with pytest.raises(RobotError, match="cannot be read"):
        arm_from_urdf(tmp_path / "none.urdf", "tip", name="a")
