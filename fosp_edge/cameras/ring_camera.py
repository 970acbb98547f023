"""A camera whose pictures another process puts into a ring: the simulated one, and every driver that may hang.

Where that process measures distances too, they are in a ring beside it.
"""

import contextlib
import time
from dataclasses import dataclass

import numpy as np

from fosp_edge.cameras.base import CameraError, CameraLost, DepthFrame, Frame, FrameStale
from fosp_edge.cameras.ring import DEPTH, RingReader


@dataclass(frozen=True)
class FrameCounters:
    """What happened to the frames so far."""

    received: int
    """Different frames handed out by `latest`."""
    sensor_dropped: int
    """Frames that the sensor took and its own process lost."""
    torn: int
    """Slots found half-written; the frame before was used instead."""


class RingCamera:
    """Implements `Camera` on the reading end of a ring."""

    def __init__(self, name: str, ring: str, *, start_timeout_s: float = 5.0) -> None:
        """Attach to the ring called `ring`.

        Raises:
            CameraLost: if the ring is gone.
            CameraError: if it is not a ring of colour pictures.
        """
        self.name, self.ring = name, ring
        self._start_timeout_s = start_timeout_s
        self._reader = RingReader(ring)
        form = self._reader.format
        if form.channels != 3 or form.bytes_per_element != 1:
            self._reader.close()
            raise CameraError(f"camera {name}: expected a ring of 8-bit RGB, found {form.dtype} x {form.channels}")
        self.serial = form.serial
        self.width_px, self.height_px = form.width_px, form.height_px
        self._depth: RingReader | None = None
        with contextlib.suppress(CameraLost):  # it measures no distances
            self._depth = RingReader(ring + DEPTH)
        self._last: Frame | None = None
        self._received = 0

    @property
    def counters(self) -> FrameCounters:
        """What happened to the frames so far."""
        return FrameCounters(self._received, self._reader.dropped, self._reader.torn)

    @property
    def published(self) -> int:
        """How many frames the other process has put into the ring."""
        return self._reader.published

    def start(self) -> None:
        """Wait until the first frame is there.

        Raises:
            CameraLost: if the process that feeds the ring is gone.
            CameraError: if no frame comes within the start timeout.
        """
        deadline = time.monotonic() + self._start_timeout_s
        self._require_writer()
        while self._reader.published == 0:
            self._require_writer()
            if time.monotonic() > deadline:
                raise CameraError(
                    f"camera {self.name}: no frame within {self._start_timeout_s:g} s of starting; "
                    "check the camera and its cable"
                )
            time.sleep(0.005)

    def latest(self, max_age_s: float) -> Frame:
        """The newest frame, not older than `max_age_s`; never blocks.

        Raises:
            CameraLost: if the process that feeds the ring is gone, however young its last frame.
            FrameStale: if the newest frame is older, or its time stamp lies in the future.
        """
        self._require_writer()
        found = self._reader.latest()
        if found is not None and (self._last is None or found.sequence > self._last.sequence):
            # The ring was checked to hold 8-bit pictures when it was opened.
            self._last = Frame(found.pixels.astype(np.uint8, copy=False), found.sequence, found.sensor_ns)
            self._received += 1
        if self._last is None:
            raise FrameStale(f"camera {self.name}: no frame yet")
        self._require_young(self._last.sensor_ns, max_age_s, "frame")
        return self._last

    def latest_depth(self, max_age_s: float) -> DepthFrame:
        """The newest depth picture, not older than `max_age_s`; never blocks.

        Raises:
            CameraError: if there is none to be had from this camera.
            CameraLost, FrameStale: as for `latest`.
        """
        if self._depth is None:
            raise CameraError(
                f"camera {self.name} measures no distances: a RealSense does with ?depth=1 behind its address"
            )
        self._require_writer()
        found = self._depth.latest()
        if found is None:
            raise FrameStale(f"camera {self.name}: no depth picture yet")
        self._require_young(found.sensor_ns, max_age_s, "depth picture")
        depth = found.pixels[:, :, 0].astype(np.uint16, copy=False)
        return DepthFrame(depth, self._depth.format.unit_m, found.sequence, found.sensor_ns)

    def close(self) -> None:
        """Let go of the rings. Never raises."""
        self._reader.close()
        if self._depth is not None:
            self._depth.close()

    def _require_young(self, sensor_ns: int, max_age_s: float, what: str) -> None:
        age_s = (time.monotonic_ns() - sensor_ns) * 1e-9
        if not -0.001 <= age_s <= max_age_s:
            raise FrameStale(
                f"camera {self.name}: the newest {what} is {age_s * 1e3:.0f} ms old, "
                f"at most {max_age_s * 1e3:.0f} ms are accepted"
            )

    def _require_writer(self) -> None:
        if not self._reader.writer_alive():
            raise CameraLost(f"camera {self.name}: the process that feeds it is gone; restart it")
