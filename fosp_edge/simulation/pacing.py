"""Simulated time against the wall clock: which steps are due, and what to do when the machine is too slow."""


class StepPacer:
    """Counts the steps that are due. After a stall it catches up a little and lets the rest go, and says how much."""

    def __init__(self, period_ns: int, now_ns: int, *, catch_up_ns: int = 100_000_000) -> None:
        if period_ns <= 0 or catch_up_ns < period_ns:
            raise ValueError("expected a period above zero and at least one period to catch up")
        self._period_ns, self._catch_up_ns = period_ns, catch_up_ns
        self._next_ns = now_ns + period_ns
        self.lost_ns = 0
        """Wall-clock time that the simulation did not live through."""

    def due(self, now_ns: int) -> int:
        """How many steps to make now to be level with the clock."""
        behind_ns = now_ns - self._next_ns
        if behind_ns < 0:
            return 0
        if behind_ns > self._catch_up_ns:
            skipped_ns = (behind_ns - self._catch_up_ns) // self._period_ns * self._period_ns
            self._next_ns += skipped_ns
            self.lost_ns += skipped_ns
            behind_ns -= skipped_ns
        steps = behind_ns // self._period_ns + 1
        self._next_ns += steps * self._period_ns
        return steps

    def wait_s(self, now_ns: int) -> float:
        """How long until the next step is due."""
        return max(0, self._next_ns - now_ns) * 1e-9
