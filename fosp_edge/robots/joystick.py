"""A gamepad by Linux's joystick interface (Documentation/input/joydev/joystick-api.rst), listened to in a thread."""

import os
import select
import struct
import threading
from collections.abc import Callable
from pathlib import Path

from fosp_edge.robots.base import RobotError

DEFAULT_DEVICE = Path("/dev/input/js0")
_EVENT = struct.Struct("<IhBB")  # time ms, value, type, number (linux/joystick.h)
_BUTTON, _AXIS, _AT_START = 0x01, 0x02, 0x80
_FULL = 32767.0


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise RobotError(
            f"there is no gamepad at {path}: plug it in; `ls /dev/input/js*` lists those there are"
        ) from error
    except PermissionError as error:
        raise RobotError(
            f"the gamepad {path} may not be opened: sudo usermod -aG input $USER, then log in again"
        ) from error
    except OSError as error:
        raise RobotError(f"the gamepad {path} cannot be opened ({error.strerror})") from error


class Joystick:
    """Tells of every button that goes down and of every axis that moves, from a thread of its own.

    Raises:
        RobotError: the device cannot be opened.
    """

    def __init__(
        self,
        path: Path = DEFAULT_DEVICE,
        *,
        pressed: Callable[[str], object] = lambda number: None,
        moved: Callable[[int, float], object] = lambda number, value: None,
    ) -> None:
        """Open the device and begin to listen.

        Args:
            path: of the device.
            pressed: is told the number of a button that went down; not of those that are held at the start.
            moved: is told number and place, from -1 to 1, of an axis; also how each stands at the start.
        """
        self._pressed, self._moved = pressed, moved
        self._descriptor = _opened(path)
        self._done = threading.Event()
        self.gone = False
        """It was pulled out: nobody is heard any more."""
        self._thread = threading.Thread(target=self._listen, name="gamepad", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let go of the device."""
        self._done.set()
        self._thread.join(1.0)
        os.close(self._descriptor)

    def _listen(self) -> None:
        rest = b""
        while not self._done.is_set():
            if not select.select([self._descriptor], [], [], 0.1)[0]:
                continue
            try:
                data = os.read(self._descriptor, _EVENT.size * 64)
            except BlockingIOError:
                continue
            except OSError:  # pulled out
                self.gone = True
                return
            if not data:
                self._done.wait(0.05)
                continue
            rest += data
            while len(rest) >= _EVENT.size:
                _, value, kind, number = _EVENT.unpack(rest[: _EVENT.size])
                rest = rest[_EVENT.size :]
                if kind == _BUTTON and value == 1:
                    self._pressed(str(number))
                elif kind & ~_AT_START == _AXIS:
                    self._moved(number, max(-1.0, value / _FULL))
