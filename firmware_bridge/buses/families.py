"""What is known of a family of servos: its registers by name, its units, its models. Data only.

Sources: ROBOTIS e-Manual, control tables of the X series (XL330, XL430, XC330, XM430, XM540); Feetech memory table of
the STS series (STS3215 and relatives, as used in the SO-100 and SO-101 arms).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from firmware_bridge.buses.packets import DynamixelFormat, FeetechFormat, PacketFormat

TICKS_PER_TURN = 4096


@dataclass(frozen=True)
class Register:
    """One register. `sign_bit` None: two's complement if `signed`; else sign and magnitude, the sign in that bit."""

    address: int
    size: int
    signed: bool = False
    sign_bit: int | None = None

    def encode(self, value: int) -> bytes:
        """Return the register's bytes. Raises ValueError if the value does not fit."""
        bits = 8 * self.size if self.sign_bit is None else self.sign_bit
        low = 0 if not self.signed else (-(1 << (bits - 1)) if self.sign_bit is None else 1 - (1 << bits))
        high = (1 << (bits - (self.signed and self.sign_bit is None))) - 1
        if not low <= value <= high:
            raise ValueError(f"{value} does not fit a register that takes {low} to {high}")
        if self.sign_bit is not None and value < 0:
            value = -value | 1 << self.sign_bit
        return value.to_bytes(self.size, "little", signed=self.signed and self.sign_bit is None)

    def decode(self, data: bytes) -> int:
        """Return the value of the register's bytes."""
        if self.sign_bit is None:
            return int.from_bytes(data, "little", signed=self.signed)
        raw = int.from_bytes(data, "little")
        magnitude = raw & ((1 << self.sign_bit) - 1)
        return -magnitude if raw >> self.sign_bit & 1 else magnitude


@dataclass(frozen=True)
class Model:
    """One model of a family."""

    name: str
    current_a_per_unit: float
    """0 where the servo reports a load instead of a current."""


@dataclass(frozen=True)
class ServoFamily:
    """Everything about a family that the code needs."""

    name: str
    form: PacketFormat
    registers: Mapping[str, Register]
    models: Mapping[int, Model]
    velocity_rad_s_per_unit: float
    state_first: str
    """First and last register of the block that a sync read fetches."""
    state_last: str
    watchdog_unit_s: float | None
    """Unit of the bus watchdog register; None where the servo has none."""
    default_baud_rate: int
    """The rate that `motors setup` leaves a servo with."""
    baud_codes: Mapping[int, int]
    """Value of the `baud_rate` register for each rate."""
    return_delay_register: str
    position_mode: int
    """Value of `operating_mode` for position control."""
    wheel_mode: int | None
    """The same for turning at a velocity; None where a wheel would turn on and on when this computer is gone."""
    speed_limit_register: str
    """How fast the servo goes to its goal, in the unit of its velocity; 0 is as fast as it can."""
    time_profile_bit: int
    """Bit of `drive_mode` that turns that register into a time; 0 where there is none."""
    homing_sign: int
    """present_position = encoder + homing_sign * homing_offset."""
    alert_mask: int
    """Bits of a status packet's error byte that tell of the servo's own health, not of the request."""

    def mode(self, *, wheels: bool) -> int:
        """Value of `operating_mode` for wheels, or for joints. Raises ValueError if the servos cannot be wheels."""
        if not wheels:
            return self.position_mode
        if self.wheel_mode is None:
            raise ValueError(
                f"{self.name} servos cannot be wheels: they have no watchdog, and would turn on and on if this "
                "computer died. Wheels hang on a controller board or are Dynamixel X."
            )
        return self.wheel_mode

    def alert(self, error: int) -> bool:
        """Whether a status packet's error byte tells of a hardware error."""
        return error & self.alert_mask != 0

    @property
    def state_span(self) -> tuple[int, int]:
        """Address and length of the block that a sync read fetches."""
        first, last = self.registers[self.state_first], self.registers[self.state_last]
        return first.address, last.address + last.size - first.address


DYNAMIXEL_X = ServoFamily(
    name="dynamixel",
    form=DynamixelFormat(),
    registers=MappingProxyType(
        {
            "model_number": Register(0, 2),
            "firmware_version": Register(6, 1),
            "id": Register(7, 1),
            "baud_rate": Register(8, 1),
            "return_delay": Register(9, 1),
            "drive_mode": Register(10, 1),
            "operating_mode": Register(11, 1),
            "homing_offset": Register(20, 4, signed=True),
            "velocity_limit": Register(44, 4),
            "torque_enable": Register(64, 1),
            "hardware_error": Register(70, 1),
            "bus_watchdog": Register(98, 1),
            "goal_velocity": Register(104, 4, signed=True),
            "profile_acceleration": Register(108, 4),
            "profile_velocity": Register(112, 4),
            "goal_position": Register(116, 4, signed=True),
            "present_current": Register(126, 2, signed=True),
            "present_velocity": Register(128, 4, signed=True),
            "present_position": Register(132, 4, signed=True),
            "present_voltage": Register(144, 2),
            "present_temperature": Register(146, 1),
        }
    ),
    models=MappingProxyType(
        {
            1190: Model("XL330-M077", 0.001),
            1200: Model("XL330-M288", 0.001),
            1060: Model("XL430-W250", 0.0),
            1220: Model("XC330-M288", 0.001),
            1030: Model("XM430-W210", 0.00269),
            1020: Model("XM430-W350", 0.00269),
            1130: Model("XM540-W150", 0.00269),
            1120: Model("XM540-W270", 0.00269),
        }
    ),
    velocity_rad_s_per_unit=0.229 * 2 * math.pi / 60,
    state_first="present_current",
    state_last="present_temperature",
    watchdog_unit_s=0.02,
    default_baud_rate=1_000_000,
    baud_codes=MappingProxyType({9_600: 0, 57_600: 1, 115_200: 2, 1_000_000: 3, 2_000_000: 4, 3_000_000: 5}),
    return_delay_register="return_delay",
    position_mode=3,
    wheel_mode=1,
    speed_limit_register="profile_velocity",
    time_profile_bit=0x04,
    homing_sign=1,
    alert_mask=0x80,
)

FEETECH_STS = ServoFamily(
    name="feetech",
    form=FeetechFormat(),
    registers=MappingProxyType(
        {
            "model_number": Register(3, 2),
            "id": Register(5, 1),
            "baud_rate": Register(6, 1),
            "return_delay": Register(7, 1),
            "homing_offset": Register(31, 2, signed=True, sign_bit=11),
            "operating_mode": Register(33, 1),
            "torque_enable": Register(40, 1),
            "acceleration": Register(41, 1),
            "goal_position": Register(42, 2, signed=True, sign_bit=15),
            "goal_velocity": Register(46, 2, signed=True, sign_bit=15),
            "lock": Register(55, 1),
            "present_position": Register(56, 2, signed=True, sign_bit=15),
            "present_velocity": Register(58, 2, signed=True, sign_bit=15),
            "present_load": Register(60, 2, signed=True, sign_bit=10),
            "present_voltage": Register(62, 1),
            "present_temperature": Register(63, 1),
            "hardware_error": Register(65, 1),
            "present_current": Register(69, 2, signed=True, sign_bit=15),
        }
    ),
    models=MappingProxyType({777: Model("STS3215", 0.0065), 2825: Model("STS3250", 0.0065)}),
    velocity_rad_s_per_unit=2 * math.pi / TICKS_PER_TURN,
    state_first="present_position",
    state_last="present_current",
    watchdog_unit_s=None,
    default_baud_rate=1_000_000,
    baud_codes=MappingProxyType({1_000_000: 0, 500_000: 1, 250_000: 2, 128_000: 3, 115_200: 4, 57_600: 6}),
    return_delay_register="return_delay",
    position_mode=0,
    wheel_mode=None,
    speed_limit_register="goal_velocity",
    time_profile_bit=0,
    homing_sign=-1,
    # Supply voltage, magnetic encoder, temperature, current, overload.
    alert_mask=0x2F,
)

FAMILIES: Mapping[str, ServoFamily] = MappingProxyType({one.name: one for one in (DYNAMIXEL_X, FEETECH_STS)})
