"""Recorded times pass at the rate of the clock."""

import time

_LONGEST_PAUSE_NS = 10_000_000_000


class Pace:
    """Waits until the time of each recorded picture has come."""

    def __init__(self) -> None:
        self._start_ns: int | None = None
        self._last_recorded_ns = 0
        self._due_ns = 0

    def wait(self, recorded_ns: int) -> int:
        """Sleep until this picture's time has come; returns the monotonic time it counts as taken at."""
        if self._start_ns is None:
            self._start_ns = self._due_ns = time.monotonic_ns()
        else:  # a recording that begins again, or has a hole, goes on after a moment
            step_ns = recorded_ns - self._last_recorded_ns
            self._due_ns += step_ns if 0 < step_ns <= _LONGEST_PAUSE_NS else 33_000_000
        self._last_recorded_ns = recorded_ns
        time.sleep(max(0, self._due_ns - time.monotonic_ns()) * 1e-9)
        return self._due_ns
