"""A source of cost for whatever has a depth camera: something is nearer than it may come."""

import numpy as np

from fosp_edge.robots.depth_window import DepthWindow, Look
from fosp_edge.robots.judging import Finding, Plain, Sample


class TooClose(Plain):
    """Cost while something in a depth camera's window is nearer than it may be, or covers it.

    Raises:
        ValueError: no distance.
    """

    def __init__(self, look: Look, nearer_m: float, window: DepthWindow) -> None:
        if not 0.0 < nearer_m < np.inf:
            raise ValueError(f"nearer_m: expected metres above 0, found {nearer_m:g}")
        self._look, self._nearer_m, self._window = look, nearer_m, window

    def judge(self, sample: Sample) -> Finding:
        """Cost 1 while it is. Raises CameraError where the camera is silent."""
        return Finding(cost=float(self._window.nearest_m(self._look()) < self._nearer_m))
