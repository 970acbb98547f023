import pytest
from hypothesis import given
from hypothesis import strategies as st

from fosp_edge.simulation.pacing import StepPacer


@given(st.lists(st.integers(0, 400), min_size=1, max_size=50))
def test_steps_made_and_time_lost_account_for_all_time_passed(pauses):
    pacer, now, steps = StepPacer(4, 0, catch_up_ns=100), 0, 0
    for pause in pauses:
        now += pause
        due = pacer.due(now)
        assert 0 <= due <= 100 // 4 + 1  # never more than the catch-up at once
        steps += due
    assert 0 <= now - (steps * 4 + pacer.lost_ns) < 4


def test_a_pacer_that_keeps_up_loses_nothing_and_waits_for_the_next_step():
    pacer = StepPacer(10, 0, catch_up_ns=50)
    assert [pacer.due(now) for now in (5, 10, 15, 40, 41)] == [0, 1, 0, 3, 0]
    assert pacer.lost_ns == 0
    assert pacer.wait_s(41) == pytest.approx(9e-9)
    assert pacer.wait_s(60) == 0.0


def test_nonsense_is_refused():
    with pytest.raises(ValueError):
        StepPacer(0, 0)
    with pytest.raises(ValueError):
        StepPacer(10, 0, catch_up_ns=5)
