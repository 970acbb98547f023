"""Intel RealSense cameras and recordings, through pyrealsense2. Runs in the feeding process only: it may hang.

The same code opens a camera and a recording; the tests make a recording with the library's software device.
"""

import contextlib
import time
from pathlib import Path
from typing import Any

import numpy as np

from fosp_edge.cameras.address import CameraAddress
from fosp_edge.cameras.base import CameraError
from fosp_edge.cameras.clock import SensorClock
from fosp_edge.cameras.source import Intrinsics, Picture, SourceEndedError

_SETTLE_FRAMES = 30
_RESET_TIMEOUT_S = 15.0


class RealSenseSource:
    """Colour, and aligned depth if asked for, of one camera by its serial number."""

    def __init__(self, address: CameraAddress) -> None:
        """Open the camera or recording and pin exposure and white balance.

        Raises:
            CameraError: not installed, not connected, more than one and none named, or it offers no such streams.
        """
        self._rs = rs = import_realsense()
        self._is_recording = address.kind == "recording"
        self._pipeline, config = rs.pipeline(), rs.config()
        if self._is_recording:
            if not Path(address.target).is_file():
                raise CameraError(f"there is no recording {address.target}")
            config.enable_device_from_file(address.target, bool(address.loop))
        else:
            config.enable_device(_choose(address.target))
            config.enable_stream(rs.stream.color, address.width, address.height, rs.format.rgb8, address.rate)
            if address.depth:
                config.enable_stream(rs.stream.depth, address.width, address.height, rs.format.z16, address.rate)
        try:
            profile = self._pipeline.start(config)
        except RuntimeError as error:
            raise CameraError(f"RealSense {address.target}: {error}; check size, rate and the USB port") from error
        device = profile.get_device()
        self.serial = str(device.get_info(rs.camera_info.serial_number))
        streams = {stream.stream_type() for stream in profile.get_streams()}
        if rs.stream.color not in streams:
            raise CameraError(f"RealSense {self.serial}: the recording holds no colour pictures")
        video = profile.get_stream(rs.stream.color).as_video_stream_profile()
        self._swap = video.format() in (rs.format.bgr8, rs.format.bgra8)
        self.width_px, self.height_px = video.width(), video.height()
        self.intrinsics: Intrinsics | None = _intrinsics(video.get_intrinsics())
        with_depth = rs.stream.depth in streams and (self._is_recording or bool(address.depth))
        self.depth_scale_m: float | None = device.first_depth_sensor().get_depth_scale() if with_depth else None
        self._align = rs.align(rs.stream.color) if with_depth else None
        self._clock, self._last_number, self._sequence = SensorClock(), -1, -1
        if not self._is_recording:
            self._pin(device, address)

    def read(self, timeout_s: float) -> Picture:
        """Wait for the next picture. Raises CameraError after the timeout, SourceEndedError at a recording's end."""
        deadline = time.monotonic() + timeout_s
        while True:
            remaining_ms = max(1, round((deadline - time.monotonic()) * 1e3))
            try:
                frames = self._pipeline.wait_for_frames(remaining_ms)
            except RuntimeError as error:
                if self._is_recording:
                    raise SourceEndedError(f"the recording of RealSense {self.serial} has ended") from error
                raise CameraError(f"RealSense {self.serial}: {error}") from error
            arrival_ns = time.monotonic_ns()
            frames = self._align.process(frames) if self._align is not None else frames
            colour = frames.get_color_frame()
            # A frame set may repeat the colour picture beside a newer depth picture: each is delivered once.
            if colour and colour.get_frame_number() != self._last_number:
                return self._picture(colour, frames.get_depth_frame() if self._align is not None else None, arrival_ns)
            if time.monotonic() > deadline:
                raise CameraError(f"RealSense {self.serial}: no new picture within {timeout_s:g} s")

    def close(self) -> None:
        """Stop the streams; known to hang now and then, which is why this runs in a process that may be killed."""
        with contextlib.suppress(RuntimeError):
            self._pipeline.stop()

    def _picture(self, colour: Any, depth: Any, arrival_ns: int) -> Picture:
        number = int(colour.get_frame_number())
        self._sequence += max(1, number - self._last_number) if self._last_number >= 0 else 1
        if number < self._last_number:  # a recording that begins again, or a camera that restarted its counter
            self._clock = SensorClock()
        self._last_number = number
        sensor_ns = self._clock.to_monotonic_ns(round(colour.get_timestamp() * 1e6), arrival_ns)
        pixels = np.asanyarray(colour.get_data())[:, :, :3]
        image = np.array(pixels[:, :, ::-1] if self._swap else pixels, dtype=np.uint8, order="C")
        distance = np.array(depth.get_data(), dtype=np.uint16) if depth else None
        return Picture(image, distance, self._sequence, sensor_ns)

    def _pin(self, device: Any, address: CameraAddress) -> None:
        """Let the camera find exposure and white balance unless given, then keep them."""
        rs, sensor = self._rs, _colour_sensor(device)
        # The unit of the colour sensor's exposure is 100 microseconds.
        automatic = {
            rs.option.enable_auto_exposure: (rs.option.exposure, address.exposure_us / 100),
            rs.option.enable_auto_white_balance: (rs.option.white_balance, float(address.white_balance_k)),
        }
        if not (address.exposure_us and address.white_balance_k):
            for switch in automatic:
                if sensor.supports(switch):
                    sensor.set_option(switch, 1)
            for _ in range(_SETTLE_FRAMES):
                self.read(5.0)
        for switch, (option, wanted) in automatic.items():
            if sensor.supports(switch) and sensor.supports(option):
                value = wanted or sensor.get_option(option)
                sensor.set_option(switch, 0)
                sensor.set_option(option, value)


def import_realsense() -> Any:
    """The RealSense library, or a sentence that says how to get it. Raises CameraError."""
    try:
        import pyrealsense2
    except ImportError as error:
        if "libusb" in str(error):
            raise CameraError("the RealSense library needs libusb: sudo apt install libusb-1.0-0") from error
        raise CameraError("this needs the extra `realsense`: pip install 'fosp-edge[realsense]'") from error
    return pyrealsense2


def list_realsense() -> list[tuple[str, str]]:
    """(serial number, name) of the connected cameras. Raises CameraError if the library is missing."""
    rs = import_realsense()
    return [
        (str(device.get_info(rs.camera_info.serial_number)), str(device.get_info(rs.camera_info.name)))
        for device in rs.context().query_devices()
    ]


def reset_realsense(serial: str) -> None:
    """Reset the hardware, as if it were unplugged and plugged in again, and wait until it is back.

    Raises:
        CameraError: it is not connected, or does not come back.
    """
    rs = import_realsense()
    chosen = _choose(serial)
    for device in rs.context().query_devices():
        if device.get_info(rs.camera_info.serial_number) == chosen:
            device.hardware_reset()
    deadline = time.monotonic() + _RESET_TIMEOUT_S
    time.sleep(2.0)  # it takes a moment to vanish
    while chosen not in [found for found, _ in list_realsense()]:
        if time.monotonic() > deadline:
            raise CameraError(f"RealSense {chosen} did not come back after its reset: unplug it and plug it in")
        time.sleep(0.5)


def _choose(serial: str) -> str:
    found = [number for number, _ in list_realsense()]
    if serial and serial in found:
        return serial
    if serial:
        raise CameraError(f"RealSense {serial} is not connected; connected: {', '.join(found) or 'none'}")
    if len(found) != 1:
        raise CameraError(
            f"expected one RealSense, found {len(found)}: {', '.join(found) or 'none'}; name one by serial"
        )
    return found[0]


def _colour_sensor(device: Any) -> Any:
    """The sensor that takes the colour pictures: on some models the stereo module itself."""
    colour = import_realsense().stream.color
    for sensor in device.query_sensors():
        if any(profile.stream_type() == colour for profile in sensor.get_stream_profiles()):
            return sensor
    raise CameraError(
        f"RealSense {device.get_info(import_realsense().camera_info.serial_number)} takes no colour pictures"
    )


def _intrinsics(raw: Any) -> Intrinsics:
    model, coefficients = str(raw.model).rpartition(".")[2], tuple(float(value) for value in raw.coeffs)
    return Intrinsics(raw.width, raw.height, raw.fx, raw.fy, raw.ppx, raw.ppy, model, coefficients)
