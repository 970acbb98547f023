"""Every closed form finds the exact answer from exact poses, and OpenCV's own where OpenCV has them."""

import cv2
import numpy as np
import pytest

from calib.geometry import difference, inverse, pose_from_vectors
from calib.hand_eye_solvers import SOLVERS


def scene(seed: int, views: int = 12, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Carrier poses, board poses, and the X that links them."""
    rng = np.random.default_rng(seed)
    x = pose_from_vectors(rng.normal(size=3), rng.normal(size=3) * 0.1)
    z = pose_from_vectors(rng.normal(size=3), rng.normal(size=3) * 0.5)
    carrier = pose_from_vectors(rng.normal(size=(views, 3)) * 0.6, rng.normal(size=(views, 3)) * 0.3)
    board = inverse(x) @ inverse(carrier) @ z
    board = board @ pose_from_vectors(rng.normal(size=(views, 3)) * noise, rng.normal(size=(views, 3)) * noise * 0.3)
    return carrier, board, x


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("seed", range(6))
def test_exact_poses_give_the_exact_answer(name: str, seed: int) -> None:
    carrier, board, x = scene(seed)
    np.testing.assert_allclose(difference(SOLVERS[name](carrier, board), x), 0, atol=1e-7)


@pytest.mark.parametrize("name", SOLVERS)
def test_small_noise_gives_a_small_error(name: str) -> None:
    carrier, board, x = scene(3, views=20, noise=0.002)
    error = difference(SOLVERS[name](carrier, board), x)
    assert np.linalg.norm(error[:3]) < 0.01
    assert np.linalg.norm(error[3:]) < 0.01


@pytest.mark.skipif(not hasattr(cv2, "calibrateHandEye"), reason="this OpenCV leaves hand-eye out of its Python module")
@pytest.mark.parametrize("name", ["Tsai", "Park", "Horaud", "Andreff", "Daniilidis"])
def test_opencv_agrees(name: str) -> None:
    carrier, board, _ = scene(4, views=15, noise=0.001)
    rotation, shift = cv2.calibrateHandEye(
        carrier[:, :3, :3], carrier[:, :3, 3], board[:, :3, :3], board[:, :3, 3],
        method=getattr(cv2, f"CALIB_HAND_EYE_{name.upper()}"),
    )  # fmt: skip
    ours = SOLVERS[name](carrier, board)
    assert np.linalg.norm(ours[:3, 3] - shift.ravel()) < 0.003
    assert np.linalg.norm(ours[:3, :3] - rotation) < 0.01
