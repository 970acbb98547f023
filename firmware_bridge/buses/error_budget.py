"""When a bus has failed too often: a leaky bucket, so that single errors pass and a bad cable does not."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class ErrorBudget:
    """Every bad cycle fills the bucket by one; it leaks at `leak_per_s`. Full means: this bus is not to be trusted.

    The defaults let two seconds' worth of the tolerated rate pass at once: at 200 cycles per second one bad cycle in
    ten is tolerated for good, one in five for two seconds.
    """

    capacity: float = 40.0
    leak_per_s: float = 20.0
    _level: float = 0.0

    def spend(self, bad: bool, dt_s: float) -> bool:
        """Let `dt_s` pass with a good or a bad cycle at its end. True when the bucket runs over; it is empty then."""
        self._level = max(0.0, self._level - self.leak_per_s * dt_s) + bad
        if self._level <= self.capacity:
            return False
        self._level = 0.0
        return True
