"""The oracle against the sentences of PROTOCOL.md section 7, in closed form and over random runs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from firmware_bridge import safety
from firmware_bridge.codes import Mode, Refusal
from firmware_bridge.messages import WireLimits
from firmware_bridge.safety import JointMemory, Measured

LIMITS = WireLimits(-2_000_000, 2_000_000, 1_000_000, 10_000_000, 3_000, 400_000, 700, 2_000)
REST = Measured(0, 0)
FRESH = safety.fresh_memory(LIMITS, REST)


def decide(
    mode: Mode, target: int, measured: Measured = REST, memory: JointMemory = FRESH, elapsed_us: int = 0
) -> Refusal:
    verdict = safety.check_command(
        mode, [target], [LIMITS], [measured], [memory], elapsed_us=elapsed_us, mode_changed=False
    )
    return verdict.refusal


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (1_000_000, Refusal.NONE),
        (-1_000_000, Refusal.NONE),
        (1_000_001, Refusal.VELOCITY),
        (-1_000_001, Refusal.VELOCITY),
        (0, Refusal.NONE),
    ],
)
def test_velocity_limit_is_inclusive(target: int, expected: Refusal) -> None:
    assert decide(Mode.VELOCITY, target) is expected


@pytest.mark.parametrize("side", [1, -1])
def test_moving_outwards_needs_room_to_brake(side: int) -> None:
    # At 1 rad/s and 10 rad/s^2 braking takes 0.05 rad.
    assert decide(Mode.VELOCITY, side * 1_000_000, Measured(side * 1_950_000, 0)) is Refusal.NONE
    assert decide(Mode.VELOCITY, side * 1_000_000, Measured(side * 1_950_001, 0)) is Refusal.POSITION
    assert decide(Mode.VELOCITY, -side * 1_000_000, Measured(side * 2_500_000, 0)) is Refusal.NONE
    assert decide(Mode.VELOCITY, 0, Measured(side * 2_500_000, 0)) is Refusal.NONE


def test_velocity_budget_in_closed_form() -> None:
    spent = replace(FRESH, velocity_budget_urad_s=0)
    assert decide(Mode.VELOCITY, 1, memory=spent) is Refusal.ACCELERATION
    assert decide(Mode.VELOCITY, 0, memory=spent) is Refusal.NONE
    # 50 ms at 10 rad/s^2 buys exactly 0.5 rad/s.
    assert decide(Mode.VELOCITY, 500_000, memory=spent, elapsed_us=50_000) is Refusal.NONE
    assert decide(Mode.VELOCITY, 500_001, memory=spent, elapsed_us=50_000) is Refusal.ACCELERATION
    # The window: 10 s buy no more than 100 ms do.
    slow = replace(LIMITS, acceleration_max_urad_s2=1_000_000)
    refilled = safety.refill(slow, replace(spent, velocity_target_urad_s=0), 10_000_000)
    assert refilled.velocity_budget_urad_s == 100_000


@pytest.mark.parametrize(
    ("previous", "target", "cost"),
    [(5, 3, 0), (5, 0, 0), (5, 5, 0), (5, 6, 1), (5, -1, 6), (-5, -3, 0), (-5, 2, 7), (0, -4, 4), (0, 0, 0)],
)
def test_only_speeding_up_and_reversing_cost(previous: int, target: int, cost: int) -> None:
    assert safety.velocity_cost(previous, target) == cost


def test_position_rules() -> None:
    assert decide(Mode.POSITION, 100_000) is Refusal.NONE
    assert decide(Mode.POSITION, 100_001) is Refusal.VELOCITY
    assert decide(Mode.POSITION, 400_001) is Refusal.DISTANCE
    assert decide(Mode.POSITION, 2_000_001) is Refusal.POSITION
    assert decide(Mode.POSITION, -2_000_001) is Refusal.POSITION
    far = Measured(2_050_000, 0)
    near_edge = replace(FRESH, position_target_urad=1_990_000)
    assert decide(Mode.POSITION, 2_000_000, far, near_edge) is Refusal.NONE


def test_effort_rules() -> None:
    assert decide(Mode.EFFORT, 3_000) is Refusal.NONE
    assert decide(Mode.EFFORT, -3_001) is Refusal.EFFORT
    for side in (1, -1):
        assert decide(Mode.EFFORT, side, Measured(side * 2_000_000, 0)) is Refusal.POSITION
        assert decide(Mode.EFFORT, -side, Measured(side * 2_000_000, 0)) is Refusal.NONE
        assert decide(Mode.EFFORT, side, Measured(0, side * 1_000_000)) is Refusal.VELOCITY
        assert decide(Mode.EFFORT, -side, Measured(0, side * 1_000_000)) is Refusal.NONE
    assert decide(Mode.EFFORT, 0, Measured(9_000_000, 9_000_000)) is Refusal.NONE


def test_refused_as_a_whole_and_nothing_is_charged() -> None:
    verdict = safety.check_command(
        Mode.VELOCITY, [500_000, 5_000_000], [LIMITS] * 2, [REST] * 2, [FRESH] * 2, elapsed_us=0, mode_changed=False
    )
    assert (verdict.refusal, verdict.joint) == (Refusal.VELOCITY, 1)
    assert verdict.memory == (FRESH, FRESH)


def test_a_change_of_mode_starts_from_rest_and_from_here() -> None:
    moving = replace(FRESH, velocity_target_urad_s=900_000, velocity_budget_urad_s=100)
    verdict = safety.check_command(
        Mode.VELOCITY, [900_000], [LIMITS], [REST], [moving], elapsed_us=0, mode_changed=True
    )
    assert verdict.refusal is Refusal.ACCELERATION
    here = Measured(300_000, 0)
    verdict = safety.check_command(Mode.POSITION, [390_000], [LIMITS], [here], [FRESH], elapsed_us=0, mode_changed=True)
    assert verdict.refusal is Refusal.NONE


@given(st.lists(st.tuples(st.integers(-1_200_000, 1_200_000), st.integers(0, 300_000)), min_size=1, max_size=60))
def test_over_any_run_speeding_up_stays_within_acceleration_times_time_plus_window(run: list[tuple[int, int]]) -> None:
    limits = replace(LIMITS, acceleration_max_urad_s2=3_000_000)
    memory, previous, spent, elapsed = safety.fresh_memory(limits, REST), 0, 0, 0
    for target, dt_us in run:
        elapsed += dt_us
        verdict = safety.check_command(
            Mode.VELOCITY, [target], [limits], [REST], [memory], elapsed_us=dt_us, mode_changed=False
        )
        memory = verdict.memory[0]
        if verdict.refusal is Refusal.NONE:
            assert abs(target) <= limits.velocity_max_urad_s
            spent += safety.velocity_cost(previous, target)
            previous = target
        assert 0 <= memory.velocity_budget_urad_s <= safety.full_budget(limits.acceleration_max_urad_s2)
    assert spent <= 3 * (elapsed + safety.BUDGET_WINDOW_US)


@settings(max_examples=30)
@given(st.integers(-2_000_000, 2_000_000), st.integers(-2_000_000, 2_000_000), st.integers(500, 5_000))
def test_following_a_position_arrives_without_leaving_the_limits(start: int, target: int, dt_us: int) -> None:
    position, velocity = start, 0
    for _ in range(6_000_000 // dt_us):
        velocity = safety.slew(LIMITS, velocity, safety.wanted_velocity(LIMITS, position, target), dt_us)
        assert abs(velocity) <= LIMITS.velocity_max_urad_s
        position += velocity * dt_us // 1_000_000
        assert -2_000_010 <= position <= 2_000_010
    assert abs(position - target) < 5_000


@given(
    st.integers(-3_000_000, 3_000_000),
    st.integers(-2_200_000, 2_200_000),
    st.integers(-1_000_000, 1_000_000),
    st.integers(0, 1_000_000),
)
@example(574_481, 1_985_912, 0, 927_027)  # braking distances are whole micro-radians
@example(574_481, 2_000_000, 0, 927_027)
@example(-574_481, -2_000_001, 0, 927_027)
def test_the_largest_velocity_is_applied_and_no_larger_one_towards_the_wish_is(
    wanted: int, position: int, previous: int, budget: int
) -> None:
    memory = JointMemory(previous, budget, 0, 0)
    measured = Measured(position, 0)
    target = safety.largest_velocity(LIMITS, measured, memory, wanted)
    assert safety.check_velocity(LIMITS, measured, memory, target)[0] is Refusal.NONE
    assert target == wanted or abs(target) <= abs(wanted)
    if target != wanted and (target > 0) == (wanted > 0):
        further = target + (1 if wanted > 0 else -1)
        assert safety.check_velocity(LIMITS, measured, memory, further)[0] is not Refusal.NONE
