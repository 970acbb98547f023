"""The response to alarms of the gate: caution, stillness, stop; never less than the alarms ask for."""

from hypothesis import given
from hypothesis import strategies as st

from fosp_edge.control.gate_response import GateSettings, GateState, Stage, respond

SETTINGS = GateSettings(hold_after_ticks=3, clear_ticks=4, stop_after_ticks=5)


def stages(alarms: list[bool]) -> list[Stage]:
    state, found = GateState(), []
    for alarm in alarms:
        state = respond(alarm, state, SETTINGS)
        found.append(state.stage)
    return found


def test_an_alarm_tightens_at_once_three_hold_and_persistence_stops_for_good() -> None:
    found = stages([False, True, True, True, True, True, True, True, True, *[False] * 20])
    assert found[:4] == [Stage.FAMILIAR, Stage.TIGHTENED, Stage.TIGHTENED, Stage.HOLD]
    assert found[4:8] == [Stage.HOLD] * 4 and found[8:] == [Stage.STOP] * 21


def test_a_false_alarm_is_over_after_the_clear_ticks_and_holding_does_not_end_before_them() -> None:
    assert stages([True, False, False, False, False]) == [Stage.TIGHTENED] * 4 + [Stage.FAMILIAR]
    found = stages([True, True, True, False, False, False, True, False, False, False, False])
    assert found[2:7] == [Stage.HOLD] * 5


def test_alarms_that_come_and_go_add_up() -> None:
    assert stages([True, False, True, False, True])[-1] is Stage.HOLD


@given(st.lists(st.booleans(), max_size=60))
def test_it_moves_freely_only_after_enough_familiar_ticks(alarms: list[bool]) -> None:
    found = stages(alarms)
    for index, stage in enumerate(found):
        recent = alarms[max(0, index - SETTINGS.clear_ticks + 1) : index + 1]
        if any(recent):
            assert stage is not Stage.FAMILIAR
        if stage is Stage.FAMILIAR and Stage.STOP in found[:index]:
            raise AssertionError("a stop was left")
