"""The host's end of the motor protocol: `MotorLink`, one object per controller.

One thread reads and keeps the newest telemetry; callers write. Requests wait for their answer and are repeated with a
new sequence number when it does not come; commands are sent once and never wait.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firmware_bridge import framing, messages, units
from firmware_bridge.codes import VERSION_MAJOR, Capability, MessageType, Mode, Reaction, Result, Torque
from firmware_bridge.errors import (
    HandshakeMismatchError,
    LinkError,
    LinkLostError,
    NoAnswerError,
    ReadBackError,
    RefusedError,
)
from firmware_bridge.motion_messages import BOUND_OF_MODE, Command, TelemetryFrame
from firmware_bridge.telemetry import JointLimits, Telemetry
from firmware_bridge.transport import SerialTransport, Transport

REQUEST_TIMEOUT_S = 2.0
STOP_TIMEOUT_S = 0.5
REPEAT_AFTER_S = 0.1
_READ_TIMEOUT_S = 0.2


@dataclass(frozen=True)
class Handshake:
    """Who answered: what the controller says of itself."""

    name: str
    serial: str
    joint_count: int
    capabilities: Capability
    version_major: int
    version_minor: int


@dataclass(frozen=True)
class LinkCounters:
    """Both ends' counts: the controller's since its boot, and this host's since the link was made."""

    controller: messages.Counters
    host: framing.FramingCounters
    host_ignored_frames: int
    commands_sent: int
    bus: Mapping[str, int]
    """What went wrong on a servo bus; empty in front of a board."""


@dataclass
class _Waiting:
    """One request in flight: the sequence numbers it was sent under, and its answer."""

    sequences: set[int]
    answer: tuple[int, bytes] | None = None


class MotorLink:
    """A controller on a serial port. Thread-safe; `latest` and `command_*` never wait for the controller.

    Every method raises LinkLostError once the port, the controller's session or the link is gone.
    """

    def __init__(
        self,
        port: str,
        *,
        expected_joint_count: int | None = None,
        telemetry_period_s: float = 0.01,
        open_transport: Callable[[str], Transport] = SerialTransport,
    ) -> None:
        self.port = port
        self._expected_joint_count = expected_joint_count
        self._telemetry_period_s = telemetry_period_s
        self._open_transport = open_transport
        self._transport: Transport | None = None
        self._reader: threading.Thread | None = None
        self._closing = False
        self._failure: LinkLostError | None = None
        self._decoder = framing.FrameDecoder()
        self._write_lock = threading.Lock()
        self._sequence = 0
        self._session = 0
        self._answered = threading.Condition()
        self._waiting: list[_Waiting] = []
        self._telemetry: Telemetry | None = None
        self._ignored_frames = 0
        self._commands_sent = 0
        self._joint_count = 0
        self._handshake: Handshake | None = None
        self._sent_limits: tuple[JointLimits, ...] = ()
        self._sent_watchdog: tuple[float, Reaction] | None = None

    # Connecting, coming back, leaving.

    def connect(self, timeout_s: float = 2.0) -> Handshake:
        """Open the port, start a session, wait for the first telemetry. Disarms a controller that was armed.

        Raises PortMissingError, PortBusyError, NoAnswerError if nothing speaks the protocol there, and
        HandshakeMismatchError if what answers is another version or has another number of joints than expected.
        """
        if self._transport is not None:
            raise LinkError(f"The link to {self.port} is open already: close it before connecting again.")
        self._transport = self._open_transport(self.port)
        self._closing, self._failure, self._telemetry = False, None, None
        self._decoder, self._joint_count = framing.FrameDecoder(), 0
        self._session = random.SystemRandom().randint(1, 0xFFFFFFFF)
        self._reader = threading.Thread(target=self._read_until_closed, name=f"motor link {self.port}", daemon=True)
        self._reader.start()
        try:
            # A zero first: it ends whatever noise is in the controller's buffer.
            self._write(b"\x00")
            reply = self._shake_hands(timeout_s)
            period_us = units.to_wire(self._telemetry_period_s, units.PER_MICRO, 1_000_000, "telemetry period")
            self._request(messages.SetTelemetry(period_us), timeout_s)
            self._await_telemetry(timeout_s)
        except BaseException:
            self.close()
            raise
        self._handshake = Handshake(
            reply.name, reply.serial, reply.joint_count, reply.capabilities, reply.major, reply.minor
        )
        return self._handshake

    def reconnect(self, timeout_s: float) -> Handshake:
        """After LinkLostError: wait for the port to come back, shake hands, send limits and watchdog as before.

        Motors stay disarmed: arming is the operator's word, every time. Raises what `connect` raises, once the time
        is up; HandshakeMismatchError at once, also if it is another controller than before.
        """
        deadline_s = time.monotonic() + timeout_s
        before, limits, watchdog = self._handshake, self._sent_limits, self._sent_watchdog
        self.close()
        while True:
            try:
                handshake = self.connect(min(2.0, timeout_s))
                break
            except HandshakeMismatchError:
                raise
            except LinkError:
                if time.monotonic() >= deadline_s:
                    raise
                time.sleep(0.05)
        if before is not None and handshake != before:
            self.close()
            raise HandshakeMismatchError(
                f"Another controller is on {self.port} than before: {handshake.name!r} {handshake.serial!r} instead of "
                f"{before.name!r} {before.serial!r}: plug the right one in, or start again."
            )
        if limits:
            self.clear_faults()
            self.upload_limits(limits)
        if watchdog is not None:
            self.configure_watchdog(*watchdog)
        return handshake

    def _shake_hands(self, timeout_s: float) -> messages.HelloReply:
        kind, body = self._exchange(messages.Hello(self._session), timeout_s)
        try:
            reply = messages.HelloReply.unpack(body)
        except ValueError as problem:
            raise HandshakeMismatchError(
                f"What answers on {self.port} is no FOSP motor controller ({problem}): check the port."
            ) from None
        if kind != MessageType.HELLO_REPLY or reply.major != VERSION_MAJOR:
            raise HandshakeMismatchError(
                f"The controller {reply.name!r} on {self.port} speaks protocol {reply.major}.{reply.minor}, this "
                f"computer speaks {VERSION_MAJOR}.x: flash the firmware that belongs to this release."
            )
        if self._expected_joint_count not in (None, reply.joint_count):
            raise HandshakeMismatchError(
                f"The controller {reply.name!r} on {self.port} has {reply.joint_count} joints, this robot has "
                f"{self._expected_joint_count}: choose the other --port or the other --robot."
            )
        self._joint_count = reply.joint_count
        return reply

    def _await_telemetry(self, timeout_s: float) -> None:
        with self._answered:
            self._answered.wait_for(lambda: self._telemetry is not None or self._failure is not None, timeout_s)
        if self._failure is not None:
            raise self._gone()
        if self._telemetry is None:
            raise NoAnswerError(
                f"The controller on {self.port} sends no telemetry: power-cycle it, then connect again."
            )

    def close(self) -> None:
        """Give the port back. Sends nothing: `disarm` or `stop` first, else the watchdog does it. Harmless twice."""
        self._closing = True
        transport, self._transport = self._transport, None
        if transport is None:
            return
        transport.wake()
        if self._reader is not None and self._reader is not threading.current_thread():
            self._reader.join()
        transport.close()
        with self._answered:
            self._answered.notify_all()

    def __enter__(self) -> MotorLink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Requests: answered, repeated until they are.

    def upload_limits(self, limits: Sequence[JointLimits], timeout_s: float = REQUEST_TIMEOUT_S) -> None:
        """Store one `JointLimits` per joint on the controller and compare what it has stored.

        Raises ValueError for limits out of range, RefusedError while armed, ReadBackError if a value differs.
        """
        if len(limits) != self._joint_count:
            raise ValueError(f"the controller has {self._joint_count} joints, {len(limits)} limits were given")
        self._sent_limits = tuple(limits)
        for joint, own in enumerate(limits):
            wire = own.to_wire()
            _, body = self._request(messages.SetLimits(joint, wire), timeout_s)
            stored = messages.LimitsReport.unpack(body)
            if stored.joint != joint or stored.limits != wire:
                raise ReadBackError(
                    f"Joint {joint}: the controller stored {stored.limits}, {wire} was sent: "
                    "do not arm it; update its firmware."
                )

    def configure_watchdog(self, timeout_s: float, reaction: Reaction = Reaction.STOP) -> None:
        """Set how long the controller waits for an applied command (0.005 to 1 s), and what it does then."""
        timeout_us = units.to_wire(timeout_s, units.PER_MICRO, 2**31 - 1, "watchdog timeout in seconds")
        self._request(messages.SetWatchdog(timeout_us, reaction))
        self._sent_watchdog = (timeout_s, reaction)

    def arm(self) -> None:
        """Let the motors follow commands; the first must come within the watchdog's time. Raises RefusedError."""
        self._request(messages.Arm())

    def disarm(self, torque: Torque = Torque.HOLD) -> None:
        """Stop following commands; hold the arm, or with Torque.OFF let it go limp."""
        self._request(messages.Disarm(torque))

    def clear_faults(self) -> None:
        """Clear all latched faults. Arming stays a step of its own."""
        self._request(messages.ClearFaults())

    def counters(self) -> LinkCounters:
        """Ask the controller for its counters, and add this host's."""
        kind, body = self._request(messages.GetCounters())
        if kind != MessageType.COUNTERS:
            raise NoAnswerError(f"The controller on {self.port} gave no counters: update its firmware.")
        host = framing.FramingCounters(**vars(self._decoder.counters))
        bus: Mapping[str, int] = getattr(self._transport, "bus_counters", dict)()
        return LinkCounters(messages.Counters.unpack(body), host, self._ignored_frames, self._commands_sent, bus)

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> bool:
        """Tell the controller to hold now and latch. True when it has acknowledged; False if no answer came in time.

        Raises LinkLostError only if the port is gone. Repeated every `REPEAT_AFTER_S` until it is answered.
        """
        try:
            self._request(messages.Stop(), timeout_s)
        except (NoAnswerError, RefusedError):
            return False
        return True

    # The hot path: sent once, never waits.

    def command_velocity(self, velocity_rad_s: NDArray[np.float64] | Sequence[float]) -> int:
        """Send velocity targets, one per joint. Returns the sequence number that telemetry will echo.

        Raises ValueError on NaN, infinity or a value beyond ±50 rad/s, before anything is sent.
        """
        return self._command(Mode.VELOCITY, velocity_rad_s, units.PER_MICRO, "velocity")

    def command_position(self, position_rad: NDArray[np.float64] | Sequence[float]) -> int:
        """Send position targets, one per joint, within ±100 rad. Otherwise as `command_velocity`."""
        return self._command(Mode.POSITION, position_rad, units.PER_MICRO, "position")

    def command_effort(self, effort_nm: NDArray[np.float64] | Sequence[float]) -> int:
        """Send effort targets, one per joint, within ±1000 N·m. Otherwise as `command_velocity`."""
        return self._command(Mode.EFFORT, effort_nm, units.PER_MILLI, "effort")

    def latest(self) -> Telemetry | None:
        """Return the newest telemetry, or None before the first. Never waits. Its age is the caller's to judge."""
        if self._failure is not None or self._transport is None:
            raise self._gone()
        return self._telemetry

    def _command(self, mode: Mode, values: NDArray[np.float64] | Sequence[float], scale: int, what: str) -> int:
        plain = values.tolist() if isinstance(values, np.ndarray) else values
        if len(plain) != self._joint_count:
            raise ValueError(f"the controller has {self._joint_count} joints, {len(plain)} targets were given")
        sequence = self._send(Command(mode, units.to_wire_each(plain, scale, BOUND_OF_MODE[mode], what)))
        self._commands_sent += 1
        return sequence

    # Inside.

    def _gone(self) -> LinkLostError:
        if self._failure is not None:
            # A fresh object each time: a shared one would gather tracebacks.
            return LinkLostError(*self._failure.args)
        return LinkLostError(f"The link to {self.port} is closed: connect first.")

    def _write(self, frame: bytes) -> None:
        transport = self._transport
        if self._failure is not None or transport is None:
            raise self._gone()
        try:
            transport.write(frame)
        except LinkLostError as problem:
            self._fail(problem)
            raise

    def _send(self, message: messages.Message, waiting: _Waiting | None = None) -> int:
        # The lock spans numbering and writing: numbers must reach the wire in order.
        with self._write_lock:
            sequence = self._sequence = (self._sequence + 1) & 0xFFFF
            if waiting is not None:
                # Before the bytes leave: a quick controller answers before this thread runs again.
                waiting.sequences.add(sequence)
            self._write(framing.encode_frame(messages.payload(message, sequence)))
        return sequence

    def _exchange(self, message: messages.Message, timeout_s: float) -> tuple[int, bytes]:
        """Send until answered. Returns (type, body) of the answer. Raises NoAnswerError, LinkLostError."""
        deadline_s = time.monotonic() + timeout_s
        waiting = _Waiting(set())
        with self._answered:
            self._waiting.append(waiting)
        try:
            while True:
                self._send(message, waiting)
                with self._answered:
                    patience_s = min(REPEAT_AFTER_S, max(0.0, deadline_s - time.monotonic()))
                    self._answered.wait_for(lambda: waiting.answer is not None or self._failure is not None, patience_s)
                    if waiting.answer is not None:
                        return waiting.answer
                if self._failure is not None or self._closing:
                    raise self._gone()
                if time.monotonic() >= deadline_s:
                    raise NoAnswerError(
                        f"The controller on {self.port} did not answer {message.type.name} within {timeout_s:g} s: "
                        "check that it is powered, that the port is the right one, and its baud rate."
                    )
        finally:
            with self._answered:
                self._waiting.remove(waiting)

    def _request(self, message: messages.Message, timeout_s: float = REQUEST_TIMEOUT_S) -> tuple[int, bytes]:
        kind, body = self._exchange(message, timeout_s)
        if kind == MessageType.ACK:
            ack = messages.Ack.unpack(body)
            if ack.result is not Result.OK:
                raise RefusedError(
                    f"The controller on {self.port} refuses {message.type.name}: {_WHAT_TO_DO[ack.result]}", ack.result
                )
        return kind, body

    def _fail(self, problem: LinkLostError) -> None:
        with self._answered:
            self._failure = self._failure or problem
            self._answered.notify_all()

    def _read_until_closed(self) -> None:
        transport = self._transport
        while transport is not None and not self._closing and self._failure is None:
            try:
                data = transport.read(_READ_TIMEOUT_S)
            except LinkLostError as problem:
                if not self._closing:
                    self._fail(problem)
                return
            if not data:
                continue
            received_ns = time.monotonic_ns()
            for payload in self._decoder.feed(data):
                self._receive(payload, received_ns)

    def _receive(self, payload: bytes, received_ns: int) -> None:
        try:
            self._take(payload, received_ns)
        except ValueError:
            # A good CRC around nonsense: not ours to obey, not a reason to stop listening.
            self._ignored_frames += 1

    def _take(self, payload: bytes, received_ns: int) -> None:
        kind, sequence, body = messages.split_payload(payload)
        if kind == MessageType.TELEMETRY:
            frame = TelemetryFrame.unpack(body)
            # Telemetry from before our HELLO may still lie in the port's buffer: count none before we know the joints.
            if len(frame.positions_urad) == self._joint_count:
                first = self._telemetry is None
                self._telemetry = Telemetry.from_frame(frame, sequence, received_ns)
                if first:
                    with self._answered:
                        self._answered.notify_all()
        elif kind == MessageType.BOOT:
            if self._joint_count and self._telemetry is not None:
                self._fail(
                    LinkLostError(
                        f"The controller on {self.port} has restarted: its limits and its session are gone; "
                        "connect again, then arm."
                    )
                )
        elif kind in (MessageType.HELLO_REPLY, MessageType.LIMITS_REPORT, MessageType.ACK, MessageType.COUNTERS):
            self._deliver(kind, sequence, body)
        else:
            self._ignored_frames += 1

    def _deliver(self, kind: int, sequence: int, body: bytes) -> None:
        with self._answered:
            for waiting in self._waiting:
                if sequence in waiting.sequences and waiting.answer is None:
                    waiting.answer = (kind, body)
                    self._answered.notify_all()
                    return
        self._ignored_frames += 1


_WHAT_TO_DO = {
    Result.OK: "it agrees.",
    Result.NOT_CONNECTED: "it knows of no session; connect again.",
    Result.WRONG_STATE: "it is armed (or armed already); disarm first.",
    Result.FAULT_LATCHED: "a fault is latched; look at the telemetry, remove the cause, clear the faults.",
    Result.LIMITS_MISSING: "it has no limits for every joint yet; upload them first.",
    Result.BAD_VALUE: "a value is out of its range; see PROTOCOL.md, sections 3 and 6.",
    Result.FEEDBACK_MISSING: "its motors do not answer; check their power and their bus.",
}
