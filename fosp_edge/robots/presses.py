"""What a person says by pressing: keys of the terminal, buttons of a gamepad, each with a meaning."""

import threading
from pathlib import Path

from fosp_edge.robots.base import RobotError
from fosp_edge.robots.joystick import DEFAULT_DEVICE, Joystick
from fosp_edge.robots.judging import NOTHING, Finding, Sample, total

DEFAULT_KEYS = {"v": Finding(cost=1.0), "s": Finding(reward=10.0, success=True), "+": Finding(reward=1.0)}
DEFAULT_BUTTONS = {"1": Finding(cost=1.0), "0": Finding(reward=10.0, success=True), "2": Finding(reward=1.0)}


class Presses:
    """A source of what was pressed since the last look: written by one thread, read by another."""

    def __init__(self, meanings: dict[str, Finding]) -> None:
        self._meanings = meanings
        self._waiting: list[Finding] = []
        self._lock = threading.Lock()

    @property
    def names(self) -> frozenset[str]:
        """Of the keys or buttons that mean something."""
        return frozenset(self._meanings)

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
    """A person with a gamepad: each button has a number and a meaning.

    Raises:
        RobotError: the device cannot be opened.
    """

    def __init__(self, path: Path = DEFAULT_DEVICE, buttons: dict[str, Finding] | None = None) -> None:
        super().__init__(DEFAULT_BUTTONS if buttons is None else buttons)
        self.joystick = Joystick(path, pressed=self.press)

    def judge(self, sample: Sample) -> Finding:
        """What was pressed since the last call. Raises RobotError if it was pulled out: nobody can object any more."""
        if self.joystick.gone:
            raise RobotError(
                "the gamepad is gone, and with it whoever judged the robot by it; plug it in and run again"
            )
        return super().judge(sample)

    def close(self) -> None:
        """Let go of the device."""
        self.joystick.close()
