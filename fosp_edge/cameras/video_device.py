"""USB and built-in cameras through Video4Linux and OpenCV.

Written against OpenCV's documented behaviour; its tests drive it with a stand-in for the device, since no machine of
this project's continuous integration has a camera.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fosp_edge.cameras.address import CameraAddress
from fosp_edge.cameras.base import CameraError
from fosp_edge.cameras.recorded import import_opencv
from fosp_edge.cameras.source import Intrinsics, Picture

_SETTLE_FRAMES = 20
_MANUAL_EXPOSURE, _AUTO_EXPOSURE = 1, 3
"""V4L2's own numbers for the menu control exposure_auto."""


class VideoDeviceSource:
    """One V4L2 device. Exposure and white balance are fixed after the camera has found them, or as asked for."""

    depth_scale_m: float | None = None
    intrinsics: Intrinsics | None = None

    def __init__(self, address: CameraAddress, open_capture: Callable[[str], Any] | None = None) -> None:
        """Open and configure the device.

        Args:
            address: device path, size, rate, exposure.
            open_capture: makes the `cv2.VideoCapture`; tests replace it.

        Raises:
            CameraError: no such device, no permission, or it gives another size than asked for.
        """
        self._cv2 = cv2 = import_opencv()
        if open_capture is None:
            _require_device(address.target)
        self._capture = open_capture(address.target) if open_capture else cv2.VideoCapture(address.target, cv2.CAP_V4L2)
        if not self._capture.isOpened():
            raise CameraError(f"{address.target} does not open as a camera: is another program using it?")
        self.serial = video_device_serial(address.target)
        # Compressed, because raw pictures at 640x480 already fill USB 2; one buffer, because only the newest counts.
        self._capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, address.width)
        self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, address.height)
        self._capture.set(cv2.CAP_PROP_FPS, address.rate)
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        self.width_px, self.height_px = address.width, address.height
        self._period_ns = round(1e9 / address.rate)
        self._sequence, self._last_ns = -1, 0
        self._pin(address)

    def read(self, timeout_s: float) -> Picture:
        """Wait for the next picture; OpenCV itself gives up after 10 s. Raises CameraError."""
        found, bgr = self._capture.read()
        arrival_ns = time.monotonic_ns()
        if not found or bgr is None:
            raise CameraError(f"camera {self.serial} gives no more pictures: was it unplugged?")
        if bgr.shape != (self.height_px, self.width_px, 3):
            raise CameraError(
                f"camera {self.serial} gives {bgr.shape[1]}x{bgr.shape[0]} pixels, {self.width_px}x{self.height_px} "
                "were asked for: choose a size that it offers (`v4l2-ctl --list-formats-ext`)"
            )
        sensor_ns = self._stamp(arrival_ns)
        # OpenCV hides the driver's frame counter: a gap in the time stamps shows how many frames are missing.
        missed = round((sensor_ns - self._last_ns) / self._period_ns) - 1 if self._sequence >= 0 else 0
        self._sequence += 1 + max(0, missed)
        self._last_ns = sensor_ns
        return Picture(np.ascontiguousarray(bgr[:, :, ::-1]), None, self._sequence, sensor_ns)

    def close(self) -> None:
        """Let go of the device."""
        self._capture.release()

    def _stamp(self, arrival_ns: int) -> int:
        """The driver's time stamp if it is one of the monotonic clock, which V4L2 drivers use, else the arrival."""
        stamp_ns = round(self._capture.get(self._cv2.CAP_PROP_POS_MSEC) * 1e6)
        return stamp_ns if 0 <= arrival_ns - stamp_ns < 1_000_000_000 else arrival_ns

    def _pin(self, address: CameraAddress) -> None:
        cv2, capture = self._cv2, self._capture
        if not (address.exposure_us and address.white_balance_k):
            capture.set(cv2.CAP_PROP_AUTO_EXPOSURE, _AUTO_EXPOSURE)
            capture.set(cv2.CAP_PROP_AUTO_WB, 1)
            for _ in range(_SETTLE_FRAMES):
                self.read(1.0)
        exposure = address.exposure_us / 100 if address.exposure_us else capture.get(cv2.CAP_PROP_EXPOSURE)
        temperature = address.white_balance_k or capture.get(cv2.CAP_PROP_WB_TEMPERATURE)
        capture.set(cv2.CAP_PROP_AUTO_EXPOSURE, _MANUAL_EXPOSURE)
        capture.set(cv2.CAP_PROP_EXPOSURE, exposure)  # V4L2 counts in 100 microseconds
        capture.set(cv2.CAP_PROP_AUTO_WB, 0)
        capture.set(cv2.CAP_PROP_WB_TEMPERATURE, temperature)


def _require_device(path: str) -> None:
    if not Path(path).exists():
        raise CameraError(f"there is no camera {path}: `fosp-edge cameras ls` lists those connected")
    try:
        with Path(path).open("rb"):
            pass
    except PermissionError as error:
        raise CameraError(f"no permission to open {path}: add yourself to its group (`usermod -aG video`)") from error
    except OSError as error:
        raise CameraError(f"{path} cannot be opened: {error.strerror}") from error


def list_video_devices(classes: Path = Path("/sys/class/video4linux")) -> list[tuple[str, str, str]]:
    """(device path, name, stable name) of every capture device; a camera's second, metadata node is left out."""
    found = []
    for node in sorted(classes.glob("video*"), key=lambda node: int(node.name[5:] or 0)):
        try:
            index, name = (node / "index").read_text().strip(), (node / "name").read_text().strip()
        except OSError:
            continue
        if index == "0":
            device = f"/dev/{node.name}"
            found.append((device, name, video_device_serial(device)))
    return found


def video_device_serial(path: str, links: Path = Path("/dev/v4l/by-id")) -> str:
    """The name under which udev knows the camera, which holds its serial number; else the device path."""
    target = Path(path).resolve()
    for link in sorted(links.glob("*")):
        if link.resolve() == target:
            return link.name[:64]
    return path
