"""Single errors pass, a rate of them does not."""

import itertools

import pytest

from firmware_bridge.buses.error_budget import ErrorBudget


def overruns(every: int, cycles: int = 4000, dt_s: float = 0.005) -> list[float]:
    budget = ErrorBudget()
    return [cycle * dt_s for cycle in range(cycles) if budget.spend(cycle % every == 0, dt_s)]


def test_one_bad_cycle_in_ten_is_tolerated_for_good() -> None:
    assert overruns(10) == []


def test_one_in_five_is_tolerated_for_two_seconds_and_said_at_most_as_often() -> None:
    seen = overruns(5)
    assert seen[0] == pytest.approx(2.0, abs=0.1)
    assert min(later - earlier for earlier, later in itertools.pairwise(seen)) > 1.9


def test_a_dead_bus_is_said_at_once() -> None:
    assert overruns(1)[0] < 0.3
