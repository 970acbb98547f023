"""What the views cover - picture, distance, tilt - and what to show the camera next."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .boards import Board
from .detection import Detection
from .geometry import Array, transform

COLUMNS, ROWS = 8, 6
_TILT_NAMES = ("its right side away", "its bottom away", "its left side away", "its top away")


@dataclass(frozen=True)
class Coverage:
    """Counts over the views so far."""

    corners: npt.NDArray[np.int64]
    """Corners per cell of the picture, [rows, columns]."""
    tilt_directions: npt.NDArray[np.int64]
    """Views tilted by more than 15 degrees, by the side that is farther away: right, bottom, left, top."""
    frontal: int
    """Views tilted by less."""
    distance_ratio: float
    """Farthest over nearest view."""
    missing: list[str]
    """What to do next, most useful first; empty when nothing is missing."""

    @property
    def picture_part(self) -> float:
        """Part of the picture's cells with at least 5 corners."""
        return float(np.mean(self.corners >= 5))


def coverage_of(board: Board, detections: Sequence[Detection], poses: Array, size_px: tuple[int, int]) -> Coverage:
    """Coverage of `detections` whose boards stand at `poses` (camera_from_board)."""
    width, height = size_px
    corners = np.zeros((ROWS, COLUMNS), dtype=np.int64)
    for detection in detections:
        column = np.clip((detection.pixels[:, 0] / width * COLUMNS).astype(int), 0, COLUMNS - 1)
        row = np.clip((detection.pixels[:, 1] / height * ROWS).astype(int), 0, ROWS - 1)
        np.add.at(corners, (row, column), 1)
    normal = poses[:, :3, 2] * np.sign(poses[:, 2, 2:3])
    tilt = np.degrees(np.arccos(np.clip(normal[:, 2], -1, 1)))
    # depth grows towards where the normal (pointing away from the camera) does not lean
    farther = np.degrees(np.arctan2(-normal[:, 1], -normal[:, 0]))
    tilted = tilt > 15
    sector = (((farther + 45) % 360) // 90).astype(int)
    directions = np.bincount(sector[tilted], minlength=4).astype(np.int64)
    centre = np.array([[*board.size_m, 0.0]]) / 2
    distances = np.linalg.norm(transform(poses, centre)[:, 0], axis=1) if len(poses) else np.ones(1)
    ratio = float(distances.max() / distances.min())
    return Coverage(
        corners, directions, int(np.sum(~tilted)), ratio, _missing(corners, directions, int(np.sum(~tilted)), ratio)
    )


def _missing(
    corners: npt.NDArray[np.int64], directions: npt.NDArray[np.int64], frontal: int, ratio: float
) -> list[str]:
    advice = []
    thirds = {
        f"{vertical} {horizontal}".replace("middle middle", "middle"): corners[rows, columns]
        for vertical, rows in (("top", slice(0, 2)), ("middle", slice(2, 4)), ("bottom", slice(4, 6)))
        for horizontal, columns in (("left", slice(0, 3)), ("middle", slice(3, 5)), ("right", slice(5, 8)))
    }
    empty = [name for name, cells in thirds.items() if np.mean(cells >= 5) < 0.5]
    if empty:
        advice.append(f"bring the board to the {', '.join(empty[:4])} of the picture")
    flat = [name for name, count in zip(_TILT_NAMES, directions, strict=True) if count < 2]
    if flat:
        advice.append(f"tilt the board by 20 to 45 degrees with {', then '.join(flat)}")
    if frontal < 1:
        advice.append("show the board once facing the camera")
    if ratio < 1.5:
        advice.append("take some views from half and from twice the distance")
    return advice
