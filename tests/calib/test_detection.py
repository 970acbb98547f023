"""The detectors on rendered pictures of known truth, and on pictures that a careless person takes."""

import numpy as np
import pytest

from calib.boards import AprilGrid, Board, Charuco, Chessboard
from calib.corner_refinement import edge_width_px
from calib.detection import detect
from calib.errors import BoardNotFoundError, CalibrationError
from calib.geometry import pose_from_vectors, transform
from calib.lens import PINHOLE
from calib.render import Conditions, Renderer

SIZE = (640, 480)
BOARDS: list[Board] = [Charuco(8, 6, 0.028, 0.017), Chessboard(9, 6, 0.026), AprilGrid(6, 4, 0.03)]
LENS = np.array([600.0, 602.0, 322.0, 238.0, -0.2, 0.05, 0.001, -0.0005, 0.0])


def pose_before(board: Board, distance_m: float = 0.36, tilt: float = 0.4) -> np.ndarray:
    pose = pose_from_vectors(np.array([tilt, -0.3, 0.1]), np.zeros(3))
    pose[:3, 3] = np.array([0, 0, distance_m]) - pose[:3, :3] @ np.array([*board.size_m, 0]) / 2
    return pose


def render(board: Board, seed: int = 0, **conditions: float) -> np.ndarray:
    renderer = Renderer(board, PINHOLE, LENS, SIZE)
    return renderer.render(pose_before(board), Conditions(**conditions), np.random.default_rng(seed))


@pytest.fixture(scope="module")
def pictures() -> dict[str, np.ndarray]:
    return {board.text: render(board) for board in BOARDS}


@pytest.mark.parametrize("board", BOARDS, ids=lambda b: b.text)
def test_corners_are_found_where_they_are(board: Board, pictures: dict[str, np.ndarray]) -> None:
    found = detect(board, pictures[board.text])
    truth = PINHOLE.project(LENS, transform(pose_before(board), board.corners_m))[found.ids]
    error = found.pixels - truth
    assert len(found.ids) > 0.75 * len(board.corners_m)
    assert np.sqrt(np.mean(error**2)) < 0.06
    assert np.abs(error.mean(axis=0)).max() < 0.02, "a systematic shift would be a pixel convention gone wrong"
    assert found.blur_px == pytest.approx(0.8, abs=0.2)


@pytest.mark.parametrize("board", BOARDS, ids=lambda b: b.text)
def test_an_upside_down_board_keeps_its_numbers(board: Board, pictures: dict[str, np.ndarray]) -> None:
    upright = detect(board, pictures[board.text])
    turned = detect(board, np.ascontiguousarray(pictures[board.text][::-1, ::-1]))
    common, first, second = np.intersect1d(upright.ids, turned.ids, return_indices=True)
    assert len(common) > 0.7 * len(board.corners_m)
    back = np.array(SIZE) - 1 - turned.pixels[second]
    assert np.linalg.norm(upright.pixels[first] - back, axis=1).max() < 0.3


def test_blur_is_measured() -> None:
    board = BOARDS[0]
    for blur in (1.5, 3.0):
        picture = render(board, blur_px=blur)
        centre = PINHOLE.project(LENS, transform(pose_before(board), board.corners_m))
        assert edge_width_px(picture, centre) == pytest.approx(blur, rel=0.35)


def test_colour_and_sixteen_bits_are_read(pictures: dict[str, np.ndarray]) -> None:
    board = BOARDS[0]
    grey = pictures[board.text]
    reference = detect(board, grey).pixels
    np.testing.assert_allclose(detect(board, np.stack([grey] * 3, axis=-1)).pixels, reference, atol=1e-6)
    np.testing.assert_allclose(detect(board, grey.astype(np.uint16) * 257).pixels, reference, atol=1e-6)
    with pytest.raises(CalibrationError, match="8 or 16 bits"):
        detect(board, grey.astype(np.float32))


def expect(board: Board, picture: np.ndarray, sentence: str) -> None:
    with pytest.raises(BoardNotFoundError, match=sentence):
        detect(board, picture, "shot 7")


@pytest.mark.parametrize("board", BOARDS, ids=lambda b: b.text)
def test_no_board(board: Board) -> None:
    wall = np.random.default_rng(0).integers(90, 140, (480, 640)).astype(np.uint8)
    expect(board, wall, "shot 7: no .* visible")


FOREIGN = "(found markers of 5X5_1000|markers 48 are not on charuco:8x6).*another board"
"""OpenCV 4.11 takes some markers of another dictionary for its own."""


def test_wrong_board(pictures: dict[str, np.ndarray]) -> None:
    charuco, _, grid = BOARDS
    picture = pictures[charuco.text]
    expect(Charuco(8, 6, 0.028, 0.017, "4X4_50"), picture, FOREIGN)
    expect(Charuco(6, 8, 0.028, 0.017), picture, "arranged differently.*another board")
    expect(Charuco(5, 4, 0.028, 0.017), picture, "not on charuco:5x4.*another board")
    expect(grid, picture, "found markers of 5X5")
    expect(AprilGrid(6, 4, 0.03, border_bits=1), pictures[grid.text], "border of 2")


@pytest.mark.parametrize("board", [BOARDS[0], BOARDS[2]], ids=lambda b: b.text)
def test_mirrored(board: Board, pictures: dict[str, np.ndarray]) -> None:
    expect(board, np.ascontiguousarray(pictures[board.text][:, ::-1]), "mirrored")


@pytest.mark.parametrize("board", BOARDS, ids=lambda b: b.text)
def test_two_boards(board: Board, pictures: dict[str, np.ndarray]) -> None:
    expect(board, np.hstack([pictures[board.text]] * 2), "more than one")


def test_a_corner_of_the_board_is_not_enough(pictures: dict[str, np.ndarray]) -> None:
    board = BOARDS[0]
    picture = pictures[board.text].copy()
    pixels = detect(board, picture).pixels
    picture[:, int(np.percentile(pixels[:, 0], 22)) :] = 120
    expect(board, picture, "only .* corners .* visible|no corners|no marker")
