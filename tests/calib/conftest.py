"""One thread for OpenCV, and cameras and boards that the tests share."""

import cv2
import numpy as np
import pytest

from calib.boards import Charuco
from calib.detection import Detection
from calib.lens import PINHOLE
from calib.simulate import board_poses, simulated_detections

cv2.setNumThreads(1)
SIZE = (640, 480)
PARAMETERS = np.array([600.0, 602.0, 322.0, 238.0, -0.2, 0.05, 0.001, -0.0005, 0.0])


@pytest.fixture(scope="session")
def board() -> Charuco:
    return Charuco(8, 6, 0.028, 0.017)


@pytest.fixture(scope="session")
def parameters() -> np.ndarray:
    return PARAMETERS


@pytest.fixture(scope="session")
def detections(board: Charuco) -> list[Detection]:
    """Twenty-four good views with 0.1 px of noise."""
    rng = np.random.default_rng(10)
    poses = board_poses(board, PINHOLE, PARAMETERS, SIZE, 24, rng)
    return simulated_detections(board, PINHOLE, PARAMETERS, SIZE, poses, 0.1, rng)
