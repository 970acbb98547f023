"""The arm's kinematics against MuJoCo's, against finite differences, and against what was asked of it."""

import numpy as np
import pytest

from fosp_edge.robots.arm import DESKTOP_ARM
from fosp_edge.robots.kinematics import ArmKinematics

KINEMATICS = ArmKinematics(DESKTOP_ARM)
HOME = np.array(DESKTOP_ARM.home_rad)


def random_positions(count: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(DESKTOP_ARM.lower_rad, DESKTOP_ARM.upper_rad, (count, 6))


def test_the_fingertip_is_where_mujoco_has_it() -> None:
    mujoco = pytest.importorskip("mujoco")
    from fosp_edge.simulation.layout import make_layout
    from fosp_edge.simulation.scene import build_model

    model = build_model(make_layout("standard", 0))
    data = mujoco.MjData(model)
    index = [model.joint(name).qposadr[0] for name in DESKTOP_ARM.joint_names]
    for position in random_positions(50):
        data.qpos[index] = position
        mujoco.mj_forward(model, data)
        tip, orientation, jacobian = KINEMATICS.fingertip(position)
        np.testing.assert_allclose(tip, data.site("tip").xpos, atol=1e-9)
        np.testing.assert_allclose(orientation, data.site("tip").xmat.reshape(3, 3), atol=1e-9)
        linear, angular = np.zeros((3, model.nv)), np.zeros((3, model.nv))
        mujoco.mj_jacSite(model, data, linear, angular, model.site("tip").id)
        columns = [model.joint(name).dofadr[0] for name in DESKTOP_ARM.joint_names]
        np.testing.assert_allclose(jacobian, np.vstack([linear, angular])[:, columns], atol=1e-9)


def test_the_jacobian_is_the_derivative() -> None:
    for position in random_positions(20):
        _, orientation, jacobian = KINEMATICS.fingertip(position)
        for joint in range(6):
            step = np.zeros(6)
            step[joint] = 1e-6
            (ahead, turned, _), (behind, turned_back, _) = (
                KINEMATICS.fingertip(position + step), KINEMATICS.fingertip(position - step)
            )  # fmt: skip
            np.testing.assert_allclose((ahead - behind) / 2e-6, jacobian[:3, joint], atol=1e-7)
            spin = (turned - turned_back) / 2e-6 @ orientation.T
            np.testing.assert_allclose([spin[2, 1], spin[0, 2], spin[1, 0]], jacobian[3:, joint], atol=1e-7)


def test_a_wrong_number_of_joints_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected 6 joint positions, found shape \(5,\)"):
        KINEMATICS.fingertip(np.zeros(5))


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("speed_m_s", [-0.1, 0.1])
def test_the_tip_moves_as_asked_with_the_tool_down(axis: int, speed_m_s: float) -> None:
    position = KINEMATICS.inverse(np.array([0.3, 0.05, 0.1]), HOME)
    begin, wanted = KINEMATICS.fingertip(position)[0], np.zeros(3)
    wanted[axis] = speed_m_s
    for _ in range(50):  # half a second
        position = position + 0.01 * KINEMATICS.resolved_rate(position, wanted)
    tip, orientation, _ = KINEMATICS.fingertip(position)
    np.testing.assert_allclose(tip - begin, 0.5 * wanted, atol=0.004)
    assert orientation[2, 0] < -0.999


def test_no_joint_is_asked_for_more_than_it_can_and_the_direction_stays() -> None:
    random = np.random.default_rng(1)
    for position in random_positions(50):
        velocity = random.uniform(-5.0, 5.0, 3)
        joints = KINEMATICS.resolved_rate(position, velocity)
        assert np.all(np.abs(joints) <= DESKTOP_ARM.velocity_limit_rad_s * (1 + 1e-12))
        assert np.all(np.isfinite(joints))
    position = KINEMATICS.inverse(np.array([0.3, 0.0, 0.1]), HOME)
    slow, fast = (KINEMATICS.resolved_rate(position, np.array([0.0, speed, 0.0])) for speed in (0.05, 50.0))
    np.testing.assert_allclose(fast / np.linalg.norm(fast), slow / np.linalg.norm(slow), atol=0.02)


def test_a_stretched_arm_does_not_run_wild() -> None:
    # Damping bounds the answer where the Jacobian loses rank.
    stretched = np.array([0.0, 1.0, -0.9, 0.0, 0.0, 0.0])
    joints = KINEMATICS.resolved_rate(stretched, np.array([0.25, 0.0, 0.0]))
    assert np.all(np.isfinite(joints)) and np.all(np.abs(joints) <= DESKTOP_ARM.velocity_limit_rad_s)


def test_inverse_reaches_every_corner_that_layouts_use() -> None:
    random = np.random.default_rng(2)
    corners = [(x, y, z) for x in (0.22, 0.38) for y in (-0.22, 0.22) for z in (0.03, 0.15)]
    within = random.uniform([0.22, -0.22, 0.03], [0.38, 0.22, 0.15], (10, 3))
    for target in np.vstack([corners, within]):
        position = KINEMATICS.inverse(target, HOME)
        tip, orientation, _ = KINEMATICS.fingertip(position)
        assert np.linalg.norm(tip - target) < 1e-4 and orientation[2, 0] < -0.999
        assert np.all(position >= DESKTOP_ARM.lower_rad) and np.all(position <= DESKTOP_ARM.upper_rad)


@pytest.mark.parametrize("target", [(1.0, 0.0, 0.1), (0.0, 0.0, 2.0)])
def test_inverse_refuses_what_is_out_of_reach(target: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="no posture of desktop-arm-6dof reaches"):
        KINEMATICS.inverse(np.array(target), HOME)
