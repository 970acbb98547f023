"""Frames on a byte stream: COBS, CRC-32, and a decoder that is in step again after the next zero byte.

PROTOCOL.md section 1. COBS (Cheshire & Baker, 1999) replaces each zero by the distance to the next one.
CRC-32 is zlib's own: written in C, in the standard library.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

MAX_DECODED = 256
"""Largest payload plus CRC, in bytes."""
MAX_ENCODED = MAX_DECODED + 2
"""Largest encoded frame without its final zero: one code byte more per started run of 254."""

_CRC = struct.Struct("<I")


class FramingError(ValueError):
    """The bytes between two zeros are not a COBS encoding."""


def cobs_encode(data: bytes) -> bytes:
    """Return `data` without zero bytes; at most `len(data) // 254 + 1` bytes longer."""
    blocks: list[bytes] = []
    for run in data.split(b"\x00"):
        while len(run) >= 254:
            blocks.append(b"\xff" + run[:254])
            run = run[254:]
        blocks.append(bytes((len(run) + 1,)) + run)
    return b"".join(blocks)


def cobs_decode(encoded: bytes) -> bytes:
    """Undo `cobs_encode`. Raises FramingError on an empty input, a zero byte, or a run that ends early."""
    if not encoded or 0 in encoded:
        raise FramingError("an encoded frame is not empty and has no zero byte")
    out = bytearray()
    position, length = 0, len(encoded)
    while position < length:
        code = encoded[position]
        end = position + code
        if end > length:
            raise FramingError("the last run is shorter than its code byte says")
        out += encoded[position + 1 : end]
        position = end
        if code != 0xFF and position < length:
            out.append(0)
    return bytes(out)


def encode_frame(payload: bytes) -> bytes:
    """Return the wire bytes of one payload: COBS(payload + CRC-32) + zero. Raises ValueError if it is too long."""
    if len(payload) + 4 > MAX_DECODED:
        raise ValueError(f"a payload has at most {MAX_DECODED - 4} bytes, this one has {len(payload)}")
    return cobs_encode(payload + _CRC.pack(zlib.crc32(payload))) + b"\x00"


@dataclass
class FramingCounters:
    """What a decoder saw and dropped, since it was made."""

    bytes_received: int = 0
    frames_received: int = 0
    framing_errors: int = 0
    crc_errors: int = 0
    oversize_frames: int = 0


@dataclass
class FrameDecoder:
    """Cuts a byte stream into checked payloads. Never raises, never holds more than `MAX_ENCODED` bytes."""

    counters: FramingCounters = field(default_factory=FramingCounters)
    _partial: bytearray = field(default_factory=bytearray)
    _skipping: bool = False

    def feed(self, data: bytes) -> list[bytes]:
        """Return the payloads that `data` completes, in order, without their CRC."""
        return list(self.frames(data))

    def frames(self, data: bytes) -> Iterator[bytes]:
        """Yield the payloads that `data` completes, each before the next is looked at: counts are exact in between."""
        self.counters.bytes_received += len(data)
        pieces = data.split(b"\x00")
        for index, piece in enumerate(pieces):
            if not self._skipping:
                if len(self._partial) + len(piece) > MAX_ENCODED:
                    self.counters.oversize_frames += 1
                    self._skipping = True
                    self._partial.clear()
                else:
                    self._partial += piece
            if index < len(pieces) - 1:
                payload = self._finish()
                if payload is not None:
                    yield payload

    def _finish(self) -> bytes | None:
        encoded = bytes(self._partial)
        self._partial.clear()
        skipped, self._skipping = self._skipping, False
        if skipped or not encoded:
            return None
        try:
            decoded = cobs_decode(encoded)
        except FramingError:
            self.counters.framing_errors += 1
            return None
        if len(decoded) > MAX_DECODED:
            self.counters.oversize_frames += 1
            return None
        # Shorter than a CRC with a header, or a wrong CRC: the same thing to us, a damaged frame.
        if len(decoded) < 7 or _CRC.unpack_from(decoded, len(decoded) - 4)[0] != zlib.crc32(decoded[:-4]):
            self.counters.crc_errors += 1
            return None
        self.counters.frames_received += 1
        return decoded[:-4]
