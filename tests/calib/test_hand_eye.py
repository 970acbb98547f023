"""Hand-eye, extrinsics, depth and kinematics against simulated truth, and motions that cannot work."""

from dataclasses import replace

import numpy as np
import pytest

from calib.boards import Charuco
from calib.depth import check_depth
from calib.detection import Detection
from calib.errors import CalibrationError
from calib.extrinsics import calibrate_extrinsics
from calib.geometry import Array, difference, inverse, pose_from_vectors, rotation_from_vector
from calib.hand_eye import calibrate_hand_eye, simulated_robot_noise
from calib.lens import PINHOLE
from calib.render import Renderer
from calib.robot_motion import analyse
from calib.simulate import board_poses, simulated_detections
from calib.uncertainty import Camera
from calib.urdf import parse_chain

SIZE = (640, 480)
SPREAD = np.diag([0.3, 0.3, 0.4, 0.4, 2e-3, 1e-2, 1e-4, 1e-4, 1e-2]) ** 2


@pytest.fixture(scope="module")
def camera(parameters: Array) -> Camera:
    return Camera(PINHOLE, parameters, SPREAD, SIZE)


class Scene:
    """A robot that looks at a board: exact poses, noisy corners."""

    def __init__(self, board: Charuco, camera: Camera, on_gripper: bool = True, views: int = 16, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.rng = rng
        board_in_camera = board_poses(board, PINHOLE, camera.parameters, SIZE, views, rng)
        self.hand_from_camera = pose_from_vectors(np.array([0.3, -0.2, 1.5]), np.array([0.04, -0.02, 0.07]))
        self.reference_from_board = pose_from_vectors(np.array([3.0, 0.1, 0.2]), np.array([0.4, 0.1, 0.0]))
        carrier = self.reference_from_board @ inverse(self.hand_from_camera @ board_in_camera)
        self.base_from_gripper = carrier if on_gripper else inverse(carrier)
        self.detections = simulated_detections(board, PINHOLE, camera.parameters, SIZE, board_in_camera, 0.1, rng)


@pytest.mark.parametrize("on_gripper", [True, False], ids=["eye in hand", "eye to hand"])
def test_the_truth_lies_within_the_stated_uncertainty(board: Charuco, camera: Camera, on_gripper: bool) -> None:
    scene = Scene(board, camera, on_gripper)
    reported = simulated_robot_noise(scene.base_from_gripper, 1e-3, 5e-4, scene.rng)
    found = calibrate_hand_eye(board, scene.detections, reported, camera, on_gripper)
    error = difference(found.hand_from_camera, scene.hand_from_camera)
    assert error @ np.linalg.solve(found.covariance, error) < 22.5, "one in a thousand for six"
    assert np.linalg.norm(error[3:]) < 0.003
    assert found.robot_sigma_m == pytest.approx(5e-4, rel=0.5)
    assert found.robot_sigma_rad == pytest.approx(1e-3, rel=0.5)
    assert found.board_scale == pytest.approx(1.0, abs=4 * found.board_scale_sigma)
    assert found.leave_one_out.shape == (16, 6)
    assert set(found.closed_forms) == {"Tsai", "Park", "Horaud", "Andreff", "Daniilidis", "Shah", "Li"}


def test_a_wrong_square_size_is_found_by_the_robot(board: Charuco, camera: Camera) -> None:
    scene = Scene(board, camera)
    with pytest.raises(CalibrationError, match=r"squares measure 28\.0\d mm, but 30\.00 mm is stated"):
        calibrate_hand_eye(board.scaled(30 / 28), scene.detections, scene.base_from_gripper, camera)


def test_shuffled_poses_are_noticed(board: Charuco, camera: Camera) -> None:
    scene = Scene(board, camera)
    with pytest.raises(CalibrationError, match="belongs to its picture"):
        calibrate_hand_eye(board, scene.detections, scene.base_from_gripper[::-1].copy(), camera, check_scale=False)


def turned(vectors: Array) -> Array:
    rng = np.random.default_rng(1)
    return pose_from_vectors(vectors, rng.normal(size=vectors.shape) * 0.1)


@pytest.mark.parametrize(
    ("poses", "sentence"),
    [
        (turned(np.zeros((16, 3))), "shifts alone do not show"),
        (turned(np.linspace(0, 1.2, 16)[:, None] * [0, 0, 1.0]), "about one axis only .its z axis"),
        (turned(np.random.default_rng(0).normal(size=(4, 3)) * 0.5), "at least 8 poses"),
        (np.ones((16, 4, 4)), "proper rotations"),
    ],
)
def test_degenerate_motions_are_refused(
    board: Charuco, camera: Camera, detections: list[Detection], poses: Array, sentence: str
) -> None:
    with pytest.raises(CalibrationError, match=sentence):
        calibrate_hand_eye(board, detections[: len(poses)], poses, camera)


def test_millimetres_are_noticed(board: Charuco, camera: Camera) -> None:
    scene = Scene(board, camera)
    poses = scene.base_from_gripper.copy()
    poses[:, :3, 3] *= 1000
    with pytest.raises(CalibrationError, match="look like millimetres"):
        calibrate_hand_eye(board, scene.detections, poses, camera)


def test_one_pose_per_view_and_one_resolution(board: Charuco, camera: Camera) -> None:
    scene = Scene(board, camera)
    with pytest.raises(CalibrationError, match="16 views and 15 poses"):
        calibrate_hand_eye(board, scene.detections, scene.base_from_gripper[1:], camera)
    other = Camera(PINHOLE, camera.parameters, SPREAD, (1280, 960))
    with pytest.raises(CalibrationError, match="same resolution"):
        calibrate_hand_eye(board, scene.detections, scene.base_from_gripper, other)


def test_the_guide_names_the_missing_axis() -> None:
    rng = np.random.default_rng(2)
    motion = analyse(turned(rng.normal(size=(20, 3)) * [0.5, 0.5, 0.01]))
    assert len(motion.missing) == 1
    assert "its z axis" in motion.missing[0]
    assert analyse(turned(rng.normal(size=(20, 3)) * 0.4)).missing == []


def test_extrinsics(board: Charuco, camera: Camera) -> None:
    rng = np.random.default_rng(3)
    second = pose_from_vectors(np.array([0.05, -0.2, 0.02]), np.array([-0.08, 0.01, 0.02]))
    third = pose_from_vectors(np.array([0.0, 0.25, 0.0]), np.array([0.09, 0.0, 0.01]))
    poses = board_poses(board, PINHOLE, camera.parameters, SIZE, 20, rng, filling=(0.3, 0.5))
    moments = []
    for each in poses:
        shots = [
            simulated_detections(board, PINHOLE, camera.parameters, SIZE, [place @ each], 0.1, rng)[0]
            for place in (np.eye(4), second, third)
        ]
        moments.append({n: shot for n, shot in zip("abc", shots, strict=True) if len(shot.ids) > 12})
    found = calibrate_extrinsics(board, {"a": camera, "b": camera, "c": camera}, moments)
    for index, truth in ((1, second), (2, third)):
        error = difference(found.camera_from_reference[index], truth)
        assert error @ np.linalg.solve(found.covariance[index], error) < 22.5
        assert np.linalg.norm(error[3:]) < 0.002
        assert 0 < found.sigma_mm(index) < 1
    # lenses that are off by as much as their calibration allows: the statement covers that, or it would be no statement
    rng = np.random.default_rng(4)
    off = {
        name: replace(camera, parameters=camera.parameters + np.linalg.cholesky(SPREAD) @ rng.normal(size=9))
        for name in "ab"
    }
    stated = calibrate_extrinsics(board, off, moments)
    exact = calibrate_extrinsics(
        board, {name: replace(each, covariance=np.zeros((9, 9))) for name, each in off.items()}, moments
    )
    error = difference(stated.camera_from_reference[1], second)
    assert error @ np.linalg.solve(stated.covariance[1], error) < 22.5
    assert error @ np.linalg.solve(exact.covariance[1], error) > 22.5
    with pytest.raises(CalibrationError, match="at least two cameras"):
        calibrate_extrinsics(board, {"a": camera}, moments)
    with pytest.raises(CalibrationError, match="at least 5 moments"):
        calibrate_extrinsics(board, {"a": camera, "b": camera}, moments[:2])
    shuffled = [{"a": x["a"], "b": y["b"]} for x, y in zip(moments, moments[3:], strict=False) if "a" in x and "b" in y]
    with pytest.raises(CalibrationError, match="disagree"):
        calibrate_extrinsics(board, {"a": camera, "b": camera}, shuffled)


@pytest.fixture(scope="module")
def depth_views(board: Charuco, camera: Camera) -> tuple[list[Detection], list[Array]]:
    rng = np.random.default_rng(4)
    poses = board_poses(board, PINHOLE, camera.parameters, SIZE, 6, rng, tilt_rad=0.4)
    renderer = Renderer(board, PINHOLE, camera.parameters, SIZE, rays_per_side=1)
    depths = [renderer.depth_m(pose, surround_m=0.1) for pose in poses]
    return simulated_detections(board, PINHOLE, camera.parameters, SIZE, poses, 0.05, rng), depths


def test_depth_scale_and_flatness(
    board: Charuco, camera: Camera, depth_views: tuple[list[Detection], list[Array]]
) -> None:
    shots, exact = depth_views
    rng = np.random.default_rng(5)
    depths = [np.where(d > 0, d / 1.01 + rng.normal(size=d.shape) * 0.002, 0) for d in exact]
    found = check_depth(board, shots, depths, camera)
    assert found.scale == pytest.approx(1.01, abs=max(4 * found.scale_sigma, 2e-3))
    assert 1.0 < found.flatness_mm < 2.2
    assert np.all(found.bias_mm < 0)
    perfect = check_depth(board, shots, exact, camera)
    assert perfect.flatness_mm < 0.01
    assert perfect.valid_part > 0.99


def test_bad_depth(board: Charuco, camera: Camera, depth_views: tuple[list[Detection], list[Array]]) -> None:
    shots, exact = depth_views
    with pytest.raises(CalibrationError, match=r"squares measure 2[67]\.\d mm, but 28\.0 mm is stated"):
        check_depth(board, shots, [d * 0.95 for d in exact], camera)
    with pytest.raises(CalibrationError, match="have a depth near the board"):
        check_depth(board, shots, [d * 1000 for d in exact], camera)
    with pytest.raises(CalibrationError, match="align depth"):
        check_depth(board, shots, [d[::2] for d in exact], camera)
    with pytest.raises(CalibrationError, match="at least 3 views"):
        check_depth(board, shots[:2], exact[:2], camera)


ARM = """<robot name="arm"><link name="base"/><link name="upper"/><link name="fore"/><link name="tool"/>
<joint name="shoulder" type="revolute"><parent link="base"/><child link="upper"/><origin xyz="0 0 0.1"/>
<axis xyz="0 0 2"/></joint>
<joint name="slide" type="prismatic"><parent link="upper"/><child link="fore"/><origin rpy="0 1.5707963267948966 0"/>
<axis xyz="0 0 1"/></joint>
<joint name="flange" type="fixed"><parent link="fore"/><child link="tool"/><origin xyz="0 0 0.2"/></joint></robot>"""


def test_forward_kinematics() -> None:
    chain = parse_chain(ARM)
    assert (chain.base, chain.tip, chain.moving) == ("base", "tool", ("shoulder", "slide"))
    tool = chain.pose({"shoulder": np.pi / 2, "slide": 0.3})
    np.testing.assert_allclose(tool[:3, 3], [0, 0.5, 0.1], atol=1e-12)
    turn = rotation_from_vector(np.array([0, 0, np.pi / 2])) @ rotation_from_vector(np.array([0, np.pi / 2, 0]))
    np.testing.assert_allclose(tool[:3, :3], turn, atol=1e-12)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("<robot", "no XML"),
        ("<model/>", "expected <robot>"),
        ("<!DOCTYPE x><robot/>", "entities"),
        (ARM.replace("prismatic", "floating"), "of type floating"),
        (ARM.replace('xyz="0 0 2"', 'xyz="0 0 0"'), "axis of length zero"),
        (ARM.replace('xyz="0 0 2"', 'xyz="0 zero"'), "expected three numbers"),
        (ARM.replace('<child link="tool"/>', ""), "lacks its parent or child"),
        (ARM.replace('<child link="tool"/>', '<child link="fore"/>'), "two parent joints"),
    ],
)
def test_bad_urdf(text: str, sentence: str) -> None:
    with pytest.raises(CalibrationError, match=sentence):
        parse_chain(text)


def test_urdf_with_wrong_names() -> None:
    with pytest.raises(CalibrationError, match="no link 'hand'; it has base"):
        parse_chain(ARM, tip="hand")
    with pytest.raises(CalibrationError, match="positions of joints slide are missing"):
        parse_chain(ARM).pose({"shoulder": 0.0})
    with pytest.raises(CalibrationError, match="leave that view out"):
        parse_chain(ARM).pose({"shoulder": float("nan"), "slide": 0.0})
