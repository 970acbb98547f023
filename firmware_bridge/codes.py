"""The numbers of PROTOCOL.md by name: message types, modes, states, faults, results. Nothing here computes."""

from __future__ import annotations

from enum import IntEnum, IntFlag

MAGIC = 0x50534F46
VERSION_MAJOR = 1
VERSION_MINOR = 1
MAX_JOINTS = 16
WATCHDOG_MIN_US, WATCHDOG_MAX_US, WATCHDOG_DEFAULT_US = 5_000, 1_000_000, 100_000
TELEMETRY_MIN_US, TELEMETRY_MAX_US, TELEMETRY_DEFAULT_US = 1_000, 1_000_000, 10_000


class MessageType(IntEnum):
    """First byte of a payload; 0x80 and above come from the controller."""

    HELLO = 0x01
    SET_LIMITS = 0x02
    GET_LIMITS = 0x03
    SET_WATCHDOG = 0x04
    SET_TELEMETRY = 0x05
    ARM = 0x06
    DISARM = 0x07
    STOP = 0x08
    CLEAR_FAULTS = 0x09
    COMMAND = 0x0A
    GET_COUNTERS = 0x0B
    HELLO_REPLY = 0x81
    LIMITS_REPORT = 0x82
    ACK = 0x83
    TELEMETRY = 0x84
    COUNTERS = 0x85
    BOOT = 0x86


class Mode(IntEnum):
    """What the targets of a COMMAND are."""

    VELOCITY = 1
    POSITION = 2
    EFFORT = 3


class State(IntEnum):
    """State of the controller (section 8)."""

    UNCONNECTED = 0
    DISARMED = 1
    ARMED = 2
    FAULT = 3


class Drive(IntEnum):
    """What the controller tells the motors to do."""

    OFF = 0
    HOLD = 1
    VELOCITY = 2
    EFFORT = 3
    DAMP = 4


class Reaction(IntEnum):
    """What happens when the watchdog expires or a fault latches."""

    STOP = 0
    HOLD = 1
    DAMP = 2


class Torque(IntEnum):
    """What DISARM leaves behind: an arm is not dropped unless asked for."""

    HOLD = 0
    OFF = 1


class Refusal(IntEnum):
    """Why a COMMAND was refused as a whole (section 7)."""

    NONE = 0
    NOT_ARMED = 1
    VALUE = 2
    POSITION = 3
    VELOCITY = 4
    ACCELERATION = 5
    DISTANCE = 6
    EFFORT = 7


class Result(IntEnum):
    """Outcome of a request, in its ACK."""

    OK = 0
    NOT_CONNECTED = 1
    WRONG_STATE = 2
    FAULT_LATCHED = 3
    LIMITS_MISSING = 4
    BAD_VALUE = 5
    FEEDBACK_MISSING = 6


class _Bits(IntFlag):
    """Bits with names."""

    def __repr__(self) -> str:
        """As from Python 3.11 on; 3.10 names the largest first."""
        names = "|".join(str(bit.name) for bit in type(self) if bit in self)
        return f"<{type(self).__name__}{names and '.' + names}: {int(self)}>"


class Fault(_Bits):
    """Latched faults; a bit stays until CLEAR_FAULTS."""

    HOST_STOP = 1
    WATCHDOG = 2
    OVER_TEMPERATURE = 4
    OVER_CURRENT = 8
    FEEDBACK_LOST = 16
    OVER_VELOCITY = 32


class Capability(_Bits):
    """What a controller can do and measure."""

    VELOCITY = 1
    POSITION = 2
    EFFORT = 4
    DAMPING = 8
    CURRENT = 16
    TEMPERATURE = 32
    VOLTAGE = 64
    ENDLESS = 128
    """Its joints turn without end, as wheels do: positions are told within one turn."""


class JointError(_Bits):
    """Present condition of one joint in TELEMETRY; not latched."""

    FEEDBACK_MISSING = 1
    OVER_TEMPERATURE = 2
    OVER_CURRENT = 4
    OVER_VELOCITY = 8
    OUTSIDE_LIMITS = 16
