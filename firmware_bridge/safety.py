"""The oracle of the limits: may this command be applied? (PROTOCOL.md section 7; firmware/core/safety.c is its twin.)

Pure integer arithmetic in wire units. The emulated controller decides with it, the C core is tested against it on
random inputs, and a host can ask it before sending. A command that breaks a rule is refused as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isqrt

from firmware_bridge.codes import Mode, Refusal
from firmware_bridge.messages import WireLimits

BUDGET_WINDOW_US = 100_000
"""How much time's worth of change a budget holds: what a host may catch up after a late tick."""
POSITION_GAIN_PER_S = 10
"""Position error to velocity setpoint."""


@dataclass(frozen=True)
class JointMemory:
    """What the rules remember of one joint between commands."""

    velocity_target_urad_s: int
    velocity_budget_urad_s: int
    position_target_urad: int
    position_budget_urad: int


@dataclass(frozen=True)
class Measured:
    """What one joint's sensors say."""

    position_urad: int
    velocity_urad_s: int


@dataclass(frozen=True)
class Verdict:
    """The answer: `refusal` NONE means apply. `memory` replaces the old memory whatever the answer."""

    refusal: Refusal
    joint: int
    memory: tuple[JointMemory, ...]


def full_budget(rate_per_s: int) -> int:
    """Return what a budget that refills at `rate_per_s` holds at most."""
    return rate_per_s * BUDGET_WINDOW_US // 1_000_000


def fresh_memory(limits: WireLimits, measured: Measured) -> JointMemory:
    """Return the memory on arming: at rest where it is, budgets full."""
    acceleration, velocity = limits.acceleration_max_urad_s2, limits.velocity_max_urad_s
    return JointMemory(0, full_budget(acceleration), measured.position_urad, full_budget(velocity))


def refill(limits: WireLimits, memory: JointMemory, elapsed_us: int) -> JointMemory:
    """Return the memory `elapsed_us` later: budgets grow at the limits' rates up to their window."""
    elapsed_us = min(elapsed_us, BUDGET_WINDOW_US)
    acceleration, velocity = limits.acceleration_max_urad_s2, limits.velocity_max_urad_s
    return replace(
        memory,
        velocity_budget_urad_s=min(
            full_budget(acceleration), memory.velocity_budget_urad_s + acceleration * elapsed_us // 1_000_000
        ),
        position_budget_urad=min(
            full_budget(velocity), memory.position_budget_urad + velocity * elapsed_us // 1_000_000
        ),
    )


def braking_distance(velocity_urad_s: int, acceleration_urad_s2: int) -> int:
    """Return v² / (2 a) in micro-radians."""
    return velocity_urad_s * velocity_urad_s // (2 * acceleration_urad_s2)


def stays_inside(limits: WireLimits, position_urad: int, velocity_urad_s: int) -> bool:
    """Whether braking from this velocity, here, ends inside the limits. Rest and motion inwards always do."""
    distance = braking_distance(velocity_urad_s, limits.acceleration_max_urad_s2)
    if velocity_urad_s > 0:
        return position_urad + distance <= limits.position_max_urad
    if velocity_urad_s < 0:
        return position_urad - distance >= limits.position_min_urad
    return True


def velocity_cost(previous_urad_s: int, target_urad_s: int) -> int:
    """Return what a change of target is charged: nothing for slowing down without reversing."""
    if min(0, previous_urad_s) <= target_urad_s <= max(0, previous_urad_s):
        return 0
    return abs(target_urad_s - previous_urad_s)


def check_velocity(
    limits: WireLimits, measured: Measured, memory: JointMemory, target: int
) -> tuple[Refusal, JointMemory]:
    """Decide on a velocity target of one joint, in micro-radians per second."""
    if abs(target) > limits.velocity_max_urad_s:
        return Refusal.VELOCITY, memory
    if not stays_inside(limits, measured.position_urad, target):
        return Refusal.POSITION, memory
    cost = velocity_cost(memory.velocity_target_urad_s, target)
    if cost > memory.velocity_budget_urad_s:
        return Refusal.ACCELERATION, memory
    budget = memory.velocity_budget_urad_s - cost
    return Refusal.NONE, replace(memory, velocity_target_urad_s=target, velocity_budget_urad_s=budget)


def check_position(
    limits: WireLimits, measured: Measured, memory: JointMemory, target: int
) -> tuple[Refusal, JointMemory]:
    """Decide on a position target of one joint, in micro-radians."""
    if not limits.position_min_urad <= target <= limits.position_max_urad:
        return Refusal.POSITION, memory
    if abs(target - measured.position_urad) > limits.distance_max_urad:
        return Refusal.DISTANCE, memory
    cost = abs(target - memory.position_target_urad)
    if cost > memory.position_budget_urad:
        return Refusal.VELOCITY, memory
    budget = memory.position_budget_urad - cost
    return Refusal.NONE, replace(memory, position_target_urad=target, position_budget_urad=budget)


def check_effort(
    limits: WireLimits, measured: Measured, memory: JointMemory, target: int
) -> tuple[Refusal, JointMemory]:
    """Decide on an effort target of one joint, in milli-newton-metres."""
    if abs(target) > limits.effort_max_mnm:
        return Refusal.EFFORT, memory
    if effort_leaves(limits, measured, target):
        return Refusal.POSITION, memory
    speeding = target > 0 and measured.velocity_urad_s >= limits.velocity_max_urad_s
    if speeding or (target < 0 and measured.velocity_urad_s <= -limits.velocity_max_urad_s):
        return Refusal.VELOCITY, memory
    return Refusal.NONE, memory


def effort_leaves(limits: WireLimits, measured: Measured, target: int) -> bool:
    """Whether an effort pushes outwards at or beyond a position limit."""
    if target > 0:
        return measured.position_urad >= limits.position_max_urad
    return target < 0 and measured.position_urad <= limits.position_min_urad


_CHECKS = {Mode.VELOCITY: check_velocity, Mode.POSITION: check_position, Mode.EFFORT: check_effort}


def check_command(
    mode: Mode,
    targets: Sequence[int],
    limits: Sequence[WireLimits],
    measured: Sequence[Measured],
    memory: Sequence[JointMemory],
    *,
    elapsed_us: int,
    mode_changed: bool,
) -> Verdict:
    """Decide on a command for all joints.

    `elapsed_us` is the time since the last decision. The sequences have one entry per joint. The first joint that
    breaks a rule gives the reason; then no joint's target or charge is taken over, only the refilled budgets.
    """
    before = tuple(refill(own, old, elapsed_us) for own, old in zip(limits, memory, strict=True))
    if mode_changed:
        before = tuple(
            replace(old, velocity_target_urad_s=0, position_target_urad=now.position_urad)
            for old, now in zip(before, measured, strict=True)
        )
    after: list[JointMemory] = []
    for joint, target in enumerate(targets):
        refusal, memory_after = _CHECKS[mode](limits[joint], measured[joint], before[joint], target)
        if refusal is not Refusal.NONE:
            return Verdict(refusal, joint, before)
        after.append(memory_after)
    return Verdict(Refusal.NONE, 0, tuple(after))


def largest_velocity(limits: WireLimits, measured: Measured, memory: JointMemory, wanted: int) -> int:
    """Return the velocity target nearest to `wanted` that `check_velocity` applies: what a host sends instead.

    Shrinking towards zero never breaks a rule that the larger value kept, except across a reversal, where the
    budget may allow less than nothing: then zero, which is always allowed.
    """
    size = min(abs(wanted), limits.velocity_max_urad_s)
    room = (
        limits.position_max_urad - measured.position_urad
        if wanted > 0
        else measured.position_urad - (limits.position_min_urad)
    )
    # The largest whose braking distance, in whole micro-radians, fits into the room.
    size = min(size, isqrt(max(0, 2 * limits.acceleration_max_urad_s2 * (room + 1) - 1)))
    target = size if wanted > 0 else -size
    previous = memory.velocity_target_urad_s
    if velocity_cost(previous, target) > memory.velocity_budget_urad_s:
        limit = memory.velocity_budget_urad_s
        target = max(previous - limit, min(previous + limit, target))
        if (target > 0) != (wanted > 0):
            target = 0
    return target


def wanted_velocity(limits: WireLimits, position_urad: int, target_urad: int) -> int:
    """Return the velocity setpoint that follows a position target: gain, velocity limit, room to brake."""
    error = target_urad - position_urad
    size = min(
        POSITION_GAIN_PER_S * abs(error),
        limits.velocity_max_urad_s,
        isqrt(limits.acceleration_max_urad_s2 * abs(error)),
    )
    return size if error > 0 else -size


def slew(limits: WireLimits, setpoint_urad_s: int, target_urad_s: int, dt_us: int) -> int:
    """Return the velocity setpoint after `dt_us`, moved towards its target by at most acceleration_max · dt."""
    step = max(1, limits.acceleration_max_urad_s2 * dt_us // 1_000_000)
    return max(setpoint_urad_s - step, min(setpoint_urad_s + step, target_urad_s))
