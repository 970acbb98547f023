"""The messages of PROTOCOL.md: one frozen dataclass each, in wire units, with `pack` and `unpack`.

`pack` refuses what is out of range with ValueError; `unpack` refuses a wrong length or value with ValueError. Both
are pure. A payload is `type u8 | sequence u16 | body` (section 1).
"""

from __future__ import annotations

import struct
from dataclasses import astuple, dataclass
from typing import ClassVar, Protocol

from firmware_bridge import units
from firmware_bridge.codes import (
    MAGIC,
    MAX_JOINTS,
    TELEMETRY_MAX_US,
    TELEMETRY_MIN_US,
    VERSION_MAJOR,
    VERSION_MINOR,
    WATCHDOG_MAX_US,
    WATCHDOG_MIN_US,
    Capability,
    MessageType,
    Reaction,
    Result,
    Torque,
)

_HEADER = struct.Struct("<BH")


class MalformedBodyError(ValueError):
    """The body has not the length or shape of its type: such a frame is dropped and counted, not answered."""


class Message(Protocol):
    """Anything that can be sent: its type byte and its body."""

    type: ClassVar[MessageType]

    def pack(self) -> bytes:
        """Return the body, without header. Raises ValueError if a value is out of range."""
        ...


def payload(message: Message, sequence: int) -> bytes:
    """Return header and body of a message, ready for `framing.encode_frame`."""
    return _HEADER.pack(message.type, sequence & 0xFFFF) + message.pack()


def split_payload(data: bytes) -> tuple[int, int, bytes]:
    """Return (type, sequence, body). Raises ValueError on fewer than 3 bytes."""
    if len(data) < _HEADER.size:
        raise ValueError("a payload has at least a type and a sequence number")
    kind, sequence = _HEADER.unpack_from(data)
    return kind, sequence, data[_HEADER.size :]


def _pack(layout: struct.Struct, *values: int | bytes) -> bytes:
    try:
        return layout.pack(*values)
    except struct.error as problem:
        raise ValueError(f"does not fit the wire format: {problem}") from None


def _unpack(layout: struct.Struct, body: bytes) -> tuple[int, ...]:
    if len(body) != layout.size:
        raise MalformedBodyError(f"a body of {layout.size} bytes was expected, {len(body)} came")
    return layout.unpack(body)


def _in_range(value: int, low: int, high: int, what: str) -> None:
    if not low <= value <= high:
        raise ValueError(f"{what} is {value}: give a value from {low} to {high}")


@dataclass(frozen=True)
class Hello:
    """Open a session; the same session again is only answered."""

    session: int
    major: int = VERSION_MAJOR
    minor: int = VERSION_MINOR
    type: ClassVar[MessageType] = MessageType.HELLO
    _layout: ClassVar[struct.Struct] = struct.Struct("<IBBI")

    def pack(self) -> bytes:
        """Return the body."""
        _in_range(self.session, 1, 0xFFFFFFFF, "session")
        return _pack(self._layout, MAGIC, self.major, self.minor, self.session)

    @classmethod
    def unpack(cls, body: bytes) -> Hello:
        """Read a body."""
        magic, major, minor, session = _unpack(cls._layout, body)
        if magic != MAGIC:
            raise MalformedBodyError("this is not a HELLO of the FOSP motor protocol")
        if session == 0:
            raise MalformedBodyError("session 0 is reserved for BOOT")
        return cls(session, major, minor)


@dataclass(frozen=True)
class HelloReply:
    """Who the controller is. As BOOT its session is 0."""

    session: int
    joint_count: int
    capabilities: Capability
    name: str
    serial: str
    major: int = VERSION_MAJOR
    minor: int = VERSION_MINOR
    type: ClassVar[MessageType] = MessageType.HELLO_REPLY
    _layout: ClassVar[struct.Struct] = struct.Struct("<IBBIBI24s16s")

    def pack(self) -> bytes:
        """Return the body."""
        _in_range(self.joint_count, 1, MAX_JOINTS, "joint count")
        name, serial = self.name.encode("ascii"), self.serial.encode("ascii")
        if len(name) > 24 or len(serial) > 16:
            raise ValueError("a controller's name has at most 24 characters, its serial number at most 16")
        numbers = (MAGIC, self.major, self.minor, self.session, self.joint_count, int(self.capabilities))
        return _pack(self._layout, *numbers, name, serial)

    @classmethod
    def unpack(cls, body: bytes) -> HelloReply:
        """Read a body."""
        if len(body) != cls._layout.size:
            raise MalformedBodyError(f"a body of {cls._layout.size} bytes was expected, {len(body)} came")
        magic, major, minor, session, joint_count, capabilities, name, serial = cls._layout.unpack(body)
        if magic != MAGIC:
            raise MalformedBodyError("this is not a HELLO_REPLY of the FOSP motor protocol")
        _in_range(joint_count, 1, MAX_JOINTS, "joint count")
        text = [field.rstrip(b"\x00").decode("ascii", "replace") for field in (name, serial)]
        return cls(session, joint_count, Capability(capabilities), text[0], text[1], major, minor)


@dataclass(frozen=True)
class WireLimits:
    """Limits of one joint in wire units (sections 6 and 7)."""

    position_min_urad: int
    position_max_urad: int
    velocity_max_urad_s: int
    acceleration_max_urad_s2: int
    effort_max_mnm: int
    distance_max_urad: int
    temperature_max_decidegree: int
    current_max_ma: int
    layout: ClassVar[struct.Struct] = struct.Struct("<8i")

    def check(self) -> None:
        """Raise ValueError naming the first value that a controller would refuse."""
        _in_range(self.position_min_urad, -units.POSITION_MAX_URAD, units.POSITION_MAX_URAD, "position_min_urad")
        _in_range(self.position_max_urad, -units.POSITION_MAX_URAD, units.POSITION_MAX_URAD, "position_max_urad")
        if self.position_min_urad >= self.position_max_urad:
            raise ValueError("position_min must be below position_max")
        low, high = units.ACCELERATION_MIN_URAD_S2, units.ACCELERATION_MAX_URAD_S2
        _in_range(self.velocity_max_urad_s, 1, units.VELOCITY_MAX_URAD_S, "velocity_max_urad_s")
        _in_range(self.acceleration_max_urad_s2, low, high, "acceleration_max_urad_s2")
        _in_range(self.effort_max_mnm, 1, units.EFFORT_MAX_MNM, "effort_max_mnm")
        _in_range(self.distance_max_urad, 1, units.POSITION_MAX_URAD, "distance_max_urad")
        _in_range(self.temperature_max_decidegree, 1, units.TEMPERATURE_MAX_DECIDEGREE, "temperature_max_decidegree")
        _in_range(self.current_max_ma, 1, units.CURRENT_MAX_MA, "current_max_ma")

    def values(self) -> tuple[int, ...]:
        """Return the eight numbers in wire order."""
        return astuple(self)


@dataclass(frozen=True)
class _JointAndLimits:
    joint: int
    limits: WireLimits
    _layout: ClassVar[struct.Struct] = struct.Struct("<B8i")

    def pack(self) -> bytes:
        """Return the body."""
        _in_range(self.joint, 0, MAX_JOINTS - 1, "joint")
        self.limits.check()
        return _pack(self._layout, self.joint, *self.limits.values())

    @classmethod
    def _fields(cls, body: bytes) -> tuple[int, WireLimits]:
        joint, *values = _unpack(cls._layout, body)
        return joint, WireLimits(*values)


@dataclass(frozen=True)
class SetLimits(_JointAndLimits):
    """Store the limits of one joint."""

    type: ClassVar[MessageType] = MessageType.SET_LIMITS

    @classmethod
    def unpack(cls, body: bytes) -> SetLimits:
        """Read a body; whether the values are acceptable is the controller's to say (`WireLimits.check`)."""
        return cls(*cls._fields(body))


@dataclass(frozen=True)
class LimitsReport(_JointAndLimits):
    """The limits of one joint as they are stored."""

    type: ClassVar[MessageType] = MessageType.LIMITS_REPORT

    @classmethod
    def unpack(cls, body: bytes) -> LimitsReport:
        """Read a body."""
        return cls(*cls._fields(body))


@dataclass(frozen=True)
class GetLimits:
    """Ask for the stored limits of one joint."""

    joint: int
    type: ClassVar[MessageType] = MessageType.GET_LIMITS
    _layout: ClassVar[struct.Struct] = struct.Struct("<B")

    def pack(self) -> bytes:
        """Return the body."""
        _in_range(self.joint, 0, MAX_JOINTS - 1, "joint")
        return _pack(self._layout, self.joint)

    @classmethod
    def unpack(cls, body: bytes) -> GetLimits:
        """Read a body."""
        return cls(*_unpack(cls._layout, body))


@dataclass(frozen=True)
class SetWatchdog:
    """How long the controller waits for an applied command, and what it does then."""

    timeout_us: int
    reaction: Reaction
    type: ClassVar[MessageType] = MessageType.SET_WATCHDOG
    _layout: ClassVar[struct.Struct] = struct.Struct("<IB")

    def pack(self) -> bytes:
        """Return the body."""
        _in_range(self.timeout_us, WATCHDOG_MIN_US, WATCHDOG_MAX_US, "watchdog timeout in microseconds")
        return _pack(self._layout, self.timeout_us, self.reaction)

    @classmethod
    def unpack(cls, body: bytes) -> SetWatchdog:
        """Read a body. Raises ValueError for values outside section 3."""
        timeout_us, reaction = _unpack(cls._layout, body)
        _in_range(timeout_us, WATCHDOG_MIN_US, WATCHDOG_MAX_US, "watchdog timeout in microseconds")
        return cls(timeout_us, Reaction(reaction))


@dataclass(frozen=True)
class SetTelemetry:
    """How often telemetry is sent."""

    period_us: int
    type: ClassVar[MessageType] = MessageType.SET_TELEMETRY
    _layout: ClassVar[struct.Struct] = struct.Struct("<I")

    def pack(self) -> bytes:
        """Return the body."""
        _in_range(self.period_us, TELEMETRY_MIN_US, TELEMETRY_MAX_US, "telemetry period in microseconds")
        return _pack(self._layout, self.period_us)

    @classmethod
    def unpack(cls, body: bytes) -> SetTelemetry:
        """Read a body. Raises ValueError for values outside section 3."""
        (period_us,) = _unpack(cls._layout, body)
        _in_range(period_us, TELEMETRY_MIN_US, TELEMETRY_MAX_US, "telemetry period in microseconds")
        return cls(period_us)


@dataclass(frozen=True)
class _Empty:
    def pack(self) -> bytes:
        """Return the empty body."""
        return b""


@dataclass(frozen=True)
class Arm(_Empty):
    """Let the motors follow commands."""

    type: ClassVar[MessageType] = MessageType.ARM


@dataclass(frozen=True)
class Stop(_Empty):
    """Hold now and latch; obeyed always."""

    type: ClassVar[MessageType] = MessageType.STOP


@dataclass(frozen=True)
class GetCounters(_Empty):
    """Ask for COUNTERS."""

    type: ClassVar[MessageType] = MessageType.GET_COUNTERS


@dataclass(frozen=True)
class Disarm:
    """Leave ARMED, with torque held or off."""

    torque: Torque = Torque.HOLD
    type: ClassVar[MessageType] = MessageType.DISARM
    _layout: ClassVar[struct.Struct] = struct.Struct("<B")

    def pack(self) -> bytes:
        """Return the body."""
        return _pack(self._layout, self.torque)

    @classmethod
    def unpack(cls, body: bytes) -> Disarm:
        """Read a body."""
        return cls(Torque(_unpack(cls._layout, body)[0]))


@dataclass(frozen=True)
class ClearFaults:
    """Clear the latched faults named by the mask."""

    mask: int = 0xFFFFFFFF
    type: ClassVar[MessageType] = MessageType.CLEAR_FAULTS
    _layout: ClassVar[struct.Struct] = struct.Struct("<I")

    def pack(self) -> bytes:
        """Return the body."""
        return _pack(self._layout, self.mask)

    @classmethod
    def unpack(cls, body: bytes) -> ClearFaults:
        """Read a body."""
        return cls(*_unpack(cls._layout, body))


@dataclass(frozen=True)
class Ack:
    """Outcome of one request."""

    request: int
    result: Result
    detail: int = 0
    type: ClassVar[MessageType] = MessageType.ACK
    _layout: ClassVar[struct.Struct] = struct.Struct("<BBI")

    def pack(self) -> bytes:
        """Return the body."""
        return _pack(self._layout, self.request, self.result, self.detail)

    @classmethod
    def unpack(cls, body: bytes) -> Ack:
        """Read a body."""
        request, result, detail = _unpack(cls._layout, body)
        return cls(request, Result(result), detail)


@dataclass(frozen=True)
class Counters:
    """Everything received, dropped or refused since boot (section 9)."""

    bytes_received: int = 0
    frames_received: int = 0
    framing_errors: int = 0
    crc_errors: int = 0
    oversize_frames: int = 0
    malformed_frames: int = 0
    stale_frames: int = 0
    commands_applied: int = 0
    refused_not_armed: int = 0
    refused_value: int = 0
    refused_position: int = 0
    refused_velocity: int = 0
    refused_acceleration: int = 0
    refused_distance: int = 0
    refused_effort: int = 0
    watchdog_trips: int = 0
    guard_stops: int = 0
    faults_latched: int = 0
    requests_refused: int = 0
    telemetry_sent: int = 0
    transmit_drops: int = 0
    type: ClassVar[MessageType] = MessageType.COUNTERS
    _layout: ClassVar[struct.Struct] = struct.Struct("<21I")

    def pack(self) -> bytes:
        """Return the body."""
        return _pack(self._layout, *astuple(self))

    @classmethod
    def unpack(cls, body: bytes) -> Counters:
        """Read a body."""
        return cls(*_unpack(cls._layout, body))
