"""The motor controller's logic as a state machine: bytes in, bytes out, its own clock (PROTOCOL.md).

The twin of firmware/core/core.c, byte for byte. It knows no ports and no physics: `emulator.ControllerEmulator`
connects it to both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from firmware_bridge import framing, messages, safety
from firmware_bridge.codes import (
    MAX_JOINTS,
    TELEMETRY_DEFAULT_US,
    VERSION_MAJOR,
    WATCHDOG_DEFAULT_US,
    Capability,
    Drive,
    Fault,
    JointError,
    MessageType,
    Mode,
    Reaction,
    Refusal,
    Result,
    State,
    Torque,
)
from firmware_bridge.motion_messages import Command, TelemetryFrame
from firmware_bridge.safety import JointMemory, Measured

FEEDBACK_TIMEOUT_US = 20_000
OUTPUT_LIMIT = 4_096
"""Bytes waiting to be sent; a frame that does not fit is dropped and counted, never half sent."""
OVER_VELOCITY_MARGIN_URAD_S = 500_000
"""Added to twice velocity_max before a measured velocity latches a fault."""

_CAPABILITY_OF_MODE = {
    Mode.VELOCITY: Capability.VELOCITY,
    Mode.POSITION: Capability.POSITION,
    Mode.EFFORT: Capability.EFFORT,
}


@dataclass(frozen=True)
class Identity:
    """What the controller says of itself in the handshake."""

    joint_count: int
    capabilities: Capability
    name: str
    serial: str


@dataclass(frozen=True)
class Feedback:
    """One reading of all sensors, in wire units; `valid` False means that nobody answered."""

    measured: tuple[Measured, ...]
    currents_ma: tuple[int, ...]
    temperatures_decidegree: tuple[int, ...]
    voltage_mv: int = 0
    valid: bool = True


def _no_feedback(joint_count: int) -> Feedback:
    zeros = (0,) * joint_count
    return Feedback((Measured(0, 0),) * joint_count, zeros, zeros, 0, valid=False)


class Controller:
    """One motor controller from power-on. Call `receive` with bytes, `tick` with time and feedback, `take_output`."""

    def __init__(self, identity: Identity) -> None:
        if not 1 <= identity.joint_count <= MAX_JOINTS:
            raise ValueError(f"a controller has 1 to {MAX_JOINTS} joints, not {identity.joint_count}")
        self.identity = identity
        self.state = State.UNCONNECTED
        self.drive = Drive.OFF
        self.setpoints: list[int] = [0] * identity.joint_count
        self.faults = Fault(0)
        self.ticks_us = 0
        self._decoder = framing.FrameDecoder()
        self._count: dict[str, int] = {}
        self._output = bytearray()
        self._session = 0
        self._last_sequence = 0
        self._own_sequence = 0
        self._limits: list[messages.WireLimits | None] = [None] * identity.joint_count
        self._armed_limits: tuple[messages.WireLimits, ...] = ()
        self._memory: tuple[JointMemory, ...] = ()
        self._mode: Mode | None = None
        self._targets: tuple[int, ...] = ()
        self._ramping = False
        self._watchdog = messages.SetWatchdog(WATCHDOG_DEFAULT_US, Reaction.STOP)
        self._telemetry_period_us = TELEMETRY_DEFAULT_US
        self._next_telemetry_us = 0
        self._fed_us = 0
        self._checked_us = 0
        self._feedback = _no_feedback(identity.joint_count)
        self._feedback_us = 0
        self._refusal = Refusal.NONE
        self._command_sequence = 0
        self._send(MessageType.BOOT, self._next_own_sequence(), self._identity_message(0).pack())

    # Bytes in and out.

    def receive(self, data: bytes) -> None:
        """Take bytes from the host, any bytes; answers wait in the output."""
        for payload in self._decoder.frames(data):
            self._receive_payload(payload)

    def take_output(self) -> bytes:
        """Return and forget the bytes to be sent."""
        output = bytes(self._output)
        self._output.clear()
        return output

    def read_counters(self) -> messages.Counters:
        """Return the counters of section 9."""
        own = {name: value & 0xFFFFFFFF for name, value in (vars(self._decoder.counters) | self._count).items()}
        return messages.Counters(**own)

    @property
    def armed_limits(self) -> tuple[messages.WireLimits, ...]:
        """The limits that were in force at the last arming; empty before it."""
        return self._armed_limits

    def _bump(self, name: str) -> None:
        self._count[name] = self._count.get(name, 0) + 1

    def _next_own_sequence(self) -> int:
        self._own_sequence = (self._own_sequence + 1) & 0xFFFF
        return self._own_sequence

    def _send(self, kind: MessageType, sequence: int, body: bytes) -> bool:
        frame = framing.encode_frame(bytes((kind,)) + sequence.to_bytes(2, "little") + body)
        if len(self._output) + len(frame) > OUTPUT_LIMIT:
            self._bump("transmit_drops")
            return False
        self._output += frame
        return True

    def _ack(self, request: int, sequence: int, result: Result, detail: int = 0) -> None:
        if result is not Result.OK:
            self._bump("requests_refused")
        self._send(MessageType.ACK, sequence, messages.Ack(request, result, detail).pack())

    def _identity_message(self, session: int) -> messages.HelloReply:
        who = self.identity
        return messages.HelloReply(session, who.joint_count, who.capabilities, who.name, who.serial)

    # Requests.

    def _receive_payload(self, payload: bytes) -> None:
        kind, sequence, body = messages.split_payload(payload)
        reader = _READERS.get(kind)
        if reader is None:
            self._bump("malformed_frames")
            return
        try:
            message: object = reader(body)
        except messages.MalformedBodyError:
            self._bump("malformed_frames")
            return
        except ValueError:
            message = None
        if isinstance(message, messages.Hello):
            self._on_hello(message, sequence)
            return
        if kind == MessageType.STOP:
            self._hold_if_on()
            self._latch(Fault.HOST_STOP, react=False)
            self._ack(kind, sequence, Result.OK)
            return
        if self.state is State.UNCONNECTED:
            if kind == MessageType.COMMAND:
                self._bump("refused_not_armed")
            else:
                self._ack(kind, sequence, Result.NOT_CONNECTED)
            return
        if not 1 <= (sequence - self._last_sequence) & 0xFFFF <= 0x7FFF:
            self._bump("stale_frames")
            return
        self._last_sequence = sequence
        if kind == MessageType.COMMAND:
            self._on_command(message if isinstance(message, Command) else None, sequence)
        elif message is None:
            self._ack(kind, sequence, Result.BAD_VALUE)
        else:
            self._on_request(kind, sequence, message)

    def _on_hello(self, hello: messages.Hello, sequence: int) -> None:
        if hello.major == VERSION_MAJOR and hello.session != self._session:
            self._hold_if_on()
            self.state = State.FAULT if self.faults else State.DISARMED
            self._session = hello.session
            self._last_sequence = sequence
            self._next_telemetry_us = self.ticks_us
        self._send(MessageType.HELLO_REPLY, sequence, self._identity_message(hello.session).pack())

    def _on_request(self, kind: int, sequence: int, message: object) -> None:
        if isinstance(message, messages.SetLimits):
            self._on_set_limits(message, sequence)
        elif isinstance(message, messages.GetLimits):
            self._report_limits(kind, message.joint, sequence)
        elif isinstance(message, messages.SetWatchdog):
            settable = self.state is not State.ARMED
            if settable:
                self._watchdog = message
            self._ack(kind, sequence, Result.OK if settable else Result.WRONG_STATE)
        elif isinstance(message, messages.SetTelemetry):
            self._telemetry_period_us = message.period_us
            self._next_telemetry_us = self.ticks_us + message.period_us
            self._ack(kind, sequence, Result.OK)
        elif isinstance(message, messages.Arm):
            self._ack(kind, sequence, self._arm())
        elif isinstance(message, messages.Disarm):
            self._disarm(message.torque)
            self._ack(kind, sequence, Result.OK)
        elif isinstance(message, messages.ClearFaults):
            self.faults &= ~Fault(message.mask & 0x3F)
            if self.state is State.FAULT and not self.faults:
                self.state = State.DISARMED
            self._ack(kind, sequence, Result.OK, int(self.faults))
        else:
            self._send(MessageType.COUNTERS, sequence, self.read_counters().pack())

    def _on_set_limits(self, message: messages.SetLimits, sequence: int) -> None:
        if self.state is not State.DISARMED:
            self._ack(message.type, sequence, Result.WRONG_STATE)
            return
        try:
            message.limits.check()
        except ValueError:
            self._ack(message.type, sequence, Result.BAD_VALUE)
            return
        if message.joint >= self.identity.joint_count:
            self._ack(message.type, sequence, Result.BAD_VALUE)
            return
        self._limits[message.joint] = message.limits
        self._report_limits(message.type, message.joint, sequence)

    def _report_limits(self, request: int, joint: int, sequence: int) -> None:
        stored = self._limits[joint] if joint < self.identity.joint_count else None
        if stored is None:
            missing = joint < self.identity.joint_count
            self._ack(request, sequence, Result.LIMITS_MISSING if missing else Result.BAD_VALUE)
            return
        self._send(MessageType.LIMITS_REPORT, sequence, messages.LimitsReport(joint, stored).pack())

    def _arm(self) -> Result:
        if self.state is State.FAULT:
            return Result.FAULT_LATCHED
        if self.state is State.ARMED:
            return Result.OK
        limits = tuple(own for own in self._limits if own is not None)
        if len(limits) < self.identity.joint_count:
            return Result.LIMITS_MISSING
        if not self._feedback.valid:
            return Result.FEEDBACK_MISSING
        self._armed_limits = limits
        self._memory = tuple(map(safety.fresh_memory, limits, self._feedback.measured))
        self._mode = None
        self._refusal = Refusal.NONE
        self._hold_now()
        self._fed_us = self._checked_us = self.ticks_us
        self.state = State.ARMED
        return Result.OK

    def _disarm(self, torque: Torque) -> None:
        if self.state is State.ARMED:
            self.state = State.DISARMED
        self._hold_if_on()
        if torque is Torque.OFF:
            self.drive = Drive.OFF

    # Commands.

    def _on_command(self, command: Command | None, sequence: int) -> None:
        if self.state is not State.ARMED:
            self._refuse(Refusal.NOT_ARMED)
            return
        if command is None or len(command.targets) != self.identity.joint_count:
            self._refuse(Refusal.VALUE)
            return
        if not _CAPABILITY_OF_MODE[command.mode] & self.identity.capabilities:
            self._refuse(Refusal.VALUE)
            return
        verdict = safety.check_command(
            command.mode,
            command.targets,
            self._armed_limits,
            self._feedback.measured,
            self._memory,
            elapsed_us=self.ticks_us - self._checked_us,
            mode_changed=command.mode is not self._mode,
        )
        self._memory = verdict.memory
        self._checked_us = self.ticks_us
        if verdict.refusal is not Refusal.NONE:
            self._refuse(verdict.refusal)
            return
        self._bump("commands_applied")
        self._refusal = Refusal.NONE
        self._command_sequence = sequence
        self._fed_us = self.ticks_us
        self._mode, self._targets = command.mode, command.targets
        wanted_drive = Drive.EFFORT if command.mode is Mode.EFFORT else Drive.VELOCITY
        if self.drive is not wanted_drive:
            self._hold_now()
        self.drive = wanted_drive
        if wanted_drive is Drive.EFFORT:
            self.setpoints = list(command.targets)

    def _refuse(self, why: Refusal) -> None:
        self._refusal = why
        self._bump("refused_" + why.name.lower())
        if self.state is State.ARMED:
            self._hold_now()

    def _hold_now(self) -> None:
        self._ramping = False
        self.drive = Drive.HOLD
        self.setpoints = [0] * self.identity.joint_count

    def _hold_if_on(self) -> None:
        # A limp arm may be in somebody's hands: nothing but ARM switches torque on.
        if self.drive is not Drive.OFF:
            self._hold_now()

    def _latch(self, fault: Fault, *, react: bool = True) -> None:
        if not self.faults & fault:
            self._bump("faults_latched")
        self.faults |= fault
        was_armed = self.state is State.ARMED
        if self.state is not State.UNCONNECTED:
            self.state = State.FAULT
        if not (react and was_armed):
            return
        reaction = self._watchdog.reaction
        if reaction is Reaction.STOP and self.drive is Drive.VELOCITY:
            self._ramping = True
        else:
            self._hold_now()
            if reaction is Reaction.DAMP and Capability.DAMPING & self.identity.capabilities:
                self.drive = Drive.DAMP

    def latch(self, fault: Fault) -> None:
        """Latch a fault that something outside has seen, and react as to one's own."""
        self._latch(fault)

    # Time.

    def tick(self, dt_us: int, feedback: Feedback) -> None:
        """Let `dt_us` pass with this feedback at its end: guards, watchdog, setpoints, telemetry."""
        self.ticks_us += dt_us
        if feedback.valid:
            self._feedback, self._feedback_us = feedback, self.ticks_us
        else:
            self._feedback = replace(self._feedback, valid=False)
        if self.state is State.ARMED:
            self._watch()
        if self.state is State.ARMED or self._ramping:
            self._move(dt_us)
        if self.state is not State.UNCONNECTED and self.ticks_us >= self._next_telemetry_us:
            self._next_telemetry_us += self._telemetry_period_us
            if self._next_telemetry_us <= self.ticks_us:
                self._next_telemetry_us = self.ticks_us + self._telemetry_period_us
            if self._send(MessageType.TELEMETRY, self._next_own_sequence(), self.telemetry().pack()):
                self._bump("telemetry_sent")

    def _watch(self) -> None:
        if self.ticks_us - self._feedback_us > FEEDBACK_TIMEOUT_US:
            self._latch(Fault.FEEDBACK_LOST)
        errors = 0
        for joint in range(self.identity.joint_count):
            errors |= self._errors_of(joint)
        if errors & JointError.OVER_TEMPERATURE:
            self._latch(Fault.OVER_TEMPERATURE)
        if errors & JointError.OVER_CURRENT:
            self._latch(Fault.OVER_CURRENT)
        if errors & JointError.OVER_VELOCITY:
            self._latch(Fault.OVER_VELOCITY)
        if self.ticks_us - self._fed_us > self._watchdog.timeout_us:
            self._bump("watchdog_trips")
            self._latch(Fault.WATCHDOG)

    def _move(self, dt_us: int) -> None:
        if self.drive is Drive.EFFORT:
            for limits, now, effort in zip(self._armed_limits, self._feedback.measured, self.setpoints, strict=True):
                if safety.effort_leaves(limits, now, effort):
                    self._bump("guard_stops")
                    self._hold_now()
                    return
        if self.drive is not Drive.VELOCITY:
            return
        for joint, (limits, now) in enumerate(zip(self._armed_limits, self._feedback.measured, strict=True)):
            if self._ramping:
                target = 0
            elif self._mode is Mode.POSITION:
                target = safety.wanted_velocity(limits, now.position_urad, self._targets[joint])
            else:
                target = self._targets[joint]
            self.setpoints[joint] = safety.slew(limits, self.setpoints[joint], target, dt_us)
        for limits, now, velocity in zip(self._armed_limits, self._feedback.measured, self.setpoints, strict=True):
            if not safety.stays_inside(limits, now.position_urad, velocity):
                self._bump("guard_stops")
                self._hold_now()
                return
        if self._ramping and not any(self.setpoints):
            self._hold_now()

    def _errors_of(self, joint: int) -> int:
        # Plain integers: flag arithmetic would be the most expensive thing of a tick.
        errors = 0 if self._feedback.valid else int(JointError.FEEDBACK_MISSING)
        limits = self._limits[joint]
        if limits is None:
            return errors
        now = self._feedback.measured[joint]
        if self._feedback.temperatures_decidegree[joint] > limits.temperature_max_decidegree:
            errors |= JointError.OVER_TEMPERATURE
        if abs(self._feedback.currents_ma[joint]) > limits.current_max_ma:
            errors |= JointError.OVER_CURRENT
        if abs(now.velocity_urad_s) > 2 * limits.velocity_max_urad_s + OVER_VELOCITY_MARGIN_URAD_S:
            errors |= JointError.OVER_VELOCITY
        if not limits.position_min_urad <= now.position_urad <= limits.position_max_urad:
            errors |= JointError.OUTSIDE_LIMITS
        return errors

    def telemetry(self) -> TelemetryFrame:
        """Return what TELEMETRY would say now."""
        counted = self._count
        refused = sum(counted.get("refused_" + why.name.lower(), 0) for why in Refusal if why is not Refusal.NONE)
        return TelemetryFrame(
            self.ticks_us,
            self.state,
            self.drive,
            self._refusal,
            self._command_sequence,
            self._feedback.voltage_mv,
            self.faults,
            refused & 0xFFFFFFFF,
            tuple(now.position_urad for now in self._feedback.measured),
            tuple(now.velocity_urad_s for now in self._feedback.measured),
            self._feedback.currents_ma,
            self._feedback.temperatures_decidegree,
            tuple(self._errors_of(joint) for joint in range(self.identity.joint_count)),
        )


def _empty(message: object) -> Callable[[bytes], object]:
    def read(body: bytes) -> object:
        if body:
            raise messages.MalformedBodyError("this type has no body")
        return message

    return read


_READERS: dict[int, Callable[[bytes], object]] = {
    MessageType.HELLO: messages.Hello.unpack,
    MessageType.SET_LIMITS: messages.SetLimits.unpack,
    MessageType.GET_LIMITS: messages.GetLimits.unpack,
    MessageType.SET_WATCHDOG: messages.SetWatchdog.unpack,
    MessageType.SET_TELEMETRY: messages.SetTelemetry.unpack,
    MessageType.ARM: _empty(messages.Arm()),
    MessageType.DISARM: messages.Disarm.unpack,
    MessageType.STOP: _empty(messages.Stop()),
    MessageType.CLEAR_FAULTS: messages.ClearFaults.unpack,
    MessageType.COMMAND: Command.unpack,
    MessageType.GET_COUNTERS: _empty(messages.GetCounters()),
}
