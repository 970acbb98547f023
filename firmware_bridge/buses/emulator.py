"""A chain of servos without servos: registers, packets, position and velocity control in front of a physics model.

The same `Plant` as the emulated controller's, so that a simulated arm can hang on either wire.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from firmware_bridge.buses.calibration import RADIANS_PER_TICK
from firmware_bridge.buses.families import TICKS_PER_TURN, ServoFamily
from firmware_bridge.buses.packets import BROADCAST, Instruction, Packet
from firmware_bridge.emulator import Plant
from firmware_bridge.nonblocking import read_available, write_available

POSITION_GAIN_PER_S = 25.0
VELOCITY_MAX_RAD_S = 6.0
WHEEL_VELOCITY_MAX_RAD_S = 12.0
_LIMIT_ERROR, _ACCESS_ERROR = 0x06, 0x07
_EEPROM_END = 64


class _Servo:
    """One servo's memory."""

    def __init__(self, family: ServoFamily, motor_id: int, model_number: int, mode: int) -> None:
        self._family = family
        self.error = 0
        """What every answer says of the servo's own health, in the family's bits."""
        self.memory = bytearray(256)
        self.write("id", motor_id)
        self.write("model_number", model_number)
        self.write("baud_rate", family.baud_codes[family.default_baud_rate])
        self.write("operating_mode", mode)
        self.write(family.return_delay_register, 250)
        self.write("present_temperature", 30)
        self.write("present_voltage", 120)
        if "velocity_limit" in family.registers:
            self.write("velocity_limit", 330)

    def write(self, name: str, value: int) -> None:
        register = self._family.registers[name]
        self.memory[register.address : register.address + register.size] = register.encode(value)

    def read(self, name: str) -> int:
        register = self._family.registers[name]
        return register.decode(bytes(self.memory[register.address : register.address + register.size]))


class ServoChainEmulator:
    """Servos of one family on one line, one per joint of the plant. `poll(fd)` and `advance(dt_s)` never block."""

    def __init__(
        self,
        family: ServoFamily,
        motor_ids: Sequence[int],
        plant: Plant,
        model_number: int,
        wheels: Sequence[int] = (),
    ) -> None:
        """`wheels`: for servos in velocity control, 1 or -1 for each: which way it counts beside its joint."""
        if len(motor_ids) != plant.joint_count():
            raise ValueError(f"the plant has {plant.joint_count()} joints, {len(motor_ids)} motor ids were given")
        self._family = family
        self._plant = plant
        mode = family.mode(wheels=bool(wheels))
        self.servos = [_Servo(family, motor_id, model_number, mode) for motor_id in motor_ids]
        self._directions = tuple(wheels) or (1,) * len(self.servos)
        self._buffer = bytearray()
        self._unsent = b""
        self._silent_s = 0.0
        self._moving = False
        self._measure()

    def poll(self, fd: int) -> None:
        """Exchange all bytes that can be exchanged now on a non-blocking descriptor."""
        while data := read_available(fd):
            self._unsent += self.receive(data)
        while self._unsent and (written := write_available(fd, self._unsent)):
            self._unsent = self._unsent[written:]

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the line; return the answers."""
        self._buffer += data
        packets, _ = self._family.form.take(self._buffer, answers=False)
        return b"".join(map(self._answer, packets))

    def advance(self, dt_s: float) -> None:
        """Let `dt_s` pass: the bus watchdog, position or velocity control, sensors."""
        self._silent_s += dt_s
        velocities = [
            direction * self._control(servo, direction * position)
            for servo, direction, position in zip(
                self.servos, self._directions, self._plant.positions_rad(), strict=True
            )
        ]
        moving = any(velocities)
        if moving:
            self._plant.set_velocity_targets(velocities)
        elif self._moving:
            self._plant.set_hold()
        self._moving = moving
        self._measure()

    def _control(self, servo: _Servo, position: float) -> float:
        """How fast one servo turns, as it counts, at a position."""
        unit_s, turns = self._family.watchdog_unit_s, self._turns(servo)
        if unit_s is not None:
            watchdog = servo.read("bus_watchdog")
            if 1 <= watchdog <= 127 and servo.read("torque_enable") and self._silent_s > watchdog * unit_s:
                servo.write("bus_watchdog", 255)
                servo.write("goal_position", _ticks(position) + self._homing(servo))
        if not servo.read("torque_enable"):
            return 0.0
        if turns:
            if servo.read("bus_watchdog") == 255:
                return 0.0
            wanted = servo.read("goal_velocity") * self._family.velocity_rad_s_per_unit
            return max(-WHEEL_VELOCITY_MAX_RAD_S, min(WHEEL_VELOCITY_MAX_RAD_S, wanted))
        goal = servo.read("goal_position") - self._homing(servo)
        error = (goal - TICKS_PER_TURN // 2) * RADIANS_PER_TICK - position
        fastest = self._fastest_rad_s(servo)
        velocity = max(-fastest, min(fastest, POSITION_GAIN_PER_S * error))
        return velocity if abs(error) > RADIANS_PER_TICK / 2 else 0.0

    def _turns(self, servo: _Servo) -> bool:
        """Whether a servo turns at a velocity."""
        return self._family.wheel_mode is not None and servo.read("operating_mode") == self._family.wheel_mode

    def _fastest_rad_s(self, servo: _Servo) -> float:
        own = servo.read(self._family.speed_limit_register) * self._family.velocity_rad_s_per_unit
        return min(VELOCITY_MAX_RAD_S, own) if own > 0.0 else VELOCITY_MAX_RAD_S

    def _measure(self) -> None:
        readings = zip(
            self.servos, self._directions, self._plant.positions_rad(), self._plant.velocities_rad_s(), strict=True
        )
        for servo, direction, position, velocity in readings:
            # In velocity control whole turns are counted on.
            ticks = _ticks(direction * position, whole_turns=self._turns(servo))
            servo.write("present_position", ticks + self._homing(servo))
            servo.write("present_velocity", round(direction * velocity / self._family.velocity_rad_s_per_unit))

    def _homing(self, servo: _Servo) -> int:
        return self._family.homing_sign * servo.read("homing_offset")

    def _answer(self, packet: Packet) -> bytes:
        self._silent_s = 0.0
        form = self._family.form
        if packet.instruction == Instruction.SYNC_READ:
            address, length, ids = form.read_span(packet.parameters)
            by_id = {servo.read("id"): servo for servo in self.servos}
            present = [by_id[one] for one in ids if one in by_id]
            return b"".join(
                form.answer(one.read("id"), one.error, bytes(one.memory[address : address + length])) for one in present
            )
        if packet.instruction == Instruction.SYNC_WRITE:
            address, length, rest = form.read_span(packet.parameters)
            for at in range(0, len(rest) - length, length + 1):
                for servo in self.servos:
                    if servo.read("id") == rest[at]:
                        self._store(servo, address, rest[at + 1 : at + 1 + length])
            return b""
        broadcast = packet.motor_id == BROADCAST
        concerned = [one for one in self.servos if broadcast or one.read("id") == packet.motor_id]
        answers = b"".join(self._answer_alone(servo, packet) for servo in concerned)
        return b"" if broadcast and packet.instruction != Instruction.PING else answers

    def _answer_alone(self, servo: _Servo, packet: Packet) -> bytes:
        form, motor_id = self._family.form, servo.read("id")
        if packet.instruction == Instruction.PING:
            return form.answer(motor_id, 0, b"")
        if packet.instruction == Instruction.READ:
            address, length, _ = form.read_span(packet.parameters)
            return form.answer(motor_id, 0, bytes(servo.memory[address : address + length]))
        if packet.instruction == Instruction.WRITE:
            width = len(form.span(0, 0)) // 2
            address = int.from_bytes(packet.parameters[:width], "little")
            error = self._store(servo, address, packet.parameters[width:])
            return form.answer(motor_id, error, b"")
        return b""

    def _store(self, servo: _Servo, address: int, data: bytes) -> int:
        goals = {self._family.registers[name].address for name in ("goal_position", "goal_velocity")}
        tripped = self._family.watchdog_unit_s is not None and servo.read("bus_watchdog") == 255
        first_volatile = min(_EEPROM_END, self._family.registers["torque_enable"].address)
        eeprom_locked = address < first_volatile and servo.read("torque_enable") != 0
        if eeprom_locked or (tripped and address in goals) or address + len(data) > len(servo.memory):
            return _ACCESS_ERROR
        goal = self._family.registers["goal_velocity"]
        if self._turns(servo) and address == goal.address and abs(goal.decode(data)) > servo.read("velocity_limit"):
            return _LIMIT_ERROR
        servo.memory[address : address + len(data)] = data
        return 0


def _ticks(position_rad: float, *, whole_turns: bool = False) -> int:
    within_rad = position_rad if whole_turns else math.remainder(position_rad, 2 * math.pi)
    return round(within_rad / RADIANS_PER_TICK) + TICKS_PER_TURN // 2
