"""Emergency stop: a key, a file like those of GPIO pins, a signal. It waits for no tick, and says if it worked.

The order to stop goes to the motor controller from a thread of its own, so that it arrives also while the control
thread hangs; the controller latches it, and whatever the control thread still sends is refused. Then the loop is told.
A switch that cannot be read counts as pressed.
"""

import contextlib
import os
import select
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

POLL_S = 0.01
_REPEAT_S = 2.0
_STOP_KEYS = {b" ": "space bar", b"\x1b": "Escape", b"q": "q"}


class Stoppable(Protocol):
    """What can be stopped: a robot."""

    def stop(self, timeout_s: float) -> bool:
        """Stop the motors; True only if the controller acknowledged."""


@dataclass(frozen=True)
class Confirmation:
    """What became of an emergency stop."""

    source: str
    acknowledged: bool
    """The motor controller said that it holds."""
    after_s: float
    """From the press to the acknowledgement, or to giving up."""

    def sentence(self) -> str:
        """For the person who pressed."""
        if self.acknowledged:
            return f"emergency stop ({self.source}): the motors confirmed it after {self.after_s * 1e3:.0f} ms"
        return (
            f"emergency stop ({self.source}): NOT confirmed within {self.after_s:.1f} s; the motors' own watchdog "
            "stops them; cut the power if they still move"
        )


class EmergencyStop:
    """One button with several places to press it. Once pressed it stays pressed."""

    def __init__(self, robot: Stoppable, tell: Callable[[str], None], say: Callable[[str], object] = print) -> None:
        """Watch nothing yet.

        Args:
            robot: whose motors are stopped.
            tell: gets a sentence as soon as the button is pressed; for the control loop.
            say: gets the confirmation, or the lack of it; for a person.
        """
        self._robot, self._tell, self._say = robot, tell, say
        self._pressed, self._done = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self.confirmation: Confirmation | None = None

    @property
    def pressed(self) -> bool:
        """Whether it was pressed."""
        return self._pressed.is_set()

    def press(self, source: str) -> None:
        """Stop now. Returns at once; safe to call from a signal handler or any thread, any number of times."""
        if self._pressed.is_set():
            return
        self._pressed.set()
        thread = threading.Thread(target=self._stop, args=(source, time.monotonic()), name="emergency stop")
        thread.start()
        self._threads.append(thread)
        self._tell(f"emergency stop: {source}")

    def _stop(self, source: str, pressed_s: float) -> None:
        acknowledged = False
        while not acknowledged and time.monotonic() - pressed_s < _REPEAT_S:
            try:
                acknowledged = self._robot.stop(0.2)
            except Exception:  # whatever is wrong with the wire, the next attempt is all that is left
                acknowledged = False
            if not acknowledged:
                time.sleep(POLL_S)
        self.confirmation = Confirmation(source, acknowledged, time.monotonic() - pressed_s)
        self._say(self.confirmation.sentence())

    def watch_file(self, path: Path, *, pressed_value: str = "1") -> None:
        """Press when the file says `pressed_value`, or can no longer be read. Raises OSError: it cannot be read now."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._start(self._watch_file, descriptor, path, pressed_value)

    def _watch_file(self, descriptor: int, path: Path, pressed_value: str) -> None:
        try:
            while not self._done.wait(POLL_S) and not self.pressed:
                try:
                    path.stat()  # a file that was removed can still be read through its descriptor
                    value = os.pread(descriptor, 16, 0).decode(errors="replace").strip()
                except OSError as error:
                    self.press(f"{path} can no longer be read ({error.strerror})")
                    return
                if value == pressed_value:
                    self.press(f"{path} says {value}")
                elif not value.isdecimal():
                    self.press(f"{path} holds {value!r}, which is no switch's state")
        finally:
            os.close(descriptor)

    def watch_keyboard(
        self, descriptor: int | None = None, *, others: Callable[[str], object] = lambda key: None
    ) -> bool:
        """Press on the space bar, Escape or q; False if there is no keyboard to watch.

        Args:
            descriptor: of the terminal; standard input if left out.
            others: is handed every other key. Nobody else may read the terminal: they would swallow a stop.
        """
        try:
            number = sys.stdin.fileno() if descriptor is None else descriptor
            # A job in the background would be halted by the terminal as soon as it changes how keys arrive.
            if not os.isatty(number) or (descriptor is None and os.tcgetpgrp(number) != os.getpgrp()):
                return False
        except (AttributeError, OSError, ValueError):  # no standard input, or one that is no file
            return False
        self._start(self._watch_keyboard, number, others)
        return True

    def _watch_keyboard(self, descriptor: int, others: Callable[[str], object]) -> None:
        before = termios.tcgetattr(descriptor)
        tty.setcbreak(descriptor, termios.TCSANOW)  # Ctrl-C stays a signal
        try:
            while not self._done.is_set() and not self.pressed:
                readable, _, _ = select.select([descriptor], [], [], 5 * POLL_S)
                if not readable:
                    continue
                key = os.read(descriptor, 1)
                if key in _STOP_KEYS:
                    self.press(f"key {_STOP_KEYS[key]}")
                else:
                    others(key.decode(errors="ignore"))
        except OSError:
            self.press("the terminal is gone")
        finally:
            with contextlib.suppress(termios.error, OSError):
                termios.tcsetattr(descriptor, termios.TCSANOW, before)

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, name="emergency switch", daemon=True)
        thread.start()
        self._threads.append(thread)

    def close(self) -> None:
        """Watch no longer, once a stop that is on its way was confirmed or given up. Never raises."""
        self._done.set()
        for thread in self._threads:
            thread.join(2 * _REPEAT_S)
