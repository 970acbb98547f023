"""A rehearsal before each deadline: in time or not at all, and it leaves no trace in what is decided."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fosp_edge.control.inference import NotFinite, PolicyRuntime
from fosp_edge.control.pacing import Pacer
from fosp_edge.control.rehearsal import LARGEST_SHARE, MARGIN_S, Rehearsal
from tests.control.fakes import FakeClock, TinyBundle
from tests.control.test_inference import look


def steps(rehearsals: int, seed: int = 5) -> list[np.ndarray]:
    runtime = PolicyRuntime(TinyBundle())
    runtime.reset(seed)
    executed, found = np.zeros(3, np.float32), []
    for tick in range(6):
        for _ in range(rehearsals):
            runtime.rehearse()
        scores = runtime.step(look(tick), executed)
        executed = scores.candidates[1]
        latent = runtime.latent
        found += [scores.candidates, scores.reachability, latent.deterministic, latent.stochastic]
    return found


@pytest.mark.parametrize("rehearsals", [1, 3])
def test_what_was_rehearsed_changes_nothing(rehearsals: int) -> None:
    for one, other in zip(steps(0), steps(rehearsals), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_rehearsal_over_nonsense_leaves_the_next_step_alone() -> None:
    runtime = PolicyRuntime(TinyBundle())
    runtime.reset(0)
    with pytest.raises(NotFinite):
        runtime.step(look(3, s0=float("nan")), np.zeros(3, np.float32))
    runtime.rehearse()
    runtime.reset(0)
    assert np.isfinite(runtime.step(look(3), np.zeros(3, np.float32)).reachability).all()


@given(st.lists(st.floats(0.0, 0.06), min_size=1, max_size=40), st.floats(0.0, 0.012))
def test_it_is_over_before_the_deadline_or_is_left_out(work_s: list[float], takes_s: float) -> None:
    clock, held = FakeClock(), list[int]()
    pacer = Pacer(0.05, clock, clock.sleep)

    def step() -> None:
        held.append(clock.now_ns)
        clock.sleep(takes_s)

    rehearsal = Rehearsal(step, 0.05, clock)
    pacer.wait(rehearsal)
    for duration_s in work_s:
        clock.sleep(duration_s)
        count = len(held)
        release = pacer.wait(rehearsal)
        assert len(held) - count <= 1
        if count:  # how long one takes is known by now
            assert release.late_s <= 1e-6 or takes_s > LARGEST_SHARE * 0.05
        if len(held) > count:
            assert release.scheduled_ns - held[-1] <= LARGEST_SHARE * 50_000_000 + 1


def test_what_takes_too_long_is_left_out_and_tried_again_after_a_while() -> None:
    clock, held = FakeClock(), list[float]()

    def step() -> None:
        held.append(takes_s)
        clock.sleep(takes_s)

    takes_s, rehearsal = 0.02, Rehearsal(step, 0.05, clock)
    rehearsal()
    assert rehearsal.ahead_s() is None
    waited = 0
    while rehearsal.ahead_s() is None:
        waited += 1
    assert 10 < waited < 200
    takes_s = 0.001
    for _ in range(200):
        rehearsal()
    assert rehearsal.ahead_s() == pytest.approx(1.2 * 0.001 + MARGIN_S)
