"""Which views may take part in a calibration, and why the others may not."""

from collections.abc import Sequence

import numpy as np

from .boards import Board
from .detection import Detection, Rejection
from .errors import CalibrationError
from .geometry import Array

BLUR_LIMIT_PX = 2.5
"""Edges wider than this move corners by more than a good calibration's error."""
BLUR_RATIO = 1.8
"""A view this much blurrier than the typical one was moving."""
DUPLICATE_PX = 4.0
"""Two views whose corners differ by less tell nothing new, but would count twice."""


def same_size(detections: Sequence[Detection]) -> tuple[int, int]:
    """The one size of all pictures. Raises CalibrationError where there are several."""
    sizes: dict[tuple[int, int], list[str]] = {}
    for detection in detections:
        sizes.setdefault(detection.size_px, []).append(detection.name)
    if len(sizes) > 1:
        found = "; ".join(
            f"{w}x{h} in {len(names)} pictures ({names[0]}, ...)" for (w, h), names in sorted(sizes.items())
        )
        raise CalibrationError(
            f"all pictures must have the same size, found {found}: calibrate each resolution on its own, from pictures "
            "of one capture"
        )
    return next(iter(sizes))


def select_views(detections: Sequence[Detection]) -> tuple[list[Detection], list[Rejection]]:
    """Leave out views that are blurred or that repeat another one; the sharper of two alike stays."""
    rejected: list[Rejection] = []
    typical = float(np.median([d.blur_px for d in detections])) if detections else 0.0
    limit = min(BLUR_LIMIT_PX, max(BLUR_RATIO * typical, 1.2))
    sharp = []
    for detection in detections:
        if detection.blur_px > limit:
            rejected.append(
                Rejection(
                    detection.name,
                    f"blurred: edges are {detection.blur_px:.1f} px wide, at most {limit:.1f} allowed; hold still",
                )
            )
        else:
            sharp.append(detection)
    kept: list[Detection] = []
    for detection in sorted(sharp, key=lambda d: d.blur_px):
        twin = next((other for other in kept if shift_px(detection, other) < DUPLICATE_PX), None)
        if twin is None:
            kept.append(detection)
        else:
            rejected.append(Rejection(detection.name, f"duplicate: shows the board where {twin.name} shows it"))
    kept.sort(key=lambda d: [x.name for x in detections].index(d.name))
    return kept, rejected


def shift_px(first: Detection, second: Detection) -> float:
    """Mean distance of common corners; infinite when too few are common."""
    size = int(max(first.ids.max(initial=0), second.ids.max(initial=0))) + 1
    place = np.full((2, size, 2), np.nan)
    place[0, first.ids], place[1, second.ids] = first.pixels, second.pixels
    distance = np.hypot(*(place[0] - place[1]).T)
    common = distance[np.isfinite(distance)]
    return float(common.mean()) if len(common) >= 4 else float("inf")


def tilt_rad(poses: Array) -> Array:
    """Angle between each board's normal and the camera's axis, [views]."""
    return np.asarray(np.arccos(np.clip(np.abs(poses[:, 2, 2]), 0.0, 1.0)))


def halves_of_board(board: Board) -> Array:
    """1.0 for corners in the right half of the board, 0.0 for the left, [corners]."""
    return np.asarray(board.corners_m[:, 0] > board.size_m[0] / 2, dtype=np.float64)
