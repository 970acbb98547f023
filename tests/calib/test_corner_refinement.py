"""Corners where the lens bends edges and the tilt shears squares: no systematic pull, no marker in the window."""

import numpy as np

from calib.boards import Charuco
from calib.corner_refinement import refine
from calib.detection import Detection, detect
from calib.geometry import Array, transform
from calib.lens import FISHEYE
from calib.render import Conditions, Renderer
from calib.simulate import board_poses

SIZE = (640, 480)
LENS = np.array([200.0, 200.5, 322.0, 238.0, 0.01, -0.005, 0.001, 0.0])


def fisheye_views(board: Charuco, count: int = 8) -> list[tuple[Detection, Array]]:
    """Detections in pictures without noise, and where their corners are in truth."""
    rng = np.random.default_rng(2)
    renderer = Renderer(board, FISHEYE, LENS, SIZE)
    found = []
    for pose in board_poses(board, FISHEYE, LENS, SIZE, count, rng, filling=(0.5, 0.9)):
        seen = detect(board, renderer.render(pose, Conditions(read_noise=0.0, shot_noise=0.0), rng))
        found.append((seen, FISHEYE.project(LENS, transform(pose, board.corners_m))[seen.ids]))
    return found


def test_bent_edges_do_not_pull_corners_outwards(board: Charuco) -> None:
    views = fisheye_views(board)
    truth = np.concatenate([each for _, each in views])
    error = np.concatenate([seen.pixels for seen, _ in views]) - truth
    outwards = (truth - LENS[2:4]) / np.linalg.norm(truth - LENS[2:4], axis=1, keepdims=True)
    assert len(error) > 0.9 * 8 * 35
    # searched in the picture as it is, corners lie 0.02 to 0.03 px outwards on average
    assert abs(np.mean(np.sum(error * outwards, axis=1))) < 0.01
    assert np.sqrt(np.mean(error**2)) < 0.04
    assert np.mean(np.linalg.norm(error, axis=1) > 0.3) < 0.01, "no marker's corner in place of the square's"


def test_a_corner_that_starts_far_away_does_not_settle(board: Charuco) -> None:
    """A start in the middle of a square finds another corner or none, and is left out."""
    rng = np.random.default_rng(3)
    pose = board_poses(board, FISHEYE, LENS, SIZE, 1, rng, tilt_rad=0.1, filling=(0.7, 0.8))[0]
    picture = Renderer(board, FISHEYE, LENS, SIZE).render(pose, Conditions(), rng)
    start = FISHEYE.project(LENS, transform(pose, board.corners_m))
    start[10] += (start[18] - start[10]) / 2
    _, settled = refine(picture, start, board.corners_m[:, :2], 0.0055)
    assert not settled[10]
    assert settled.sum() > 25


def test_a_single_corner_says_nothing(board: Charuco) -> None:
    pixels, settled = refine(np.zeros((50, 50), np.uint8), np.ones((1, 2)), np.zeros((1, 2)), 0.005)
    assert pixels.shape == (1, 2)
    assert not settled.any()
