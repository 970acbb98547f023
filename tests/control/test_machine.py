"""The state machine: no sequence of events moves a robot out of a latched stop without an operator."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fosp_edge.control.machine import STOPPING, TRANSITIONS, Machine
from fosp_edge.control.types import Reason, State

events = st.lists(st.sampled_from(list(Reason)), max_size=60)
START = [Reason.CHECKS_PASSED, Reason.OPERATOR_START]


def run(sequence: list[Reason]) -> Machine:
    machine = Machine(clock=lambda: 0)
    for reason in sequence:
        machine.handle(reason)
    return machine


def test_the_planned_way_through() -> None:
    machine = run(START)
    assert machine.state is State.RUNNING and machine.may_move
    assert machine.handle(Reason.RECOVERY) is State.RECOVERING and machine.may_move
    assert machine.handle(Reason.FEASIBLE_AGAIN) is State.RUNNING
    assert machine.handle(Reason.EPISODE_END) is State.READY and not machine.may_move
    assert machine.handle(Reason.RUN_COMPLETE, "all done") is State.STOPPED
    assert machine.stopped_by is not None and machine.stopped_by.detail == "all done"


@given(events, st.sampled_from(sorted(STOPPING)), events)
def test_nothing_moves_after_a_stop_until_an_operator_has_reset_and_started_again(
    before: list[Reason], stop: Reason, after: list[Reason]
) -> None:
    machine = run([*before, stop])
    assert machine.state is State.STOPPED
    reset = checked = False
    for reason in after:
        machine.handle(reason)
        if machine.state is State.STOPPED:
            reset = checked = False
        reset = reset or reason is Reason.OPERATOR_RESET
        checked = checked or (reset and reason is Reason.CHECKS_PASSED)
        if machine.may_move:
            assert reset and checked and Reason.OPERATOR_START in after


@given(events)
def test_motion_only_ever_begins_with_the_operators_start(sequence: list[Reason]) -> None:
    machine = Machine(clock=lambda: 0)
    for reason in sequence:
        moved = machine.may_move
        machine.handle(reason)
        if machine.may_move and not moved:
            assert reason is Reason.OPERATOR_START


@given(events)
def test_the_first_cause_of_a_stop_is_kept(sequence: list[Reason]) -> None:
    machine = Machine(clock=lambda: 0)
    machine.handle(Reason.CAMERA_LOST, "first")
    for reason in sequence:
        if reason is not Reason.OPERATOR_RESET:
            machine.handle(reason, "later")
    assert machine.stopped_by is not None
    assert (machine.stopped_by.reason, machine.stopped_by.detail) == (Reason.CAMERA_LOST, "first")


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("reason", sorted(STOPPING))
def test_every_stopping_reason_stops_from_every_state(state: State, reason: Reason) -> None:
    ways = {
        State.STARTING: [],
        State.READY: START[:1],
        State.RUNNING: START,
        State.RECOVERING: [*START, Reason.HOLD],
        State.STOPPED: [Reason.INTERNAL],
    }
    machine = run(ways[state])
    assert machine.state is state
    assert machine.handle(reason) is State.STOPPED


def test_the_table_leaves_stopped_by_one_way_only_and_not_into_motion() -> None:
    ways = {(reason, target) for (source, reason), target in TRANSITIONS.items() if source is State.STOPPED}
    assert ways == {(Reason.OPERATOR_RESET, State.STARTING)}


def test_history_is_bounded_and_refusals_are_counted() -> None:
    machine = Machine(clock=lambda: 0, history=4)
    for reason in START + [Reason.RECOVERY, Reason.FEASIBLE_AGAIN] * 10:
        machine.handle(reason)
    assert len(machine.history) == 4
    machine.handle(Reason.CHECKS_PASSED)
    assert machine.refused == 1
