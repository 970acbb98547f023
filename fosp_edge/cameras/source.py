"""What a camera driver gives to the process that feeds a ring with its pictures."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fosp_edge.cameras.address import CameraAddress
from fosp_edge.cameras.base import CameraError


class SourceEndedError(CameraError):
    """A recording has come to its end."""


@dataclass(frozen=True)
class Intrinsics:
    """The factory's word on how the camera projects, in pixels of its picture."""

    width_px: int
    height_px: int
    focal_x_px: float
    focal_y_px: float
    centre_x_px: float
    centre_y_px: float
    model: str
    coefficients: tuple[float, ...]


@dataclass(frozen=True)
class Picture:
    """One exposure."""

    colour: npt.NDArray[np.uint8]
    """Shape [height, width, 3], RGB."""
    depth: npt.NDArray[np.uint16] | None
    """Shape [height, width], units of `Source.depth_scale_m`, aligned with `colour`; 0 where nothing was measured."""
    sequence: int
    sensor_ns: int
    """Monotonic host time at which it was taken."""


class Source(Protocol):
    """An open camera. Only the feeding process touches it; any method may hang with the driver."""

    serial: str
    width_px: int
    height_px: int
    depth_scale_m: float | None
    """Metres per unit of depth; None if there is no depth."""
    intrinsics: Intrinsics | None

    def read(self, timeout_s: float) -> Picture:
        """Wait for the next picture. Raises CameraError after the timeout, SourceEndedError at a recording's end."""

    def close(self) -> None:
        """Let go of the device."""


def open_source(address: CameraAddress) -> Source:
    """Open the camera at an address, importing only the driver it needs.

    Raises:
        CameraError: it cannot be opened, or its driver is not installed; the message names the extra.
    """
    if address.kind == "realsense" or (address.kind == "recording" and is_realsense_recording(address.target)):
        from fosp_edge.cameras.realsense import RealSenseSource

        return RealSenseSource(address)
    if address.kind == "v4l2":
        from fosp_edge.cameras.video_device import VideoDeviceSource

        return VideoDeviceSource(address)
    if address.kind == "recording" and is_mcap(address.target):
        from fosp_edge.cameras.mcap_recording import McapSource

        return McapSource(address)
    if address.kind == "recording":
        from fosp_edge.cameras.recorded import open_recording

        return open_recording(address)
    raise CameraError(f"camera {address}: a ring is read, not opened as a driver")


def is_mcap(target: str) -> bool:
    """Whether a recording is an MCAP file, with or without a topic behind a `#`."""
    return target.endswith(".mcap") or ".mcap#" in target


def is_realsense_recording(path: str) -> bool:
    """Whether a file is one that the RealSense library wrote."""
    return path.endswith((".db3", ".bag"))
