"""The last minutes on the disk: numbered files of checked frames, written behind one another, the oldest removed.

A frame is magic, kind, length, CRC-32, then zlib-compressed content. A power cut can only tear the end of the newest
file: whoever reads stops there, at the first frame that is not whole. Nothing has to be repaired.
"""

import errno
import json
import os
import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fosp_edge.files import write_atomically

META_FILE = "meta.json"
SUFFIX = ".flight"
TICK, BUNDLE, BEGIN, END, EVENT, CLOSE = range(1, 7)
_FRAME = struct.Struct("<4sIII")
_MAGIC = b"FLT1"
_LARGEST_BYTES = 64 << 20


class FlightError(ValueError):
    """A recording cannot be read; the message says what was expected, what was found and what to do."""


class FlightLog:
    """Appends frames; keeps about the newest `keep_s` seconds, and never more than `largest_bytes`."""

    def __init__(
        self,
        folder: Path,
        meta: dict[str, Any],
        *,
        keep_s: float = 600.0,
        segment_s: float = 30.0,
        largest_bytes: int = 1 << 30,
    ) -> None:
        """Begin a new file in the folder, beside those that are there. Raises OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._keep = folder, max(1, -(-round(keep_s) // max(1, round(segment_s))))
        self._segment_s, self._largest_bytes = segment_s, largest_bytes
        if not (folder / META_FILE).exists():
            write_atomically(folder / META_FILE, json.dumps(meta, indent=1).encode())
        self._context: list[tuple[int, bytes]] = []
        self._number = 1 + max((_number(path) for path in _segments(folder)), default=-1)
        self._descriptor, self._begin_s, self._size = -1, 0.0, 0
        self._open()

    def append(self, kind: int, content: bytes) -> None:
        """Add a frame. Raises OSError: the disk takes no more, even after older files were removed."""
        if kind == BUNDLE:  # every file must be readable without those before it
            self._context.append((kind, content))
        if time.monotonic() - self._begin_s > self._segment_s or self._size > self._largest_bytes // 8:
            self._open()
        self._write(_frame(kind, content))

    def sync(self) -> None:
        """When this returns, everything appended so far survives a power cut."""
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Sync and let go."""
        if self._descriptor >= 0:
            self.sync()
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> None:
        self.close()
        self._prune()
        path = self._folder / f"{self._number:06d}{SUFFIX}"
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._number, self._begin_s, self._size = self._number + 1, time.monotonic(), 0
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        for kind, content in self._context:
            self._write(_frame(kind, content))

    def _prune(self) -> None:
        found = _segments(self._folder)
        while found and (len(found) > self._keep or _total(found) > self._largest_bytes * 7 // 8):
            found.pop(0).unlink()

    def _write(self, data: bytes) -> None:
        while True:
            try:
                written = os.write(self._descriptor, data)
            except OSError as error:
                older = _segments(self._folder)[:-1]
                if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not older:
                    raise
                older[0].unlink()
                continue
            self._size += written
            if written == len(data):
                return
            data = data[written:]


def _frame(kind: int, content: bytes) -> bytes:
    packed = zlib.compress(content, 1)
    return _FRAME.pack(_MAGIC, kind, len(packed), zlib.crc32(packed, kind)) + packed


def _segments(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*" + SUFFIX) if path.stem.isdecimal())


def _number(path: Path) -> int:
    return int(path.stem)


def _total(paths: list[Path]) -> int:
    return sum(path.stat().st_size for path in paths)


@dataclass
class FlightReader:
    """Reads a folder of frames; a torn end is not an error, but counted."""

    folder: Path
    meta: dict[str, Any] = field(default_factory=dict)
    torn: int = 0
    """Files that end in the middle of a frame."""

    def __post_init__(self) -> None:
        try:
            self.meta = json.loads((self.folder / META_FILE).read_text())
        except FileNotFoundError as error:
            raise FlightError(
                f"{self.folder} holds no flight recording: expected the folder of a run, which keeps one in RUN/flight "
                "unless it was made with --no-flight or ended before its first tick"
            ) from error
        except (OSError, ValueError) as error:
            raise FlightError(f"{self.folder} holds no flight recording that can be read ({error})") from error

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """Kind and content of every whole frame, oldest first."""
        for path in _segments(self.folder):
            yield from self._frames(path.read_bytes())

    def _frames(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        place = 0
        while place < len(data):
            head = data[place : place + _FRAME.size]
            if len(head) < _FRAME.size:
                break
            magic, kind, length, crc = _FRAME.unpack(head)
            packed = data[place + _FRAME.size : place + _FRAME.size + length]
            if magic != _MAGIC or len(packed) < length or zlib.crc32(packed, kind) != crc:
                break
            unpacker = zlib.decompressobj()
            content = unpacker.decompress(packed, _LARGEST_BYTES)
            if not unpacker.eof:
                break
            yield kind, content
            place += _FRAME.size + length
        self.torn += place < len(data)
