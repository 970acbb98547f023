"""Downstream of the safety filter: whatever policy and filter want, what reaches the wire is what the oracle lets pass.

The chain is the product's own: `control.limits` clamps the action, `robots` turns it into joint velocities within the
joints' limits, `firmware_bridge.units` rounds them. The motors' end is the oracle alone, with its own clock.
"""

import random
from dataclasses import astuple, replace

import numpy as np
import pytest

from firmware_bridge import units
from firmware_bridge.telemetry import JointLimits
from fosp_edge.control.limits import ActionRefused, Limits
from fosp_edge.robots.arm import ArmDescription
from fosp_edge.robots.catalogue import ARMS, arm_named
from fosp_edge.robots.fingertip_drive import FINGERTIP_VELOCITY, FingertipDrive
from tests import oracle

PERIOD_S = 0.05


def wire_joints(arm: ArmDescription) -> list[oracle.Joint]:
    limits = [
        JointLimits(one.lower_rad, one.upper_rad, one.velocity_limit_rad_s, one.acceleration_limit_rad_s2).to_wire()
        for one in arm.joints
    ]
    return [oracle.Joint(*astuple(own)[:6]) for own in limits]


def wishes(rng: random.Random) -> np.ndarray:
    """What a broken policy may want: anything in range, its corners, far beyond, and back and forth."""
    scale = rng.choice([0.1, 1.0, 1.0, 3.0, 1e6])
    if rng.random() < 0.3:
        return np.array([rng.choice([-scale, scale]) for _ in range(3)], np.float32)
    return np.array([rng.uniform(-scale, scale) for _ in range(3)], np.float32)


@pytest.mark.parametrize("name", ARMS)
@pytest.mark.parametrize("seed", range(4))
def test_nothing_that_leaves_the_clamp_is_refused_by_the_oracle(name: str, seed: int) -> None:
    arm, workspace = arm_named(name)
    rng, joints = random.Random(seed), wire_joints(arm)
    clamp = Limits(FINGERTIP_VELOCITY.low, FINGERTIP_VELOCITY.high, PERIOD_S)
    drive = FingertipDrive(arm, workspace, PERIOD_S)
    drive.reset(0)
    position, velocity, now_s, arrived_s = np.array(arm.home_rad), np.zeros(len(arm.joints)), 0.0, 0.0
    pasts = [
        oracle.Past(0, one.acceleration // 10, round(at * 1e6), one.velocity // 10)
        for one, at in zip(joints, position, strict=True)
    ]
    fastest = 0.0
    for _ in range(300):
        sent = clamp.apply(wishes(rng))
        spent = drive.joint_velocity(position, sent.physical, round(now_s * 1e9))
        targets = units.to_wire_each(spent.tolist(), units.PER_MICRO, units.VELOCITY_MAX_URAD_S, "velocity")
        # Each command is delayed on its way, unequally, by less than the budget allows for; the joints move on.
        delay_s = rng.uniform(0.0, 0.02)
        position, elapsed_s = position + velocity * delay_s, now_s + delay_s - arrived_s
        arrived_s = now_s + delay_s
        for index, (joint, target) in enumerate(zip(joints, targets, strict=True)):
            at = round(float(position[index]) * 1e6)
            answer, pasts[index] = oracle.decide(
                oracle.VELOCITY_MODE, target, joint, at, 0, pasts[index], int(elapsed_s * 1e6), False
            )
            assert answer == oracle.NONE, f"joint {index}: {target} refused with {answer} at {at}"
        velocity, fastest = spent, max(fastest, float(np.max(np.abs(spent))))
        position = position + velocity * (PERIOD_S - delay_s)
        now_s += PERIOD_S
    assert fastest > 0.3, "it moved"


def test_the_clamp_itself_keeps_range_and_rate_as_the_oracle_sees_them() -> None:
    rng = random.Random(7)
    for _ in range(30):
        high, full_range_s = rng.uniform(0.05, 3.0), rng.uniform(0.06, 1.0)
        clamp = Limits((-high,), (high,), PERIOD_S, full_range_s)
        # An action as a joint without an end: its range is the velocity limit, its rate the acceleration limit.
        top, rate = round(high * 1e6), round(2 * high / full_range_s * 1e6)
        joint = oracle.Joint(-(2**40), 2**40, top + 1, rate, 1, 1)
        past = oracle.Past(0, 0, 0, 0)
        for _ in range(60):
            out = clamp.apply(wishes(rng)[:1])
            # No budget is carried over: one period's worth, and a micro-unit for rounding.
            past = replace(past, velocity_budget=2)
            answer, past = oracle.decide(
                oracle.VELOCITY_MODE, round(float(out.physical[0]) * 1e6), joint, 0, 0, past, 50_000, False
            )
            assert answer == oracle.NONE


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_never_gets_as_far(bad: float) -> None:
    clamp = Limits(FINGERTIP_VELOCITY.low, FINGERTIP_VELOCITY.high, PERIOD_S)
    with pytest.raises(ActionRefused):
        clamp.apply(np.array([0.0, bad, 0.0], np.float32))
