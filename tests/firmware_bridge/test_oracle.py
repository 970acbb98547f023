"""The Python limits and the C core against the oracle, over random joints, pasts and targets that aim at the edges."""

from __future__ import annotations

import ctypes
import random
from collections.abc import Iterator
from dataclasses import astuple

from firmware_bridge import safety
from firmware_bridge.codes import Mode
from firmware_bridge.messages import WireLimits
from firmware_bridge.safety import JointMemory, Measured
from tests import oracle
from tests.firmware_bridge.native import core_library, needs_gcc

Case = tuple[int, int, oracle.Joint, int, int, oracle.Past, int, bool]


def near(rng: random.Random, *edges: int) -> int:
    """At an edge, a step beside it, or anywhere around."""
    edge = rng.choice((0, *edges))
    return edge + rng.choice((0, 1, -1, rng.randrange(-1_000, 1_001), rng.randrange(-2_000_000, 2_000_001)))


def cases(count: int, seed: int) -> Iterator[Case]:
    rng = random.Random(seed)
    for _ in range(count):
        low = rng.randrange(-3_000_000, 0)
        joint = oracle.Joint(
            low,
            low + rng.randrange(1, 6_000_000),
            rng.randrange(1, 5_000_000),
            rng.choice((rng.randrange(1, 1_000), rng.randrange(1, 50_000_000))),
            rng.randrange(1, 10_000),
            rng.randrange(1, 1_000_000),
        )
        at, speed = near(rng, joint.low, joint.high), near(rng, joint.velocity, -joint.velocity)
        past = oracle.Past(
            near(rng, joint.velocity, -joint.velocity),
            rng.randrange(joint.acceleration // 10 + 1),
            near(rng, at, joint.low, joint.high),
            rng.randrange(joint.velocity // 10 + 1),
        )
        mode = rng.choice((oracle.VELOCITY_MODE, oracle.POSITION_MODE, oracle.EFFORT_MODE))
        braking = int((2 * joint.acceleration * max(0, joint.high - at)) ** 0.5)
        edges = {
            oracle.VELOCITY_MODE: (joint.velocity, braking, past.velocity + past.velocity_budget, past.velocity),
            oracle.POSITION_MODE: (joint.low, joint.high, at + joint.distance, past.position + past.position_budget),
            oracle.EFFORT_MODE: (joint.effort, -joint.effort),
        }
        target = near(rng, *edges[mode])
        yield mode, target, joint, at, speed, past, rng.choice((0, 1, rng.randrange(300_000))), rng.random() < 0.2


def test_the_python_limits_are_the_oracle() -> None:
    seen = set()
    for mode, target, joint, at, speed, past, elapsed_us, changed in cases(20_000, 1):
        limits = WireLimits(*astuple(joint), 700, 2_000)
        verdict = safety.check_command(
            Mode(mode),
            [target],
            [limits],
            [Measured(at, speed)],
            [JointMemory(*astuple(past))],
            elapsed_us=elapsed_us,
            mode_changed=changed,
        )
        answer, after = oracle.decide(mode, target, joint, at, speed, past, elapsed_us, changed)
        assert (int(verdict.refusal), astuple(verdict.memory[0])) == (answer, astuple(after))
        seen.add((mode, answer))
    assert len(seen) == 4 + 4 + 4, "every answer of every mode was given"


@needs_gcc
def test_the_c_core_is_the_oracle() -> None:
    core = core_library()
    for mode, target, joint, at, speed, past, elapsed_us, changed in cases(20_000, 2):
        memory, culprit = (ctypes.c_int64 * 4)(*astuple(past)), ctypes.c_uint32()
        refusal = core.fosp_check_command(
            *(mode, ctypes.byref(ctypes.c_int32(target)), 1, (ctypes.c_int32 * 8)(*astuple(joint), 700, 2_000)),
            *((ctypes.c_int32 * 2)(at, speed), memory, elapsed_us, changed, ctypes.byref(culprit)),
        )
        answer, after = oracle.decide(mode, target, joint, at, speed, past, elapsed_us, changed)
        assert (refusal, tuple(memory)) == (answer, astuple(after))
