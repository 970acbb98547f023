"""How far away the nearest thing is within a part of a depth picture."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fosp_edge.cameras.base import DepthFrame

Window = tuple[float, float, float, float]
"""Left, top, right and bottom of a part of a picture, as shares of its width and height."""
WHOLE: Window = (0.0, 0.0, 1.0, 1.0)
_ENOUGH_PIXELS = 20_000
"""Of a larger window only so many are looked at, evenly spread, that it takes no part of a tick worth naming."""


Look = Callable[[], DepthFrame]
"""The newest distances of a camera. Raises CameraError where it is silent, or measures none."""


@dataclass(frozen=True)
class DepthWindow:
    """What of a depth picture counts, and when it counts as near.

    A depth camera measures nothing below its least distance (0.1 to 0.3 m for a RealSense D4xx, by its picture size):
    what stands right before it leaves a hole. So a window in which hardly anything was measured is one that something
    covers.

    Raises:
        ValueError: a share out of its range, or a window without an inside.
    """

    window: Window = WHOLE
    """Not the floor in front of a base, nor an arm's own fingers."""
    share: float = 0.01
    """Of the window's pixels, that must be as near; a few alone may be noise."""
    unmeasured: float = 0.9
    """Share of the window's pixels above which nothing measured is something right before the lens; 1: never."""

    def __post_init__(self) -> None:
        left, top, right, bottom = self.window
        if not 0.0 <= self.share < 1.0 or not 0.0 < self.unmeasured <= 1.0:
            raise ValueError(f"share and unmeasured are parts of 1, found {self.share:g} and {self.unmeasured:g}")
        if not (0.0 <= left < right <= 1.0 and 0.0 <= top < bottom <= 1.0):
            raise ValueError(f"window: expected left, top, right, bottom within 0 and 1, found {list(self.window)}")

    def nearest_m(self, frame: DepthFrame) -> float:
        """The distance within which more than `share` of the window lies; 0 if it is covered, infinite if that is
        nowhere."""
        height, width = frame.depth.shape
        left, top, right, bottom = self.window
        seen = frame.depth[
            int(top * height) : max(int(np.ceil(bottom * height)), 1),
            int(left * width) : max(int(np.ceil(right * width)), 1),
        ]
        step = max(1, int(np.sqrt(seen.size / _ENOUGH_PIXELS)))
        seen = seen[::step, ::step]
        measured = seen[seen > 0]
        if seen.size - measured.size > self.unmeasured * seen.size:
            return 0.0
        enough = int(self.share * seen.size)
        if enough >= measured.size:
            return np.inf
        return float(np.partition(measured, enough)[enough]) * frame.unit_m
