"""Limits: whatever comes in, what goes out lies inside range and rate."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fosp_edge.control.limits import ActionRefused, Limits

LOW, HIGH = (-0.25, -0.1, 0.0), (0.25, 0.3, 1.0)


def limits() -> Limits:
    return Limits(LOW, HIGH, period_s=0.05, full_range_s=0.1)


@given(st.lists(st.lists(st.floats(-1e6, 1e6, width=32), min_size=3, max_size=3), min_size=1, max_size=20))
def test_every_action_lies_inside_range_and_rate(actions: list[list[float]]) -> None:
    limiter, previous = limits(), limits().rest
    for action in actions:
        limited = limiter.apply(np.array(action, np.float32))
        assert np.all(limited.physical >= LOW) and np.all(limited.physical <= HIGH)
        change = np.abs(limited.physical - previous)
        assert np.all(change <= 0.5 * (np.array(HIGH) - np.array(LOW)) + 1e-12)
        assert np.all(np.abs(limited.normalised) <= 1.0)
        previous = limited.physical


def test_an_action_inside_both_passes_unchanged() -> None:
    limited = limits().apply(np.array([0.5, -0.5, 0.0], np.float32))
    np.testing.assert_allclose(limited.physical, [0.125, 0.0, 0.5])
    np.testing.assert_allclose(limited.normalised, [0.5, -0.5, 0.0], atol=1e-6)
    assert not limited.range_limited and not limited.rate_limited


def test_a_reversal_takes_as_long_as_the_rate_says() -> None:
    limiter = Limits((-1.0,), (1.0,), period_s=0.05, full_range_s=0.2)
    out = [float(limiter.apply(np.array([sign], np.float32)).physical[0]) for sign in (1, 1, -1, -1, -1, -1, -1)]
    np.testing.assert_allclose(out, [0.5, 1.0, 0.5, 0.0, -0.5, -1.0, -1.0])


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused_and_leave_no_trace(poison: float) -> None:
    limiter = limits()
    with pytest.raises(ActionRefused, match="not finite"):
        limiter.apply(np.array([0.0, poison, 0.0], np.float32))
    np.testing.assert_allclose(limiter.apply(np.array([0.1, 0.0, 0.0], np.float32)).physical, [0.025, 0.1, 0.5])


def test_wrong_shapes_and_senseless_limits_are_refused() -> None:
    with pytest.raises(ActionRefused, match="3 components"):
        limits().apply(np.zeros(2, np.float32))
    for low, high in [((1.0,), (0.0,)), ((np.nan,), (0.0,)), ((0.0,), (np.inf,)), ((0.0, 1.0), (2.0,))]:
        with pytest.raises(ValueError, match="limit"):
            Limits(low, high, period_s=0.05)
