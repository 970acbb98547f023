"""What passes here must pass the motor controller's own oracle, however the line delays it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge import safety
from firmware_bridge.codes import Mode, Refusal
from firmware_bridge.telemetry import JointLimits
from fosp_edge.robots.arm import DESKTOP_ARM
from fosp_edge.robots.joint_limits import VelocityBudget, stay_within_joint_limits

ACCELERATION = DESKTOP_ARM.acceleration_limit_rad_s2
WIDE = [JointLimits(-90.0, 90.0, j.velocity_limit_rad_s, j.acceleration_limit_rad_s2) for j in DESKTOP_ARM.joints]
WIRE = [limits.to_wire() for limits in WIDE]
AT_REST = safety.Measured(0, 0)

velocities = st.tuples(*[st.floats(-1.0, 1.0)] * 6).map(lambda v: np.array(v) * DESKTOP_ARM.velocity_limit_rad_s)
commands = st.lists(st.tuples(velocities, st.integers(1, 120), st.integers(0, 25)), min_size=1, max_size=30)


@given(commands)
@settings(max_examples=150)
def test_the_controller_refuses_nothing_that_the_budget_let_through(sequence):
    """Each command: what is wanted, milliseconds since the one before, milliseconds of delay on the line."""
    budget = VelocityBudget(ACCELERATION)
    budget.reset(0)
    memory = tuple(safety.fresh_memory(limits, AT_REST) for limits in WIRE)
    sent_ms, arrived_ms = 0, 0
    for wanted, pause_ms, delay_ms in sequence:
        sent_ms += pause_ms
        allowed = budget.spend(wanted, sent_ms * 1_000_000)
        arrival_ms = max(arrived_ms, sent_ms + delay_ms)
        verdict = safety.check_command(
            Mode.VELOCITY,
            [round(v * 1e6) for v in allowed],
            WIRE,
            [AT_REST] * 6,
            memory,
            elapsed_us=(arrival_ms - arrived_ms) * 1000,
            mode_changed=False,
        )
        assert verdict.refusal is Refusal.NONE
        arrived_ms, memory = arrival_ms, verdict.memory


@given(commands)
def test_the_budget_never_turns_a_joint_the_wrong_way_or_beyond_what_was_wanted(sequence):
    budget = VelocityBudget(ACCELERATION)
    previous, now_ms = np.zeros(6), 0
    for wanted, pause_ms, _ in sequence:
        now_ms += pause_ms
        allowed = budget.spend(wanted, now_ms * 1_000_000)
        assert np.all(allowed >= np.minimum(np.minimum(previous, wanted), 0.0) - 1e-12)
        assert np.all(allowed <= np.maximum(np.maximum(previous, wanted), 0.0) + 1e-12)
        assert np.all(allowed * wanted >= 0.0)
        previous = allowed


def test_a_steady_wish_is_reached_and_stopping_is_always_possible():
    budget = VelocityBudget(ACCELERATION)
    wanted = 0.9 * DESKTOP_ARM.velocity_limit_rad_s
    for tick in range(1, 11):
        allowed = budget.spend(wanted, tick * 50_000_000)
    np.testing.assert_allclose(allowed, wanted)
    np.testing.assert_array_equal(budget.spend(np.zeros(6), 500_000_001), np.zeros(6))


def test_after_a_refusal_only_zero_is_affordable_at_first():
    budget = VelocityBudget(ACCELERATION)
    budget.spend(np.full(6, 0.5), 50_000_000)
    budget.resynchronise(100_000_000)
    np.testing.assert_array_equal(budget.spend(np.full(6, 0.5), 100_000_000), np.zeros(6))
    assert np.all(budget.spend(np.full(6, 0.5), 150_000_000) > 0.4)


positions = st.tuples(*[st.floats(0.0, 1.0)] * 6).map(
    lambda f: DESKTOP_ARM.lower_rad + np.array(f) * (DESKTOP_ARM.upper_rad - DESKTOP_ARM.lower_rad)
)


@given(positions, velocities)
def test_after_the_horizon_every_joint_can_still_brake_before_its_limit(position, wanted):
    horizon_s = 0.05
    allowed = stay_within_joint_limits(DESKTOP_ARM, position, wanted, horizon_s)
    end = position + allowed * horizon_s
    resting = end + np.sign(allowed) * allowed**2 / (2 * ACCELERATION)
    moving = np.abs(allowed) > 0
    assert np.all(resting[moving] <= DESKTOP_ARM.upper_rad[moving] + 1e-9)
    assert np.all(resting[moving] >= DESKTOP_ARM.lower_rad[moving] - 1e-9)
    limits = [j.lower_rad for j in DESKTOP_ARM.joints], [j.upper_rad for j in DESKTOP_ARM.joints]
    for joint in range(6):
        wire = JointLimits(
            limits[0][joint], limits[1][joint], WIDE[joint].velocity_max_rad_s, WIDE[joint].acceleration_max_rad_s2
        ).to_wire()
        assert safety.stays_inside(wire, round(end[joint] * 1e6), round(allowed[joint] * 1e6))


@given(positions, velocities)
def test_the_motion_keeps_its_direction(position, wanted):
    allowed = stay_within_joint_limits(DESKTOP_ARM, position, wanted, 0.05)
    cross = np.outer(allowed, wanted)
    np.testing.assert_allclose(cross, cross.T, atol=1e-9)
    assert np.all(np.abs(allowed) <= np.abs(wanted)) and np.all(allowed * wanted >= 0.0)


def test_far_from_the_limits_nothing_is_slowed():
    wanted = np.array([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
    np.testing.assert_array_equal(stay_within_joint_limits(DESKTOP_ARM, np.zeros(6), wanted, 0.05), wanted)


def test_at_a_limit_motion_back_is_free():
    position = DESKTOP_ARM.upper_rad.copy()
    back = np.full(6, -0.5)
    np.testing.assert_array_equal(stay_within_joint_limits(DESKTOP_ARM, position, back, 0.05), back)
    assert pytest.approx(0.0) == np.max(np.abs(stay_within_joint_limits(DESKTOP_ARM, position, -back, 0.05)))
