"""A camera whose driver lives in a process of its own: started, watched and restarted from here."""

import threading
import time
from dataclasses import dataclass, replace

from fosp_edge.cameras.address import CameraAddress
from fosp_edge.cameras.base import CameraError, CameraLost, DepthFrame, Frame
from fosp_edge.cameras.feeder_process import FeederProcess
from fosp_edge.cameras.ring_camera import FrameCounters
from fosp_edge.cameras.source import Intrinsics

_POLL_S = 0.05


@dataclass(frozen=True)
class Patience:
    """How long to wait for a driver."""

    start_s: float = 30.0
    """From starting the process to its first picture; includes a hardware reset."""
    silence_s: float = 6.0
    """A driver that gives no picture for this long hangs, and is killed."""
    pause_s: float = 1.0
    """Before the first attempt to reconnect; doubled after every failure, up to 16 times as long."""


@dataclass(frozen=True)
class _Connection:
    """One run of the driver, and where its sequence numbers begin."""

    feeder: FeederProcess
    offset: int


class FedCamera:
    """Implements `Camera`. While the driver is gone `latest` raises CameraLost; a live camera is reconnected meanwhile.

    Every attempt to reconnect resets the hardware where the driver can (RealSense). Sequence numbers go on rising.
    """

    def __init__(self, name: str, address: CameraAddress, *, patience: Patience | None = None) -> None:
        """Describe the camera; nothing is opened yet."""
        self.name, self.address = name, address
        self.serial, self.width_px, self.height_px = "", 0, 0
        self.intrinsics: Intrinsics | None = None
        """What the factory says of the camera; None where it says nothing."""
        self.reconnections = 0
        self._patience = patience or Patience()
        self._connection: _Connection | None = None
        self._reason = "it was not started"
        self._newest = -1
        self._past = FrameCounters(0, 0, 0)
        self._closing = threading.Event()
        self._watcher: threading.Thread | None = None

    def start(self) -> None:
        """Start the driver and wait for the first picture. Raises CameraError with the driver's own sentence."""
        if self._watcher is not None:
            return
        self._connect(reset=False)
        self._watcher = threading.Thread(target=self._watch, name=f"camera {self.name}", daemon=True)
        self._watcher.start()

    def latest(self, max_age_s: float) -> Frame:
        """The newest frame, not older than `max_age_s`; never blocks. Raises FrameStale, CameraLost."""
        connection = self._connected()
        try:
            frame = connection.feeder.colour.latest(max_age_s)
        except CameraLost:
            raise CameraLost(f"camera {self.name} is gone: {self._why(connection)}") from None
        frame = replace(frame, sequence=frame.sequence + connection.offset)
        self._newest = max(self._newest, frame.sequence)
        return frame

    def latest_depth(self, max_age_s: float) -> DepthFrame:
        """The newest depth picture, not older than `max_age_s`; never blocks.

        Raises:
            CameraError: the camera measures no distances.
            CameraLost, FrameStale: as for `latest`.
        """
        connection = self._connected()
        try:
            found = connection.feeder.colour.latest_depth(max_age_s)
        except CameraLost:
            raise CameraLost(f"camera {self.name} is gone: {self._why(connection)}") from None
        return replace(found, sequence=found.sequence + connection.offset)

    def close(self) -> None:
        """End the driver's process. Never raises; may be called twice."""
        self._closing.set()
        if self._watcher is not None:
            self._watcher.join(self._patience.start_s)
        self._disconnect("it was closed")

    @property
    def counters(self) -> FrameCounters:
        """What happened to the frames so far, over all reconnections."""
        connection, past = self._connection, self._past
        return past if connection is None else _sum(past, connection.feeder.colour.counters)

    @property
    def driver_pid(self) -> int | None:
        """Process number of the driver while there is one."""
        connection = self._connection
        return None if connection is None else connection.feeder.pid

    def _connected(self) -> _Connection:
        connection = self._connection
        if connection is None:
            raise CameraLost(f"camera {self.name} is gone: {self._reason}")
        return connection

    @staticmethod
    def _why(connection: _Connection) -> str:
        return "its driver hangs" if connection.feeder.alive else connection.feeder.last_words

    # The watching thread; `start` connects before it lives, `close` disconnects after it has ended.

    def _connect(self, *, reset: bool) -> None:
        feeder = FeederProcess(
            self.name, self.address, reset=reset, timeout_s=self._patience.start_s, abandoned=self._closing
        )
        colour = feeder.colour
        if self.serial and (colour.serial, colour.width_px, colour.height_px) != (
            self.serial,
            self.width_px,
            self.height_px,
        ):
            feeder.close()
            raise CameraError(f"another camera came back: expected {self.serial}, found {colour.serial}")
        self.serial, self.width_px, self.height_px = colour.serial, colour.width_px, colour.height_px
        self.intrinsics = feeder.intrinsics
        self._connection = _Connection(feeder, self._newest + 1)

    def _disconnect(self, reason: str, *, kill: bool = False) -> None:
        connection, self._connection = self._connection, None
        self._reason = reason
        if connection is not None:
            self._past = _sum(self._past, connection.feeder.colour.counters)
            connection.feeder.close(kill=kill)

    def _watch(self) -> None:
        published, since = -1, time.monotonic()
        while not self._closing.wait(_POLL_S):
            connection = self._connection
            if connection is None:
                return
            count = connection.feeder.published
            if count != published:
                published, since = count, time.monotonic()
            silent = time.monotonic() - since > self._patience.silence_s
            if connection.feeder.alive and not silent:
                continue
            self._disconnect("its driver hangs" if silent else connection.feeder.last_words, kill=silent)
            if not self.address.is_live or not self._reconnect():
                return
            published, since = -1, time.monotonic()

    def _reconnect(self) -> bool:
        """Try until it works or the camera is closed; True if connected."""
        pause_s = self._patience.pause_s
        while not self._closing.wait(pause_s):
            if self._attempt():
                self.reconnections += 1
                return True
            pause_s = min(2 * pause_s, 16 * self._patience.pause_s)
        return False

    def _attempt(self) -> bool:
        try:
            self._connect(reset=True)
        except CameraError as error:
            self._reason = str(error)
            return False
        return True


def _sum(a: FrameCounters, b: FrameCounters) -> FrameCounters:
    return FrameCounters(a.received + b.received, a.sensor_dropped + b.sensor_dropped, a.torn + b.torn)
