"""How long each phase of a tick takes: histograms of fixed size, so that memory never grows with the run."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

_LOWEST_S = 1e-6
_BUCKETS_PER_DECADE = 50
_DECADES = 7
_BUCKETS = _BUCKETS_PER_DECADE * _DECADES
"""From one microsecond to ten seconds in steps of 4.7 %; what lies outside is counted at the ends."""


class Histogram:
    """Durations on a logarithmic scale. Percentiles are good to one bucket, 4.7 %; mean and maximum are exact."""

    def __init__(self) -> None:
        self.counts = np.zeros(_BUCKETS, dtype=np.int64)
        self.count = 0
        self.total_s = 0.0
        self.max_s = 0.0

    def add(self, duration_s: float) -> None:
        """Count one duration, seconds; anything below a microsecond counts as one."""
        scaled = math.log10(max(duration_s, _LOWEST_S) / _LOWEST_S) * _BUCKETS_PER_DECADE
        self.counts[min(_BUCKETS - 1, int(scaled))] += 1
        self.count += 1
        self.total_s += duration_s
        self.max_s = max(self.max_s, duration_s)

    def percentile(self, share: float) -> float:
        """The duration (s) that `share` (0..1) of the samples do not exceed; 0 when there are none.

        Upper edge of the bucket, never above the true maximum: the figure errs on the side of slow.
        """
        if not self.count:
            return 0.0
        wanted = max(1, math.ceil(share * self.count))
        bucket = int(np.searchsorted(np.cumsum(self.counts), wanted))
        upper_s = float(_LOWEST_S * 10.0 ** ((bucket + 1) / _BUCKETS_PER_DECADE))
        return min(upper_s, self.max_s)

    @property
    def mean_s(self) -> float:
        """Mean duration, seconds; 0 when there are none."""
        return self.total_s / self.count if self.count else 0.0

    def summary_us(self) -> dict[str, float]:
        """Count, mean, p50, p99, p99.9 and maximum in microseconds, for reports."""
        shares = {"p50_us": 0.5, "p99_us": 0.99, "p99.9_us": 0.999}
        percentiles = {name: round(self.percentile(share) * 1e6, 1) for name, share in shares.items()}
        ends = {"mean_us": round(self.mean_s * 1e6, 1), "max_us": round(self.max_s * 1e6, 1)}
        return {"count": float(self.count)} | ends | percentiles

    @staticmethod
    def edges_s() -> list[float]:
        """Lower edges of the buckets and the upper edge of the last, seconds."""
        return [_LOWEST_S * 10.0 ** (index / _BUCKETS_PER_DECADE) for index in range(_BUCKETS + 1)]


PHASES = (
    "late", "referee", "observe", "inference", "filter", "command", "record", "latency", "frame age", "telemetry age",
    "tick",
)  # fmt: skip
"""late: past its deadline; latency: from the start of the observation to the command on the wire; tick: all of it; the
two ages: of the oldest picture and of the robot's state when they were used."""


@dataclass(frozen=True)
class Threshold:
    """How long a phase may take."""

    warn_s: float
    """Longer than this is counted."""
    stop_s: float
    """Longer than this is not acted upon: the run stops before the command goes out."""


def default_thresholds(period_s: float, patience_s: float) -> dict[str, Threshold]:
    """Warn where a phase takes more than its usual share of the period, stop where it takes all patience."""
    shares = {"inference": 0.5, "filter": 0.1, "observe": 0.2, "command": 0.2, "latency": 0.7}
    thresholds = {name: Threshold(share * period_s, patience_s) for name, share in shares.items()}
    return thresholds | {name: Threshold(0.5 * patience_s, patience_s) for name in ("frame age", "telemetry age")}


@dataclass
class Telemetry:
    """All figures of a run."""

    phases: dict[str, Histogram] = field(default_factory=lambda: {name: Histogram() for name in PHASES})
    counters: dict[str, int] = field(default_factory=dict)
    thresholds: dict[str, Threshold] = field(default_factory=dict)

    @contextmanager
    def measure(self, phase: str) -> Iterator[None]:
        """Add the time spent inside to one phase, also when it ends in an error."""
        begin_ns = time.perf_counter_ns()
        try:
            yield
        finally:
            self.add(phase, (time.perf_counter_ns() - begin_ns) * 1e-9)

    def add(self, phase: str, duration_s: float) -> None:
        """Add a duration measured elsewhere, and count it if it is longer than the phase's threshold to warn at."""
        self.phases[phase].add(duration_s)
        threshold = self.thresholds.get(phase)
        if threshold is not None and duration_s > threshold.warn_s:
            self.count(f"slow {phase}")

    def too_slow(self, phase: str, duration_s: float) -> str | None:
        """Why this duration is nothing to act upon, in a sentence; None if it is."""
        threshold = self.thresholds.get(phase)
        if threshold is None or duration_s <= threshold.stop_s:
            return None
        return f"{phase}: {duration_s * 1e3:.0f} ms, at most {threshold.stop_s * 1e3:.0f} ms are acted upon"

    def count(self, name: str, by: int = 1) -> None:
        """Count an event."""
        self.counters[name] = self.counters.get(name, 0) + by

    def summary(self) -> dict[str, dict[str, float]]:
        """Per phase what `Histogram.summary_us` says, for phases that saw anything."""
        return {name: phase.summary_us() for name, phase in self.phases.items() if phase.count}
