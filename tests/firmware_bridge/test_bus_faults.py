"""Servo buses that misbehave: lost and damaged answers, echoes, servos that are unwell or set up for something else."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from firmware_bridge import Fault, HandshakeMismatchError, LinkLostError, State
from firmware_bridge.buses import calibration as calibrations
from firmware_bridge.buses.bus import MotorBusError, ServoBus
from firmware_bridge.buses.emulator import ServoChainEmulator
from firmware_bridge.buses.families import DYNAMIXEL_X, FAMILIES, FEETECH_STS, ServoFamily
from firmware_bridge.buses.servos import Joints
from firmware_bridge.buses.virtual import VirtualController, servo_link
from firmware_bridge.link import MotorLink
from tests.firmware_bridge.plants import IntegratorPlant
from tests.firmware_bridge.test_buses import LIMITS, MODEL, chain_on_a_line, eventually, families, patient


class ChainTransport:
    """A chain at the other end of a call: no port, no threads, no time. `spoil` changes what comes back."""

    def __init__(
        self,
        family: ServoFamily,
        joints: int = 2,
        spoil: Callable[[bytes], bytes] = lambda data: data,
        wheels: Sequence[int] = (),
    ) -> None:
        self.plant = IntegratorPlant(joints)
        self.chain = ServoChainEmulator(family, range(1, joints + 1), self.plant, MODEL[family.name], wheels)
        self.spoil = spoil
        self.echoes = False
        self._waiting = b""

    def __call__(self, port: str, baud_rate: int) -> ChainTransport:
        return self

    def read(self, timeout_s: float) -> bytes:
        data, self._waiting = self._waiting, b""
        if not data:
            time.sleep(min(timeout_s, 0.002))
        return data

    def write(self, data: bytes) -> None:
        self.chain.advance(0.0)
        self._waiting += (data if self.echoes else b"") + self.spoil(self.chain.receive(data))

    def wake(self) -> None:
        pass

    def close(self) -> None:
        pass


def bus_over(transport: ChainTransport, family: ServoFamily, joints: int = 2, **options: object) -> ServoBus:
    ids = tuple(range(1, joints + 1))
    timeouts = {"state_timeout_s": 0.005, "register_timeout_s": 0.02}
    return ServoBus("line", family, ids, open_transport=transport, **{**timeouts, **options})  # type: ignore[arg-type]


@families
def test_an_adapter_that_echoes_is_understood(family: ServoFamily) -> None:
    transport = ChainTransport(family)
    transport.echoes = True
    bus = bus_over(transport, family)
    assert [one.motor_id for one in bus.handshake()] == [1, 2]
    # A Feetech request to read two bytes looks like an answer of two bytes.
    assert bus.read_register(2, "model_number") == MODEL[family.name]
    bus.set_torque(True)
    bus.write_goals([2048, 2048])
    assert all(state is not None and state.position_ticks == 2048 for state in bus.read_states())
    assert bus.counters.missing_answers == 0 and bus.counters.stray_packets <= 2
    # A servo that is gone stays gone, whatever the adapter says back.
    assert bus.ping(9) is None


@families
def test_a_servo_in_another_mode_is_not_driven(family: ServoFamily) -> None:
    transport = ChainTransport(family)
    transport.chain.servos[1].write("operating_mode", 1)
    with pytest.raises(MotorBusError, match=r"Motor 2 .*mode 1.*motors setup"):
        bus_over(transport, family).check_ready()
    link = servo_link("line", lambda port: bus_over(transport, family), calibrations.centred((1, 2)))
    with pytest.raises(MotorBusError, match="motors setup"):
        link.connect()


def test_a_dynamixel_that_counts_its_profile_in_time_is_not_driven() -> None:
    transport = ChainTransport(DYNAMIXEL_X)
    transport.chain.servos[0].write("drive_mode", 0x05)
    bus = bus_over(transport, DYNAMIXEL_X)
    with pytest.raises(MotorBusError, match="as a time"):
        bus.check_ready()
    bus.prepare()
    bus.check_ready()
    # The other bits, the direction among them, are as they were.
    assert bus.read_register(1, "drive_mode") == 0x01


@families
def test_servos_keep_the_speed_limit_themselves(family: ServoFamily) -> None:
    transport = ChainTransport(family)
    bus = bus_over(transport, family)
    bus.limit_speed([0.5, 1.0])
    bus.set_torque(True)
    bus.write_goals([4000, 100])
    for _ in range(50):
        transport.chain.advance(0.01)
        transport.plant.step(0.01)
        assert abs(transport.plant.velocity[0]) <= 0.5 and abs(transport.plant.velocity[1]) <= 1.0
    assert transport.plant.fastest_rad_s > 0.9


@families
def test_a_swapped_servo_is_noticed_and_any_model_can_be_asked_for(family: ServoFamily) -> None:
    transport = ChainTransport(family)
    assert len(bus_over(transport, family, expected_models=(0, MODEL[family.name])).handshake()) == 2
    with pytest.raises(HandshakeMismatchError, match="id 2: expected"):
        bus_over(transport, family, expected_models=(0, 5)).handshake()


@families
def test_a_servo_answers_after_the_delay_that_its_adapter_needs(family: ServoFamily) -> None:
    transport = ChainTransport(family)
    bus = bus_over(transport, family)
    bus.prepare(return_delay_us=100)
    assert bus.read_register(1, "return_delay") == 50
    with pytest.raises(ValueError, match="0 to 508 us"):
        bus.prepare(return_delay_us=600)


def test_the_last_state_stands_in_for_a_lost_one_but_not_for_long() -> None:
    lost = False
    transport = ChainTransport(FEETECH_STS, spoil=lambda data: b"" if lost else data)
    bus, calibration = bus_over(transport, FEETECH_STS), calibrations.centred((1, 2))
    patient_one = Joints(bus, calibration, state_max_age_s=60.0)
    strict_one = Joints(bus, calibration, state_max_age_s=0.0)
    for plant in (patient_one, strict_one):
        assert plant.refresh() and np.all(np.isfinite(plant.positions_rad()))
    lost = True
    for plant in (patient_one, strict_one):
        assert not plant.refresh()
    assert np.all(np.isfinite(patient_one.positions_rad())) and np.all(np.isnan(strict_one.positions_rad()))


@families
def test_a_reading_that_cannot_be_is_a_bad_packet(family: ServoFamily, monkeypatch: pytest.MonkeyPatch) -> None:
    # So slow that no pause of this machine makes the jump below possible.
    monkeypatch.setattr("firmware_bridge.buses.servos.FASTEST_RAD_S", 0.01)
    transport = ChainTransport(family)
    plant = Joints(bus_over(transport, family), calibrations.centred((1, 2)), state_max_age_s=60.0)
    assert plant.refresh()
    transport.plant.position = [0.0, 2.0]
    assert not plant.refresh() and plant.positions_rad()[1] == 0.0
    # If it stays so, it is so: first nothing is known any more, then the arm stands elsewhere.
    plant._state_max_age_s = 0.0
    assert not plant.refresh() and np.isnan(plant.positions_rad()[1])
    assert plant.refresh() and abs(plant.positions_rad()[1] - 2.0) < 2e-3


def drive(link: MotorLink, seconds: float) -> None:
    """Command for a while, arming again where this machine let the watchdog trip."""
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        now = link.latest()
        assert now is not None
        if now.faults == Fault.WATCHDOG:
            link.clear_faults()
            link.arm()
        link.command_velocity([0.1, 0.1])
        time.sleep(0.01)


def armed(transport: ChainTransport, family: ServoFamily) -> tuple[MotorLink, list[VirtualController]]:
    made: list[VirtualController] = []

    def open_transport(name: str) -> VirtualController:
        calibration = calibrations.centred((1, 2))
        made.append(VirtualController(bus_over(transport, family), calibration, bus_watchdog_s=2.0))
        return made[0]

    link = MotorLink("line", open_transport=open_transport)
    link.connect(20.0)
    link.upload_limits([LIMITS] * 2)
    link.configure_watchdog(1.0)
    link.arm()
    return link, made


@families
def test_bad_packets_now_and_then_are_counted_and_end_nothing(family: ServoFamily) -> None:
    rng = random.Random(4)

    def one_byte_in_some(data: bytes) -> bytes:
        if not data or rng.random() > 0.03:
            return data
        at = rng.randrange(len(data))
        return (
            data[:at] + bytes((data[at] ^ 0x10,)) + data[at + 1 :] if rng.random() < 0.5 else data[:at] + data[at + 1 :]
        )

    transport = ChainTransport(family)
    link, [controller] = armed(transport, family)
    with link:
        transport.spoil = one_byte_in_some
        drive(link, 1.0)
        now = link.latest()
        # A machine that stands still for longer than feedback may be missing is not the bus's fault.
        assert now is not None and not now.faults & ~(Fault.WATCHDOG | Fault.FEEDBACK_LOST)
        eventually(lambda: controller.bad_cycles > 0)
        assert link.counters().bus["bad_cycles"] and link.counters().bus["missing_answers"]


def test_a_bus_that_was_unplugged_shakes_hands_again_but_is_not_armed(tmp_path: Path) -> None:
    port = tmp_path / "usb-adapter"
    link = servo_link(
        str(port), lambda name: patient(name, FEETECH_STS, (1, 2)), calibrations.centred((1, 2)), bus_watchdog_s=2.0
    )
    with link:
        with chain_on_a_line(FEETECH_STS, joints=2) as first:
            port.symlink_to(first.line.path)
            link.connect(20.0)
            link.upload_limits([LIMITS] * 2)
            link.configure_watchdog(1.0)
            link.arm()
        with pytest.raises(LinkLostError):
            eventually(lambda: link.latest() is None)
        port.unlink()
        with chain_on_a_line(FEETECH_STS, joints=2) as second:
            port.symlink_to(second.line.path)
            link.reconnect(20.0)
            assert link.latest().state is State.DISARMED  # type: ignore[union-attr]
            assert second.chain.servos[0].read("torque_enable") == 0
            link.arm()
            link.command_velocity([0.0, 0.0])
            eventually(lambda: second.chain.servos[0].read("torque_enable") == 1)


def test_a_rate_of_bad_packets_becomes_a_fault() -> None:
    turn = 0

    def every_other(data: bytes) -> bytes:
        nonlocal turn
        turn += bool(data)
        return data if turn % 2 else data[:-1]

    transport = ChainTransport(FEETECH_STS)
    link, _ = armed(transport, FEETECH_STS)
    with link:
        transport.spoil = every_other
        for _ in range(60):
            drive(link, 0.1)
            if link.latest().faults & Fault.FEEDBACK_LOST:  # type: ignore[union-attr]
                break
        assert link.latest().state is State.FAULT  # type: ignore[union-attr]


@pytest.mark.parametrize(("family", "error"), [(DYNAMIXEL_X, 0x80), (FEETECH_STS, 0x20)], ids=list(FAMILIES))
def test_a_servo_that_is_unwell_is_a_fault(family: ServoFamily, error: int) -> None:
    transport = ChainTransport(family)
    link, _ = armed(transport, family)
    with link:
        transport.chain.servos[1].error = error
        eventually(lambda: bool(link.latest().faults & Fault.OVER_CURRENT))  # type: ignore[union-attr]
