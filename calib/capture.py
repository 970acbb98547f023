"""Guided capture: which frames of a live stream to keep, and what to show the camera next."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from .board_fit import fit_lens, views_of
from .boards import Board
from .coverage import COLUMNS, ROWS, Coverage, coverage_of
from .detection import Detection, detect
from .errors import CalibrationError
from .lens import PINHOLE
from .sources import TimedImage
from .views import BLUR_LIMIT_PX, shift_px

STILL_PX = 1.5
"""Corners that move less between frames belong to a board that is held still."""
NOVEL_PX = 25.0
"""A view nearer to a kept one than this adds little."""


@dataclass(frozen=True)
class Guidance:
    """The answer to one frame."""

    kept: bool
    message: str
    coverage: Coverage | None
    picture: npt.NDArray[np.uint8]
    """The frame in RGB with corners, and the parts of the picture that still lack them shaded."""


class GuidedCapture:
    """Feed it frames as they come; it keeps the good ones in `detections` and their pictures in `kept`."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self.detections: list[Detection] = []
        self.kept: list[TimedImage] = []
        self._previous: Detection | None = None
        self._coverage: Coverage | None = None

    @property
    def complete(self) -> bool:
        """Whether nothing is missing any more."""
        return len(self.detections) >= 20 and self._coverage is not None and not self._coverage.missing

    @property
    def missing(self) -> list[str]:
        """What to do next, most useful first."""
        if self._coverage is None:
            return ["move the board to another place and tilt"]
        return list(self._coverage.missing)

    def offer(self, frame: TimedImage) -> Guidance:
        """Look at one frame, keep it or say why not."""
        try:
            detection = detect(self.board, frame.image, frame.name)
        except CalibrationError as error:
            self._previous = None
            return self._answer(frame, None, False, str(error))
        previous, self._previous = self._previous, detection
        if detection.blur_px > BLUR_LIMIT_PX:
            return self._answer(frame, detection, False, "blurred: hold the board still, or give more light")
        if previous is None or shift_px(previous, detection) > STILL_PX:
            return self._answer(frame, detection, False, "hold still")
        if any(shift_px(detection, other) < NOVEL_PX for other in self.detections):
            return self._answer(frame, detection, False, self._next())
        self.detections.append(detection)
        self.kept.append(frame)
        if len(self.detections) >= 4:
            fit = fit_lens(PINHOLE, views_of(self.board, self.detections), detection.size_px, robust_px=2.0)
            self._coverage = coverage_of(self.board, self.detections, fit.poses, detection.size_px)
        return self._answer(frame, detection, True, f"kept view {len(self.detections)}; {self._next()}")

    def _next(self) -> str:
        if self._coverage is None:
            return "move the board to another place and tilt"
        if self._coverage.missing:
            return self._coverage.missing[0]
        return "complete" if self.complete else "a few more views anywhere"

    def _answer(self, frame: TimedImage, detection: Detection | None, kept: bool, message: str) -> Guidance:
        picture = frame.image if frame.image.ndim == 3 else np.stack([frame.image] * 3, axis=-1)
        picture = np.array(picture)  # drawn upon: what is kept stays as it was taken
        height, width = picture.shape[:2]
        if self._coverage is not None:
            for row, column in np.argwhere(self._coverage.corners < 5):
                area = picture[
                    row * height // ROWS : (row + 1) * height // ROWS,
                    column * width // COLUMNS : (column + 1) * width // COLUMNS,
                ]
                area[...] = (0.7 * area + 0.3 * np.array([255, 180, 0])).astype(np.uint8)
        for other in self.detections:
            for x, y in np.rint(other.pixels).astype(int):
                cv2.circle(picture, (int(x), int(y)), 1, (40, 120, 255), -1)
        if detection is not None:
            for x, y in np.rint(detection.pixels).astype(int):
                cv2.circle(picture, (int(x), int(y)), 3, (0, 200, 0) if kept else (220, 0, 0), 1, cv2.LINE_AA)
        return Guidance(kept, message, self._coverage, picture)
