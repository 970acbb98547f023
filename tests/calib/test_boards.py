"""Boards drawn by us against boards drawn by OpenCV, and their printed size."""

import re
import zlib
from pathlib import Path

import numpy as np
import pytest

from calib.boards import AprilGrid, Board, Charuco, Chessboard, board_from_text, dictionary_names, picture
from calib.errors import CalibrationError
from calib.printing import save_pdf

BOARDS = [Charuco(8, 6, 0.03, 0.022), Chessboard(9, 6, 0.025), AprilGrid(6, 4, 0.04), AprilGrid(3, 2, 0.04, 0.25, 1)]


@pytest.mark.parametrize("board", BOARDS, ids=lambda b: b.text)
def test_the_text_is_read_back(board: Board) -> None:
    assert board_from_text(board.text) == board


def test_a_charuco_board_is_opencvs() -> None:
    board = Charuco(8, 5, 0.035, 0.024, "4X4_50")
    expected = board.opencv.generateImage((8 * 35 * 4, 5 * 35 * 4))
    ours = picture(board, 4000)
    assert np.mean((ours > 0.5) != (expected > 127)) < 1e-4
    np.testing.assert_allclose(board.corners_m, board.opencv.getChessboardCorners(), atol=1e-7)


@pytest.mark.parametrize("board", BOARDS, ids=lambda b: b.text)
def test_corners_are_where_black_touches_white(board: Board) -> None:
    """Around an inner corner two opposite quadrants are black: half of a small disc is ink."""
    drawn = picture(board, 4000, margin_m=0.01)
    for x, y, _ in board.corners_m:
        column, row = round((x + 0.01) * 4000), round((y + 0.01) * 4000)
        patch = drawn[row - 8 : row + 8, column - 8 : column + 8]
        assert abs(patch.mean() - 0.5) < 0.05
        assert abs(patch[:8, :8].mean() - patch[8:, 8:].mean()) < 0.05


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("charuco:8x6:22:30", "marker must be smaller"),
        ("charuco:8x6:30:22:9X9_1", "is not known"),
        ("charuco:20x20:30:22:4X4_50", "larger dictionary"),
        ("chessboard:8x6:30", "upside down"),
        ("chessboard:9x6:0", "larger than 0"),
        ("aprilgrid:40x40:20:0.3", "at most 587"),
        ("aprilgrid:4x4:20:3", "between 0.05 and 1"),
        ("circles:4x4:20", "is no board"),
        ("charuco:2x1:30:22", "between 3 and 60"),
        ("", "is no board"),
    ],
)
def test_a_board_that_cannot_be_is_refused_in_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(CalibrationError, match=sentence):
        board_from_text(text)


def test_dictionaries_are_named_once() -> None:
    assert "5X5_100" in dictionary_names()
    assert len({name.upper() for name in dictionary_names()}) == len(dictionary_names())


def test_the_pdf_is_to_scale(tmp_path: Path) -> None:
    """Read the rectangles back from the PDF's own drawing commands: one point is 1/72 inch."""
    board = Chessboard(9, 6, 0.025)
    save_pdf(board, tmp_path / "board.pdf")
    content = (tmp_path / "board.pdf").read_bytes()
    box = re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+) ?\]", content)
    assert box is not None
    assert [float(side) / 72 * 25.4 for side in box.groups()] == pytest.approx([297, 210], abs=0.01)
    drawn = b"".join(
        zlib.decompress(part)
        for part in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", content, re.S)
        if part[:1] == b"\x78"
    )
    number = rb"([\d.]+) ([\d.]+)"
    shapes = re.findall(number + rb" m\n" + (number + rb" l\n") * 3 + rb"h", drawn)
    points_mm = np.array([[float(value) for value in shape] for shape in shapes]).reshape(-1, 4, 2) / 72 * 25.4
    sides_mm = np.linalg.norm(np.diff(points_mm, axis=1), axis=2)
    assert np.sum(np.all(np.abs(sides_mm - 25.0) < 0.001, axis=1)) == len(board.black_m)
    assert not list(tmp_path.glob(".*"))


def test_paper_that_is_too_small(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="larger paper"):
        save_pdf(AprilGrid(6, 6, 0.088), tmp_path / "x.pdf")
    with pytest.raises(CalibrationError, match="not known"):
        save_pdf(Chessboard(9, 6, 0.025), tmp_path / "x.pdf", paper="b9")
    assert not list(tmp_path.iterdir())
