"""A source of cost for whatever has a depth camera: something is nearer than it may come."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from fosp_edge.robots.judging import Finding, Plain, Sample

Look = Callable[[], tuple[npt.NDArray[np.uint16], float]]
"""The newest distances, shape [H, W], 0 where none was measured, and how many metres 1 stands for; or a CameraError."""
Window = tuple[float, float, float, float]
"""Left, top, right and bottom of a part of a picture, as shares of its width and height."""
WHOLE: Window = (0.0, 0.0, 1.0, 1.0)
_LARGEST = 2**16 - 1


class TooClose(Plain):
    """Cost while enough of a depth picture is nearer than it may be, or shows nothing at all.

    A depth camera measures nothing below its least distance (0.1 to 0.3 m for a RealSense D4xx, by its size): what
    stands right before it leaves a hole. So a window in which hardly anything was measured costs as well.

    Args:
        look: where the distances come from.
        nearer_m: a distance below costs.
        share: of the window's pixels that must be nearer; one alone may be noise.
        window: what of the picture counts: not the floor in front of a base, nor an arm's own fingers.
        unmeasured: share of the window's pixels above which nothing measured costs; 1 never does.

    Raises:
        ValueError: a distance or share out of its range, or a window without an inside.
    """

    def __init__(
        self, look: Look, nearer_m: float, *, share: float = 0.01, window: Window = WHOLE, unmeasured: float = 0.9
    ) -> None:
        left, top, right, bottom = window
        if not 0.0 < nearer_m < np.inf:
            raise ValueError(f"nearer_m: expected metres above 0, found {nearer_m:g}")
        if not 0.0 <= share < 1.0 or not 0.0 < unmeasured <= 1.0:
            raise ValueError(f"share and unmeasured are parts of 1, found {share:g} and {unmeasured:g}")
        if not (0.0 <= left < right <= 1.0 and 0.0 <= top < bottom <= 1.0):
            raise ValueError(f"window: expected left, top, right, bottom within 0 and 1, found {list(window)}")
        self._look, self._nearer_m, self._share = look, nearer_m, share
        self._window, self._unmeasured = window, unmeasured

    def judge(self, sample: Sample) -> Finding:
        """Cost 1 while something is too close. Raises CameraError where the camera is silent."""
        distances, unit_m = self._look()
        height, width = distances.shape
        left, top, right, bottom = self._window
        seen = distances[
            int(top * height) : max(int(np.ceil(bottom * height)), 1),
            int(left * width) : max(int(np.ceil(right * width)), 1),
        ]
        measured = np.count_nonzero(seen)
        far = min(int(np.ceil(self._nearer_m / unit_m)), _LARGEST)  # whole, so that nothing is made a float to compare
        near = measured - np.count_nonzero(seen >= far)
        blind = seen.size - measured > self._unmeasured * seen.size
        return Finding(cost=float(near > self._share * seen.size or blind))
