"""What a person says by pressing: keys of the terminal, buttons of a gamepad, each with a meaning."""

import os
import select
import struct
import threading
from pathlib import Path

from fosp_edge.robots.base import RobotError
from fosp_edge.robots.judging import NOTHING, Finding, Sample, total

DEFAULT_KEYS = {"v": Finding(cost=1.0), "s": Finding(reward=10.0, success=True), "+": Finding(reward=1.0)}
DEFAULT_BUTTONS = {"1": Finding(cost=1.0), "0": Finding(reward=10.0, success=True), "2": Finding(reward=1.0)}


class Presses:
    """A source of what was pressed since the last look: written by one thread, read by another."""

    def __init__(self, meanings: dict[str, Finding]) -> None:
        self._meanings = meanings
        self._waiting: list[Finding] = []
        self._lock = threading.Lock()

    def press(self, name: str) -> None:
        """A key or button went down; one without a meaning is ignored. From any thread."""
        if (finding := self._meanings.get(name)) is not None:
            with self._lock:
                self._waiting.append(finding)

    def judge(self, sample: Sample) -> Finding:
        """The sum of what was pressed since the last call."""
        del sample
        with self._lock:
            waiting, self._waiting = self._waiting, []
        return total(waiting) if waiting else NOTHING

    def reset(self) -> None:
        """What was pressed between two episodes belongs to none."""
        with self._lock:
            self._waiting = []

    def close(self) -> None:
        """Nothing to let go of."""


class Keyboard(Presses):
    """A person at the terminal: `v` for a violation, `s` for success, `+` for something good.

    It does not read the terminal itself: whoever watches it for the emergency stop hands on every other key
    (`fosp_edge.control.emergency`). With two readers, either would now and then swallow what is meant for the other.
    """

    def __init__(self, keys: dict[str, Finding] | None = None) -> None:
        super().__init__(DEFAULT_KEYS if keys is None else keys)


class Gamepad(Presses):
    """A person with a gamepad, by Linux's joystick interface: each button has a number and a meaning.

    Raises:
        OSError: the device cannot be opened.
    """

    _EVENT = struct.Struct("<IhBB")  # time ms, value, type, number (linux/joystick.h)
    _BUTTON = 0x01

    def __init__(self, path: Path = Path("/dev/input/js0"), buttons: dict[str, Finding] | None = None) -> None:
        super().__init__(DEFAULT_BUTTONS if buttons is None else buttons)
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self._done = threading.Event()
        self.gone = False
        self._thread = threading.Thread(target=self._listen, name="gamepad", daemon=True)
        self._thread.start()

    def judge(self, sample: Sample) -> Finding:
        """What was pressed since the last call. Raises RobotError if it was pulled out: nobody can object any more."""
        if self.gone:
            raise RobotError(
                "the gamepad is gone, and with it whoever judged the robot by it; plug it in and run again"
            )
        return super().judge(sample)

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
                data = os.read(self._descriptor, 8 * 64)
            except BlockingIOError:
                continue
            except OSError:  # pulled out
                self.gone = True
                return
            if not data:
                self._done.wait(0.05)
                continue
            rest += data
            while len(rest) >= self._EVENT.size:
                _, value, kind, number = self._EVENT.unpack(rest[: self._EVENT.size])
                rest = rest[self._EVENT.size :]
                if kind == self._BUTTON and value == 1:  # with 0x80 set it only tells how things are at the start
                    self.press(str(number))
