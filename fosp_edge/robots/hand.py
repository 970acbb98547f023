"""A person's wish for a fingertip or a base, by keyboard or gamepad. Nobody touches anything: it is to stand still."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fosp_edge.robots.base import RobotError
from fosp_edge.robots.joystick import DEFAULT_DEVICE, Joystick

Float32Array = npt.NDArray[np.float32]

KEYS: dict[str, tuple[int, float]] = {
    "i": (0, 1.0), "k": (0, -1.0), "j": (1, 1.0), "l": (1, -1.0), "u": (2, 1.0), "o": (2, -1.0),
}  # fmt: skip
"""Component of the action and its sign, for each key: forwards, back, left, right, up, down. A base has no up."""
FIRST_HOLD_S, REPEAT_HOLD_S = 0.6, 0.15
"""A terminal tells of repeats, never of releases: it waits about half a second before it repeats a held key; until then
one press counts as holding."""
DEAD_ZONE = 0.12
"""A stick that is let go does not come back to zero quite."""
STICKS = (1, 0, 4)
"""Axes for x, y and z as Linux numbers those of an Xbox pad; up and left are negative there, and positive here: left
stick up is forwards, left stick left is left, right stick up is up."""
_AT_START_S = 0.2
"""By then Linux has told how each axis stands."""


class Hand(Protocol):
    """Whoever drives. Asked once per tick, in the control thread; it never waits."""

    keys: frozenset[str]
    """Of the keyboard that it wants for itself."""

    def wish(self) -> Float32Array:
        """Velocity of a fingertip, shape [3], or speed and turn rate of a base, [2]; parts of their ranges in [-1, 1].

        Raises:
            RobotError: nobody can be heard any more.
        """

    def press(self, key: str) -> None:
        """A key of the keyboard went down, or repeats."""

    def close(self) -> None:
        """Let go of the device."""


class HeldKey:
    """One of two opposite keys, held as far as a terminal can tell."""

    def __init__(self) -> None:
        self._direction, self._until_s = 0.0, 0.0

    def press(self, direction: float, now_s: float) -> None:
        """The key of this direction, 1 or -1, went down or repeats."""
        self._until_s = now_s + (REPEAT_HOLD_S if self.direction(now_s) == direction else FIRST_HOLD_S)
        self._direction = direction

    def release(self) -> None:
        """Neither is held."""
        self._direction = 0.0

    def direction(self, now_s: float) -> float:
        """Which one is held now, 1 or -1; 0 for neither."""
        return self._direction if now_s < self._until_s else 0.0


class KeyboardHand:
    """Keys that move while they are held, as far as a terminal can tell."""

    keys = frozenset(KEYS)

    def __init__(self, components: int = 3, clock: Callable[[], float] = time.monotonic) -> None:
        """`components`: of the robot's action; keys of others mean nothing."""
        self._clock = clock
        self._held = [HeldKey() for _ in range(components)]

    def press(self, key: str) -> None:
        """Move along the key's axis for as long as a held key takes to repeat; the opposite key stops first."""
        if key not in KEYS or KEYS[key][0] >= len(self._held):
            return
        (axis, sign), now_s = KEYS[key], self._clock()
        held = self._held[axis]
        if held.direction(now_s) == -sign:
            held.release()
        else:
            held.press(sign, now_s)

    def wish(self) -> Float32Array:
        """What is held now."""
        now_s = self._clock()
        return np.array([held.direction(now_s) for held in self._held], np.float32)

    def close(self) -> None:
        """Nothing to let go of: whoever watches the terminal hands the keys on."""


class GamepadHand:
    """The sticks of a gamepad, all of which stand at rest in the beginning: a trigger, taken for a stick, would not.

    Raises:
        RobotError: the device cannot be opened, or a stick does not stand at rest.
    """

    keys: frozenset[str] = frozenset()

    def __init__(self, path: Path = DEFAULT_DEVICE, sticks: Sequence[int] = STICKS) -> None:
        """`sticks`: which axes stand for the components of the action, in their order."""
        self._axes: dict[int, float] = {}
        self._sticks = sticks
        self._joystick = Joystick(path, moved=self._moved)
        time.sleep(_AT_START_S)
        if moved := [number for number in sticks if abs(self._axes.get(number, 0.0)) > DEAD_ZONE]:
            self.close()
            raise RobotError(
                f"axis {moved[0]} of the gamepad does not stand at rest ({self._axes[moved[0]]:+.2f}): let go of it; "
                "if it is a trigger, this gamepad numbers its sticks otherwise: --axes"
            )

    def _moved(self, number: int, value: float) -> None:
        self._axes[number] = value

    def press(self, key: str) -> None:
        """Keys mean nothing to it."""

    def wish(self) -> Float32Array:
        """Where the sticks stand, beyond the dead zone."""
        if self._joystick.gone:
            raise RobotError("the gamepad is gone, and with it whoever drives; plug it in and begin again")
        places = -np.array([self._axes.get(number, 0.0) for number in self._sticks])
        beyond = np.maximum(np.abs(places) - DEAD_ZONE, 0.0) / (1.0 - DEAD_ZONE)
        wish: Float32Array = (np.sign(places) * beyond).astype(np.float32)
        return wish

    def close(self) -> None:
        """Let go of the device."""
        self._joystick.close()
