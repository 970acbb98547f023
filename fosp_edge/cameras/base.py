"""Frames with sequence numbers and timestamps: what every camera gives, and how it fails."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt


class CameraError(RuntimeError):
    """The camera cannot be used; the message says what was expected, what was found and what to do."""


class CameraLost(CameraError):  # noqa: N818 - a state, as the control loop names it
    """The camera or the process that feeds it is gone."""


class FrameStale(CameraError):  # noqa: N818 - a state, as the control loop names it
    """The newest frame is older than the caller accepts: the camera is frozen or late."""


@dataclass(frozen=True)
class Frame:
    """One picture."""

    image: npt.NDArray[np.uint8]
    """Shape [height, width, 3], RGB."""
    sequence: int
    """Counts up by one with every frame the sensor took; a gap means frames were dropped."""
    sensor_ns: int
    """Monotonic host time at which the picture was taken."""


@dataclass(frozen=True)
class DepthFrame:
    """Distances, aligned with the colour picture of the same sequence number."""

    depth: npt.NDArray[np.uint16]
    """Along the camera's axis, shape [height, width], in units of `unit_m`; 0 where nothing was measured."""
    unit_m: float
    sequence: int
    sensor_ns: int
    """Monotonic host time at which the picture was taken."""


class Camera(Protocol):
    """A source of frames. `latest` never blocks for longer than copying one frame takes."""

    name: str
    serial: str
    width_px: int
    height_px: int

    def start(self) -> None:
        """Begin to take pictures; returns when the first one is there. Raises CameraError."""

    def latest(self, max_age_s: float) -> Frame:
        """The newest frame, not older than `max_age_s`. Raises FrameStale, CameraLost."""

    def close(self) -> None:
        """Let go of the camera. Never raises."""


@runtime_checkable
class DepthCamera(Protocol):
    """A camera that may also measure distances."""

    def latest_depth(self, max_age_s: float) -> DepthFrame:
        """The newest depth picture, not older than `max_age_s`; never blocks.

        Raises:
            CameraError: it measures none.
            FrameStale, CameraLost: as for colour.
        """
