"""A ring of frames in shared memory: one process writes, any number read, nobody waits for anybody.

Layout (native byte order, everything a multiple of 64 bytes):

    header  256 bytes   magic, version, shape, element size, slots, unit of depth, serial | published, dropped
    slot    64 bytes    lock, sequence, sensor_ns, crc          } times
            pixels      height x width x channels, row by row    } slots

Frame number n (from 0) goes into slot n mod slots. Its `lock` is 2n+1 while it is being written and 2n+2 when it is
whole; `published` is n+1 once it may be read. A reader that finds the lock it expects before and after copying has
a whole frame on a machine that keeps stores in order. A Jetson does not, and Python has no memory fences, so a CRC-32
over stamp and pixels decides: a torn frame is never returned.

The segment is a file of mode 0600 with a random name in /dev/shm, used through `mmap` and not through
`multiprocessing.shared_memory`, whose resource tracker would unlink a ring when a mere reader exits (before Python
3.13). A ring of depth pictures is called as the colour ring that it belongs to, with DEPTH behind it. The writer holds
an exclusive `flock` on it for as long as it lives; the kernel lets go of it even after kill -9. That is how readers
learn that the writer is gone, and how the next writer knows which left-over segments to remove.
"""

import contextlib
import fcntl
import math
import mmap
import os
import re
import secrets
import stat
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fosp_edge.cameras.base import CameraError, CameraLost

FOLDER = Path("/dev/shm")  # noqa: S108 - POSIX shared memory, entered only by unguessable names and O_EXCL
PREFIX = "fosp-edge-ring-"
DEPTH = "-depth"
_NAME = re.compile(PREFIX + r"[0-9a-f]{32}" + f"({DEPTH})?")
_MAGIC = int.from_bytes(b"FOSPRING", "little")
_VERSION = 2
_HEADER_BYTES = 256
_SLOT_HEADER_BYTES = 64
_SERIAL_OFFSET, _SERIAL_BYTES = 128, 64

# Places of the 64-bit words in the header and at the start of a slot.
_W_MAGIC, _W_VERSION, _W_HEIGHT, _W_WIDTH, _W_CHANNELS, _W_ITEM, _W_SLOTS, _W_PUBLISHED, _W_DROPPED = range(9)
_W_UNIT = 9
_S_LOCK, _S_SEQUENCE, _S_SENSOR_NS, _S_CRC = range(4)

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
_Words = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class RingFormat:
    """What one ring carries: pictures of one shape from one sensor."""

    height_px: int
    width_px: int
    channels: int = 3
    bytes_per_element: int = 1
    """1 for uint8 colour, 2 for uint16 depth."""
    slots: int = 4
    serial: str = ""
    unit_m: float = 0.0
    """Metres that 1 in a depth picture stands for; 0: it is none."""

    def __post_init__(self) -> None:
        within = 0 < self.height_px <= 16384 and 0 < self.width_px <= 16384 and 0 < self.channels <= 4
        if not within or self.bytes_per_element not in (1, 2) or not 2 <= self.slots <= 64:
            raise ValueError(f"not a picture format that a ring can carry: {self}")
        if not 0.0 <= self.unit_m < math.inf:
            raise ValueError(f"expected metres per unit of depth, found {self.unit_m}")
        if len(self.serial.encode()) > _SERIAL_BYTES:
            raise ValueError(f"the serial number has more than {_SERIAL_BYTES} bytes: {self.serial!r}")

    @property
    def dtype(self) -> np.dtype[np.uint8] | np.dtype[np.uint16]:
        """Type of one element."""
        return np.dtype(np.uint8) if self.bytes_per_element == 1 else np.dtype(np.uint16)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of a picture: [height, width, channels]."""
        return self.height_px, self.width_px, self.channels

    @property
    def pixel_bytes(self) -> int:
        """Size of one picture in bytes."""
        return self.height_px * self.width_px * self.channels * self.bytes_per_element

    @property
    def slot_bytes(self) -> int:
        """Size of one slot with its header, a multiple of 64."""
        return _SLOT_HEADER_BYTES + -(-self.pixel_bytes // 64) * 64

    @property
    def total_bytes(self) -> int:
        """Size of the segment."""
        return _HEADER_BYTES + self.slots * self.slot_bytes


def depth_format(colour: RingFormat, unit_m: float) -> RingFormat:
    """Of the ring of depth pictures beside a colour ring."""
    return replace(colour, channels=1, bytes_per_element=2, unit_m=unit_m)


@dataclass(frozen=True)
class RingFrame:
    """One whole picture copied out of a ring."""

    pixels: Pixels
    """Shape [height, width, channels]; owned by the caller."""
    sequence: int
    sensor_ns: int


def _words(memory: mmap.mmap, offset: int, count: int) -> _Words:
    return np.frombuffer(memory, dtype=np.uint64, count=count, offset=offset)


def _pixels(memory: mmap.mmap, offset: int, ring_format: RingFormat) -> Pixels:
    """The pixels of the slot at `offset`, in place."""
    place = offset + _SLOT_HEADER_BYTES
    kind: type[np.uint8] | type[np.uint16] = np.uint8 if ring_format.bytes_per_element == 1 else np.uint16
    pixels: Pixels = np.ndarray(ring_format.shape, dtype=kind, buffer=memory, offset=place)
    return pixels


def _checksum(sequence: int, sensor_ns: int, pixels: Pixels) -> int:
    stamp = sequence.to_bytes(8, "little") + sensor_ns.to_bytes(8, "little")
    return zlib.crc32(pixels.data.cast("B"), zlib.crc32(stamp))


def remove_abandoned_rings(folder: Path = FOLDER) -> int:
    """Remove this user's segments whose writer no longer lives; returns how many were removed."""
    removed = 0
    for path in folder.glob(PREFIX + "*"):
        with contextlib.suppress(OSError):  # another user's, already gone, or held by a living writer
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
                removed += 1
            finally:
                os.close(descriptor)
    return removed


class RingWriter:
    """The sensor's side. One writer per ring; `close` (or the next writer, after a crash) removes the segment."""

    def __init__(self, ring_format: RingFormat, folder: Path = FOLDER, *, depth_of: "RingWriter | None" = None) -> None:
        """Make the segment.

        Args:
            ring_format: of its pictures.
            folder: where shared memory is.
            depth_of: the colour ring that this one has the depth pictures of; a reader of the one finds the other.

        Raises:
            CameraError: no shared memory, or not enough.
        """
        self.format = ring_format
        if not folder.is_dir():
            raise CameraError(f"shared memory needs the folder {folder}, which this machine lacks: mount a tmpfs there")
        remove_abandoned_rings(folder)
        name = None if depth_of is None else depth_of.name + DEPTH
        self._path, self._descriptor = self._create(folder, ring_format.total_bytes, name)
        self._memory = mmap.mmap(self._descriptor, ring_format.total_bytes)
        self._header = _words(self._memory, 0, 16)
        self._count = 0
        self._last_sequence: int | None = None
        serial = ring_format.serial.encode()
        self._memory[_SERIAL_OFFSET : _SERIAL_OFFSET + len(serial)] = serial
        self._header[_W_VERSION : _W_SLOTS + 1] = (
            _VERSION,
            *ring_format.shape,
            ring_format.bytes_per_element,
            ring_format.slots,
        )
        self._header[_W_UNIT] = np.float64(ring_format.unit_m).view(np.uint64)
        self._header[_W_MAGIC] = _MAGIC  # last: a segment without it is not ready

    @staticmethod
    def _create(folder: Path, size: int, name: str | None) -> tuple[Path, int]:
        while True:
            path = folder / (name or PREFIX + secrets.token_hex(16))
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(path, flags, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink == 0:  # another process cleaned up between the two lines above
                os.close(descriptor)
                continue
            try:
                os.posix_fallocate(descriptor, 0, size)  # a full tmpfs says so here, not as SIGBUS on the first frame
            except OSError as error:
                os.close(descriptor)
                path.unlink(missing_ok=True)
                raise CameraError(
                    f"{size} bytes of shared memory are needed in {folder}: {error.strerror}; free some or enlarge it"
                ) from error
            return path, descriptor

    @property
    def name(self) -> str:
        """What a reader needs to find this ring."""
        return self._path.name

    def publish(self, pixels: Pixels, sensor_ns: int, sequence: int | None = None) -> None:
        """Make one picture the newest.

        Args:
            pixels: shape [height, width, channels] of the ring's type.
            sensor_ns: monotonic host time at which it was taken.
            sequence: the sensor's own count, rising; without it, frames are counted here.

        Raises:
            ValueError: for another shape or type, or a sequence number that does not rise.
        """
        if pixels.shape != self.format.shape or pixels.dtype != self.format.dtype:
            raise ValueError(f"expected {self.format.dtype} {self.format.shape}, found {pixels.dtype} {pixels.shape}")
        last = self._last_sequence
        number = (0 if last is None else last + 1) if sequence is None else sequence
        if last is not None and number <= last:
            raise ValueError(f"frame numbers must rise: {number} after {last}")
        content = pixels if pixels.flags.c_contiguous else pixels.copy()
        offset = _HEADER_BYTES + (self._count % self.format.slots) * self.format.slot_bytes
        slot = _words(self._memory, offset, 4)
        slot[_S_LOCK] = 2 * self._count + 1
        slot[_S_SEQUENCE], slot[_S_SENSOR_NS] = number, sensor_ns
        slot[_S_CRC] = _checksum(number, sensor_ns, content)
        _pixels(self._memory, offset, self.format)[...] = content
        slot[_S_LOCK] = 2 * self._count + 2
        self._header[_W_DROPPED] += np.uint64(0 if last is None else number - last - 1)
        self._header[_W_PUBLISHED] = self._count + 1
        self._count += 1
        self._last_sequence = number

    def close(self) -> None:
        """Remove the segment; readers then find the camera lost. Never raises, may be called twice."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)  # the mapping keeps a duplicate of the descriptor
            os.close(self._descriptor)
            self._descriptor = -1


class RingReader:
    """A consumer's side: maps the segment read-only, never blocks, never removes it."""

    def __init__(self, name: str, folder: Path = FOLDER) -> None:
        """Attach to a ring by name.

        Raises:
            CameraLost: if there is no such ring.
            CameraError: if the name or the content is not that of a ring of this version and this user.
        """
        self._descriptor = -1
        if not _NAME.fullmatch(name):
            raise CameraError(f"expected a ring name like {PREFIX}<32 hex digits>, found {name!r}")
        try:
            self._descriptor = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise CameraLost(f"the frame ring {name} is gone: is the camera process running?") from error
        try:
            self._memory = self._map()
            self._header = _words(self._memory, 0, 16)
            self.format = self._read_format()
        except BaseException:
            self.close()
            raise
        self.torn = 0
        """Slots that were not whole when looked at; they were skipped."""

    def _map(self) -> mmap.mmap:
        status = os.fstat(self._descriptor)
        if status.st_uid != os.geteuid() or not stat.S_ISREG(status.st_mode):
            raise CameraError("the frame ring belongs to another user: run camera and control as the same user")
        if status.st_size < _HEADER_BYTES:
            raise CameraError("the frame ring is shorter than its header: restart the camera process")
        return mmap.mmap(self._descriptor, status.st_size, prot=mmap.PROT_READ)

    def _read_format(self) -> RingFormat:
        if int(self._header[_W_MAGIC]) != _MAGIC or int(self._header[_W_VERSION]) != _VERSION:
            raise CameraError(
                f"expected a frame ring of version {_VERSION}, found version {int(self._header[_W_VERSION])} "
                "or none: camera process and control must be of the same release"
            )
        height, width, channels, item, slots = (int(self._header[word]) for word in range(_W_HEIGHT, _W_SLOTS + 1))
        unit_m = float(self._header[_W_UNIT].view(np.float64))
        serial = self._memory[_SERIAL_OFFSET : _SERIAL_OFFSET + _SERIAL_BYTES].rstrip(b"\0").decode(errors="replace")
        try:
            ring_format = RingFormat(height, width, channels, item, slots, serial, unit_m)
        except ValueError as error:
            raise CameraError(f"the header of the frame ring is damaged: {error}") from error
        if ring_format.total_bytes != len(self._memory):
            raise CameraError(
                f"the frame ring should have {ring_format.total_bytes} bytes and has {len(self._memory)}: "
                "restart the camera process"
            )
        return ring_format

    @property
    def published(self) -> int:
        """How many frames the writer has published."""
        return int(self._header[_W_PUBLISHED])

    @property
    def dropped(self) -> int:
        """How many frames the sensor took that never reached the ring."""
        return int(self._header[_W_DROPPED])

    def writer_alive(self) -> bool:
        """Whether the process at the other end still holds the ring open."""
        if self._descriptor < 0 or os.fstat(self._descriptor).st_nlink == 0:
            return False
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        return False

    def latest(self) -> RingFrame | None:
        """The newest whole frame, or None if there is none. Looks at each slot at most once; never blocks."""
        newest = self.published
        for number in range(newest - 1, max(-1, newest - 1 - self.format.slots), -1):
            frame = self._copy(number)
            if frame is not None:
                return frame
            self.torn += 1
        return None

    def _copy(self, number: int) -> RingFrame | None:
        offset = _HEADER_BYTES + (number % self.format.slots) * self.format.slot_bytes
        slot = _words(self._memory, offset, 4)
        whole = 2 * number + 2
        if int(slot[_S_LOCK]) != whole:
            return None
        sequence, sensor_ns, crc = (int(slot[word]) for word in (_S_SEQUENCE, _S_SENSOR_NS, _S_CRC))
        pixels = _pixels(self._memory, offset, self.format).copy()
        if int(slot[_S_LOCK]) != whole or _checksum(sequence, sensor_ns, pixels) != crc:
            return None
        return RingFrame(pixels, sequence, sensor_ns)

    def close(self) -> None:
        """Let go of the segment. Never raises, may be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
