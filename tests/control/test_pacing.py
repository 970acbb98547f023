"""Pacing: the grid never moves, missed deadlines are skipped and counted, nothing is made up for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fosp_edge.control.pacing import Pacer
from tests.control.fakes import FakeClock

PERIOD_NS = 50_000_000


@given(st.lists(st.integers(0, 400_000_000), min_size=1, max_size=40))
def test_ticks_stay_on_the_grid_and_are_never_bunched(work_ns: list[int]) -> None:
    clock = FakeClock()
    pacer = Pacer(0.05, clock, clock.sleep)
    first = pacer.wait().scheduled_ns
    previous, skipped = first, 0
    for duration_ns in work_ns:
        clock.now_ns += duration_ns
        release = pacer.wait()
        assert (release.scheduled_ns - first) % PERIOD_NS == 0
        assert release.scheduled_ns - previous == PERIOD_NS * (1 + release.skipped)
        assert release.released_ns >= release.scheduled_ns
        assert release.skipped == max(0, -(-(duration_ns - PERIOD_NS) // PERIOD_NS))
        previous, skipped = release.scheduled_ns, skipped + release.skipped
    assert pacer.missed == skipped and pacer.ticks == len(work_ns) + 1


def test_misses_in_a_row_add_up_and_a_tick_on_time_clears_them() -> None:
    clock = FakeClock()
    pacer = Pacer(0.05, clock, clock.sleep)
    pacer.wait()
    rows = []
    for work_s in (0.06, 0.12, 0.01, 0.06):
        clock.sleep(work_s)
        pacer.wait()
        rows.append(pacer.missed_in_a_row)
    assert rows == [1, 3, 0, 1]


def test_a_restart_begins_a_new_grid_at_once_and_misses_nothing() -> None:
    clock = FakeClock()
    pacer = Pacer(0.05, clock, clock.sleep)
    pacer.wait()
    clock.sleep(3.21)
    pacer.restart()
    before_ns = clock.now_ns
    assert pacer.wait().scheduled_ns == before_ns
    assert pacer.missed == 0


def test_the_real_clock_keeps_the_rate_on_average() -> None:
    pacer = Pacer(0.002)
    releases = [pacer.wait() for _ in range(50)]
    span_ns = releases[-1].scheduled_ns - releases[0].scheduled_ns
    assert span_ns == 2_000_000 * (49 + pacer.missed)
    assert all(release.late_s >= 0.0 for release in releases)


def test_a_period_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        Pacer(0.0)
