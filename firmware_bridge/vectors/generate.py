"""Write the test vectors of the motor protocol: `python -m firmware_bridge.vectors.generate`.

Four files, for implementers in any language: `frames.json` (messages and their exact wire bytes), `safety.json`
(questions to the oracle and its answers), `conversation.json` (bytes, times and feedback in; bytes and drive out) and
`conversation_16.json` (the same with sixteen joints).
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any

from firmware_bridge import framing, messages, safety
from firmware_bridge.codes import MAX_JOINTS, Capability, Drive, Fault, Mode, Reaction, Refusal, Result, State, Torque
from firmware_bridge.controller import Controller, Feedback, Identity
from firmware_bridge.messages import WireLimits
from firmware_bridge.motion_messages import Command, TelemetryFrame
from firmware_bridge.safety import JointMemory, Measured

FOLDER = Path(__file__).parent
LIMITS = WireLimits(-2_000_000, 2_000_000, 1_000_000, 10_000_000, 3_000, 400_000, 700, 2_000)
IDENTITY = Identity(2, Capability(127), "vector controller", "V1")
_REST = (Measured(0, 0), Measured(0, 0))
_NORMAL = Feedback(_REST, (0, 0), (250, 250), 12_000)


def example_messages() -> list[messages.Message]:
    """Return one or more messages of every type, extremes included."""
    return [
        messages.Hello(1),
        messages.Hello(0xFFFFFFFF, 2, 7),
        messages.HelloReply(0x01020304, 6, Capability(127), "a" * 24, "b" * 16),
        messages.SetLimits(15, LIMITS),
        messages.LimitsReport(0, LIMITS),
        messages.GetLimits(3),
        messages.SetWatchdog(100_000, Reaction.DAMP),
        messages.SetTelemetry(10_000),
        messages.Arm(),
        messages.Disarm(Torque.OFF),
        messages.Stop(),
        messages.ClearFaults(),
        Command(Mode.VELOCITY, (0,) * 16),
        Command(Mode.VELOCITY, (50_000_000, -50_000_000)),
        Command(Mode.POSITION, (-100_000_000, 1, -1)),
        Command(Mode.EFFORT, (1_000_000,)),
        messages.GetCounters(),
        messages.Ack(0x06, Result.LIMITS_MISSING, 0xDEADBEEF),
        messages.Counters(*range(0xFFFFFFFF, 0xFFFFFFFF - 21, -1)),
        TelemetryFrame(
            2**64 - 1,
            State.FAULT,
            Drive.DAMP,
            Refusal.EFFORT,
            0xFFFF,
            65_535,
            Fault(63),
            0xFFFFFFFF,
            tuple(range(-8, 8)),
            (-(2**31), 2**31 - 1) * 8,
            (-(2**15), 2**15 - 1) * 8,
            (0, 255) * 8,
            (0xFFFF, 0) * 8,
        ),
    ]


def frames() -> list[dict[str, Any]]:
    """Return messages with their sequence number and wire bytes."""
    rows = []
    for number, message in enumerate(example_messages()):
        sequence = (number * 4_099) & 0xFFFF
        wire = framing.encode_frame(messages.payload(message, sequence))
        rows.append({"message": repr(message), "type": int(message.type), "sequence": sequence, "wire": wire.hex()})
    return rows


def safety_questions(count: int = 400, seed: int = 6) -> list[dict[str, Any]]:
    """Return single-joint questions around the edges of the rules, with the oracle's answers."""
    rng, rows = random.Random(seed), []
    edges = {Mode.VELOCITY: LIMITS.velocity_max_urad_s, Mode.POSITION: 100_000, Mode.EFFORT: LIMITS.effort_max_mnm}
    for _ in range(count):
        mode = rng.choice(list(Mode))
        target = rng.choice([0, edges[mode], -edges[mode], rng.randint(-2_100_000, 2_100_000)]) + rng.choice([-1, 0, 1])
        at = rng.choice([0, LIMITS.position_max_urad, LIMITS.position_min_urad, rng.randint(-2_100_000, 2_100_000)])
        measured = Measured(at + rng.choice([-1, 0, 1]), rng.choice([0, 999_999, 1_000_000, -1_000_000, -999_999]))
        memory = JointMemory(
            rng.choice([0, target, -target, rng.randint(-1_000_000, 1_000_000)]),
            rng.choice([0, abs(target), 1_000_000]),
            rng.choice([target, measured.position_urad, target + 50_000]),
            rng.choice([0, 50_000, 100_000]),
        )
        elapsed_us, changed = rng.choice([0, 1_000, 50_000, 10_000_000]), rng.random() < 0.2
        verdict = safety.check_command(
            mode, [target], [LIMITS], [measured], [memory], elapsed_us=elapsed_us, mode_changed=changed
        )
        rows.append(
            {
                "mode": int(mode),
                "target": target,
                "measured": astuple(measured),
                "memory": astuple(memory),
                "elapsed_us": elapsed_us,
                "mode_changed": changed,
                "refusal": int(verdict.refusal),
                "memory_after": astuple(verdict.memory[0]),
            }
        )
    return rows


Step = tuple[bytes, int, Feedback]


class _Script:
    """Numbers messages like a host."""

    def __init__(self) -> None:
        self.sequence = 0

    def frame(self, message: messages.Message, sequence: int | None = None) -> bytes:
        self.sequence += 1
        return framing.encode_frame(messages.payload(message, self.sequence if sequence is None else sequence))

    def raw(self, kind: int, body: bytes) -> bytes:
        self.sequence += 1
        return framing.encode_frame(bytes((kind,)) + self.sequence.to_bytes(2, "little") + body)


def _at(position: int, velocity: int = 0, current: int = 0, temperature: int = 250, *, valid: bool = True) -> Feedback:
    return Feedback((Measured(position, velocity), Measured(0, 0)), (current, 0), (temperature, 250), 12_000, valid)


def _prepare(script: _Script, session: int, reaction: Reaction) -> Iterator[Step]:
    yield script.frame(messages.Hello(session)), 1_000, _NORMAL
    yield script.frame(messages.ClearFaults()), 0, _NORMAL
    yield script.frame(messages.SetTelemetry(1_000_000)), 0, _NORMAL
    for joint in range(2):
        yield script.frame(messages.SetLimits(joint, LIMITS)), 0, _NORMAL
    yield script.frame(messages.SetWatchdog(100_000, reaction)), 1_000, _NORMAL
    yield script.frame(messages.Arm()), 0, _NORMAL


def conversation_steps() -> Iterator[Step]:
    """Yield (bytes, microseconds that pass, feedback): every state, reaction, refusal and fault at least once."""
    yield from _before_arming(_Script())
    script = _Script()
    # To the microsecond: at exactly the timeout nothing happens yet.
    yield from _prepare(script, 90, Reaction.HOLD)
    yield script.frame(Command(Mode.VELOCITY, (100_000, 0))), 99_999, _NORMAL
    yield from ((b"", 1, _NORMAL) for _ in range(3))
    for number, reaction in enumerate(Reaction):
        yield from _prepare(script, 100 + number, reaction)
        yield script.frame(Command(Mode.VELOCITY, (500_000, -20_000))), 30_000, _NORMAL
        yield from ((b"", 30_000, _NORMAL) for _ in range(6))
    yield from _refusals(script)
    yield from _faults(script)
    yield from _bad_bytes(script)


def _before_arming(script: _Script) -> Iterator[Step]:
    lone: list[messages.Message] = [
        messages.Arm(),
        messages.GetCounters(),
        Command(Mode.VELOCITY, (0, 0)),
        messages.Stop(),
    ]
    for message in lone:
        yield script.frame(message), 1_000, _NORMAL
    yield script.frame(messages.Hello(9, major=2)), 1_000, _NORMAL
    yield script.frame(messages.Hello(9)), 1_000, _NORMAL
    steps: list[messages.Message] = [messages.Arm(), messages.ClearFaults(0), messages.ClearFaults(), messages.Arm()]
    steps += [messages.GetLimits(0), messages.GetLimits(2), messages.Disarm(Torque.HOLD), messages.Disarm(Torque.OFF)]
    steps += [
        messages.SetLimits(1, LIMITS),
        messages.SetLimits(2, LIMITS),
        messages.Arm(),
        messages.SetLimits(0, LIMITS),
    ]
    for message in steps:
        yield script.frame(message), 1_000, _at(0, valid=False)
    yield script.frame(messages.Arm()), 40_000, _NORMAL
    yield b"", 30_000, _at(0, valid=False)
    yield script.frame(messages.Arm()), 1_000, _NORMAL
    for field, value in enumerate([1 << 30, -(1 << 30), 0, 999, 0, 0, 0, 0]):
        values = list(LIMITS.values())
        values[field] = value
        yield script.raw(2, b"\x00" + WireLimits.layout.pack(*values)), 0, _NORMAL
    for field in range(2, 8):
        values = list(LIMITS.values())
        values[field] = 2**31 - 1
        yield script.raw(2, b"\x00" + WireLimits.layout.pack(*values)), 0, _NORMAL
    values = [-(1 << 30), 5, *LIMITS.values()[2:]]
    yield script.raw(2, b"\x01" + WireLimits.layout.pack(*values)), 0, _NORMAL
    values = [5, 1 << 30, *LIMITS.values()[2:]]
    yield script.raw(2, b"\x01" + WireLimits.layout.pack(*values)), 0, _NORMAL
    values = [5, 5, *LIMITS.values()[2:]]
    yield script.raw(2, b"\x01" + WireLimits.layout.pack(*values)), 0, _NORMAL
    yield script.frame(messages.Arm()), 0, _NORMAL
    locked: list[messages.Message] = [messages.Arm(), messages.SetLimits(0, LIMITS)]
    for message in [*locked, messages.SetWatchdog(5_000, Reaction.HOLD)]:
        yield script.frame(message), 1_000, _NORMAL
    yield script.frame(messages.GetLimits(1)), 0, _NORMAL
    yield script.frame(messages.GetLimits(1), sequence=script.sequence), 0, _NORMAL
    yield script.frame(messages.Hello(9), sequence=4), 1_000, _NORMAL
    yield script.frame(messages.Hello(10), sequence=0), 1_000, _NORMAL


def _refusals(script: _Script) -> Iterator[Step]:
    yield from _prepare(script, 200, Reaction.HOLD)
    tries: list[tuple[Mode, tuple[int, ...]]] = [
        (Mode.VELOCITY, (1_000_001, 0)),
        (Mode.VELOCITY, (0, 0, 0)),
        (Mode.VELOCITY, (1_000_000, 0)),
        (Mode.VELOCITY, (-1_000_000, 0)),
        (Mode.VELOCITY, (100_000, 100_000)),
        (Mode.POSITION, (50_000, -50_000)),
        (Mode.POSITION, (60_000, -60_000)),
        (Mode.POSITION, (401_000, 0)),
        (Mode.POSITION, (2_000_001, 0)),
        (Mode.POSITION, (390_000, 0)),
        (Mode.EFFORT, (3_000, -3_000)),
        (Mode.EFFORT, (3_001, 0)),
        (Mode.EFFORT, (10, 0)),
    ]
    for mode, targets in tries:
        yield script.frame(Command(mode, targets)), 2_000, _NORMAL
        yield script.frame(Command(mode, targets)), 9_000, _at(-30_000, 1_000)
    yield from _prepare(script, 201, Reaction.HOLD)
    yield script.frame(Command(Mode.VELOCITY, (900_000, 0))), 1_000, _NORMAL
    yield script.frame(Command(Mode.VELOCITY, (0, 0))), 1_000, _NORMAL
    yield script.frame(Command(Mode.VELOCITY, (900_000, 0))), 1_000, _NORMAL
    # From effort to velocity: what was a torque must not become a speed.
    yield script.frame(Command(Mode.EFFORT, (3_000, -3_000))), 1_000, _NORMAL
    yield script.frame(Command(Mode.VELOCITY, (0, 0))), 0, _NORMAL
    yield script.frame(Command(Mode.EFFORT, (5, 0))), 1_000, _NORMAL
    yield b"", 1_000, _at(2_000_000)
    for position, velocity, effort in ((2_000_000, 0, 5), (0, 1_000_000, 5), (0, -1_000_000, -5), (-2_000_000, 0, -5)):
        yield b"", 1_000, _at(position, velocity)
        yield script.frame(Command(Mode.EFFORT, (effort, 0))), 1_000, _NORMAL
    yield script.raw(10, bytes((9, 2)) + bytes(8)), 1_000, _NORMAL
    yield script.frame(Command(Mode.VELOCITY, (900_000, 0))), 90_000, _NORMAL
    yield b"", 1_000, _at(1_990_000)
    yield script.frame(Command(Mode.VELOCITY, (-100_000, 0))), 9_000, _at(-1_999_999)
    yield script.frame(messages.Disarm(Torque.HOLD)), 1_000, _NORMAL
    yield script.frame(Command(Mode.VELOCITY, (0, 0))), 1_000, _NORMAL


def _faults(script: _Script) -> Iterator[Step]:
    causes = (_at(0, temperature=701), _at(0, current=2_001), _at(0, current=-2_001), _at(0, velocity=2_500_001))
    for number, cause in enumerate(causes):
        yield from _prepare(script, 300 + number, Reaction.STOP)
        yield script.frame(Command(Mode.VELOCITY, (200_000, 0))), 15_000, _NORMAL
        yield b"", 1_000, cause
        yield b"", 10_000, _at(2_100_000)
        yield script.frame(messages.Arm()), 1_000, _NORMAL
    yield from _prepare(script, 399, Reaction.STOP)
    yield b"", 1_000, _at(0, temperature=701, current=2_001)
    yield script.frame(messages.Stop()) + script.frame(messages.Stop()), 1_000, _at(-2_100_000)
    yield script.frame(messages.SetTelemetry(1_000)), 0, _NORMAL
    yield from ((b"", 1_000, _at(position)) for position in (2_100_000, -2_100_000))
    yield from _prepare(script, 400, Reaction.STOP)
    yield script.frame(Command(Mode.EFFORT, (5, 5))), 1_000, _NORMAL
    yield b"", 30_000, _at(0, valid=False)
    yield from _prepare(script, 402, Reaction.DAMP)
    yield from ((b"", dt_us, _at(0, valid=False)) for dt_us in (20_000, 1, 1_000))
    yield from _prepare(script, 401, Reaction.DAMP)
    yield script.frame(messages.Stop(), sequence=1), 1_000, _NORMAL
    yield script.frame(messages.ClearFaults(2)), 1_000, _NORMAL
    yield script.frame(messages.ClearFaults()), 1_000, _NORMAL
    yield script.frame(messages.Disarm(Torque.OFF)), 1_000, _NORMAL


def _bad_bytes(script: _Script) -> Iterator[Step]:
    yield script.frame(messages.Hello(500)), 1_000, _NORMAL
    yield script.frame(messages.Arm(), sequence=1), 1_000, _NORMAL
    broken = bytearray(script.frame(messages.Arm()))
    broken[2] ^= 1
    yield bytes(broken), 0, _NORMAL
    yield b"\x09abc\x00" + b"\x00", 0, _NORMAL
    yield b"\x02a\x02b\x00", 0, _NORMAL
    yield b"\x55" * 300 + b"\x00", 0, _NORMAL
    for kind, body in (
        (0, b""),
        (0x81, b""),
        (6, b"x"),
        (1, bytes(10)),
        (10, b"\x01"),
        (10, b"\x01\x00"),
        (10, b"\x01\x11"),
    ):
        yield script.raw(kind, body), 0, _NORMAL
    yield script.raw(1, messages.Hello(1).pack()[:6] + bytes(4)), 0, _NORMAL
    for kind, body in ((4, bytes(5)), (4, b"\xff\xff\xff\xff\x00"), (4, b"\xa0\x86\x01\x00\x03"), (7, b"\x02")):
        yield script.raw(kind, body), 0, _NORMAL
    for period in (999, 1_000_001):
        yield script.raw(5, period.to_bytes(4, "little")), 0, _NORMAL
    yield script.frame(messages.SetTelemetry(20_000)), 50_000, _NORMAL
    yield from ((b"", 5_000, _NORMAL) for _ in range(8))
    yield script.frame(messages.GetCounters()), 0, _NORMAL
    yield b"".join(script.frame(messages.GetCounters()) for _ in range(50)), 30_000, _NORMAL
    yield script.frame(messages.GetCounters()), 0, _NORMAL


def largest_robot_steps() -> Iterator[Step]:
    """Yield a short conversation with a controller of sixteen joints: every loop runs to its end."""
    script, count = _Script(), MAX_JOINTS
    rest = Feedback((Measured(0, 0),) * count, (0,) * count, (250,) * count, 12_000)
    outside = Feedback((Measured(0, 0),) * (count - 1) + (Measured(2_000_000, 0),), (0,) * count, (250,) * count)
    yield script.frame(messages.Hello(1)), 1_000, rest
    for joint in range(count):
        yield script.frame(messages.SetLimits(joint, LIMITS)), 0, rest
    yield script.frame(messages.Arm()), 1_000, rest
    for mode, target in ((Mode.VELOCITY, 1_000), (Mode.POSITION, -1_000), (Mode.EFFORT, 1_000), (Mode.VELOCITY, 5)):
        yield script.frame(Command(mode, tuple(target + joint for joint in range(count)))), 10_000, rest
    yield b"", 1_000, outside
    yield script.frame(Command(Mode.EFFORT, (9,) * count)), 1_000, rest
    yield b"", 1_000, outside
    yield script.frame(messages.GetCounters()), 200_000, rest


LARGEST = Identity(MAX_JOINTS, Capability(255), "largest controller", "L16")


def conversation(identity: Identity, steps: Iterator[Step]) -> list[dict[str, Any]]:
    """Return the steps with what the Python controller answers to each."""
    controller, rows = Controller(identity), []
    for data, dt_us, feedback in steps:
        controller.receive(data)
        controller.tick(dt_us, feedback)
        rows.append(
            {
                "receive": data.hex(),
                "dt_us": dt_us,
                "feedback": [
                    [astuple(now) for now in feedback.measured],
                    feedback.currents_ma,
                    feedback.temperatures_decidegree,
                    feedback.voltage_mv,
                    feedback.valid,
                ],
                "send": controller.take_output().hex(),
                "state": int(controller.state),
                "drive": int(controller.drive),
                "faults": int(controller.faults),
                "setpoints": list(controller.setpoints),
            }
        )
    return rows


def render() -> dict[str, str]:
    """Return the text of each vector file."""
    tables = {
        "frames.json": frames(),
        "safety.json": safety_questions(),
        "conversation.json": conversation(IDENTITY, conversation_steps()),
    }
    tables["conversation_16.json"] = conversation(LARGEST, largest_robot_steps())
    return {
        name: "[\n" + ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows) + "\n]\n"
        for name, rows in tables.items()
    }


def main() -> int:
    """Write the files beside this module."""
    for name, text in render().items():
        (FOLDER / name).write_text(text)
        sys.stdout.write(f"{name}: {text.count(chr(10)) - 2} rows\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
