"""Bytes to and from a descriptor that never waits. A pseudo-terminal that nobody has open is silence, not an error."""

from __future__ import annotations

import errno
import os

_NOT_NOW = (errno.EAGAIN, errno.EIO)


def read_available(fd: int, limit: int = 4096) -> bytes:
    """Return up to `limit` bytes that are there now, or none. Raises OSError if the descriptor is broken."""
    try:
        return os.read(fd, limit)
    except OSError as problem:
        if problem.errno in _NOT_NOW:
            return b""
        raise


def write_available(fd: int, data: bytes) -> int:
    """Write what fits now and return how many bytes that was. Raises OSError if the descriptor is broken."""
    try:
        return os.write(fd, data)
    except OSError as problem:
        if problem.errno in _NOT_NOW:
            return 0
        raise
