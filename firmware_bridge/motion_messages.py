"""The two messages of every tick: COMMAND out, TELEMETRY in (PROTOCOL.md sections 3 and 5). Wire units.

Apart from `messages` because these are on the hot path: one precompiled layout per joint count, no per-field objects.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from firmware_bridge import units
from firmware_bridge.codes import MAX_JOINTS, Drive, Fault, MessageType, Mode, Refusal, State
from firmware_bridge.messages import MalformedBodyError

BOUND_OF_MODE = {
    Mode.VELOCITY: units.VELOCITY_MAX_URAD_S,
    Mode.POSITION: units.POSITION_MAX_URAD,
    Mode.EFFORT: units.EFFORT_MAX_MNM,
}


@lru_cache(maxsize=MAX_JOINTS)
def _command_layout(count: int) -> struct.Struct:
    return struct.Struct(f"<BB{count}i")


@lru_cache(maxsize=MAX_JOINTS)
def _telemetry_layout(count: int) -> struct.Struct:
    return struct.Struct("<QBBBBHHII" + "iihhH" * count)


@dataclass(frozen=True)
class Command:
    """Targets for all joints at once, in micro-radians / s, micro-radians or milli-newton-metres by mode."""

    mode: Mode
    targets: tuple[int, ...]
    type: ClassVar[MessageType] = MessageType.COMMAND

    def pack(self) -> bytes:
        """Return the body. Raises ValueError if a target is beyond the range of its unit."""
        if not 1 <= len(self.targets) <= MAX_JOINTS:
            raise ValueError(f"a command has 1 to {MAX_JOINTS} targets, not {len(self.targets)}")
        bound = BOUND_OF_MODE[self.mode]
        for target in self.targets:
            if not -bound <= target <= bound:
                raise ValueError(f"a target of {target} is beyond ±{bound}")
        return _command_layout(len(self.targets)).pack(self.mode, len(self.targets), *self.targets)

    @classmethod
    def unpack(cls, body: bytes) -> Command:
        """Read a body. Raises ValueError if it is malformed; limits are another matter (`safety`)."""
        if len(body) < 2 or not 1 <= body[1] <= MAX_JOINTS or len(body) != 2 + 4 * body[1]:
            raise MalformedBodyError("the length of a command does not match its count")
        mode, _count, *targets = _command_layout(body[1]).unpack(body)
        return cls(Mode(mode), tuple(targets))


@dataclass(frozen=True)
class TelemetryFrame:
    """One telemetry message; the per-joint tuples have `joint_count` entries each."""

    ticks_us: int
    state: State
    drive: Drive
    refusal: Refusal
    command_sequence: int
    voltage_mv: int
    faults: Fault
    commands_refused: int
    positions_urad: tuple[int, ...]
    velocities_urad_s: tuple[int, ...]
    currents_ma: tuple[int, ...]
    temperatures_decidegree: tuple[int, ...]
    errors: tuple[int, ...]
    type: ClassVar[MessageType] = MessageType.TELEMETRY

    def pack(self) -> bytes:
        """Return the body. Raises ValueError if a value does not fit."""
        count = len(self.positions_urad)
        joints: list[int] = []
        columns = (
            self.positions_urad,
            self.velocities_urad_s,
            self.currents_ma,
            self.temperatures_decidegree,
            self.errors,
        )
        if not 1 <= count <= MAX_JOINTS or any(len(column) != count for column in columns):
            raise ValueError(f"telemetry has 1 to {MAX_JOINTS} joints, and as many values in every column")
        for row in zip(*columns, strict=True):
            joints += row
        head = (self.ticks_us, self.state, self.drive, self.refusal, count, self.command_sequence, self.voltage_mv)
        try:
            return _telemetry_layout(count).pack(*head, int(self.faults), self.commands_refused, *joints)
        except struct.error as problem:
            raise ValueError(f"does not fit the wire format: {problem}") from None

    @classmethod
    def unpack(cls, body: bytes) -> TelemetryFrame:
        """Read a body. Raises ValueError if it is malformed."""
        if len(body) < 24 or not 1 <= body[11] <= MAX_JOINTS or len(body) != 24 + 14 * body[11]:
            raise MalformedBodyError("the length of a telemetry message does not match its joint count")
        ticks_us, state, drive, refusal, _count, sequence, voltage, faults, refused, *joints = _telemetry_layout(
            body[11]
        ).unpack(body)
        return cls(
            ticks_us,
            State(state),
            Drive(drive),
            Refusal(refusal),
            sequence,
            voltage,
            Fault(faults),
            refused,
            tuple(joints[0::5]),
            tuple(joints[1::5]),
            tuple(joints[2::5]),
            tuple(joints[3::5]),
            tuple(joints[4::5]),
        )
