"""Which precision drives on this device: the fastest one that is still the same agent where it counts.

Every precision is converted, timed here and followed through whole recorded episodes. Then, from the fastest on, the
filter is calibrated with it and, where there is a simulator, it drives; the first that keeps all bounds is taken. A
gain of less than a tenth is none: float32 then stays.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from export.compact import compact
from export.conversion import Yardstick, is_admitted
from export.drift import Steps, recorded_inputs
from export.graph_policy import GraphPolicy
from export.precision import CALIBRATION_TICKS, PRECISIONS, Feeds, Precision, convert
from export.recorded_actions import graph_reachability
from export.thresholds import Calibration, calibrate
from fosp_edge.bundle.manifest import BundleError, Conversion

ClosedLoop = Callable[[bytes, Calibration], Sequence[tuple[float, float]]]
"""Drives a graph behind these thresholds; return and cost of each episode, the same seeds every time."""

LEAST_GAIN = 0.1
"""A precision has to be faster than float32 by this share to be worth anything."""
FALSE_ALARMS = 0.02
"""How much the filter's share of false alarms may rise, at the same share of missed violations."""
ROUNDS = 200
"""Timed ticks per precision, taken in turns so that all meet the same load and cold caches."""


@dataclass
class Trial:
    """One precision and what is known of it."""

    precision: Precision
    graph: bytes
    bytes_stored: int
    median_ms: float = float("nan")
    p99_ms: float = float("nan")
    conversion: Conversion | None = None
    calibration: Calibration | None = None
    closed_loop: Sequence[tuple[float, float]] | None = None
    verdict: str = "not tried"

    def to_json(self) -> dict[str, Any]:
        """Everything but the graph."""
        episodes = None if self.closed_loop is None else np.asarray(self.closed_loop, np.float64)
        return {
            "precision": self.precision,
            "bytes": self.bytes_stored,
            "median_ms": None if np.isnan(self.median_ms) else round(self.median_ms, 4),
            "p99_ms": None if np.isnan(self.p99_ms) else round(self.p99_ms, 4),
            "drift": None if self.conversion is None else asdict(self.conversion),
            "filter": None if self.calibration is None else asdict(self.calibration),
            "closed_loop": None
            if episodes is None
            else {
                "episodes": len(episodes),
                "mean_return": float(episodes[:, 0].mean()),
                "episodes_in_violation": float((episodes[:, 1] > 0).mean()),
            },
            "verdict": self.verdict,
        }


class Trials:
    """Compares the precisions of one agent's step graph on this device."""

    def __init__(
        self,
        yardstick: Yardstick,
        graph: bytes,
        held_out: Sequence[Steps],
        miss_rate: float,
        closed_loop: ClosedLoop | None,
    ) -> None:
        """Measure with the held-out episodes; `graph` in float32 and not `compact`."""
        self._yardstick, self._graph, self._held_out = yardstick, graph, held_out
        self._miss_rate, self._closed_loop = miss_rate, closed_loop
        self._config = yardstick.agent.config

    def choose(self, wanted: Precision | None) -> tuple[Trial, list[Trial]]:
        """The precision to take (`wanted`, or for None the fastest within all bounds), and all trials.

        Raises:
            BundleError: this onnxruntime does not run the wanted one.
        """
        trials = [self._convert(item) for item in PRECISIONS if wanted is None or item in (wanted, "float32")]
        running = [trial for trial in trials if trial.verdict == "not tried"]
        self._time(running)
        for trial in running:
            trial.conversion = self._yardstick.measure(trial.precision, self._policy(trial))
        base = trials[0]
        self._drive(base)
        base.verdict = "the measure of the others"
        if wanted is not None:
            chosen = next(trial for trial in trials if trial.precision == wanted)
            if chosen not in running:
                raise BundleError(f"--precision {wanted}: {chosen.verdict}; choose another, or auto")
            if chosen is not base:
                self._drive(chosen)
                refusal = self._refusal(chosen, base)
                chosen.verdict = "taken as asked" + (f", although {refusal}" if refusal else "")
            return chosen, trials
        worthwhile = (1.0 - LEAST_GAIN) * base.median_ms
        faster = [trial for trial in running if trial is not base and trial.median_ms <= worthwhile]
        for trial in running[1:]:
            waits = trial in faster
            trial.verdict = "not needed: a faster one was taken" if waits else "not faster than float32 by a tenth"
        for trial in sorted(faster, key=lambda item: item.median_ms):
            assert trial.conversion is not None
            if not is_admitted(trial.conversion):
                trial.verdict = "refused: it strays too far from the agent over recorded episodes"
                continue
            self._drive(trial)
            refusal = self._refusal(trial, base)
            if refusal is None:
                trial.verdict = "taken: the fastest within all bounds"
                return trial, trials
            trial.verdict = f"refused: {refusal}"
        base.verdict = "taken: nothing faster stays within all bounds"
        return base, trials

    def _convert(self, precision: Precision) -> Trial:
        graph = self._graph if precision == "float32" else convert(self._graph, precision, self._recorded)
        stored = compact(graph)
        trial = Trial(precision, stored, len(stored))
        try:
            self._policy(trial)
        except Exception as error:  # ONNX Runtime raises a family of its own without a public base
            reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
            trial.verdict = f"this onnxruntime does not run it ({reason})"
        return trial

    def _policy(self, trial: Trial) -> GraphPolicy:
        return GraphPolicy(trial.graph, self._config)

    def _recorded(self) -> Iterator[Feeds]:
        """Inputs of the float32 graph along recorded episodes."""
        config, policy = self._config, GraphPolicy(self._graph, self._config)
        rows = self._yardstick.rows
        ticks = recorded_inputs(self._held_out, config.groups, config.classes, rows.samples, config.action_size, seed=3)
        for _, inputs in zip(range(CALIBRATION_TICKS), ticks, strict=False):
            yield policy.feeds(inputs)
            policy.step(inputs)

    def _time(self, trials: Sequence[Trial]) -> None:
        feeds = list(self._recorded())[-1]
        sessions = [self._policy(trial).session for trial in trials]
        seconds = np.zeros((ROUNDS, len(trials)))
        for session in sessions:
            session.run(None, feeds)
        for row in range(ROUNDS):
            for column, session in enumerate(sessions):
                begin = time.perf_counter()
                session.run(None, feeds)
                seconds[row, column] = time.perf_counter() - begin
        for column, trial in enumerate(trials):
            median, p99 = np.quantile(seconds[:, column], [0.5, 0.99]) * 1e3
            trial.median_ms, trial.p99_ms = float(median), float(p99)

    def _drive(self, trial: Trial) -> None:
        """Calibrate the filter with it, and drive with it where that is possible."""
        config, policy = self._config, self._policy(trial)
        found = graph_reachability(
            policy, self._yardstick.rows, self._held_out, config.groups, config.classes, config.action_size
        )
        violations = [steps["violation"].astype(np.float32) for steps in self._held_out]
        trial.calibration = calibrate(zip(found, violations, strict=True), self._miss_rate)
        if self._closed_loop is not None:
            trial.closed_loop = self._closed_loop(trial.graph, trial.calibration)

    @staticmethod
    def _refusal(trial: Trial, base: Trial) -> str | None:
        """Why a precision does not stay within the bounds of filter and closed loop, or None."""
        assert trial.calibration is not None and base.calibration is not None
        more = trial.calibration.false_alarm_rate - base.calibration.false_alarm_rate
        if more > FALSE_ALARMS:
            return f"its filter gives {more:.1%} more false alarms at the same miss rate (bound {FALSE_ALARMS:.0%})"
        if trial.closed_loop is None or base.closed_loop is None:
            return None
        pairs = np.asarray(trial.closed_loop, np.float64) - np.asarray(base.closed_loop, np.float64)
        violated = [np.asarray(item.closed_loop, np.float64)[:, 1] > 0 for item in (trial, base)]
        low, high = _interval(pairs[:, 0])
        if high < 0.0:
            return f"it earns less than float32 on the same seeds (difference {low:.2f} to {high:.2f}, 95 %)"
        low, high = _interval(violated[0].astype(np.float64) - violated[1])
        if low > 0.0:
            return f"it violates more often than float32 on the same seeds (by {low:.0%} to {high:.0%}, 95 %)"
        return None


def _interval(differences: np.ndarray) -> tuple[float, float]:
    """95 % percentile interval of the mean over bootstrap resamples (Efron 1979)."""
    draws = np.random.default_rng(0).integers(0, len(differences), (2000, len(differences)))
    low, high = np.quantile(differences[draws].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)
