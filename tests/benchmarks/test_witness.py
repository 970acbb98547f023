"""Whose fault a missed deadline was."""

import time

import pytest

from benchmarks.witness import Stop, WatchedPacer, Witness


def test_only_what_lies_between_the_moments_and_on_the_core_counts() -> None:
    witness = Witness([0, 1])
    witness.stops = [Stop(0, 1_000_000, 4_000_000), Stop(0, 8_000_000, 9_000_000), Stop(1, 0, 9_000_000)]
    assert witness.stopped_s(0, 2_000_000, 10_000_000) == pytest.approx(0.003)
    assert witness.stopped_s(0, 4_000_000, 8_000_000) == 0.0
    assert witness.summary() == {"times": 3, "s": 0.013, "longest_ms": 9.0}


@pytest.mark.parametrize(("stood_still_s", "excused"), [(0.045, True), (0.005, False), (0.0, False)])
def test_a_miss_is_the_machines_only_if_the_tick_would_have_been_in_time_without(
    stood_still_s: float, excused: bool
) -> None:
    pacer, witness = WatchedPacer(0.020), Witness([0])
    pacer._core = lambda: 0  # wherever the scheduler puts this test
    begin_ns = pacer.wait().scheduled_ns
    time.sleep(0.05)
    skipped = pacer.wait().skipped
    overran_s = (time.monotonic_ns() - begin_ns) * 1e-9 - 0.020
    late_s = max(0.0, overran_s - 0.03)  # a busy machine may have made the tick longer than it was meant to be
    witness.stops = [Stop(0, begin_ns, begin_ns + round((stood_still_s + late_s * excused) * 1e9))]
    assert skipped >= 2
    assert pacer.missed_while_stopped(witness) == (skipped if excused else 0)


def test_where_nothing_could_be_watched_nothing_is_said() -> None:
    pacer, witness = WatchedPacer(0.001), Witness([])
    witness.watches = False
    assert pacer.missed_while_stopped(witness) is None and witness.summary() is None


def test_the_watchers_watch_or_say_that_they_may_not() -> None:
    with Witness([0]) as witness:
        time.sleep(0.1)
    assert witness.watches or not witness.stops
    assert all(stop.end_ns - stop.begin_ns > 500_000 for stop in witness.stops)
