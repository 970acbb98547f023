"""Histograms: percentiles to one bucket, exact ends, memory that never grows."""

import math

import numpy as np
import pytest

from fosp_edge.control.telemetry import Histogram, Telemetry


def test_percentiles_agree_with_numpy_to_one_bucket_and_never_understate() -> None:
    samples = np.random.default_rng(0).lognormal(math.log(2e-3), 1.0, 20_000)
    histogram = Histogram()
    for sample in samples:
        histogram.add(float(sample))
    for share in (0.01, 0.5, 0.9, 0.99, 0.999, 1.0):
        exact = float(np.quantile(samples, share, method="inverted_cdf"))
        assert exact <= histogram.percentile(share) <= exact * 10 ** (1 / 50) * (1 + 1e-9)
    assert histogram.mean_s == pytest.approx(float(samples.mean()))
    assert histogram.max_s == samples.max()


def test_extremes_are_counted_at_the_ends() -> None:
    histogram = Histogram()
    for duration_s in (0.0, 1e-9, 1e3):
        histogram.add(duration_s)
    assert histogram.count == 3 == histogram.counts.sum()
    assert histogram.percentile(1.0) <= histogram.max_s == 1e3
    assert Histogram().percentile(0.5) == 0.0
    assert len(Histogram.edges_s()) == len(histogram.counts) + 1


def test_a_phase_is_measured_also_when_it_ends_in_an_error() -> None:
    telemetry = Telemetry()
    with pytest.raises(RuntimeError), telemetry.measure("inference"):
        raise RuntimeError
    assert telemetry.phases["inference"].count == 1
    assert set(telemetry.summary()) == {"inference"}
    telemetry.count("drops", 3)
    assert telemetry.counters == {"drops": 3}
