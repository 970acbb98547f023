"""Servo buses: packets, registers, the chain over a pseudo-terminal, and MotorLink on top of it."""

from __future__ import annotations

import dataclasses
import json
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge import Fault, HandshakeMismatchError, JointLimits, LinkLostError, NoAnswerError, State, Torque
from firmware_bridge.buses import calibration as calibrations
from firmware_bridge.buses.bus import MotorBusError, ServoBus
from firmware_bridge.buses.emulator import ServoChainEmulator
from firmware_bridge.buses.families import DYNAMIXEL_X, FAMILIES, FEETECH_STS, Register, ServoFamily
from firmware_bridge.buses.packets import BROADCAST, DynamixelFormat, FeetechFormat, Instruction, Packet, PacketFormat
from firmware_bridge.buses.virtual import servo_link
from firmware_bridge.emulator import PseudoTerminal
from tests.firmware_bridge.plants import IntegratorPlant

MODEL = {"dynamixel": 1020, "feetech": 777}
families = pytest.mark.parametrize("family", list(FAMILIES.values()), ids=list(FAMILIES))
formats = st.sampled_from([DynamixelFormat(), FeetechFormat()])


def eventually(condition: Callable[[], bool], within_s: float = 20.0) -> None:
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not happen"
        time.sleep(0.005)


def test_packets_of_the_manuals() -> None:
    # ROBOTIS e-Manual, Protocol 2.0: ping of id 1, and its status packet from an XM430-W210.
    form = DynamixelFormat()
    assert form.instruction(1, Instruction.PING, b"") == bytes.fromhex("FFFFFD00 01 0300 01 194E")
    buffer = bytearray.fromhex("FFFFFD00 01 0700 55 00 0604 26 655D")
    assert form.take(buffer, answers=True) == ([Packet(1, 0x55, 0, bytes.fromhex("060426"))], 0)
    # Feetech protocol manual: ping of id 1 and its answer.
    other = FeetechFormat()
    assert other.instruction(1, Instruction.PING, b"") == bytes.fromhex("FFFF 01 02 01 FB")
    assert other.take(bytearray.fromhex("FFFF 01 02 00 FC"), answers=True)[0] == [Packet(1, 0, 0, b"")]


def test_a_header_inside_a_dynamixel_payload_is_stuffed() -> None:
    form, payload = DynamixelFormat(), b"\xff\xff\xfd\x00\xff\xff\xfd"
    wire = form.instruction(1, Instruction.WRITE, payload)
    assert wire.count(b"\xff\xff\xfd") == 3 and b"\xff\xff\xfd\xfd\x00\xff\xff\xfd\xfd" in wire
    assert form.take(bytearray(wire), answers=False)[0] == [Packet(1, Instruction.WRITE, 0, payload)]


packets = st.builds(
    lambda motor_id, data: (motor_id, data),
    st.integers(0, 252),
    st.one_of(st.binary(max_size=40), st.lists(st.sampled_from([0xFF, 0xFD, 0]), max_size=30).map(bytes)),
)


@given(formats, st.lists(packets, min_size=1, max_size=6), st.integers(1, 7))
def test_packets_survive_any_chunking(form: PacketFormat, wanted: list[tuple[int, bytes]], chunk: int) -> None:
    stream = b"".join(form.answer(motor_id, 0, data) for motor_id, data in wanted)
    buffer, found = bytearray(), []
    for at in range(0, len(stream), chunk):
        buffer += stream[at : at + chunk]
        found += form.take(buffer, answers=True)[0]
    assert [(one.motor_id, one.parameters) for one in found] == wanted


@given(formats, st.binary(max_size=600), st.booleans())
def test_any_bytes_are_read_without_raising_and_in_bounded_memory(
    form: PacketFormat, noise: bytes, answers: bool
) -> None:
    buffer = bytearray()
    for at in range(0, len(noise), 50):
        buffer += noise[at : at + 50]
        form.take(buffer, answers=answers)
    assert len(buffer) <= 2300


@given(st.binary(max_size=60), packets)
def test_dynamixel_finds_the_packet_behind_noise(noise: bytes, wanted: tuple[int, bytes]) -> None:
    form = DynamixelFormat()
    # Noise that announces a long packet makes the parser wait; enough bytes behind it set it free.
    buffer = bytearray(noise.replace(b"\xfd", b"\x00") + form.answer(wanted[0], 0, wanted[1]))
    found, _ = form.take(buffer, answers=True)
    assert (wanted[0], wanted[1]) in [(one.motor_id, one.parameters) for one in found]


@pytest.mark.parametrize(
    ("register", "value", "data"),
    [
        (Register(0, 2), 513, b"\x01\x02"),
        (Register(0, 4, signed=True), -2, b"\xfe\xff\xff\xff"),
        (Register(0, 2, signed=True, sign_bit=15), -2, b"\x02\x80"),
        (Register(0, 2, signed=True, sign_bit=11), -2047, b"\xff\x0f"),
    ],
)
def test_registers(register: Register, value: int, data: bytes) -> None:
    assert register.encode(value) == data
    assert register.decode(data) == value


@pytest.mark.parametrize(
    ("register", "value"),
    [(Register(0, 1), 256), (Register(0, 1), -1), (Register(0, 2, signed=True, sign_bit=11), 2048)],
)
def test_a_value_that_does_not_fit_a_register_is_refused(register: Register, value: int) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        register.encode(value)


def patient(
    port: str,
    family: ServoFamily,
    ids: tuple[int, ...],
    models: tuple[int, ...] | None = None,
    *,
    wheels: bool = False,
) -> ServoBus:
    """A bus that waits for long: this machine may be busy, and the chain is emulated on it."""
    return ServoBus(port, family, ids, models, wheels=wheels, state_timeout_s=5.0, register_timeout_s=5.0)


class ChainOnALine:
    """An emulated chain on a pseudo-terminal, served by a thread."""

    def __init__(
        self, family: ServoFamily, joints: int = 6, model: int | None = None, wheels: Sequence[int] = ()
    ) -> None:
        self.plant = IntegratorPlant(joints)
        self.line = PseudoTerminal()
        ids = tuple(range(1, joints + 1))
        self.chain = ServoChainEmulator(family, ids, self.plant, model or MODEL[family.name], wheels)
        self.mute = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        last_s = time.monotonic()
        while not self._stop.wait(0.0005):
            try:
                if not self.mute:
                    self.chain.poll(self.line.fd)
            except OSError:
                return
            now_s = time.monotonic()
            self.chain.advance(now_s - last_s)
            self.plant.step(now_s - last_s)
            last_s = now_s

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.line.close()


@contextmanager
def chain_on_a_line(
    family: ServoFamily, joints: int = 6, model: int | None = None, wheels: Sequence[int] = ()
) -> Iterator[ChainOnALine]:
    one = ChainOnALine(family, joints, model, wheels)
    try:
        yield one
    finally:
        one.close()


@families
def test_handshake_registers_and_states(family: ServoFamily) -> None:
    with chain_on_a_line(family, joints=3) as chain:
        bus = patient(chain.line.path, family, (1, 2, 3), (MODEL[family.name],) * 3)
        assert [one.motor_id for one in bus.handshake()] == [1, 2, 3]
        assert bus.scan(range(1, 4), timeout_s=5.0)[-1].model_number == MODEL[family.name]
        bus.prepare()
        assert bus.read_register(2, "return_delay") == 0
        bus.write_goals([2048, 2148, 1948])
        bus.set_torque(True)
        with pytest.raises(MotorBusError, match="torque off first"):
            bus.write_register(1, "operating_mode", 1)
        eventually(
            lambda: (
                [
                    abs(state.position_ticks - goal) < 3 if state else False
                    for state, goal in zip(bus.read_states(), [2048, 2148, 1948], strict=True)
                ]
                == [True] * 3
            )
        )
        state = bus.read_states()[0]
        assert state is not None and state.voltage_v == 12.0 and state.temperature_c == 30.0
        bus.close()


@families
def test_the_handshake_lists_expected_against_found(family: ServoFamily) -> None:
    with chain_on_a_line(family, joints=2) as chain:
        bus = ServoBus(chain.line.path, family, (1, 2, 9), (MODEL[family.name], 5, MODEL[family.name]))
        bus.register_timeout_s = 0.5
        with pytest.raises(HandshakeMismatchError) as mismatch:
            bus.handshake()
        assert (
            "id 9" in str(mismatch.value) and "found nothing" in str(mismatch.value) and "id 2" in str(mismatch.value)
        )
        with pytest.raises(NoAnswerError, match="Motor 9"):
            bus.read_register(9, "id", 0.01)
        assert bus.read_states()[2] is None
        bus.close()


LIMITS = JointLimits(-1.5, 1.5, 1.0, 20.0)


@families
def test_motor_link_drives_servos_like_a_board(family: ServoFamily) -> None:
    with chain_on_a_line(family) as chain:
        ids = tuple(range(1, 7))
        link = servo_link(
            chain.line.path,
            lambda port: patient(port, family, ids),
            calibrations.centred(ids),
            at_exit=Torque.OFF,
            bus_watchdog_s=2.0,
        )
        with link:
            handshake = link.connect(20.0)
            assert handshake.name.startswith("virtual")
            link.upload_limits([LIMITS] * 6)
            link.configure_watchdog(1.0)
            link.arm()

            def moved() -> bool:
                now = link.latest()
                assert now is not None
                if now.state is State.FAULT:
                    # A busy machine can keep this thread from commanding for longer than the watchdog allows.
                    link.clear_faults()
                    link.arm()
                link.command_velocity(np.full(6, 0.5))
                return bool(np.all(now.position_rad > 0.1))

            eventually(moved, 60.0)
            assert chain.chain.servos[0].read("torque_enable") == 1
            assert link.stop(10.0)
            eventually(lambda: link.latest().faults is Fault.HOST_STOP)  # type: ignore[union-attr]
            resting = link.latest()
            assert resting is not None and resting.voltage_v == 12.0
            link.clear_faults()
            link.arm()
        assert chain.chain.servos[0].read("torque_enable") == 0


@families
def test_silent_servos_are_a_fault_and_not_the_end_of_the_loop(family: ServoFamily) -> None:
    with chain_on_a_line(family, joints=2) as chain:
        ids = (1, 2)

        def open_bus(port: str) -> ServoBus:
            return ServoBus(port, family, ids, state_timeout_s=0.05, register_timeout_s=1.0)

        with servo_link(chain.line.path, open_bus, calibrations.centred(ids), bus_watchdog_s=2.0) as link:
            link.connect(20.0)
            link.upload_limits([LIMITS] * 2)
            link.configure_watchdog(1.0)
            link.arm()
            chain.mute = True
            # At whatever moment silence begins, also while torque is being switched on. On a busy machine the watchdog
            # may have latched before; the joints say who is silent in either case.
            eventually(lambda: link.latest().joint_errors == (1, 1), 60.0)  # type: ignore[union-attr]
            eventually(lambda: link.latest().state is State.FAULT)  # type: ignore[union-attr]
            chain.mute = False
            eventually(lambda: link.latest().joint_errors == (0, 0))  # type: ignore[union-attr]
            link.clear_faults()


@families
def test_the_adapter_is_unplugged(family: ServoFamily) -> None:
    with chain_on_a_line(family, joints=2) as chain:
        link = servo_link(chain.line.path, lambda port: patient(port, family, (1, 2)), calibrations.centred((1, 2)))
        with link:
            link.connect(20.0)
            chain.close()

            def lost() -> bool:
                try:
                    link.latest()
                except LinkLostError:
                    return True
                return False

            eventually(lost)


def test_dynamixel_servos_stop_by_themselves_when_the_bus_falls_silent() -> None:
    plant = IntegratorPlant(1)
    chain = ServoChainEmulator(DYNAMIXEL_X, (1,), plant, 1020)
    form, registers = DYNAMIXEL_X.form, DYNAMIXEL_X.registers

    def write(name: str, value: int) -> bytes:
        register = registers[name]
        parameters = register.address.to_bytes(2, "little") + register.encode(value)
        return chain.receive(form.instruction(1, Instruction.WRITE, parameters))

    write("bus_watchdog", 5)
    write("torque_enable", 1)
    write("goal_position", 4000)
    for _ in range(9):
        chain.advance(0.01)
        plant.step(0.01)
    assert plant.velocity[0] > 0
    for _ in range(5):
        chain.advance(0.01)
        plant.step(0.01)
    assert plant.velocity[0] == 0 and chain.servos[0].read("bus_watchdog") == 255
    assert form.take(bytearray(write("goal_position", 0)), answers=True)[0][0].error != 0
    assert chain.receive(form.instruction(BROADCAST, Instruction.WRITE, b"\x40\x00\x00")) == b""
    assert chain.servos[0].read("torque_enable") == 0


def test_feetech_has_no_watchdog_and_says_so() -> None:
    with chain_on_a_line(FEETECH_STS, joints=1) as chain:
        bus = ServoBus(chain.line.path, FEETECH_STS, (1,))
        assert bus.set_watchdog(0.1) is False
        bus.close()


@given(st.integers(0, 4095), st.sampled_from([-1, 1]), st.integers(-9000, 9000))
def test_angles_wrap_and_come_back(zero: int, direction: int, ticks: int) -> None:
    motor = calibrations.MotorCalibration(1, 777, zero, direction, 0, 4095)
    angle = motor.angle_rad(ticks)
    assert -math.pi <= angle <= math.pi
    assert motor.angle_rad(ticks + 4096) == angle
    if 0 <= zero + direction * round(angle / calibrations.RADIANS_PER_TICK) <= 4095:
        assert (motor.ticks(angle) - ticks) % 4096 == 0


def test_goals_stay_inside_the_calibrated_range() -> None:
    motor = calibrations.MotorCalibration(1, 777, 2000, -1, 1000, 3000)
    assert (motor.ticks(10.0), motor.ticks(-10.0)) == (1000, 3000)
    low, high = motor.range_rad
    assert low == pytest.approx(-1000 * 2 * math.pi / 4096) and high == pytest.approx(1000 * 2 * math.pi / 4096)


def test_calibrations_are_kept_per_adapter(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "motors.json"
    first, second = calibrations.centred((1, 2), 777), calibrations.centred((1,), 1020)
    calibrations.save_calibration(path, "adapter A", first, "so101")
    calibrations.save_calibration(path, "adapter B", second)
    assert calibrations.calibrated_arm(path, "adapter A") == "so101"
    assert calibrations.calibrated_arm(path, "adapter B") is None
    assert calibrations.load_calibration(path, "adapter A", (2, 1)) == (first[1], first[0])
    assert calibrations.load_calibration(path, "adapter B", (1,)) == second
    assert [one.name for one in path.parent.iterdir()] == ["motors.json"]
    for adapter, ids in (("adapter C", (1,)), ("adapter B", (1, 2))):
        with pytest.raises(calibrations.CalibrationError, match="calibrat"):
            calibrations.load_calibration(path, adapter, ids)
    calibrations.forget_calibration(path, "adapter A")
    calibrations.forget_calibration(path, "adapter A")
    with pytest.raises(calibrations.CalibrationError, match="adapter A"):
        calibrations.calibrated_arm(path, "adapter A")
    assert calibrations.load_calibration(path, "adapter B", (1,)) == second


@pytest.mark.parametrize("name", [item.name for item in dataclasses.fields(calibrations.MotorCalibration)])
@pytest.mark.parametrize("value", [math.nan, math.inf, 1.5, "1", None, True, [1]])
def test_a_calibration_of_anything_but_whole_numbers_is_damaged(name: str, value: object, tmp_path: Path) -> None:
    path = tmp_path / "motors.json"
    calibrations.save_calibration(path, "a", calibrations.centred((1,)))
    stored = json.loads(path.read_text())
    stored["adapters"]["a"]["motors"][0][name] = value
    path.write_text(json.dumps(stored))
    with pytest.raises(calibrations.CalibrationError, match="calibrat"):
        calibrations.load_calibration(path, "a", (1,))


@pytest.mark.parametrize(
    "content", ["", "[]", '{"version": 9, "adapters": {}}', "{", '{"version":2,"adapters":{"a":{"motors":[{}]}}}']
)
def test_damaged_calibrations_are_a_sentence(content: str, tmp_path: Path) -> None:
    path = tmp_path / "motors.json"
    path.write_text(content)
    with pytest.raises(calibrations.CalibrationError):
        calibrations.load_calibration(path, "a", (1,))
    with pytest.raises(calibrations.CalibrationError, match="no calibration at"):
        calibrations.load_calibration(tmp_path / "none.json", "a", (1,))
