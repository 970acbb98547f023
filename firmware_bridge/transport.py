"""A byte stream to a motor controller. `SerialTransport` is a real port; tests plug in anything with these methods."""

from __future__ import annotations

import errno
import os
import select
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import serial
from serial.rs485 import RS485Settings

from firmware_bridge.errors import LinkLostError, PortBusyError, PortMissingError
from firmware_bridge.ports import shorten_latency


class Transport(Protocol):
    """Bytes out, bytes in. One thread reads, one at a time writes."""

    def read(self, timeout_s: float) -> bytes:
        """Return the bytes that are there, waiting up to `timeout_s`; empty on silence. Raises LinkLostError."""
        ...

    def write(self, data: bytes) -> None:
        """Send all of `data` or raise LinkLostError within a bounded time."""
        ...

    def wake(self) -> None:
        """Make a waiting `read` return at once, from any thread."""
        ...

    def close(self) -> None:
        """Give the port back, once no thread is inside `read`. Closing twice is harmless."""
        ...


@dataclass(frozen=True)
class Rs485:
    """How the kernel's driver switches a half-duplex line between sending and listening, by the port's RTS signal.

    For ports whose transceiver hangs on RTS (a UART of the board, some USB adapters). Adapters that switch by
    themselves, as those sold for these servos do, need none of it.
    """

    rts_high_sends: bool = True
    before_send_ms: int = 0
    """From switching to the first bit."""
    after_send_ms: int = 0
    """From the last bit to switching back: a servo may answer at once, so 0 unless its return delay is longer."""


class SerialTransport:
    """An exclusive serial port, read and written without pyserial's own loops.

    pyserial opens, locks and configures; then one `select` and one `os.read` fetch whatever is there, where
    `Serial.read` costs a call per requested length or waits for a length that may never come.
    """

    def __init__(
        self, port: str, baud_rate: int = 1_000_000, write_timeout_s: float = 0.05, rs485: Rs485 | None = None
    ) -> None:
        if not Path(port).exists():
            raise PortMissingError(
                f"There is no serial port {port}: check the cable and its power, and find the name with `find-port`."
            )
        try:
            self._serial = serial.Serial(port, baud_rate, timeout=0, exclusive=True)
        except serial.SerialException as problem:
            raise _opening_error(port, problem) from None
        except OSError as problem:
            raise PortMissingError(f"The serial port {port} cannot be opened: {problem.strerror}.") from None
        if rs485 is not None:
            self._switch_direction(port, rs485)
        shorten_latency(port)
        self.port = port
        self._write_timeout_s = write_timeout_s
        self._fd = self._serial.fileno()
        self._wake_read, self._wake_write = os.pipe()
        self._closed = False

    def _switch_direction(self, port: str, rs485: Rs485) -> None:
        try:
            self._serial.rs485_mode = RS485Settings(
                rts_level_for_tx=rs485.rts_high_sends,
                rts_level_for_rx=not rs485.rts_high_sends,
                delay_before_tx=rs485.before_send_ms / 1e3,
                delay_before_rx=rs485.after_send_ms / 1e3,
            )
        except (OSError, ValueError):
            # pyserial raises ValueError where the driver knows no RS-485.
            self._serial.close()
            raise PortMissingError(
                f"The driver of {port} cannot switch an RS-485 line: leave --rs485 out if the adapter switches by "
                "itself, or use one that does."
            ) from None

    def read(self, timeout_s: float) -> bytes:
        """Return the bytes that are there, waiting up to `timeout_s`; empty on silence. Raises LinkLostError."""
        if self._closed:
            raise LinkLostError(f"The port {self.port} is closed: connect again.")
        try:
            if timeout_s > 0.0:
                readable, _, _ = select.select([self._fd, self._wake_read], [], [], timeout_s)
                if self._fd not in readable:
                    return b""
            data = os.read(self._fd, 4096)
        except (OSError, ValueError) as problem:
            if isinstance(problem, OSError) and problem.errno in (errno.EAGAIN, errno.EINTR):
                return b""
            raise self._lost() from None
        if not data and timeout_s > 0.0:
            # Ready to read but empty: the far end has hung up. Not having waited, it may just be silent.
            raise self._lost()
        return data

    def write(self, data: bytes) -> None:
        """Send all of `data`. Raises LinkLostError if the port is gone or takes nothing for `write_timeout_s`."""
        if self._closed:
            raise LinkLostError(f"The port {self.port} is closed: connect again.")
        deadline_s = 0.0
        while True:
            try:
                written = os.write(self._fd, data)
            except (BlockingIOError, InterruptedError):
                written = 0
            except (OSError, ValueError):
                raise self._lost() from None
            if written == len(data):
                return
            data = data[written:]
            now_s = time.monotonic()
            deadline_s = deadline_s or now_s + self._write_timeout_s
            if now_s > deadline_s:
                raise LinkLostError(
                    f"The port {self.port} takes no more bytes: the controller has stopped reading; "
                    "power-cycle it, then connect again."
                )
            select.select([], [self._fd], [], deadline_s - now_s)

    def wake(self) -> None:
        """Make a waiting `read` return at once, from any thread."""
        if not self._closed:
            os.write(self._wake_write, b"x")

    def close(self) -> None:
        """Give the port back, once no thread is inside `read`. Closing twice is harmless."""
        if self._closed:
            return
        self._closed = True
        self._serial.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _lost(self) -> LinkLostError:
        return LinkLostError(
            f"The port {self.port} has gone: check cable and power, then connect again. "
            "The motors stop by their own watchdog."
        )


def _opening_error(port: str, problem: serial.SerialException) -> PortBusyError | PortMissingError:
    cause = problem.errno
    if cause in (errno.EBUSY, errno.EAGAIN, errno.EWOULDBLOCK) or "exclusively lock" in str(problem):
        return PortBusyError(f"Another program has {port} open: close it first (`fuser {port}` names it).")
    if cause in (errno.EACCES, errno.EPERM):
        return PortMissingError(
            f"You may not open {port}: add yourself to the group that owns it (`sudo usermod -aG dialout $USER`), "
            "then log in again."
        )
    return PortMissingError(f"{port} cannot be opened as a serial port: {problem}.")
