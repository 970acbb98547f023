"""What a robot's motors may hang on."""

from firmware_bridge.buses.families import FAMILIES

CONTROLLER = "controller"
"""A board that speaks PROTOCOL.md."""
WIRES = (CONTROLLER, *FAMILIES)
"""The others are families of servos on one line (`firmware_bridge.buses`)."""
