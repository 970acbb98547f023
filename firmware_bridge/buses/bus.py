"""A chain of servos on one serial line: named registers, handshake, sync read and write, deadlines, counters."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from firmware_bridge.buses.families import TICKS_PER_TURN, ServoFamily
from firmware_bridge.buses.packets import BROADCAST, Instruction, Packet, sync_read, sync_write
from firmware_bridge.errors import HandshakeMismatchError, LinkError, NoAnswerError
from firmware_bridge.transport import SerialTransport, Transport

STATE_TIMEOUT_S = 0.02
"""How long a sync read may take: with the adapter's latency timer at 1 ms it takes 2, at 16 ms it still fits."""
MAX_RETURN_DELAY_US = 508
LOOK_S = 1e-4
"""How long an answer is looked for before this thread sleeps: on a fast line it is there sooner than one is woken."""
REGISTER_TIMEOUT_S = 0.1
"""How long a single register may take: these are read in set-up only, and a servo may be writing its EEPROM."""


class MotorBusError(LinkError):
    """A servo answered with an error, or cannot do what was asked."""


@dataclass(frozen=True)
class FoundMotor:
    """A servo that answered a ping."""

    motor_id: int
    model_number: int
    model_name: str


@dataclass(frozen=True)
class MotorState:
    """One servo's sensors, in SI units; the position in its own ticks too, as calibration wants it."""

    position_ticks: int
    velocity_rad_s: float
    current_a: float
    temperature_c: float
    voltage_v: float
    alert: bool = False
    """The servo reports a hardware error of its own: overload, overheating, supply voltage."""


@dataclass
class BusCounters:
    """Everything that went wrong on the bus, since it was opened."""

    requests: int = 0
    missing_answers: int = 0
    bad_bytes: int = 0
    servo_errors: int = 0
    stray_packets: int = 0


class MotorBus(Protocol):
    """Motors on a line, whatever the protocol: what the virtual controller and the setup commands need."""

    motor_ids: tuple[int, ...]
    counters: BusCounters
    wheels: bool
    """Whether the motors turn at a velocity, on and on, or go to a position."""

    def handshake(self) -> list[FoundMotor]:
        """Ping every expected motor. Raises HandshakeMismatchError that lists expected against found."""
        ...

    def check_ready(self) -> None:
        """Make sure that every motor is in the mode that is meant. Raises MotorBusError."""
        ...

    def read_states(self) -> list[MotorState | None]:
        """Return one state per motor, None for each that did not answer in time. Raises LinkLostError only."""
        ...

    def write_goals(self, ticks: Sequence[int]) -> None:
        """Send one goal position per motor. Not acknowledged."""
        ...

    def write_velocities(self, velocity_rad_s: Sequence[float]) -> None:
        """Let each wheel turn at a velocity. Not acknowledged."""
        ...

    def bring_to_rest(self) -> None:
        """Let each wheel stand still, acknowledged by each, whatever it did before. Torque is then as it was."""
        ...

    def set_torque(self, on: bool) -> None:
        """Switch all motors' torque on or off, acknowledged by each."""
        ...

    def limit_speed(self, velocity_rad_s: Sequence[float]) -> None:
        """Let no motor turn faster than this, one limit per motor, acknowledged by each. Wheels have no torque then."""
        ...

    def set_watchdog(self, timeout_s: float | None) -> bool:
        """Let the motors stop by themselves when the bus falls silent. False if these motors have no such thing."""
        ...

    def close(self) -> None:
        """Give the port back."""
        ...


@dataclass
class ServoBus:
    """A chain of servos of one family. One thread at a time."""

    port: str
    family: ServoFamily
    motor_ids: tuple[int, ...]
    expected_models: tuple[int, ...] | None = None
    """Model numbers that the handshake demands, 0 for any."""
    baud_rate: int | None = None
    wheels: bool = False
    """The motors turn at a velocity, on and on, in place of going to a position."""
    state_timeout_s: float = STATE_TIMEOUT_S
    register_timeout_s: float = REGISTER_TIMEOUT_S
    open_transport: Callable[[str, int], Transport] = SerialTransport
    counters: BusCounters = field(default_factory=BusCounters)

    def __post_init__(self) -> None:
        try:
            self._mode = self.family.mode(wheels=self.wheels)
        except ValueError as problem:
            raise MotorBusError(str(problem)) from None
        self._transport = self.open_transport(self.port, self.baud_rate or self.family.default_baud_rate)
        self._buffer = bytearray()
        self._models: dict[int, int] = {}
        self._adapter_echoes: bool | None = None

    # One request, its answers.

    def _exchange(self, request: bytes, wanted: Iterable[int], timeout_s: float) -> dict[int, Packet]:
        """Send, then collect one answer per wanted motor until the deadline. Missing ones are counted, not raised."""
        missing = set(wanted)
        self._discard_input()
        self.counters.requests += 1
        self._transport.write(request)
        answers: dict[int, Packet] = {}
        echo_due = self._adapter_echoes is not False
        sent_s = time.monotonic()
        deadline_s = sent_s + timeout_s
        while missing:
            now_s = time.monotonic()
            if now_s >= deadline_s:
                break
            if now_s - sent_s < LOOK_S:
                os.sched_yield()  # the other end may need this very core
                received = self._transport.read(0.0)
                if not received:
                    continue
            else:
                received = self._transport.read(deadline_s - now_s)
            self._buffer += received
            if echo_due:
                if not self._drop_echo(request):
                    continue
                echo_due = False
            packets, bad = self.family.form.take(self._buffer, answers=True)
            self.counters.bad_bytes += bad
            for packet in packets:
                if packet.motor_id in missing:
                    missing.discard(packet.motor_id)
                    answers[packet.motor_id] = packet
                else:
                    self.counters.stray_packets += 1
        self.counters.missing_answers += len(missing)
        return answers

    def _drop_echo(self, request: bytes) -> bool:
        """Cut our own bytes off the front of the buffer. False while it cannot be told yet whether they are there.

        Half-duplex adapters may hand back what they send, and a Feetech request looks like an answer.
        """
        at = self._buffer.find(request)
        if at >= 0:
            # Goals sent before, which nobody answers, may stand in front of it.
            del self._buffer[: at + len(request)]
            self._adapter_echoes = True
            return True
        if self._adapter_echoes or request.startswith(self._buffer):
            return False
        self._adapter_echoes = False
        return True

    def _discard_input(self) -> None:
        # A late answer to an earlier question must not be taken for the answer to this one.
        self._buffer.clear()
        while self._transport.read(0.0):
            self.counters.stray_packets += 1

    def ping(self, motor_id: int, timeout_s: float | None = None) -> FoundMotor | None:
        """Return the motor with this id, or None if nothing answers."""
        answers = self._exchange(
            self.family.form.instruction(motor_id, Instruction.PING, b""),
            (motor_id,),
            timeout_s or self.register_timeout_s,
        )
        if motor_id not in answers:
            return None
        number = self.read_register(motor_id, "model_number", timeout_s)
        model = self.family.models.get(number)
        return FoundMotor(motor_id, number, model.name if model else f"unknown model {number}")

    def scan(self, motor_ids: Iterable[int] = range(253), timeout_s: float = 0.01) -> list[FoundMotor]:
        """Return every motor that answers, in order of id."""
        return [found for motor_id in motor_ids if (found := self.ping(motor_id, timeout_s)) is not None]

    def read_register(self, motor_id: int, name: str, timeout_s: float | None = None) -> int:
        """Return a register's value. Tries three times. Raises NoAnswerError."""
        register = self.family.registers[name]
        span = self.family.form.span(register.address, register.size)
        request = self.family.form.instruction(motor_id, Instruction.READ, span)
        for _ in range(3):
            answer = self._exchange(request, (motor_id,), timeout_s or self.register_timeout_s).get(motor_id)
            if answer is not None and len(answer.parameters) == register.size:
                return register.decode(answer.parameters)
        raise NoAnswerError(
            f"Motor {motor_id} on {self.port} does not answer: check its power, its plug, its id and the baud rate."
        )

    def write_register(self, motor_id: int, name: str, value: int, timeout_s: float | None = None) -> None:
        """Write a register and read it back. Raises NoAnswerError, or MotorBusError if it reads back differently."""
        register = self.family.registers[name]
        data = register.encode(value)
        parameters = self._address(register.address) + data
        request = self.family.form.instruction(motor_id, Instruction.WRITE, parameters)
        for _ in range(3):
            if motor_id in self._exchange(request, (motor_id,), timeout_s or self.register_timeout_s):
                break
        stored = self.read_register(motor_id, name, timeout_s)
        if stored != value:
            self.counters.servo_errors += 1
            raise MotorBusError(
                f"Motor {motor_id} keeps {name} at {stored}, {value} was written: switch its torque off first, and "
                "check that the value is in its range."
            )

    def _address(self, address: int) -> bytes:
        span = self.family.form.span(address, 0)
        return span[: len(span) // 2]

    # All motors at once.

    def handshake(self) -> list[FoundMotor]:
        """Ping every expected motor. Raises HandshakeMismatchError that lists expected against found."""
        found = [self.ping(motor_id) or self.ping(motor_id) for motor_id in self.motor_ids]
        wanted = self.expected_models or tuple(one.model_number if one else 0 for one in found)
        if any(one is None or model not in (0, one.model_number) for one, model in zip(found, wanted, strict=True)):
            raise HandshakeMismatchError(_expected_against_found(self, wanted, found))
        present = [one for one in found if one is not None]
        self._models = {one.motor_id: one.model_number for one in present}
        return present

    def check_ready(self) -> None:
        """Make sure that every motor is in position control, or velocity control as a wheel. Raises MotorBusError."""
        called, option = ("velocity control", " --wheel") if self.wheels else ("position control", "")
        setup = f"fosp-edge motors setup{option}"
        for motor_id in self.motor_ids:
            mode = self.read_register(motor_id, "operating_mode")
            if mode != self._mode:
                wheel = "; if it is a wheel, say so with --wheels" if mode == self.family.wheel_mode else ""
                raise MotorBusError(
                    f"Motor {motor_id} on {self.port} is in operating mode {mode}, not in {called} ({self._mode}): run "
                    f"`{setup}` for it{wheel}."
                )
            if self.family.time_profile_bit and self._drive_mode(motor_id) & self.family.time_profile_bit:
                raise MotorBusError(
                    f"Motor {motor_id} on {self.port} takes its profile as a time, not as a speed: run "
                    f"`{setup}` for it."
                )

    def _drive_mode(self, motor_id: int) -> int:
        return self.read_register(motor_id, "drive_mode")

    def read_states(self) -> list[MotorState | None]:
        """Return one state per motor, None for each that did not answer in time."""
        address, length = self.family.state_span
        request = sync_read(self.family.form, address, length, self.motor_ids)
        answers = self._exchange(request, self.motor_ids, self.state_timeout_s)
        return [self._state(answers.get(motor_id), address, length) for motor_id in self.motor_ids]

    def _state(self, answer: Packet | None, first: int, length: int) -> MotorState | None:
        if answer is None or len(answer.parameters) != length:
            return None
        self.counters.servo_errors += answer.error != 0
        values = {}
        for name in _STATE_REGISTERS:
            register = self.family.registers[name]
            at = register.address - first
            values[name] = register.decode(answer.parameters[at : at + register.size])
        model = self.family.models.get(self._models.get(answer.motor_id, 0))
        return MotorState(
            position_ticks=values["present_position"],
            velocity_rad_s=values["present_velocity"] * self.family.velocity_rad_s_per_unit,
            current_a=values["present_current"] * (model.current_a_per_unit if model else 0.0),
            temperature_c=float(values["present_temperature"]),
            voltage_v=values["present_voltage"] / 10,
            alert=self.family.alert(answer.error),
        )

    def write_goals(self, ticks: Sequence[int]) -> None:
        """Send one goal position per motor, in ticks. Not acknowledged."""
        goal = self.family.registers["goal_position"]
        values = [(motor_id, goal.encode(tick)) for motor_id, tick in zip(self.motor_ids, ticks, strict=True)]
        self._transport.write(sync_write(self.family.form, goal.address, goal.size, values))

    def write_velocities(self, velocity_rad_s: Sequence[float]) -> None:
        """Let each wheel turn at a velocity, from the next moment on until told otherwise. Not acknowledged."""
        goal, unit = self.family.registers["goal_velocity"], self.family.velocity_rad_s_per_unit
        values = [
            (motor_id, goal.encode(round(velocity / unit)))
            for motor_id, velocity in zip(self.motor_ids, velocity_rad_s, strict=True)
        ]
        self._transport.write(sync_write(self.family.form, goal.address, goal.size, values))

    def bring_to_rest(self) -> None:
        """Let each wheel stand still, whatever it did before, and clear a watchdog that has tripped.

        In between it has no torque: what a watchdog has stopped must not go on when that is cleared, and until then the
        servo takes no other goal (e-Manual, Bus Watchdog).
        """
        for motor_id in self.motor_ids:
            self._bring_to_rest(motor_id)

    def _bring_to_rest(self, motor_id: int) -> int:
        torque = self.read_register(motor_id, "torque_enable")
        self.write_register(motor_id, "torque_enable", 0)
        self.write_register(motor_id, "bus_watchdog", 0)
        self.write_register(motor_id, "goal_velocity", 0)
        self.write_register(motor_id, "torque_enable", torque)
        return torque

    def _turns(self, motor_id: int) -> bool:
        """Whether a motor is in the mode of a wheel, whatever was meant."""
        return self.family.wheel_mode is not None and (
            self.read_register(motor_id, "operating_mode") == self.family.wheel_mode
        )

    def set_torque(self, on: bool) -> None:
        """Switch all motors' torque on or off with one packet, and read all of them back. Tries three times.

        Raises NoAnswerError or MotorBusError that names the motors in doubt.
        """
        others = self._write_all("torque_enable", [int(on)] * len(self.motor_ids))
        if others:
            raise MotorBusError(
                f"Motors {others} on {self.port} do not switch their torque {'on' if on else 'off'}: one that has shut "
                "itself down after an overload must be power-cycled."
            )

    def limit_speed(self, velocity_rad_s: Sequence[float]) -> None:
        """Let no motor turn faster than this: the servo's own limit, kept whatever this computer does.

        A wheel's limit outlives its power, and is written, without torque, where it is another one.

        Raises NoAnswerError or MotorBusError that names the motors in doubt.
        """
        unit = self.family.velocity_rad_s_per_unit
        if self.wheels:
            for motor_id, velocity in zip(self.motor_ids, velocity_rad_s, strict=True):
                if self.read_register(motor_id, "velocity_limit") != (limit := max(1, int(velocity / unit))):
                    self.write_register(motor_id, "torque_enable", 0)
                    self._write_persistent(motor_id, "velocity_limit", limit)
            return
        others = self._write_all(self.family.speed_limit_register, [max(1, int(one / unit)) for one in velocity_rad_s])
        if others:
            raise MotorBusError(f"Motors {others} on {self.port} do not take a speed limit: check their model.")

    def _write_all(self, name: str, values: Sequence[int]) -> list[int]:
        """Write one register of all motors with one packet and read them back with another. Tries three times.

        Returns the motors that say otherwise. Raises NoAnswerError for those that say nothing.
        """
        register = self.family.registers[name]
        wanted = {motor_id: register.encode(value) for motor_id, value in zip(self.motor_ids, values, strict=True)}
        question = sync_read(self.family.form, register.address, register.size, self.motor_ids)
        silent: list[int] = []
        others: list[int] = []
        for _ in range(3):
            self._transport.write(sync_write(self.family.form, register.address, register.size, list(wanted.items())))
            answers = self._exchange(question, self.motor_ids, self.register_timeout_s)
            silent = [motor_id for motor_id in self.motor_ids if motor_id not in answers]
            others = [motor_id for motor_id, answer in answers.items() if answer.parameters != wanted[motor_id]]
            if not silent and not others:
                return []
        if silent:
            raise NoAnswerError(
                f"Motors {silent} on {self.port} do not answer for their {name}: check power and plugs."
            )
        return others

    def set_watchdog(self, timeout_s: float | None) -> bool:
        """Set the servos' own watchdog on bus silence, rounded up to its unit; None switches it off."""
        if self.family.watchdog_unit_s is None:
            return False
        if self.wheels:
            self.bring_to_rest()
        units = 0 if timeout_s is None else max(1, min(127, -int(-timeout_s // self.family.watchdog_unit_s)))
        for motor_id in self.motor_ids:
            # Writing zero first also clears a watchdog that has tripped.
            self.write_register(motor_id, "bus_watchdog", 0)
            if units:
                self.write_register(motor_id, "bus_watchdog", units)
        return True

    def prepare(self, return_delay_us: int = 0) -> None:
        """Make the motors ready: torque off, position mode or that of a wheel, answers after `return_delay_us`.

        The delay is for adapters that are slow to turn the line round; both families count it in steps of 2 us.
        """
        if not 0 <= return_delay_us <= MAX_RETURN_DELAY_US:
            raise ValueError(f"a servo waits 0 to {MAX_RETURN_DELAY_US} us before it answers, not {return_delay_us}")
        delay = return_delay_us // 2
        for motor_id in self.motor_ids:
            self.write_register(motor_id, "torque_enable", 0)
            if self.read_register(motor_id, "operating_mode") != self._mode:
                self._write_persistent(motor_id, "operating_mode", self._mode)
            if self.read_register(motor_id, self.family.return_delay_register) != delay:
                self._write_persistent(motor_id, self.family.return_delay_register, delay)
            if (bit := self.family.time_profile_bit) and (mode := self._drive_mode(motor_id)) & bit:
                self._write_persistent(motor_id, "drive_mode", mode & ~bit)

    def centre(self, motor_id: int, ticks: int = TICKS_PER_TURN // 2) -> int:
        """Make the motor's present position read `ticks`, by its homing offset. Returns the offset written.

        Torque must be off. The offset stays in the servo, so that its range does not cross the wrap at 4096.
        """
        present = self.read_register(motor_id, "present_position")
        offset = self.read_register(motor_id, "homing_offset")
        half = TICKS_PER_TURN // 2
        # The shortest way round: an offset of a whole turn would not fit the Feetech's register.
        change = (ticks - present + half) % TICKS_PER_TURN - half
        wanted = offset + self.family.homing_sign * change
        wanted = (wanted + half) % TICKS_PER_TURN - half
        wanted = max(wanted, 1 - half)
        self._write_persistent(motor_id, "homing_offset", wanted)
        return wanted

    def change_id(self, old_id: int, new_id: int) -> None:
        """Give a motor another id, for good. Only one motor with the old id may be on the line."""
        if not 0 <= new_id <= 252:
            raise ValueError(f"a motor's id is 0 to 252, not {new_id}")
        if new_id != old_id and self.ping(new_id) is not None:
            raise MotorBusError(f"Id {new_id} is taken on {self.port}: unplug that motor, or choose another id.")
        register = self.family.registers["id"]
        self._unlock(old_id)
        parameters = self._address(register.address) + register.encode(new_id)
        request = self.family.form.instruction(old_id, Instruction.WRITE, parameters)
        # Some servos answer as the old id, some as the new one: what counts is who answers a ping afterwards.
        self._exchange(request, (old_id,), self.register_timeout_s)
        if self.ping(new_id) is None:
            raise MotorBusError(f"Motor {old_id} on {self.port} did not become {new_id}: power-cycle it and try again.")
        self._lock(new_id)

    def change_baud_rate(self, motor_id: int, baud_rate: int) -> None:
        """Give a motor another baud rate, for good, and go on at that rate. Only this motor may be on the line."""
        codes = self.family.baud_codes
        if baud_rate not in codes:
            raise ValueError(f"{self.family.name} servos know the baud rates {', '.join(map(str, codes))}")
        register = self.family.registers["baud_rate"]
        if self.read_register(motor_id, "baud_rate") != codes[baud_rate]:
            self._unlock(motor_id)
            parameters = self._address(register.address) + register.encode(codes[baud_rate])
            request = self.family.form.instruction(motor_id, Instruction.WRITE, parameters)
            # It may answer at the old rate, or at the new one, which is noise here.
            self._exchange(request, (motor_id,), self.register_timeout_s)
        self._transport.close()
        self._transport = self.open_transport(self.port, baud_rate)
        if self.ping(motor_id) is None and self.ping(motor_id) is None:
            raise MotorBusError(
                f"Motor {motor_id} on {self.port} does not answer at {baud_rate} baud: power-cycle it and try again."
            )
        self._lock(motor_id)

    def _write_persistent(self, motor_id: int, name: str, value: int) -> None:
        self._unlock(motor_id)
        self.write_register(motor_id, name, value)
        self._lock(motor_id)

    def _unlock(self, motor_id: int) -> None:
        if "lock" in self.family.registers:
            self.write_register(motor_id, "lock", 0)

    def _lock(self, motor_id: int) -> None:
        if "lock" in self.family.registers:
            self.write_register(motor_id, "lock", 1)

    def hold_here(self) -> int:
        """Make every motor that has torque stay where it is now, read back. Returns how many that were.

        Raises NoAnswerError, or MotorBusError for a motor that does not take its new goal.
        """
        holding = 0
        for motor_id in self.motor_ids:
            if self._turns(motor_id):  # what turns takes no notice of a position
                holding += self._bring_to_rest(motor_id)
                continue
            # A goal is given only to a motor with torque: some models switch it on by being given one.
            if self.read_register(motor_id, "torque_enable"):
                self.write_register(motor_id, "goal_position", self.read_register(motor_id, "present_position"))
                holding += 1
        return holding

    def broadcast_torque_off(self) -> None:
        """Switch every motor on the line off in one packet that nobody answers: for leaving in a hurry."""
        register = self.family.registers["torque_enable"]
        parameters = self._address(register.address) + register.encode(0)
        self._transport.write(self.family.form.instruction(BROADCAST, Instruction.WRITE, parameters))

    def close(self) -> None:
        """Give the port back."""
        self._transport.close()


_STATE_REGISTERS = ("present_position", "present_velocity", "present_current", "present_temperature", "present_voltage")


def _expected_against_found(bus: ServoBus, wanted: Sequence[int], found: Sequence[FoundMotor | None]) -> str:
    lines = []
    for motor_id, model, one in zip(bus.motor_ids, wanted, found, strict=True):
        known = bus.family.models.get(model)
        expected = known.name if known else "any"
        lines.append(f"  id {motor_id}: expected {expected}, found {one.model_name if one else 'nothing'}")
    return (
        f"The motors on {bus.port} are not those expected:\n"
        + ";\n".join(lines)
        + ".\nCheck power and plugs along the chain; give ids with `motors setup`."
    )
