"""The start-up check on scenes whose change is known."""

import cv2
import numpy as np
import pytest

from calib.boards import Charuco
from calib.check import check_board, check_scene, remember_scene
from calib.detection import Detection
from calib.errors import CalibrationError
from calib.geometry import pose_from_vectors
from calib.lens import PINHOLE
from calib.simulate import simulated_detections
from calib.uncertainty import Camera


def scene(seed: int = 0, size: tuple[int, int] = (640, 480)) -> np.ndarray:
    """A cluttered table: overlapping rectangles."""
    rng = np.random.default_rng(seed)
    picture = np.full((size[1], size[0]), 110, np.uint8)
    for _ in range(120):
        x, y = rng.uniform(0, size[0]), rng.uniform(0, size[1])
        box = cv2.boxPoints(((x, y), tuple(rng.uniform(15, 90, 2)), rng.uniform(0, 90)))
        cv2.fillConvexPoly(picture, box.astype(np.int32), int(rng.uniform(20, 230)), cv2.LINE_AA)
    return cv2.GaussianBlur(picture, (0, 0), 0.8)


def changed(picture: np.ndarray, dx: float = 0, dy: float = 0, turn_deg: float = 0, scale: float = 1) -> np.ndarray:
    height, width = picture.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), turn_deg, scale)
    matrix[:, 2] += dx, dy
    noise = np.random.default_rng(5).normal(0, 2, picture.shape)
    moved = cv2.warpAffine(picture, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return np.clip(moved + noise, 0, 255).astype(np.uint8)


def test_nothing_changed() -> None:
    assert check_scene(remember_scene(scene()), changed(scene())).verdict == "same"


def test_other_light_is_no_motion() -> None:
    ramp = np.linspace(0.45, 0.8, 640)
    darker = np.clip(changed(scene()) * ramp, 0, 255).astype(np.uint8)
    found = check_scene(remember_scene(scene()), darker)
    assert found.verdict == "same", found.sentence


def test_somebody_put_a_box_there() -> None:
    picture = changed(scene())
    picture[250:420, 100:300] = 230
    assert check_scene(remember_scene(scene()), picture).verdict == "same"


@pytest.mark.parametrize(("dx", "dy", "turn"), [(3.0, 0.0, 0.0), (0.0, -15.0, 0.0), (0.0, 0.0, 1.0), (40.0, 8.0, 0.5)])
def test_a_moved_camera(dx: float, dy: float, turn: float) -> None:
    found = check_scene(remember_scene(scene()), changed(scene(), dx, dy, turn))
    assert found.verdict == "moved"
    assert not found.trustworthy
    assert found.rotation_deg == pytest.approx(-turn, abs=0.1)
    if not turn:
        assert found.shift_px == pytest.approx(np.hypot(dx, dy), abs=0.3)


def test_large_pictures_are_measured_in_their_own_pixels() -> None:
    big = cv2.resize(scene(), (1280, 960), interpolation=cv2.INTER_CUBIC)
    found = check_scene(remember_scene(big), changed(big, 6.0))
    assert found.shift_px == pytest.approx(6.0, abs=0.5)


def test_a_refocused_lens() -> None:
    remembered = remember_scene(scene())
    assert check_scene(remembered, cv2.GaussianBlur(changed(scene()), (0, 0), 2.0)).verdict == "refocused"
    assert check_scene(remembered, changed(scene(), scale=1.02)).verdict == "refocused"


def test_another_scene_or_darkness() -> None:
    remembered = remember_scene(scene())
    assert check_scene(remembered, scene(seed=9)).verdict == "unrecognised"
    assert check_scene(remembered, np.zeros((480, 640), np.uint8)).verdict == "unrecognised"


def test_what_cannot_be_checked_is_refused() -> None:
    with pytest.raises(CalibrationError, match=r"only .* corners to recognise it by"):
        remember_scene(np.full((480, 640), 128, np.uint8))
    with pytest.raises(CalibrationError, match="same resolution"):
        check_scene(remember_scene(scene()), np.zeros((240, 320), np.uint8))
    for broken in ({}, {"png_base64": "!"}, {"png_base64": "AAAA"}):
        with pytest.raises(CalibrationError, match="no scene is remembered"):
            check_scene(broken, scene())


def shot(board: Charuco, parameters: np.ndarray, pose: np.ndarray) -> Detection:
    rng = np.random.default_rng(1)
    return simulated_detections(board, PINHOLE, parameters, (640, 480), [pose], 0.1, rng)[0]


def test_the_board_shows_motion_and_focus(board: Charuco, parameters: np.ndarray) -> None:
    camera = Camera(PINHOLE, parameters, np.zeros((9, 9)), (640, 480))
    pose = pose_from_vectors(np.array([0.5, -0.3, 0.0]), np.array([-0.1, -0.06, 0.4]))
    assert check_board(board, shot(board, parameters, pose), camera, 0.1, pose).verdict == "same"
    assert check_board(board, shot(board, parameters, pose), camera, 0.1).trustworthy
    away = pose.copy()
    away[:3, 3] += [0.0, 0.01, 0.0]
    found = check_board(board, shot(board, parameters, away), camera, 0.1, pose)
    assert found.verdict == "moved"
    assert "10." in found.sentence or "9." in found.sentence
    bent = parameters.copy()
    bent[4] += 0.15
    bent[:2] *= 1.1
    assert check_board(board, shot(board, bent, pose), camera, 0.1, pose).verdict == "refocused"
    with pytest.raises(CalibrationError, match="same resolution"):
        check_board(board, shot(board, parameters, pose), Camera(PINHOLE, parameters, np.zeros((9, 9)), (1, 1)), 0.1)
