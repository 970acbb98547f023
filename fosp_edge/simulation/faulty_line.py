"""A serial line that can go wrong on demand: it carries bytes between the pseudo-terminal and the controller."""

import contextlib
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from firmware_bridge.emulator import PseudoTerminal


@dataclass(frozen=True)
class LineFaults:
    """What happens to each byte, in both directions alike."""

    drop_probability: float = 0.0
    corrupt_probability: float = 0.0

    def __post_init__(self) -> None:
        if not (0.0 <= self.drop_probability <= 1.0 and 0.0 <= self.corrupt_probability <= 1.0):
            raise ValueError(f"a probability lies between 0 and 1: {self}")


class FaultyLine:
    """Pumps bytes between a pseudo-terminal (`path`) and `controller_fd`; never blocks.

    What the host does not fetch is dropped, as on a wire.
    """

    def __init__(self, seed: int = 0) -> None:
        self.faults = LineFaults()
        self._terminal = PseudoTerminal()
        self.path = self._terminal.path
        self._near, self._far = socket.socketpair()
        self._near.setblocking(False)
        self._far.setblocking(False)
        self._random = np.random.default_rng(seed)

    @property
    def controller_fd(self) -> int:
        """The controller's end: non-blocking, for `os.read` and `os.write`."""
        return self._far.fileno()

    @property
    def plugged(self) -> bool:
        """Whether the host's end still exists."""
        return self._terminal.fd >= 0

    def pump(self) -> None:
        """Carry what waits, both ways."""
        if not self.plugged:
            with contextlib.suppress(BlockingIOError):
                self._near.recv(65536)
            return
        _carry(self._terminal.fd, self._near.fileno(), self._spoil)
        _carry(self._near.fileno(), self._terminal.fd, self._spoil)

    def unplug(self) -> None:
        """Pull the cable: the host's port vanishes for good."""
        self._terminal.close()

    def close(self) -> None:
        """Give everything back."""
        self._terminal.close()
        self._near.close()
        self._far.close()

    def _spoil(self, data: bytes) -> bytes:
        if self.faults == LineFaults():
            return data
        values = np.frombuffer(data, np.uint8).copy()
        flips = self._random.random(values.size) < self.faults.corrupt_probability
        values[flips] ^= (1 << self._random.integers(0, 8, values.size)).astype(np.uint8)[flips]
        kept = self._random.random(values.size) >= self.faults.drop_probability
        return bytes(values[kept].tobytes())


def _carry(source: int, sink: int, spoil: Callable[[bytes], bytes]) -> None:
    # EIO: nobody has the far end open. EAGAIN: nothing there, or no room left at the sink.
    with contextlib.suppress(OSError):
        while data := os.read(source, 4096):
            os.write(sink, spoil(data))
