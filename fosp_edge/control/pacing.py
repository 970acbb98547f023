"""When the next tick is due: absolute deadlines, missed ones skipped and counted, never bunched."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from fosp_edge.control.rehearsal import Rehearsal

Clock = Callable[[], int]
"""Monotonic nanoseconds."""

Sleep = Callable[[float], None]
"""Seconds."""


@dataclass(frozen=True)
class Release:
    """One release of the tick."""

    scheduled_ns: int
    """The deadline this tick was released for."""
    released_ns: int
    """When it really began; the difference is how late the sleep returned."""
    skipped: int
    """Deadlines that passed while the tick before this one was still at work."""

    @property
    def late_s(self) -> float:
        """How late the tick began, seconds."""
        return (self.released_ns - self.scheduled_ns) * 1e-9


class Pacer:
    """Releases ticks on the grid `start + k * period`.

    The grid never moves: a tick that overruns costs the deadlines it ran over, and the next one begins on the grid
    again. Running the missed ticks late would send the robot a burst of commands that were meant to be spread out.
    """

    def __init__(self, period_s: float, clock: Clock = time.monotonic_ns, sleep: Sleep = time.sleep) -> None:
        if not period_s > 0.0:
            raise ValueError(f"the period must be positive, found {period_s} s")
        self.period_ns = round(period_s * 1e9)
        self._clock, self._sleep = clock, sleep
        self._next_ns: int | None = None
        self.ticks = 0
        self.missed = 0
        """Deadlines skipped since the pacer was made."""
        self.missed_in_a_row = 0
        """Deadlines skipped just now, added up over ticks that follow one another and each miss at least one."""

    def restart(self) -> None:
        """Begin a new grid with the next tick, as after a pause between episodes; nothing counts as missed."""
        self._next_ns = None
        self.missed_in_a_row = 0

    def wait(self, rehearsal: Rehearsal | None = None) -> Release:
        """Sleep until the next deadline that has not passed yet; the first tick of a grid is due at once.

        A `rehearsal` is held before it where there is time enough.
        """
        now_ns = self._clock()
        due_ns = now_ns if self._next_ns is None else self._next_ns
        skipped = max(0, -(-(now_ns - due_ns) // self.period_ns))
        scheduled_ns = due_ns + skipped * self.period_ns
        ahead_s = None if rehearsal is None else rehearsal.ahead_s()
        if rehearsal is not None and ahead_s is not None and scheduled_ns - self._clock() > ahead_s * 1e9:
            self._sleep_until(scheduled_ns - round(ahead_s * 1e9))
            rehearsal()
        self._sleep_until(scheduled_ns)
        self._next_ns = scheduled_ns + self.period_ns
        self.ticks += 1
        self.missed += skipped
        self.missed_in_a_row = self.missed_in_a_row + skipped if skipped else 0
        return Release(scheduled_ns, self._clock(), skipped)

    def _sleep_until(self, due_ns: int) -> None:
        while (remaining_ns := due_ns - self._clock()) > 0:
            self._sleep(remaining_ns * 1e-9)
