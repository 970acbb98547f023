"""The controller's promises, asked of both implementations: the Python emulator and the C core."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Protocol

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge import framing, messages
from firmware_bridge.codes import Capability, Drive, Fault, MessageType, Mode, Reaction, Refusal, Result, State, Torque
from firmware_bridge.controller import Controller, Feedback, Identity
from firmware_bridge.messages import WireLimits
from firmware_bridge.motion_messages import Command, TelemetryFrame
from firmware_bridge.safety import Measured
from tests.firmware_bridge.native import NativeController, needs_gcc

EVERYTHING = Capability(127)
IDENTITY = Identity(2, EVERYTHING, "test controller", "T1")
LIMITS = WireLimits(-2_000_000, 2_000_000, 1_000_000, 10_000_000, 3_000, 400_000, 700, 2_000)


class AnyController(Protocol):
    state: State
    drive: Drive
    faults: Fault
    setpoints: list[int]

    def receive(self, data: bytes) -> None: ...
    def take_output(self) -> bytes: ...
    def tick(self, dt_us: int, feedback: Feedback) -> None: ...


@pytest.fixture(params=["python", pytest.param("c", marks=needs_gcc)])
def make(request: pytest.FixtureRequest) -> Callable[[], AnyController]:
    return lambda: (Controller if request.param == "python" else NativeController)(IDENTITY)  # type: ignore[return-value]


def feedback(
    *positions: int, velocity: int = 0, temperature: int = 250, current: int = 0, valid: bool = True
) -> Feedback:
    positions = positions or (0, 0)
    measured = tuple(Measured(position, velocity) for position in positions)
    return Feedback(measured, (current,) * 2, (temperature,) * 2, 12_000, valid)


class Host:
    """Numbers messages, sends them, sorts what comes back."""

    def __init__(self, controller: AnyController) -> None:
        self.controller = controller
        self.sequence = 0
        self._decoder = framing.FrameDecoder()

    def send(self, message: messages.Message, sequence: int | None = None) -> None:
        self.sequence = (self.sequence + 1) & 0xFFFF
        number = self.sequence if sequence is None else sequence
        self.controller.receive(framing.encode_frame(messages.payload(message, number)))

    def replies(self) -> Iterator[tuple[int, int, bytes]]:
        for payload in self._decoder.feed(self.controller.take_output()):
            yield messages.split_payload(payload)

    def request(self, message: messages.Message, sequence: int | None = None) -> Result | None:
        """The result of a request; None if it was not answered."""
        list(self.replies())
        self.send(message, sequence)
        for kind, _number, body in self.replies():
            if kind == MessageType.ACK:
                return messages.Ack.unpack(body).result
            if kind == MessageType.LIMITS_REPORT:
                return Result.OK
        return None

    def telemetry(self) -> TelemetryFrame:
        list(self.replies())
        for _ in range(1000):
            self.controller.tick(1_000, feedback())
            for kind, _number, body in self.replies():
                if kind == MessageType.TELEMETRY:
                    return TelemetryFrame.unpack(body)
        raise AssertionError("no telemetry")

    def counters(self) -> messages.Counters:
        list(self.replies())
        self.send(messages.GetCounters())
        return next(messages.Counters.unpack(body) for kind, _n, body in self.replies() if kind == MessageType.COUNTERS)

    def go(self, reaction: Reaction = Reaction.STOP, limits: WireLimits = LIMITS) -> None:
        self.send(messages.Hello(7))
        for joint in range(2):
            assert self.request(messages.SetLimits(joint, limits)) is Result.OK
        assert self.request(messages.SetWatchdog(100_000, reaction)) is Result.OK
        self.controller.tick(1_000, feedback())
        assert self.request(messages.Arm()) is Result.OK

    def velocity(self, *targets: int) -> None:
        self.send(Command(Mode.VELOCITY, targets))


def test_boots_disarmed_off_and_says_so(make: Callable[[], AnyController]) -> None:
    controller = make()
    assert (controller.state, controller.drive) == (State.UNCONNECTED, Drive.OFF)
    host = Host(controller)
    [(kind, _, body)] = host.replies()
    boot = messages.HelloReply.unpack(body)
    assert (kind, boot.session, boot.joint_count, boot.name, boot.serial) == (
        MessageType.BOOT,
        0,
        2,
        "test controller",
        "T1",
    )
    controller.tick(1_000_000, feedback())
    assert controller.take_output() == b""
    assert host.request(messages.Arm()) is Result.NOT_CONNECTED
    host.velocity(1, 1)
    assert controller.drive is Drive.OFF
    host.send(messages.Hello(7))
    assert host.counters().refused_not_armed == 1


def test_arming_asks_for_limits_feedback_and_no_fault(make: Callable[[], AnyController]) -> None:
    controller = make()
    host = Host(controller)
    host.send(messages.Hello(7))
    assert host.request(messages.GetLimits(0)) is Result.LIMITS_MISSING
    assert host.request(messages.Arm()) is Result.LIMITS_MISSING
    assert host.request(messages.SetLimits(0, LIMITS)) is Result.OK
    assert host.request(messages.Arm()) is Result.LIMITS_MISSING
    assert host.request(messages.SetLimits(1, LIMITS)) is Result.OK
    assert host.request(messages.Arm()) is Result.FEEDBACK_MISSING
    controller.tick(1_000, feedback())
    controller.tick(1_000, feedback(valid=False))
    assert host.request(messages.Arm()) is Result.FEEDBACK_MISSING
    controller.tick(1_000, feedback())
    host.send(messages.Stop())
    assert host.request(messages.Arm()) is Result.FAULT_LATCHED
    assert host.request(messages.ClearFaults()) is Result.OK
    assert controller.state is State.DISARMED
    assert host.request(messages.Arm()) is Result.OK
    assert host.request(messages.Arm()) is Result.OK
    assert (controller.state, controller.drive) == (State.ARMED, Drive.HOLD)
    assert host.request(messages.SetLimits(0, LIMITS)) is Result.WRONG_STATE
    assert host.request(messages.SetWatchdog(50_000, Reaction.HOLD)) is Result.WRONG_STATE


@pytest.mark.parametrize(
    "limits", [(0, 0, 1, 1000, 1, 1, 1, 1), (0, 1, 0, 1000, 1, 1, 1, 1), (0, 1, 1, 999, 1, 1, 1, 1)]
)
def test_bad_limits_are_refused_by_the_controller_itself(
    make: Callable[[], AnyController], limits: tuple[int, ...]
) -> None:
    host = Host(make())
    host.send(messages.Hello(7))
    body = bytes((0,)) + WireLimits.layout.pack(*limits)
    host.controller.receive(framing.encode_frame(bytes((MessageType.SET_LIMITS, 50, 0)) + body))
    acks = [messages.Ack.unpack(body).result for kind, _, body in host.replies() if kind == MessageType.ACK]
    assert acks == [Result.BAD_VALUE]


def test_velocity_ramps_at_the_acceleration_limit(make: Callable[[], AnyController]) -> None:
    controller = make()
    host = Host(controller)
    host.go()
    host.velocity(500_000, -1_000_000)
    for tick in range(1, 91):
        controller.tick(1_000, feedback())
        assert controller.setpoints == [min(500_000, tick * 10_000), -min(1_000_000, tick * 10_000)]
    assert controller.drive is Drive.VELOCITY


def test_a_refused_command_holds_at_once_and_the_next_good_one_moves_on(make: Callable[[], AnyController]) -> None:
    controller = make()
    host = Host(controller)
    host.go()
    host.velocity(300_000, 0)
    controller.tick(10_000, feedback())
    host.velocity(1_000_001, 0)
    assert (controller.drive, controller.setpoints, controller.state) == (Drive.HOLD, [0, 0], State.ARMED)
    seen = host.telemetry()
    assert (seen.refusal, seen.commands_refused) == (Refusal.VELOCITY, 1)
    host.velocity(300_000, 0)
    controller.tick(10_000, feedback())
    assert (controller.drive, controller.setpoints) == (Drive.VELOCITY, [100_000, 0])
    counters = host.counters()
    assert (counters.commands_applied, counters.refused_velocity) == (2, 1)


@pytest.mark.parametrize("reaction", list(Reaction))
def test_watchdog_trips_after_its_time_latches_and_reacts(
    make: Callable[[], AnyController], reaction: Reaction
) -> None:
    controller = make()
    host = Host(controller)
    host.go(reaction)
    host.velocity(500_000, 0)
    for _ in range(100):
        controller.tick(1_000, feedback())
    assert (controller.state, controller.setpoints[0]) == (State.ARMED, 500_000)
    controller.tick(1_000, feedback())
    assert (controller.state, controller.faults) == (State.FAULT, Fault.WATCHDOG)
    if reaction is Reaction.STOP:
        assert (controller.drive, controller.setpoints[0]) == (Drive.VELOCITY, 490_000)
        for _ in range(49):
            controller.tick(1_000, feedback())
        assert (controller.drive, controller.setpoints) == (Drive.HOLD, [0, 0])
    else:
        expected = Drive.HOLD if reaction is Reaction.HOLD else Drive.DAMP
        assert (controller.drive, controller.setpoints) == (expected, [0, 0])
    host.velocity(500_000, 0)
    controller.tick(1_000, feedback())
    assert controller.setpoints == [0, 0] and controller.state is State.FAULT
    assert host.counters().watchdog_trips == 1


@pytest.mark.parametrize("feed", ["refused", "requests", "hello again"])
def test_only_applied_commands_feed_the_watchdog(make: Callable[[], AnyController], feed: str) -> None:
    controller = make()
    host = Host(controller)
    host.go()
    for _ in range(101):
        if feed == "refused":
            host.velocity(2_000_000, 0)
        elif feed == "requests":
            host.send(messages.GetCounters())
        else:
            host.send(messages.Hello(7), sequence=1)
        controller.take_output()
        controller.tick(1_000, feedback())
    assert controller.faults is Fault.WATCHDOG


def test_a_replayed_arm_does_not_arm_and_a_late_command_moves_nothing(make: Callable[[], AnyController]) -> None:
    controller = make()
    host = Host(controller)
    host.go()
    armed_at = host.sequence
    host.velocity(100_000, 0)
    moved_at = host.sequence
    host.velocity(0, 0)
    assert host.request(messages.Disarm(Torque.HOLD)) is Result.OK
    assert host.request(messages.Arm(), sequence=armed_at) is None
    assert controller.state is State.DISARMED
    assert host.request(messages.Arm()) is Result.OK
    host.send(Command(Mode.VELOCITY, (100_000, 0)), sequence=moved_at)
    controller.tick(1_000, feedback())
    assert controller.setpoints == [0, 0]
    assert host.counters().stale_frames == 2


def test_stop_is_obeyed_at_any_sequence_number(make: Callable[[], AnyController]) -> None:
    controller = make()
    host = Host(controller)
    host.go()
    host.velocity(500_000, 0)
    controller.tick(1_000, feedback())
    assert host.request(messages.Stop(), sequence=1) is Result.OK
    assert (controller.drive, controller.faults, controller.state) == (Drive.HOLD, Fault.HOST_STOP, State.FAULT)


def test_nothing_but_arm_switches_torque_on(make: Callable[[], AnyController]) -> None:
    controller = make()
    host = Host(controller)
    host.send(messages.Stop())
    host.send(messages.Hello(3))
    assert (controller.state, controller.drive) == (State.FAULT, Drive.OFF)
    assert host.request(messages.ClearFaults()) is Result.OK
    assert host.request(messages.Disarm(Torque.HOLD)) is Result.OK
    assert controller.drive is Drive.OFF


def test_a_new_session_disarms_but_an_arm_is_not_dropped(make: Callable[[], AnyController]) -> None:
    controller = make()
    host = Host(controller)
    host.go()
    host.send(messages.Hello(8))
    assert (controller.state, controller.drive) == (State.DISARMED, Drive.HOLD)
    assert host.request(messages.Disarm(Torque.OFF)) is Result.OK
    assert controller.drive is Drive.OFF


@pytest.mark.parametrize(
    ("reading", "fault"),
    [
        (feedback(temperature=701), Fault.OVER_TEMPERATURE),
        (feedback(current=-2_001), Fault.OVER_CURRENT),
        (feedback(velocity=2_500_001), Fault.OVER_VELOCITY),
        (feedback(velocity=-2_500_001), Fault.OVER_VELOCITY),
    ],
)
def test_sensors_out_of_range_latch(make: Callable[[], AnyController], reading: Feedback, fault: Fault) -> None:
    controller = make()
    host = Host(controller)
    host.go()
    controller.tick(1_000, reading)
    assert (controller.state, controller.faults) == (State.FAULT, fault)


def test_silent_motors_latch_after_20_ms(make: Callable[[], AnyController]) -> None:
    controller = make()
    host = Host(controller)
    host.go()
    for _ in range(20):
        controller.tick(1_000, feedback(valid=False))
    assert controller.state is State.ARMED
    controller.tick(1_000, feedback(valid=False))
    assert controller.faults is Fault.FEEDBACK_LOST


def test_guard_stops_before_the_position_limit_whatever_was_commanded(make: Callable[[], AnyController]) -> None:
    controller = make()
    host = Host(controller)
    host.go()
    host.velocity(1_000_000, 0)
    for _ in range(100):
        controller.tick(900, feedback())
    assert controller.setpoints[0] == 900_000 or controller.setpoints[0] == 1_000_000
    controller.tick(1_000, feedback(1_990_000, 0))
    assert (controller.drive, controller.setpoints, controller.state) == (Drive.HOLD, [0, 0], State.ARMED)
    assert host.counters().guard_stops == 1


def test_effort_passes_through_and_is_guarded(make: Callable[[], AnyController]) -> None:
    controller = make()
    host = Host(controller)
    host.go()
    host.send(Command(Mode.EFFORT, (3_000, -5)))
    controller.tick(1_000, feedback())
    assert (controller.drive, controller.setpoints) == (Drive.EFFORT, [3_000, -5])
    controller.tick(1_000, feedback(2_000_000, 0))
    assert (controller.drive, controller.setpoints) == (Drive.HOLD, [0, 0])


@pytest.mark.parametrize("targets", [(1,), (1, 2, 3)])
def test_commands_for_another_robot_are_refused(make: Callable[[], AnyController], targets: tuple[int, ...]) -> None:
    host = Host(make())
    host.go()
    host.velocity(*targets)
    assert host.telemetry().refusal is Refusal.VALUE


@needs_gcc
@pytest.mark.parametrize("kind", [Controller, NativeController])
def test_what_a_controller_does_not_offer_is_refused(kind: Callable[[Identity], AnyController]) -> None:
    controller = kind(Identity(2, Capability(0), "poor", "P"))
    host = Host(controller)
    host.go(Reaction.DAMP)
    for mode in Mode:
        host.send(Command(mode, (0, 0)))
        assert host.telemetry().refusal is Refusal.VALUE
    for _ in range(101):
        controller.tick(1_000, feedback())
    # It cannot damp: it holds instead.
    assert (controller.faults, controller.drive) == (Fault.WATCHDOG, Drive.HOLD)


def test_a_full_output_drops_whole_frames(make: Callable[[], AnyController]) -> None:
    controller = make()
    host = Host(controller)
    host.send(messages.Hello(7))
    for _ in range(100):
        host.send(messages.GetCounters())
    whole = list(host.replies())
    assert sum(kind == MessageType.COUNTERS for kind, _, _ in whole) < 100
    assert host._decoder.counters.crc_errors + host._decoder.counters.framing_errors == 0
    assert host.counters().transmit_drops > 0


message_strategy = st.one_of(
    st.builds(messages.Hello, st.integers(1, 3), st.sampled_from([1, 1, 1, 2])),
    st.builds(messages.SetLimits, st.integers(0, 2), st.just(LIMITS)),
    st.builds(messages.GetLimits, st.integers(0, 3)),
    st.builds(messages.SetWatchdog, st.integers(5_000, 60_000), st.sampled_from(Reaction)),
    st.builds(messages.SetTelemetry, st.integers(1_000, 20_000)),
    st.just(messages.Arm()),
    st.builds(messages.Disarm, st.sampled_from(Torque)),
    st.just(messages.Stop()),
    st.builds(messages.ClearFaults, st.integers(0, 255)),
    st.just(messages.GetCounters()),
    st.builds(
        Command,
        st.sampled_from(Mode),
        st.tuples(st.integers(-1_000_000, 1_000_000), st.integers(-1_000_000, 1_000_000)),
    ),
    st.just(Command(Mode.VELOCITY, (1_000_001, 0))),
    st.builds(Command, st.just(Mode.EFFORT), st.tuples(st.integers(-3_001, 3_001), st.integers(-3_001, 3_001))),
    st.builds(Command, st.just(Mode.VELOCITY), st.tuples(st.integers(-90_000, 90_000), st.integers(-90_000, 90_000))),
)


def random_feedback(rng: random.Random) -> Feedback:
    wild = rng.random() < 0.02
    spread = 3_000_000 if rng.random() < 0.2 else 300_000
    measured = tuple(Measured(rng.randint(-spread, spread), rng.randint(-1_000_000, 1_000_000)) for _ in range(2))
    if wild:
        measured = (Measured(2_000_000, 3_000_000), measured[1])
    currents = (rng.choice([0, 0, 0, 2_001 if wild else 1]), -3)
    return Feedback(measured, currents, (250, 701 if wild else 700), rng.randint(0, 65_535), rng.random() > 0.05)


def setup_frames() -> list[messages.Message]:
    return [messages.Hello(1), messages.SetLimits(0, LIMITS), messages.SetLimits(1, LIMITS), messages.Arm()]


@needs_gcc
@settings(max_examples=60)
@given(st.lists(message_strategy, max_size=60), st.randoms(use_true_random=False), st.booleans())
def test_both_implementations_answer_byte_for_byte(
    run: list[messages.Message], rng: random.Random, noisy: bool
) -> None:
    """The same bytes, times and feedback, damaged or not: the same output bytes and the same drive."""
    twins: list[AnyController] = [Controller(IDENTITY), NativeController(IDENTITY)]  # type: ignore[list-item]
    for number, message in enumerate(setup_frames() + run, start=1):
        frame = bytearray(framing.encode_frame(messages.payload(message, number)))
        if noisy and rng.random() < 0.2:
            frame[rng.randrange(len(frame))] = rng.randrange(256)
        if noisy and rng.random() < 0.1:
            frame += frame[: rng.randrange(len(frame))]
        dt_us, reading = rng.choice([1, 500, 1_000, 2_000, 15_000]), random_feedback(rng)
        outputs = []
        for controller in twins:
            controller.receive(bytes(frame))
            controller.tick(dt_us, reading)
            outputs.append(
                (
                    controller.take_output(),
                    controller.state,
                    controller.drive,
                    controller.faults,
                    list(controller.setpoints),
                )
            )
        assert outputs[0] == outputs[1], f"after message {number}: {message}"


@settings(max_examples=40)
@given(st.lists(message_strategy, min_size=5, max_size=80), st.randoms(use_true_random=False))
def test_no_setpoint_is_ever_beyond_the_limits(run: list[messages.Message], rng: random.Random) -> None:
    controller = Controller(IDENTITY)
    for number, message in enumerate([*setup_frames(), *run], start=1):
        controller.receive(framing.encode_frame(messages.payload(message, number)))
        before = list(controller.setpoints)
        controller.tick(1_000, random_feedback(rng))
        if controller.drive is Drive.VELOCITY:
            assert controller.state is State.ARMED or max(map(abs, controller.setpoints)) <= max(map(abs, before))
            assert all(abs(setpoint) <= 1_000_000 for setpoint in controller.setpoints)
            assert all(abs(b - a) <= 10_000 for a, b in zip(before, controller.setpoints, strict=True))
        elif controller.drive is Drive.EFFORT:
            assert controller.state is State.ARMED and all(abs(setpoint) <= 3_000 for setpoint in controller.setpoints)
        else:
            assert controller.setpoints == [0, 0]
