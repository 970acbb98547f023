"""Calibration boards: where their corners are and which parts of them are black.

Board coordinates: origin at the top left of the pattern, x right, y down, z away from who looks at it, in metres. A
board is written as one short text, the same on paper, on the command line and in files:

    charuco:8x6:28:17:5X5_100    8 x 6 squares of 28 mm, markers of 17 mm from that dictionary
    chessboard:9x6:25            9 x 6 squares of 25 mm (8 x 5 inner corners)
    aprilgrid:6x6:88:0.3         6 x 6 AprilTag 36h11 of 88 mm, gaps of 0.3 tags with black corner squares (Kalibr's)
"""

import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import cv2
import numpy as np

from .errors import CalibrationError
from .geometry import Array


class Board(Protocol):
    """What every board knows about itself."""

    @property
    def text(self) -> str:
        """The short text that `board_from_text` reads back."""

    @property
    def size_m(self) -> tuple[float, float]:
        """Width and height of the pattern."""

    @property
    def square_m(self) -> float:
        """The length a person measures with a ruler: a square's side, or a tag's."""

    @property
    def corners_m(self) -> Array:
        """Every corner by its number, shape [corners, 3], z = 0."""

    @property
    def black_m(self) -> Array:
        """The black rectangles as `x y width height`, shape [rectangles, 4]; the rest is white."""

    def scaled(self, factor: float) -> "Board":
        """The same pattern printed larger or smaller."""


def dictionary(name: str) -> cv2.aruco.Dictionary:
    """A predefined marker dictionary by its name without the prefix, as `5X5_100`. Raises CalibrationError."""
    number = getattr(cv2.aruco, f"DICT_{name}", None)
    if number is None:
        known = ", ".join(dictionary_names())
        raise CalibrationError(f"the marker dictionary {name!r} is not known; choose one of {known}")
    return cv2.aruco.getPredefinedDictionary(number)


def dictionary_names() -> list[str]:
    """Names of the predefined dictionaries, spelled in capitals."""
    return sorted(name[5:] for name in dir(cv2.aruco) if name.startswith("DICT_") and name.upper() == name)


def _marker_modules(markers: cv2.aruco.Dictionary, number: int, corner_m: Array, side_m: float, border: int) -> Array:
    """Black modules of one marker as rectangles, runs along a row joined."""
    side = markers.markerSize + 2 * border
    bits = cv2.aruco.generateImageMarker(markers, number, side, borderBits=border)
    module_m = side_m / side
    rectangles = []
    for row in range(side):
        column = 0
        while column < side:
            length = 0
            while column + length < side and bits[row, column + length] == 0:
                length += 1
            if length:
                corner = (corner_m[0] + column * module_m, corner_m[1] + row * module_m)
                rectangles.append((*corner, length * module_m, module_m))
            column += max(length, 1)
    return np.array(rectangles)


def _grid(columns: int, rows: int, step_m: float) -> Array:
    x, y = np.meshgrid(np.arange(columns) * step_m, np.arange(rows) * step_m)
    return np.stack([x.ravel(), y.ravel()], axis=1)


def _dark_squares(columns: int, rows: int, square_m: float) -> Array:
    corners = _grid(columns, rows, square_m)
    index = np.arange(columns * rows)
    dark = (index % columns + index // columns) % 2 == 0
    return np.concatenate([corners[dark], np.full((int(dark.sum()), 2), square_m)], axis=1)


def _on_plane(points: Array) -> Array:
    return np.concatenate([points, np.zeros((len(points), 1))], axis=1)


@dataclass(frozen=True)
class Charuco:
    """A chessboard whose white squares carry numbered markers: corners keep their number when part of it is hidden."""

    columns: int
    rows: int
    square_m: float
    marker_m: float
    dictionary_name: str = "5X5_100"

    def __post_init__(self) -> None:
        """Refuse a board that cannot be drawn."""
        _check_count(self.columns, self.rows, 3)
        if not 0 < self.marker_m < self.square_m:
            raise CalibrationError(
                f"a ChArUco marker must be smaller than its square, but the marker is {self.marker_m * 1e3:g} mm and "
                f"the square {self.square_m * 1e3:g} mm: give the square first, then the marker"
            )
        available = len(dictionary(self.dictionary_name).bytesList)
        needed = self.columns * self.rows // 2
        if needed > available:
            raise CalibrationError(
                f"a {self.columns}x{self.rows} ChArUco board needs {needed} markers, but {self.dictionary_name} has "
                f"{available}: choose a larger dictionary"
            )

    @property
    def text(self) -> str:
        """See Board."""
        sizes = f"{self.square_m * 1e3:g}:{self.marker_m * 1e3:g}"
        return f"charuco:{self.columns}x{self.rows}:{sizes}:{self.dictionary_name}"

    @property
    def size_m(self) -> tuple[float, float]:
        """See Board."""
        return self.columns * self.square_m, self.rows * self.square_m

    @cached_property
    def opencv(self) -> cv2.aruco.CharucoBoard:
        """OpenCV's own object for the same board."""
        markers = dictionary(self.dictionary_name)
        return cv2.aruco.CharucoBoard((self.columns, self.rows), self.square_m, self.marker_m, markers)

    @cached_property
    def corners_m(self) -> Array:
        """See Board."""
        return _on_plane(_grid(self.columns - 1, self.rows - 1, self.square_m) + self.square_m)

    @cached_property
    def marker_corners_m(self) -> Array:
        """Corners of every marker, shape [markers, 4, 2], clockwise from its top left."""
        return np.array(self.opencv.getObjPoints(), dtype=np.float64)[..., :2]

    @cached_property
    def black_m(self) -> Array:
        """See Board."""
        markers = dictionary(self.dictionary_name)
        parts = [_dark_squares(self.columns, self.rows, self.square_m)]
        parts += [
            _marker_modules(markers, number, corners[0], self.marker_m, 1)
            for number, corners in enumerate(self.marker_corners_m)
        ]
        return np.concatenate(parts)

    def scaled(self, factor: float) -> "Charuco":
        """See Board."""
        return replace(self, square_m=self.square_m * factor, marker_m=self.marker_m * factor)


@dataclass(frozen=True)
class Chessboard:
    """A plain chessboard, given by its squares; it must be seen whole."""

    columns: int
    rows: int
    square_m: float

    def __post_init__(self) -> None:
        """Refuse a board whose corners cannot be told apart."""
        _check_count(self.columns, self.rows, 4)
        if self.columns % 2 == self.rows % 2:
            raise CalibrationError(
                f"a chessboard of {self.columns}x{self.rows} squares looks the same upside down: use an even number of "
                "squares one way and an odd number the other"
            )

    @property
    def text(self) -> str:
        """See Board."""
        return f"chessboard:{self.columns}x{self.rows}:{self.square_m * 1e3:g}"

    @property
    def size_m(self) -> tuple[float, float]:
        """See Board."""
        return self.columns * self.square_m, self.rows * self.square_m

    @cached_property
    def corners_m(self) -> Array:
        """See Board."""
        return _on_plane(_grid(self.columns - 1, self.rows - 1, self.square_m) + self.square_m)

    @cached_property
    def black_m(self) -> Array:
        """See Board."""
        return _dark_squares(self.columns, self.rows, self.square_m)

    def scaled(self, factor: float) -> "Chessboard":
        """See Board."""
        return replace(self, square_m=self.square_m * factor)


@dataclass(frozen=True)
class AprilGrid:
    """A grid of AprilTags with black squares between their corners (J. Maye, P. Furgale, R. Siegwart, 2013).

    Corner numbers are `4 * tag + k`, k clockwise from the tag's top left; tags count from the top left by rows.
    """

    columns: int
    rows: int
    tag_m: float
    gap: float = 0.3
    """Space between tags as a part of the tag's side."""
    border_bits: int = 2
    """Width of a tag's black border in modules; Kalibr's boards have 2."""

    def __post_init__(self) -> None:
        """Refuse a board that cannot be drawn."""
        _check_count(self.columns, self.rows, 2)
        if not 0.05 <= self.gap <= 1.0:
            raise CalibrationError(
                f"an AprilGrid's gap is a part of the tag's side between 0.05 and 1, not {self.gap:g}"
            )
        if self.tag_m <= 0:
            raise CalibrationError("an AprilGrid's tag must have a size above 0 mm")
        if self.columns * self.rows > 587:
            raise CalibrationError(
                f"an AprilGrid has at most 587 tags, not {self.columns * self.rows}: use fewer, larger tags"
            )

    @property
    def text(self) -> str:
        """See Board."""
        border = "" if self.border_bits == 2 else f":{self.border_bits}"
        return f"aprilgrid:{self.columns}x{self.rows}:{self.tag_m * 1e3:g}:{self.gap:g}{border}"

    @property
    def square_m(self) -> float:
        """See Board."""
        return self.tag_m

    @property
    def size_m(self) -> tuple[float, float]:
        """See Board."""
        step, gap = self.tag_m * (1 + self.gap), self.tag_m * self.gap
        return self.columns * step + gap, self.rows * step + gap

    @cached_property
    def tag_corners_m(self) -> Array:
        """Shape [tags, 4, 2], clockwise from each tag's top left."""
        first = _grid(self.columns, self.rows, self.tag_m * (1 + self.gap)) + self.tag_m * self.gap
        around = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * self.tag_m
        return first[:, None, :] + around

    @cached_property
    def corners_m(self) -> Array:
        """See Board."""
        return _on_plane(self.tag_corners_m.reshape(-1, 2))

    @cached_property
    def black_m(self) -> Array:
        """See Board."""
        markers = dictionary("APRILTAG_36H11")
        parts = [
            _marker_modules(markers, number, corners[0], self.tag_m, self.border_bits)
            for number, corners in enumerate(self.tag_corners_m)
        ]
        gap = self.tag_m * self.gap
        squares = _grid(self.columns + 1, self.rows + 1, self.tag_m * (1 + self.gap))
        parts.append(np.concatenate([squares, np.full((len(squares), 2), gap)], axis=1))
        return np.concatenate(parts)

    def scaled(self, factor: float) -> "AprilGrid":
        """See Board."""
        return replace(self, tag_m=self.tag_m * factor)


def _check_count(columns: int, rows: int, least: int) -> None:
    if min(columns, rows) < least or max(columns, rows) > 60:
        raise CalibrationError(f"a board has between {least} and 60 squares or tags each way, not {columns}x{rows}")


def board_from_text(text: str) -> Board:
    """Read a board's short text (see the module). Raises CalibrationError with the three forms when it is neither."""
    number = r"(\d{1,4}(?:\.\d{1,4})?)"
    size = r"(\d{1,2})x(\d{1,2})"
    if found := re.fullmatch(rf"charuco:{size}:{number}:{number}(?::(\w+))?", text):
        columns, rows, square, marker, name = found.groups()
        return Charuco(int(columns), int(rows), float(square) / 1e3, float(marker) / 1e3, (name or "5X5_100").upper())
    if found := re.fullmatch(rf"chessboard:{size}:{number}", text):
        columns, rows, square = found.groups()
        if float(square) <= 0:
            raise CalibrationError("a chessboard's square must be larger than 0 mm")
        return Chessboard(int(columns), int(rows), float(square) / 1e3)
    if found := re.fullmatch(rf"aprilgrid:{size}:{number}(?::{number})?(?::([12]))?", text):
        columns, rows, tag, gap, border = found.groups()
        return AprilGrid(int(columns), int(rows), float(tag) / 1e3, float(gap or 0.3), int(border or 2))
    raise CalibrationError(
        f"{text!r} is no board: write charuco:8x6:28:17:5X5_100 (squares, square mm, marker mm, dictionary), "
        "chessboard:9x6:25 (squares, square mm) or aprilgrid:6x6:88:0.3 (tags, tag mm, gap)"
    )


def picture(board: Board, pixels_per_m: float, margin_m: float = 0.0) -> Array:
    """The board drawn from the front, values 0 (black) to 1 (white), edges exact to a part of a pixel."""
    width, height = (round((side + 2 * margin_m) * pixels_per_m) for side in board.size_m)
    ink = np.zeros((height, width))
    for x, y, w, h in board.black_m:
        columns = _cover((x + margin_m) * pixels_per_m, w * pixels_per_m, width)
        rows = _cover((y + margin_m) * pixels_per_m, h * pixels_per_m, height)
        ink[rows[0] : rows[0] + len(rows[1]), columns[0] : columns[0] + len(columns[1])] += np.outer(
            rows[1], columns[1]
        )
    return 1.0 - np.clip(ink, 0.0, 1.0)


def _cover(start: float, length: float, limit: int) -> tuple[int, Array]:
    """First pixel and, from it on, the part of each pixel that `start .. start + length` covers."""
    first, last = max(int(np.floor(start)), 0), min(int(np.ceil(start + length)), limit)
    edges = np.arange(first, last)
    return first, np.clip(np.minimum(edges + 1, start + length) - np.maximum(edges, start), 0.0, 1.0)
