"""Servos as wheels: they turn on and on, and nothing that dies leaves them turning."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from firmware_bridge import Capability, State, Torque
from firmware_bridge.buses.bus import MotorBusError, ServoBus
from firmware_bridge.buses.calibration import centred
from firmware_bridge.buses.families import DYNAMIXEL_X, FEETECH_STS
from firmware_bridge.buses.servos import SPEED_MARGIN, Wheels
from firmware_bridge.buses.virtual import VirtualController, servo_link
from firmware_bridge.certificate import certify
from firmware_bridge.telemetry import JointLimits
from tests.firmware_bridge.test_bus_faults import ChainTransport, bus_over
from tests.firmware_bridge.test_buses import chain_on_a_line, eventually, patient

IDS = (1, 2)
MIRRORED = (1, -1)
"""As two wheels have it whose servos are mounted alike: the right one counts backwards."""
CALIBRATION = centred(IDS, directions=MIRRORED)
LIMITS = [JointLimits(-100.0, 100.0, 4.0, 1000.0)] * 2


def turning(transport: ChainTransport) -> ServoBus:
    return bus_over(transport, DYNAMIXEL_X, wheels=True)


def wheels() -> ChainTransport:
    return ChainTransport(DYNAMIXEL_X, wheels=MIRRORED)


def test_both_drive_forwards_turn_after_turn_and_stop() -> None:
    with chain_on_a_line(DYNAMIXEL_X, joints=2, wheels=MIRRORED) as chain:

        def open_bus(port: str) -> ServoBus:
            return patient(port, DYNAMIXEL_X, IDS, wheels=True)

        link = servo_link(chain.line.path, open_bus, CALIBRATION, bus_watchdog_s=2.0, at_exit=Torque.HOLD)
        with link:
            handshake = link.connect(20.0)
            assert Capability.ENDLESS in handshake.capabilities
            assert certify(link, handshake).passed
            link.upload_limits(LIMITS)
            link.configure_watchdog(1.0)
            link.arm()

            def two_turns() -> bool:
                now = link.latest()
                assert now is not None and np.all(np.abs(now.position_rad) <= np.pi + 1e-3)
                if now.state is State.FAULT:  # a busy machine may keep this thread from commanding for a second
                    link.clear_faults()
                    link.arm()
                link.command_velocity(np.array([3.0, 2.0]))
                return chain.plant.position[0] > 4 * np.pi

            eventually(two_turns, 60.0)
            assert chain.plant.position[1] > np.pi and chain.plant.fastest_rad_s <= 4.0 * SPEED_MARGIN
            assert link.stop(10.0)
            eventually(lambda: chain.plant.velocity == [0.0, 0.0])
            link.clear_faults()
            link.arm()
            link.command_velocity(np.array([1.0, 1.0]))
            eventually(lambda: any(chain.plant.velocity))
        # Gone without a word, as far as the servos can tell: they stand still, and hold.
        assert chain.plant.velocity == [0.0, 0.0]
        for servo in chain.chain.servos:
            assert servo.read("goal_velocity") == 0 and servo.read("torque_enable") == 1
            assert servo.read("velocity_limit") == int(SPEED_MARGIN * 4.0 / DYNAMIXEL_X.velocity_rad_s_per_unit)


HOST = """
import sys, time
import numpy as np
from firmware_bridge.buses.bus import ServoBus
from firmware_bridge.buses.calibration import centred
from firmware_bridge.buses.families import DYNAMIXEL_X
from firmware_bridge.buses.virtual import servo_link
from firmware_bridge.telemetry import JointLimits
with servo_link(sys.argv[1], lambda port: ServoBus(port, DYNAMIXEL_X, (1, 2), wheels=True), centred((1, 2))) as link:
    link.connect(20.0)
    link.upload_limits([JointLimits(-100.0, 100.0, 4.0, 1000.0)] * 2)
    link.configure_watchdog(1.0)
    link.arm()
    drove = False
    while True:
        now = link.latest()
        if not drove and min(now.velocity_rad_s) > 1.0:
            drove = True
            print("it drives", flush=True)
        if now.faults and not drove:  # a busy machine may be late before it has begun
            link.clear_faults()
            link.arm()
        link.command_velocity(np.array([2.0, 2.0]))
        time.sleep(0.02)
"""


@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGSTOP])
def test_wheels_whose_host_dies_or_hangs_stop_by_themselves_and_stay_so(death: signal.Signals) -> None:
    with chain_on_a_line(DYNAMIXEL_X, joints=2, wheels=(1, 1)) as chain:
        command = [sys.executable, "-c", HOST, chain.line.path]
        with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE) as host:
            try:
                assert host.stdout is not None and host.stdout.readline() == b"it drives\n"
                host.send_signal(death)
                eventually(lambda: chain.plant.velocity == [0.0, 0.0])
                assert [servo.read("bus_watchdog") for servo in chain.chain.servos] == [255, 255]
                if death is signal.SIGSTOP:
                    host.send_signal(signal.SIGCONT)
                    time.sleep(0.5)  # it goes on commanding, and its controller has latched
                    assert chain.plant.velocity == [0.0, 0.0]
            finally:
                host.kill()


def test_what_the_watchdog_has_stopped_does_not_go_on_when_it_is_cleared() -> None:
    transport = wheels()
    bus = turning(transport)
    assert bus.set_watchdog(0.1)
    bus.set_torque(True)
    bus.write_velocities([2.0, 2.0])
    transport.chain.advance(0.01)
    assert transport.plant.velocity == pytest.approx([2.0, -2.0], abs=0.02)  # as each counts
    transport.chain.advance(0.2)
    assert transport.plant.velocity == [0.0, 0.0]
    bus.write_velocities([2.0, 2.0])  # not taken
    transport.plant.fastest_rad_s = 0.0
    assert bus.set_watchdog(0.1)
    for _ in range(3):
        transport.chain.advance(0.01)
    assert transport.plant.fastest_rad_s == 0.0 and bus.read_register(1, "torque_enable") == 1
    bus.write_velocities([1.0, 1.0])
    transport.chain.advance(0.01)
    assert transport.plant.velocity[0] == pytest.approx(1.0, abs=0.02)


def test_servos_without_a_watchdog_cannot_be_wheels() -> None:
    with pytest.raises(MotorBusError, match="feetech servos cannot be wheels: they have no watchdog"):
        ServoBus("line", FEETECH_STS, IDS, wheels=True, open_transport=ChainTransport(FEETECH_STS))
    transport = wheels()
    with pytest.raises(MotorBusError, match="wheels want a watchdog"):
        VirtualController(turning(transport), CALIBRATION, bus_watchdog_s=None)


def test_a_wheel_is_stopped_by_who_does_not_know_that_it_is_one() -> None:
    transport = wheels()
    bus = turning(transport)
    bus.set_torque(True)
    bus.write_velocities([2.0, 0.0])
    assert bus_over(transport, DYNAMIXEL_X).hold_here() == 2
    transport.chain.advance(0.01)
    assert transport.plant.velocity == [0.0, 0.0]


def test_a_servo_keeps_its_wheel_s_speed_limit_itself() -> None:
    transport = wheels()
    bus = turning(transport)
    bus.set_torque(True)
    bus.limit_speed([1.0, 1.0])  # which needs the torque off
    assert not bus.read_register(1, "torque_enable")
    bus.set_torque(True)
    bus.write_velocities([0.9, 1.1])
    transport.chain.advance(0.01)
    assert transport.plant.velocity == pytest.approx([0.9, 0.0], abs=0.02)
    bus.limit_speed([1.0, 1.0])
    assert bus.read_register(1, "torque_enable"), "nothing is written where nothing changes"


def test_each_mode_is_refused_where_the_other_is_meant_and_can_be_set() -> None:
    transport = wheels()
    with pytest.raises(MotorBusError, match=r"mode 1, not in position control .*say so with --wheels"):
        bus_over(transport, DYNAMIXEL_X).check_ready()
    turning(transport).check_ready()
    joints = ChainTransport(DYNAMIXEL_X)
    with pytest.raises(
        MotorBusError, match=r"mode 3, not in velocity control \(1\): run `fosp-edge motors setup --wheel`"
    ):
        turning(joints).check_ready()
    turning(joints).prepare()
    turning(joints).check_ready()


def test_what_a_wheel_says_is_in_its_base_s_sense_and_within_a_turn() -> None:
    transport = wheels()
    plant = Wheels(turning(transport), CALIBRATION)
    transport.plant.position = [7.0, 7.0]
    transport.plant.velocity = [0.5, 0.5]
    transport.chain.advance(0.0)
    assert plant.refresh()
    assert plant.positions_rad() == pytest.approx([7.0 - 2 * np.pi] * 2, abs=0.01)
    assert plant.velocities_rad_s() == pytest.approx([0.5, 0.5], abs=0.02)
