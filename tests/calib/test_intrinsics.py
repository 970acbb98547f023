"""Intrinsics against the truth that made the corners, and bad captures against their sentences."""

from dataclasses import replace

import numpy as np
import pytest

from calib.boards import Charuco
from calib.detection import Detection
from calib.errors import CalibrationError
from calib.intrinsics import Intrinsics, Limits, calibrate, halves_agree, middle_uncertainty_px
from calib.lens import FISHEYE, PINHOLE, RATIONAL
from calib.simulate import board_poses, simulated_detections
from calib.uncertainty import Agreement, Camera, compare

SIZE = (640, 480)


@pytest.fixture(scope="module")
def result(board: Charuco, detections: list[Detection]) -> Intrinsics:
    return calibrate(board, detections)


def exact(parameters: np.ndarray) -> Camera:
    return Camera(PINHOLE, parameters, np.zeros((9, 9)), SIZE)


def test_the_truth_lies_within_the_stated_uncertainty(result: Intrinsics, parameters: np.ndarray) -> None:
    assert result.camera.lens is PINHOLE
    assert result.failures == []
    assert result.noise_px == pytest.approx(0.1, rel=0.1)
    error = result.camera.parameters - parameters
    chi_square = error @ np.linalg.solve(result.camera.covariance, error)
    assert chi_square < 27.9, "one in a thousand for nine parameters"
    assert compare(result.camera, exact(parameters)).probability > 1e-3
    assert 0 < middle_uncertainty_px(result) < 1.0


def test_the_halves_agree(result: Intrinsics) -> None:
    assert result.agreement.probability > 1e-3
    assert result.agreement.expected_px > 0


def test_warp_is_found_when_there_is_one(board: Charuco, parameters: np.ndarray) -> None:
    rng = np.random.default_rng(4)
    poses = board_poses(board, PINHOLE, parameters, SIZE, 24, rng)
    bent = simulated_detections(board, PINHOLE, parameters, SIZE, poses, 0.1, rng, warp_m=(0.002, -0.001))
    found = calibrate(board, bent, models=[PINHOLE])
    np.testing.assert_allclose(found.warp_m, [0.002, -0.001], atol=0.0002)
    assert np.all(np.abs(found.warp_m - [0.002, -0.001]) < 4 * found.warp_sigma_m)
    assert compare(found.camera, exact(parameters)).probability > 1e-3


def test_flat_boards_are_left_flat(result: Intrinsics) -> None:
    np.testing.assert_array_equal(result.warp_m, 0.0)


def test_a_fisheye_is_recognised(board: Charuco) -> None:
    rng = np.random.default_rng(5)
    truth = np.array([190.0, 190.5, 322, 238, 0.02, -0.01, 0.003, -0.0004])
    poses = board_poses(board, FISHEYE, truth, SIZE, 24, rng, filling=(0.4, 0.9), tilt_rad=0.6)
    shots = simulated_detections(board, FISHEYE, truth, SIZE, poses, 0.05, rng)
    found = calibrate(board, shots)
    assert found.camera.lens is FISHEYE
    errors = {each.lens.name: each.error_px for each in found.held_out}
    assert errors["fisheye"] < errors["pinhole"]
    camera = Camera(FISHEYE, truth, np.zeros((8, 8)), SIZE)
    assert compare(found.camera, camera).probability > 1e-3


def test_a_rational_fit_projects_right_though_its_coefficients_trade_places(board: Charuco) -> None:
    rng = np.random.default_rng(6)
    truth = np.array([480.0, 481, 322, 238, 0.3, 0.05, 0.001, -0.0005, 0.01, 0.6, 0.1, 0.02])
    poses = board_poses(board, RATIONAL, truth, SIZE, 24, rng)
    shots = simulated_detections(board, RATIONAL, truth, SIZE, poses, 0.1, rng)
    found = calibrate(board, shots, models=[RATIONAL])
    agreement = compare(found.camera, Camera(RATIONAL, truth, np.zeros((12, 12)), SIZE))
    assert agreement.difference_px < 3 * agreement.expected_px


def test_poor_views_are_left_out_with_reasons(board: Charuco, detections: list[Detection]) -> None:
    rng = np.random.default_rng(7)
    blurred = replace(detections[3], name="shaky", blur_px=4.0)
    twin = replace(detections[5], name="twin", pixels=detections[5].pixels + 0.3, blur_px=0.9)
    wild = replace(detections[8], name="wild", pixels=detections[8].pixels + rng.normal(size=(35, 2)) * 6)
    moved = [wild if d is detections[8] else d for d in detections]
    found = calibrate(board, [*moved, blurred, twin], models=[PINHOLE])
    reasons = {each.name: each.reason for each in found.rejected}
    assert reasons["shaky"].startswith("blurred")
    assert reasons["twin"].startswith("duplicate")
    assert reasons["wild"].startswith("outlier")
    assert len(found.detections) == len(detections) - 1


def test_single_wrong_corners_are_dropped(board: Charuco, detections: list[Detection], parameters: np.ndarray) -> None:
    pixels = detections[2].pixels.copy()
    pixels[4] += [9.0, -7.0]
    found = calibrate(board, [*detections[:2], replace(detections[2], pixels=pixels), *detections[3:]], [PINHOLE])
    assert 4 not in found.detections[2].ids
    assert compare(found.camera, exact(parameters)).probability > 1e-3


def refused(board: Charuco, detections: list[Detection], sentence: str) -> None:
    with pytest.raises(CalibrationError, match=sentence):
        calibrate(board, detections, models=[PINHOLE])


def test_no_view(board: Charuco) -> None:
    refused(board, [], "found in none of the pictures")


def test_three_views(board: Charuco, detections: list[Detection]) -> None:
    refused(board, detections[:3], "at least 10 usable views are needed, found 3")


def test_mixed_resolutions(board: Charuco, detections: list[Detection]) -> None:
    refused(
        board, [*detections[:12], replace(detections[12], size_px=(1280, 960))], "1280x960.*640x480|640x480.*1280x960"
    )


def test_all_frontal(board: Charuco, parameters: np.ndarray) -> None:
    rng = np.random.default_rng(8)
    poses = board_poses(board, PINHOLE, parameters, SIZE, 20, rng, tilt_rad=0.02)
    poses[:, :3, :3] = np.eye(3)
    refused(
        board,
        simulated_detections(board, PINHOLE, parameters, SIZE, poses, 0.1, rng),
        "tilted by more than 10 degrees|focal length open|optical centre",
    )


def test_another_board_with_the_same_corners(detections: list[Detection]) -> None:
    """Squares that are not square cannot be told from the text: the corners must fit, or nothing is said."""
    with pytest.raises(CalibrationError, match=r"explain the corners only|needed|optical centre|open by"):
        calibrate(Charuco(6, 8, 0.028, 0.017), detections, models=[PINHOLE])


def test_limits_are_stated_when_missed(board: Charuco, detections: list[Detection]) -> None:
    found = calibrate(board, detections, models=[PINHOLE], limits=Limits(noise_px=0.01, uncertainty_px=0.01))
    assert len(found.failures) == 2
    assert "at most 0.01 px is allowed" in found.failures[0]


def test_a_camera_that_changed_between_the_halves_fails(board: Charuco, parameters: np.ndarray) -> None:
    """Every second view with a refocused lens: no single view looks odd, only the comparison of halves sees it."""
    rng = np.random.default_rng(9)
    poses = board_poses(board, PINHOLE, parameters, SIZE, 24, rng)
    refocused = parameters * np.where(np.arange(9) < 2, 1.02, 1.0)
    before = simulated_detections(board, PINHOLE, parameters, SIZE, poses, 0.1, rng)
    after = simulated_detections(board, PINHOLE, refocused, SIZE, poses, 0.1, rng)
    mixed = [(after if index % 2 else before)[index] for index in range(24)]
    found = calibrate(board, mixed, models=[PINHOLE])
    assert any("separate halves" in failure for failure in found.failures)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_stated_sigma_covers_the_truth_at_its_rate(board: Charuco, parameters: np.ndarray) -> None:
    """Forty calibrations: chi-square per degree of freedom near one. The evidence proper is in experiments/."""
    ratios = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        poses = board_poses(board, PINHOLE, parameters, SIZE, 24, rng)
        shots = simulated_detections(board, PINHOLE, parameters, SIZE, poses, 0.15, rng)
        found = calibrate(board, shots, models=[PINHOLE])
        error = found.camera.parameters - parameters
        ratios.append(error @ np.linalg.solve(found.camera.covariance, error) / 9)
    # the mean of 360 squared unit normals is 1 within 0.075; three times that
    assert 0.77 < np.mean(ratios) < 1.23


@pytest.mark.parametrize("seed", [2, 13, 17])
def test_a_bent_board_bends_no_rational_lens(board: Charuco, seed: int) -> None:
    """A fit that takes the board to be flat can end where no later knowledge of the warp leads out again."""
    truth = np.array([501.3, 502.0, 322.4, 245.8, 0.2435, 0.0367, 0.0, -6e-4, -1.4e-3, 0.5293, 0.1018, 0.0277])
    random = np.random.default_rng(seed)
    poses = board_poses(board, RATIONAL, truth, SIZE, 20, random, filling=(0.45, 0.95))
    found = simulated_detections(board, RATIONAL, truth, SIZE, poses, 0.02, random, (0.001, 0.0002))
    result = calibrate(board, found, models=[RATIONAL])
    agreement = compare(result.camera, Camera(RATIONAL, truth, np.zeros((12, 12)), SIZE))
    assert np.any(result.warp_m) and result.noise_px == pytest.approx(0.02, rel=0.15)
    assert agreement.difference_px < 3.0 * agreement.expected_px + 0.02


def test_halves_are_refused_only_for_a_difference_that_is_unlikely_and_matters() -> None:
    limits = Limits()
    for difference_px, probability, agree in ((0.1, 1e-9, True), (2.0, 0.5, True), (2.0, 1e-9, False)):
        assert halves_agree(Agreement(difference_px, 0.1, 0.0, 7, probability), limits) is agree
