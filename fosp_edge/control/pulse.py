"""How the control loop is doing just now, for whoever should give way to it. Read beside the tick, never in it."""

import time
from typing import Any

import numpy as np

from fosp_edge.control.telemetry import Histogram, Telemetry


class Pulse:
    """Differences of a run's figures between two looks."""

    def __init__(self, telemetry: Telemetry, period_s: float) -> None:
        self._telemetry, self._period_s = telemetry, period_s
        self._counts = telemetry.phases["latency"].counts.copy()
        self._missed = 0

    def look(self) -> dict[str, Any]:
        """p99 latency, ticks and missed deadlines since the last look, JSON values."""
        counts = self._telemetry.phases["latency"].counts.copy()
        missed = self._telemetry.counters.get("missed deadlines", 0)
        recent = counts - self._counts
        found = {
            "unix_s": round(time.time(), 3),
            "period_s": self._period_s,
            "ticks": int(recent.sum()),
            "p99_latency_s": _p99(recent),
            "missed": missed - self._missed,
        }
        self._counts, self._missed = counts, missed
        return found


def _p99(counts: "np.typing.NDArray[np.int64]") -> float:
    total = int(counts.sum())
    if not total:
        return 0.0
    bucket = int(np.searchsorted(np.cumsum(counts), np.ceil(0.99 * total)))
    return Histogram.edges_s()[bucket + 1]
