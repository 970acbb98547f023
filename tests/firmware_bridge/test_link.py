"""MotorLink against the emulated controller over a real pseudo-terminal, with things going wrong."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from firmware_bridge import (
    Fault,
    HandshakeMismatchError,
    JointLimits,
    LinkLostError,
    MotorLink,
    NoAnswerError,
    PortBusyError,
    PortMissingError,
    Reaction,
    Refusal,
    RefusedError,
    State,
    Torque,
)
from firmware_bridge.codes import Capability, Drive, Result
from firmware_bridge.controller import Controller, Feedback, Identity
from firmware_bridge.emulator import PseudoTerminal
from firmware_bridge.safety import Measured
from tests.firmware_bridge.plants import running_emulator

LIMITS = [JointLimits(-2.0, 2.0, 1.0, 20.0)] * 6


def eventually(condition: Callable[[], bool], within_s: float = 20.0) -> None:
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not happen"
        time.sleep(0.002)


def ready(link: MotorLink, watchdog_s: float = 1.0) -> None:
    link.connect(10.0)
    link.upload_limits(LIMITS, 10.0)
    link.configure_watchdog(watchdog_s, Reaction.STOP)


def test_from_handshake_to_motion_to_stop() -> None:
    with running_emulator() as (line, emulator), MotorLink(line.path, expected_joint_count=6) as link:
        handshake = link.connect(10.0)
        assert (handshake.name, handshake.serial, handshake.joint_count) == ("fosp-emulator", "EMU0001", 6)
        link.upload_limits(LIMITS)
        link.configure_watchdog(1.0, Reaction.STOP)
        link.arm()
        sequence = link.command_velocity(np.full(6, 0.5))
        eventually(lambda: (now := link.latest()) is not None and now.command_sequence == sequence)
        eventually(lambda: bool(np.all(link.latest().position_rad > 0.05)))  # type: ignore[union-attr]
        assert link.stop(10.0) is True
        eventually(lambda: link.latest().state is State.FAULT)  # type: ignore[union-attr]
        telemetry = link.latest()
        assert telemetry is not None and telemetry.faults is Fault.HOST_STOP and telemetry.drive is Drive.HOLD
        assert emulator.plant.velocity == [0.0] * 6
        link.command_velocity(np.full(6, 0.5))
        eventually(lambda: link.latest().refusal is Refusal.NOT_ARMED)  # type: ignore[union-attr]
        assert emulator.plant.velocity == [0.0] * 6
        with pytest.raises(RefusedError) as refused:
            link.arm()
        assert refused.value.result is Result.FAULT_LATCHED
        link.clear_faults()
        link.arm()
        link.disarm(Torque.HOLD)
        assert link.counters().controller.commands_applied == 1


def test_silence_stops_the_motors_and_latches() -> None:
    with running_emulator() as (line, emulator), MotorLink(line.path) as link:
        ready(link, watchdog_s=0.1)
        link.arm()
        link.command_velocity(np.full(6, 0.5))
        eventually(lambda: link.latest().faults is Fault.WATCHDOG)  # type: ignore[union-attr]
        eventually(lambda: emulator.plant.velocity == [0.0] * 6)
        assert emulator.controller.state is State.FAULT


def test_commands_beyond_limits_are_refused_and_counted() -> None:
    with running_emulator() as (line, emulator), MotorLink(line.path) as link:
        ready(link)
        link.arm()
        link.command_velocity(np.full(6, 1.01))
        eventually(lambda: link.latest().refusal is Refusal.VELOCITY)  # type: ignore[union-attr]
        assert emulator.plant.fastest_rad_s == 0.0
        assert link.counters().controller.refused_velocity == 1


@pytest.mark.parametrize("bad", [math.nan, math.inf, 51.0])
def test_bad_numbers_never_leave_this_computer(bad: float) -> None:
    with running_emulator() as (line, _emulator), MotorLink(line.path) as link:
        ready(link)
        with pytest.raises(ValueError):
            link.command_velocity(np.array([0.0, 0.0, bad, 0.0, 0.0, 0.0]))
        with pytest.raises(ValueError):
            link.command_velocity(np.zeros(5))
        counters = link.counters()
        assert counters.commands_sent == 0 and counters.controller.refused_not_armed == 0


def test_limits_are_needed_before_arming_and_closed_while_armed() -> None:
    with running_emulator() as (line, _emulator), MotorLink(line.path) as link:
        link.connect(10.0)
        with pytest.raises(RefusedError) as refused:
            link.arm()
        assert refused.value.result is Result.LIMITS_MISSING
        link.upload_limits(LIMITS)
        link.arm()
        with pytest.raises(RefusedError):
            link.upload_limits(LIMITS)


def test_the_plug_is_pulled() -> None:
    with running_emulator() as (line, _emulator), MotorLink(line.path) as link:
        ready(link)
        line.close()

        def lost() -> bool:
            try:
                link.latest()
            except LinkLostError:
                return True
            return False

        eventually(lost)
        for call in (link.arm, lambda: link.command_velocity(np.zeros(6)), link.stop, link.counters):
            with pytest.raises(LinkLostError, match="connect again"):
                call()


def test_a_new_host_disarms_and_an_old_session_is_gone() -> None:
    with running_emulator() as (line, emulator):
        with MotorLink(line.path) as first:
            ready(first)
            first.arm()
            eventually(lambda: emulator.controller.state is State.ARMED)
        with MotorLink(line.path) as second:
            second.connect(10.0)
            assert emulator.controller.state is State.DISARMED


def test_a_restarted_controller_is_noticed() -> None:
    with running_emulator() as (line, emulator), MotorLink(line.path) as link:
        ready(link)
        eventually(lambda: link.latest() is not None)
        emulator.controller = type(emulator.controller)(emulator.controller.identity)

        def restarted() -> bool:
            try:
                link.latest()
            except LinkLostError as lost:
                return "restarted" in str(lost)
            return False

        eventually(restarted)


def test_port_missing_busy_and_silent() -> None:
    with pytest.raises(PortMissingError, match="find-port"):
        MotorLink("/dev/serial/by-id/nothing-here").connect()
    with running_emulator() as (line, _emulator), MotorLink(line.path) as link:
        link.connect(10.0)
        with pytest.raises(PortBusyError, match="Another program"):
            MotorLink(line.path).connect()
    with PseudoTerminal() as silent, pytest.raises(NoAnswerError, match="HELLO"):
        MotorLink(silent.path).connect(0.15)


def test_another_robot_is_refused() -> None:
    with running_emulator(joints=5) as (line, _emulator):
        with pytest.raises(HandshakeMismatchError, match="5 joints"):
            MotorLink(line.path, expected_joint_count=6).connect(10.0)
        # The refused link has given the port back.
        with MotorLink(line.path, expected_joint_count=5) as link:
            link.connect(10.0)


def test_noise_from_the_controller_never_ends_the_reader() -> None:
    with running_emulator() as (line, emulator), MotorLink(line.path) as link:
        ready(link)
        rng = np.random.default_rng(1)
        for _ in range(20):
            emulator.controller._output += rng.bytes(int(rng.integers(1, 300)))
            time.sleep(0.002)
        eventually(lambda: link.counters().host.crc_errors + link.counters().host.framing_errors > 0)
        before = link.latest()
        eventually(lambda: link.latest().sequence != before.sequence)  # type: ignore[union-attr]


def test_closed_link_says_so() -> None:
    with running_emulator() as (line, _emulator):
        link = MotorLink(line.path)
        with pytest.raises(LinkLostError, match="connect first"):
            link.latest()
        link.connect(10.0)
        link.close()
        link.close()
        with pytest.raises(LinkLostError):
            link.command_velocity(np.zeros(6))
        # And may be connected again.
        link.connect(10.0)
        link.close()


class _Echo:
    """A transport whose controller answers inside `write`, before the caller can do anything else."""

    def __init__(self, _port: str) -> None:
        self.controller = Controller(Identity(2, Capability(3), "quick", "Q"))
        self.controller.take_output()
        self.output = bytearray()
        self.changed = threading.Condition()

    def read(self, timeout_s: float) -> bytes:
        with self.changed:
            self.changed.wait_for(lambda: bool(self.output), timeout_s)
            data = bytes(self.output)
            self.output.clear()
        return data

    def write(self, data: bytes) -> None:
        with self.changed:
            self.controller.receive(data)
            self.controller.tick(20_000, Feedback((Measured(0, 0),) * 2, (0, 0), (0, 0)))
            self.output += self.controller.take_output()
            self.changed.notify_all()
        # The answer is read while the writer still sleeps.
        time.sleep(0.005)

    def wake(self) -> None:
        with self.changed:
            self.changed.notify_all()

    def close(self) -> None:
        pass


def test_an_answer_that_comes_before_the_writer_wakes_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firmware_bridge.link.REPEAT_AFTER_S", 30.0)
    with MotorLink("quick", open_transport=_Echo) as link:
        link.connect(10.0)
        for _ in range(5):
            link.counters()
        assert link.counters().controller.frames_received == 8
