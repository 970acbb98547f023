"""The renderer is the instrument the rest is measured with: its own error, and what it must not invent."""

import numpy as np
import pytest

from calib.boards import Charuco
from calib.detection import detect
from calib.geometry import pose_from_vectors, transform
from calib.lens import FISHEYE, PINHOLE, LensModel
from calib.render import Conditions, Renderer

SIZE = (640, 480)
FISHEYE_LENS = np.array([210.0, 210.5, 322.0, 238.0, 0.01, -0.005, 0.001, 0.0])
QUIET = Conditions(read_noise=0.0, shot_noise=0.0, warp_m=(0.001, 0.0005))


def pose_before(board: Charuco, distance_m: float, tilt: tuple[float, float], shift: float = 0.0) -> np.ndarray:
    pose = pose_from_vectors(np.array([*tilt, 0.1]), np.zeros(3))
    pose[:3, 3] = np.array([shift, 0, distance_m]) - pose[:3, :3] @ np.array([*board.size_m, 0]) / 2
    return pose


@pytest.mark.parametrize(
    ("lens", "distance_m"), [(PINHOLE, 0.34), (FISHEYE, 0.15)], ids=lambda value: getattr(value, "name", value)
)
def test_sampling_moves_corners_far_less_than_a_detector_errs(
    board: Charuco, parameters: np.ndarray, lens: LensModel, distance_m: float
) -> None:
    values = parameters if lens is PINHOLE else FISHEYE_LENS
    pose = pose_before(board, distance_m, (0.4, -0.3))
    found = []
    for rays in (4, 14):
        picture = Renderer(board, lens, values, SIZE, rays).render(pose, QUIET, np.random.default_rng(0))
        found.append(detect(board, picture))
    _, first, second = np.intersect1d(found[0].ids, found[1].ids, return_indices=True)
    assert len(first) >= 30
    shift = found[0].pixels[first] - found[1].pixels[second]
    assert np.sqrt(np.mean(shift**2)) < 0.015


def test_no_ghost_of_the_board_beyond_its_horizon(board: Charuco) -> None:
    """A strongly tilted plane ends within a fisheye's picture; nothing but the wall lies beyond."""
    renderer = Renderer(board, FISHEYE, FISHEYE_LENS, SIZE, 2)
    pose = pose_before(board, 0.2, (1.2, 0.0))
    calm = Conditions(blur_px=0.0, read_noise=0.0, shot_noise=0.0, light_gradient=0.0)
    wall = np.full((480, 640), 100, np.uint8)
    picture = renderer.render(pose, calm, np.random.default_rng(0), background=wall)
    corners = FISHEYE.project(
        FISHEYE_LENS, transform(pose, np.array([[x, y, 0.0] for x in (-0.02, 0.244) for y in (-0.02, 0.188)]))
    )
    (left, top), (right, bottom) = corners.min(axis=0) - 30, corners.max(axis=0) + 30
    y, x = np.nonzero(np.abs(picture.astype(int) - 100) > 1)
    assert len(x) > 1000, "the board itself is there"
    assert np.all((x > left) & (x < right) & (y > top) & (y < bottom))


def test_a_board_behind_the_camera_is_not_seen(board: Charuco, parameters: np.ndarray) -> None:
    wall = np.full((480, 640), 100, np.uint8)
    pose = pose_before(board, -0.3, (0.2, 0.1))
    calm = Conditions(blur_px=0.0, read_noise=0.0, shot_noise=0.0, light_gradient=0.0)
    picture = Renderer(board, PINHOLE, parameters, SIZE, 1).render(pose, calm, np.random.default_rng(0), wall)
    assert np.all(picture == 100)
