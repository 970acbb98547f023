"""What a robot program sees of the wire, in SI units: the limits it sends and the telemetry it gets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firmware_bridge import units
from firmware_bridge.codes import Drive, Fault, Refusal, State
from firmware_bridge.messages import WireLimits
from firmware_bridge.motion_messages import TelemetryFrame

_BOUND = 2**31 - 1


@dataclass(frozen=True)
class JointLimits:
    """Limits of one joint, as the controller enforces them (PROTOCOL.md sections 6 and 7)."""

    position_min_rad: float
    position_max_rad: float
    velocity_max_rad_s: float
    acceleration_max_rad_s2: float
    effort_max_nm: float = 5.0
    distance_max_rad: float = 0.5
    """Largest distance of a position target from the measured position."""
    temperature_max_c: float = 70.0
    current_max_a: float = 5.0

    def to_wire(self) -> WireLimits:
        """Return the limits in wire units. Raises ValueError naming the first value that is out of range."""
        micro, milli = units.PER_MICRO, units.PER_MILLI
        wire = WireLimits(
            units.to_wire(self.position_min_rad, micro, _BOUND, "position_min_rad"),
            units.to_wire(self.position_max_rad, micro, _BOUND, "position_max_rad"),
            units.to_wire(self.velocity_max_rad_s, micro, _BOUND, "velocity_max_rad_s"),
            units.to_wire(self.acceleration_max_rad_s2, micro, _BOUND, "acceleration_max_rad_s2"),
            units.to_wire(self.effort_max_nm, milli, _BOUND, "effort_max_nm"),
            units.to_wire(self.distance_max_rad, micro, _BOUND, "distance_max_rad"),
            units.to_wire(self.temperature_max_c, 10, _BOUND, "temperature_max_c"),
            units.to_wire(self.current_max_a, milli, _BOUND, "current_max_a"),
        )
        wire.check()
        return wire


@dataclass(frozen=True)
class Telemetry:
    """One telemetry message; arrays have shape (joints,)."""

    received_ns: int
    """Host monotonic clock (`time.monotonic_ns`) when its bytes were read."""
    ticks_us: int
    """The controller's own clock, from its boot."""
    sequence: int
    state: State
    drive: Drive
    refusal: Refusal
    """Why the newest command was refused; NONE if it was applied."""
    command_sequence: int
    """Number of the last applied command, as returned by `command_*`."""
    faults: Fault
    commands_refused: int
    voltage_v: float
    position_rad: NDArray[np.float64]
    velocity_rad_s: NDArray[np.float64]
    current_a: NDArray[np.float64]
    temperature_c: NDArray[np.float64]
    joint_errors: tuple[int, ...]
    """`codes.JointError` bits per joint."""

    @property
    def armed(self) -> bool:
        """Whether the motors follow commands."""
        return self.state is State.ARMED

    @classmethod
    def from_frame(cls, frame: TelemetryFrame, sequence: int, received_ns: int) -> Telemetry:
        """Convert from wire units."""
        return cls(
            received_ns,
            frame.ticks_us,
            sequence,
            frame.state,
            frame.drive,
            frame.refusal,
            frame.command_sequence,
            frame.faults,
            frame.commands_refused,
            frame.voltage_mv / units.PER_MILLI,
            np.array(frame.positions_urad, np.float64) / units.PER_MICRO,
            np.array(frame.velocities_urad_s, np.float64) / units.PER_MICRO,
            np.array(frame.currents_ma, np.float64) / units.PER_MILLI,
            np.array(frame.temperatures_decidegree, np.float64) / 10,
            frame.errors,
        )
