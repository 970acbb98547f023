"""From the control loop to the recorder's process: a ring of slots in shared memory, one writer, one reader, no locks.

The writer never waits: a full ring is said, and what did not fit is the caller's to count. The memory has no name: it
lives as long as one of the two processes holds it open, so a killed control loop leaves its last ticks to a recorder
that still reads, and a recorder that was killed leaves them to its successor.

Layout (native byte order): a page of header (words of 64 bits, then the reader's last sentence), then the slots. A slot
is 32 bytes (count, length, kind, CRC-32) and the payload. The CRC decides whether a slot is whole: on a machine that
reorders stores, `head` may be seen before the payload is.
"""

import mmap
import os
import zlib

import numpy as np

_PAGE = 4096
_SLOT_HEADER = 32
_TEXT_OFFSET, _TEXT_BYTES = 1024, 2048
_MAGIC = int.from_bytes(b"FOSPFLT1", "little")
_W_MAGIC, _W_SLOT_BYTES, _W_SLOTS, _W_HEAD, _W_TAIL, _W_STORED, _W_LOST, _W_BEAT_NS, _W_TEXT = range(9)


class Channel:
    """Either end of the ring; `create` in the control loop, `attach` in the recorder's process."""

    def __init__(self, descriptor: int, size: int) -> None:
        self.descriptor = descriptor
        self._memory = mmap.mmap(descriptor, size)
        self._words = np.frombuffer(self._memory, np.uint64, 16)
        self.payload_bytes = int(self._words[_W_SLOT_BYTES]) - _SLOT_HEADER
        self._slots = int(self._words[_W_SLOTS])

    @classmethod
    def create(cls, payload_bytes: int, slots: int) -> "Channel":
        """A new ring for messages of at most so many bytes. Raises OSError: no memory."""
        slot_bytes = -(-(payload_bytes + _SLOT_HEADER) // 64) * 64
        size = _PAGE + slots * slot_bytes
        descriptor = os.memfd_create("fosp-edge-flight", os.MFD_CLOEXEC)
        os.posix_fallocate(descriptor, 0, size)
        header = np.zeros(16, np.uint64)
        header[:3] = _MAGIC, slot_bytes, slots
        os.pwrite(descriptor, header.tobytes(), 0)
        return cls(descriptor, size)

    @classmethod
    def attach(cls, descriptor: int) -> "Channel":
        """The ring behind an inherited descriptor. Raises ValueError: it is none of ours."""
        size = os.fstat(descriptor).st_size
        header = np.frombuffer(os.pread(descriptor, 128, 0), np.uint64)
        if header.size != 16 or header[_W_MAGIC] != _MAGIC:
            raise ValueError("the descriptor is not a flight channel of this version")
        if size != _PAGE + int(header[_W_SLOTS]) * int(header[_W_SLOT_BYTES]):
            raise ValueError("the flight channel has another size than its header says")
        return cls(descriptor, size)

    # The control loop's end.

    def put(self, kind: int, payload: bytes | memoryview) -> bool:
        """Hand one message over; False if there is no room. Never waits. Raises ValueError: it is too long."""
        words, size = self._words, len(payload)
        if size > self.payload_bytes:
            raise ValueError(f"a message of {size} bytes does not fit into {self.payload_bytes}")
        head = int(words[_W_HEAD])
        if head - int(words[_W_TAIL]) >= self._slots:
            return False
        offset = self._offset(head)
        slot = np.frombuffer(self._memory, np.uint64, 4, offset)
        start = offset + _SLOT_HEADER
        self._memory[start : start + size] = payload
        slot[0], slot[1], slot[2], slot[3] = head + 1, size, kind, _checksum(head + 1, kind, payload)
        words[_W_HEAD] = head + 1
        return True

    @property
    def backlog(self) -> int:
        """Messages that the reader has not taken yet."""
        return int(self._words[_W_HEAD]) - int(self._words[_W_TAIL])

    @property
    def stored(self) -> int:
        """Rows of experience on the disk or on their way there."""
        return int(self._words[_W_STORED])

    @property
    def lost(self) -> int:
        """Rows that the reader could not store."""
        return int(self._words[_W_LOST])

    @property
    def beat_ns(self) -> int:
        """Monotonic time at which the reader was last known to be at work; 0 before it began."""
        return int(self._words[_W_BEAT_NS])

    @property
    def sentence(self) -> str | None:
        """Why the reader can no longer write; None while it can."""
        length = int(self._words[_W_TEXT])
        if not length:
            return None
        return self._memory[_TEXT_OFFSET : _TEXT_OFFSET + length].decode(errors="replace")

    # The recorder's end.

    def take(self) -> tuple[int, bytes] | None:
        """The oldest message, kind and payload, without removing it; None if there is none that is whole yet."""
        tail = int(self._words[_W_TAIL])
        if tail >= int(self._words[_W_HEAD]):
            return None
        offset = self._offset(tail)
        count, size, kind, crc = (int(word) for word in np.frombuffer(self._memory, np.uint64, 4, offset))
        if count != tail + 1 or size > self.payload_bytes:
            return None
        start = offset + _SLOT_HEADER
        payload = self._memory[start : start + size]
        return (kind, payload) if _checksum(count, kind, payload) == crc else None

    def drop(self) -> None:
        """Remove the oldest message: it was dealt with."""
        self._words[_W_TAIL] += np.uint64(1)

    def beat(self, now_ns: int, stored: int, lost: int) -> None:
        """Say that the reader is at work, and what it has stored and lost."""
        self._words[_W_BEAT_NS], self._words[_W_STORED], self._words[_W_LOST] = now_ns, stored, lost

    def fail(self, sentence: str) -> None:
        """Say why the reader can no longer write. The first sentence stays."""
        if not self._words[_W_TEXT]:
            text = sentence.encode()[:_TEXT_BYTES]
            self._memory[_TEXT_OFFSET : _TEXT_OFFSET + len(text)] = text
            self._words[_W_TEXT] = len(text)

    def _offset(self, count: int) -> int:
        return _PAGE + (count % self._slots) * (self.payload_bytes + _SLOT_HEADER)


def _checksum(count: int, kind: int, payload: bytes | memoryview) -> int:
    return zlib.crc32(payload, zlib.crc32(count.to_bytes(8, "little") + kind.to_bytes(4, "little")))
