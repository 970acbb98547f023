"""The wire to the motors: framing, protocol, ports, and an emulated controller.

`MotorLink` is the way in; PROTOCOL.md is the contract with the controller; `firmware/` is the C at the other end.
"""

from firmware_bridge.codes import Capability, Drive, Fault, Reaction, Refusal, State, Torque
from firmware_bridge.errors import (
    HandshakeMismatchError,
    LinkError,
    LinkLostError,
    NoAnswerError,
    PortBusyError,
    PortMissingError,
    ReadBackError,
    RefusedError,
)
from firmware_bridge.link import Handshake, LinkCounters, MotorLink
from firmware_bridge.telemetry import JointLimits, Telemetry

__all__ = [
    "Capability",
    "Drive",
    "Fault",
    "Handshake",
    "HandshakeMismatchError",
    "JointLimits",
    "LinkCounters",
    "LinkError",
    "LinkLostError",
    "MotorLink",
    "NoAnswerError",
    "PortBusyError",
    "PortMissingError",
    "Reaction",
    "ReadBackError",
    "Refusal",
    "RefusedError",
    "State",
    "Telemetry",
    "Torque",
]
