"""The person at the keyboard: answers questions, and can stop the robot at any moment, also while a question waits."""

import queue
import sys
from collections.abc import Callable

from rich.console import Console

from fosp_edge.control.emergency import EmergencyStop

_LOOK_S = 0.1


class Keyboard:
    """One reader of the terminal. The emergency stop hears every key first; an answer is what it leaves over."""

    def __init__(self, console: Console, button: EmergencyStop, press: Callable[[str], object] | None = None) -> None:
        """`press` is handed the keys that nobody was asked for."""
        self._console, self._button, self._press = console, button, press
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._asking = self._watched = False

    def watch(self) -> bool:
        """From now on; False if standard input is no terminal."""
        self._watched = self._button.watch_keyboard(others=self._key)
        return self._watched

    def _key(self, key: str) -> None:
        if self._asking:
            self._answers.put(key)
        elif self._press is not None:
            self._press(key)

    def confirm(self, question: str) -> bool:
        """Enter is yes; any other key, the end of input, or the emergency stop is no."""
        if not self._watched:
            return confirm(self._console, question)
        self._console.print(question + " [dim](Enter: yes, any other key: no)[/]", highlight=False, soft_wrap=True)
        while not self._answers.empty():  # keys from before the question answer nothing
            self._answers.get()
        self._asking = True
        try:
            while not self._button.pressed:
                try:
                    return self._answers.get(timeout=_LOOK_S) in ("\n", "\r")
                except queue.Empty:
                    continue
            return False
        finally:
            self._asking = False


def confirm(console: Console, question: str) -> bool:
    """Where nobody watches the keyboard: Enter is yes; anything typed, or the end of input, is no."""
    console.print(question + " [dim](Enter: yes, anything else: no)[/]", highlight=False, soft_wrap=True)
    line = sys.stdin.readline()
    return line.strip("\r\n") == "" and line != ""
