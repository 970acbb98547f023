from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from fosp_edge.cameras.clock import SensorClock

PERIOD = 33_000_000
delays = st.lists(st.integers(2_000_000, 40_000_000), min_size=30, max_size=200)


@given(delays, st.integers(-(10**15), 10**15))
def test_jitter_is_taken_out_and_no_frame_is_from_the_future(waits, offset):
    clock, mapped, arrivals = SensorClock(), [], []
    arrival = 0
    for number, wait in enumerate(waits):
        arrival = max(arrival + 1, number * PERIOD + wait)
        arrivals.append(arrival)
        mapped.append(clock.to_monotonic_ns(number * PERIOD + offset, arrival))
    assert all(late <= arrival for late, arrival in zip(mapped, arrivals, strict=True))
    assert all(a < b for a, b in pairwise(mapped))
    # Once a frame has come with a short wait, all later ones are placed as exactly as that one.
    best = min(arrival - number * PERIOD for number, arrival in enumerate(arrivals))
    assert mapped[-1] - (len(waits) - 1) * PERIOD == best


def test_drifting_clocks_are_followed():
    clock, drift = SensorClock(window_ns=2_000_000_000), 1e-4
    for number in range(3000):
        true = number * PERIOD
        mapped = clock.to_monotonic_ns(round(true * (1 + drift)), true + 3_000_000)
    assert abs(mapped - (true + 3_000_000)) < 2_000_000_000 * drift * 1.1


def test_a_sensor_clock_that_starts_again_is_learnt_anew():
    clock = SensorClock()
    for number in range(50):
        clock.to_monotonic_ns(10**12 + number * PERIOD, number * PERIOD + 1000)
    arrival = 60 * PERIOD
    assert clock.to_monotonic_ns(5, arrival) == arrival
    assert clock.to_monotonic_ns(5 + PERIOD, arrival + PERIOD + 7_000_000) == arrival + PERIOD
