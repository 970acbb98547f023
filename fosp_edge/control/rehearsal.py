"""A rehearsal shortly before each deadline, so that the tick finds its weights in the caches.

Between two ticks whatever else runs fills the caches with its own: the same step takes twice as long at 50 Hz as one
straight after the other. What a rehearsal costs, it costs in the slack before the deadline.
"""

import time
from collections.abc import Callable

LARGEST_SHARE = 0.25
"""Of the period, that a rehearsal may begin before the deadline. Slower graphs do without."""
MARGIN_S = 0.0003
_FORGET = 0.98
"""Per rehearsal: a slow one widens the room for the next ones, and is forgotten within some fifty."""


class Rehearsal:
    """Runs `step` early enough to be over at the deadline.

    Args:
        step: what to run; it must change nothing.
        period_s: of the control loop.
        clock: monotonic nanoseconds.
    """

    def __init__(
        self, step: Callable[[], object], period_s: float, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self.step, self._clock = step, clock
        self._limit_s = LARGEST_SHARE * period_s
        self._took_s = 0.5 * self._limit_s

    def ahead_s(self) -> float | None:
        """How long before the coming deadline it has to begin; None: it takes too long. Asked once per deadline, so
        that after a number of them it is tried again."""
        ahead_s = 1.2 * self._took_s + MARGIN_S
        if ahead_s <= self._limit_s:
            return ahead_s
        self._took_s *= _FORGET
        return None

    def __call__(self) -> None:
        """Run it, and remember how long it took."""
        begin_ns = self._clock()
        self.step()
        self._took_s = max((self._clock() - begin_ns) * 1e-9, _FORGET * self._took_s)
