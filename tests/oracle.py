"""The oracle of the limits: PROTOCOL.md section 7 for one joint, one small pure function, written from the text alone.

Nothing of the product is imported. Against it are checked: the Python limits (`firmware_bridge.safety`), the C core,
and what the control loop sends after the safety filter (`tests/faults/test_limits_oracle.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

NONE, POSITION, VELOCITY, ACCELERATION, DISTANCE, EFFORT = 0, 3, 4, 5, 6, 7
"""Codes of refusal."""
VELOCITY_MODE, POSITION_MODE, EFFORT_MODE = 1, 2, 3
WINDOW_US = 100_000


@dataclass(frozen=True)
class Joint:
    """Limits of one joint, micro-radians, per second, per second squared, milli-newton-metres."""

    low: int
    high: int
    velocity: int
    acceleration: int
    effort: int
    distance: int


@dataclass(frozen=True)
class Past:
    """What the rules remember: the last applied targets and what is left of the budgets."""

    velocity: int
    velocity_budget: int
    position: int
    position_budget: int


def decide(
    mode: int, target: int, joint: Joint, at: int, speed: int, past: Past, elapsed_us: int, mode_changed: bool
) -> tuple[int, Past]:
    """Whether one joint's target may be applied (0) or why not, and what is remembered afterwards."""
    passed = min(elapsed_us, WINDOW_US)
    past = replace(
        past,
        velocity_budget=min(joint.acceleration // 10, past.velocity_budget + joint.acceleration * passed // 10**6),
        position_budget=min(joint.velocity // 10, past.position_budget + joint.velocity * passed // 10**6),
    )
    if mode_changed:
        past = replace(past, velocity=0, position=at)
    if mode == VELOCITY_MODE:
        braking = target * target // (2 * joint.acceleration)
        leaves = (target > 0 and at + braking > joint.high) or (target < 0 and at - braking < joint.low)
        slows = 0 <= target <= past.velocity or past.velocity <= target <= 0
        price = 0 if slows else abs(target - past.velocity)
        rules = (
            (VELOCITY, abs(target) > joint.velocity),
            (POSITION, leaves),
            (ACCELERATION, price > past.velocity_budget),
        )
        after = replace(past, velocity=target, velocity_budget=past.velocity_budget - price)
    elif mode == POSITION_MODE:
        price = abs(target - past.position)
        rules = (
            (POSITION, not joint.low <= target <= joint.high),
            (DISTANCE, abs(target - at) > joint.distance),
            (VELOCITY, price > past.position_budget),
        )
        after = replace(past, position=target, position_budget=past.position_budget - price)
    else:
        pushes_out = (target > 0 and at >= joint.high) or (target < 0 and at <= joint.low)
        too_fast = (target > 0 and speed >= joint.velocity) or (target < 0 and speed <= -joint.velocity)
        rules = ((EFFORT, abs(target) > joint.effort), (POSITION, pushes_out), (VELOCITY, too_fast))
        after = past
    broken = next((code for code, is_broken in rules if is_broken), NONE)
    return broken, (after if broken == NONE else past)
