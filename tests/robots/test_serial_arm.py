"""An arm behind a real pseudo-terminal, against the emulated controller with joints that follow at once."""

import time

import numpy as np
import pytest

from firmware_bridge.codes import Drive, Fault, State
from fosp_edge.robots.arm import DESKTOP_ARM
from fosp_edge.robots.base import RobotError, RobotLost
from fosp_edge.robots.fingertip_drive import FingertipDrive
from fosp_edge.robots.kinematics import ArmKinematics
from fosp_edge.robots.serial_robot import SerialRobot
from fosp_edge.robots.workspace import DESKTOP_WORKSPACE
from tests.robots.boards import Board, Joints, board

KINEMATICS = ArmKinematics(DESKTOP_ARM)
START = KINEMATICS.inverse(np.array([0.30, 0.0, 0.10]), np.array(DESKTOP_ARM.home_rad))
PATIENT = {"watchdog_s": 1.0, "telemetry_timeout_s": 5.0}  # the machine that runs the tests may be busy


def arm_board(count=6):
    return board(Joints(START[:count]))


def tip_of(emulator):
    return KINEMATICS.fingertip(emulator.joints.position)[0]


@pytest.fixture
def connected():
    with arm_board() as (line, emulator):
        arm = SerialRobot(line.path, FingertipDrive(), **PATIENT)
        arm.connect(5.0)
        yield arm, emulator, line
        arm.close()


def wait_for(condition, what, timeout_s=20.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.005)


def drive(arm, velocity, ticks, until=lambda: False):
    for _ in range(ticks):
        if until():
            return
        arm.command(np.array(velocity))
        time.sleep(0.05)


def test_connecting_uploads_the_arms_limits_and_leaves_the_motors_disarmed(connected):
    _arm, emulator, _ = connected
    controller = emulator.controller
    assert controller.state is State.DISARMED
    for joint, stored in zip(DESKTOP_ARM.joints, controller._limits, strict=True):
        assert stored.position_min_urad == round(joint.lower_rad * 1e6)
        assert stored.position_max_urad == round(joint.upper_rad * 1e6)
        assert stored.velocity_max_urad_s == round(joint.velocity_limit_rad_s * 1e6)
        assert stored.acceleration_max_urad_s2 == round(joint.acceleration_limit_rad_s2 * 1e6)


def test_the_state_is_joint_positions_and_fingertip(connected):
    arm, _, _ = connected
    state = arm.read()
    assert state.state.dtype == np.float32 and state.state.shape == (9,)
    assert len(arm.state_names) == len(arm.state_units) == 9
    np.testing.assert_allclose(state.state[:6], START, atol=2e-6)
    np.testing.assert_allclose(state.state[6:], [0.30, 0.0, 0.10], atol=2e-4)
    assert state.fault is None and abs(time.monotonic_ns() - state.received_ns) < 5e9


def test_a_fingertip_velocity_moves_the_fingertip_that_way(connected):
    arm, emulator, _ = connected
    arm.arm()
    drive(arm, [0.0, 0.1, 0.0], 200, until=lambda: tip_of(emulator)[1] > 0.08)
    moved = tip_of(emulator) - [0.30, 0.0, 0.10]
    assert moved[1] > 0.08
    assert np.max(np.abs(moved[[0, 2]])) < 0.01
    assert emulator.controller.read_counters().commands_applied > 3


def test_the_fingertip_stays_in_the_box_and_joints_in_their_limits_whatever_is_asked(connected):
    arm, emulator, _ = connected
    arm.arm()
    longest_s, random = 0.05, np.random.default_rng(5)
    for _ in range(15):
        began_s = time.monotonic()
        arm.command(random.choice([-0.25, 0.25], 3))
        time.sleep(0.05)
        tip = tip_of(emulator)
        # A command is followed until the next one, and telemetry is up to a tick old, when the machine is busy.
        longest_s = max(longest_s, time.monotonic() - began_s)
        slack = 0.25 * (2.0 * longest_s - 0.05)
        assert np.all(tip > np.array(DESKTOP_WORKSPACE.low_m) - slack)
        assert np.all(tip < np.array(DESKTOP_WORKSPACE.high_m) + slack)
    assert emulator.controller.state is State.ARMED
    counters = emulator.controller.read_counters()
    assert counters.refused_velocity == counters.refused_position == counters.guard_stops == 0


@pytest.mark.parametrize("action", [[np.nan, 0, 0], [np.inf, 0, 0], [0.26, 0, 0], [0, 0], [0, 0, 0, 0]])
def test_what_is_not_an_action_is_refused_and_nothing_is_sent(connected, action):
    arm, emulator, _ = connected
    arm.arm()
    wait_for(lambda: emulator.controller.read_counters().commands_applied == 1, "the zero that arming sends")
    with pytest.raises(ValueError):
        arm.command(np.array(action, float))
    time.sleep(0.05)
    assert emulator.controller.read_counters().commands_applied == 1


def test_commands_before_arming_are_refused(connected):
    arm, _, _ = connected
    with pytest.raises(RobotError, match="disarmed: arm them"):
        arm.command(np.zeros(3))


def test_silence_trips_the_watchdog_the_arm_brakes_and_arming_again_is_an_act_of_its_own():
    with arm_board() as (line, emulator):
        arm = SerialRobot(line.path, FingertipDrive(), watchdog_s=0.5, telemetry_timeout_s=5.0)
        arm.connect(5.0)
        arm.arm()
        wait_for(lambda: arm.read().fault is not None, "the watchdog")
        assert "watchdog" in arm.read().fault
        wait_for(lambda: not np.any(emulator.joints.velocity), "standstill")
        arm._armed_ns = None
        arm.arm()
        wait_for(lambda: emulator.controller.state is not State.ARMED, "the watchdog again")
        arm.close()


def test_stop_is_acknowledged_and_latches_until_armed_again(connected):
    arm, emulator, _ = connected
    arm.arm()
    drive(arm, [0.1, 0.0, 0.0], 3)
    assert arm.stop(5.0) is True
    assert emulator.controller.drive is Drive.HOLD and emulator.controller.faults == Fault.HOST_STOP
    wait_for(lambda: arm.read().fault == "stopped by the host", "the fault in telemetry")
    with pytest.raises(RobotError):
        arm.command(np.zeros(3))
    arm.arm()
    assert emulator.controller.state is State.ARMED


def test_disarming_latches_nothing(connected):
    arm, emulator, _ = connected
    arm.arm()
    arm.disarm()
    assert emulator.controller.state is State.DISARMED and not emulator.controller.faults
    with pytest.raises(RobotError):
        arm.command(np.zeros(3))


def test_closing_disarms():
    with arm_board() as (line, emulator):
        arm = SerialRobot(line.path, FingertipDrive(), **PATIENT)
        arm.connect(5.0)
        arm.arm()
        arm.close()
        assert emulator.controller.state is State.DISARMED
        arm.close()


def test_a_pulled_cable_is_a_lost_robot(connected):
    arm, _, line = connected
    arm.arm()
    line.close()
    wait_for(lambda: lost(arm), "the loss")
    with pytest.raises(RobotLost):
        arm.command(np.zeros(3))
    assert arm.stop(0.1) is False


def lost(arm):
    try:
        arm.read()
    except RobotLost:
        return True
    return False


def test_a_controller_that_falls_silent_is_a_lost_robot():
    with arm_board() as (line, emulator):
        arm = SerialRobot(line.path, FingertipDrive(), watchdog_s=1.0, telemetry_timeout_s=0.3)
        arm.connect(5.0)
        emulator.hung = True
        wait_for(lambda: lost(arm), "the silence to be noticed")
        with pytest.raises(RobotLost, match="silent for"):
            arm.read()
        arm.close()


def test_a_fault_of_the_arm_itself_is_not_cleared_by_arming():
    with arm_board() as (line, emulator):
        arm = SerialRobot(line.path, FingertipDrive(), **PATIENT)
        arm.connect(5.0)
        arm.arm()
        emulator.joints.temperature_c = 95.0
        wait_for(lambda: arm.read().fault is not None, "the fault")
        assert "too hot" in arm.read().fault
        arm._armed_ns = None
        with pytest.raises(RobotError, match="too hot"):
            arm.arm()
        arm.close()
        with pytest.raises(RobotError, match="too hot"):
            SerialRobot(line.path, FingertipDrive(), **PATIENT).connect(5.0)


def test_a_run_can_follow_one_that_was_killed():
    with arm_board() as (line, emulator):
        first = SerialRobot(line.path, FingertipDrive(), watchdog_s=0.5, telemetry_timeout_s=5.0)
        first.connect(5.0)
        first.arm()
        wait_for(lambda: emulator.controller.state is State.FAULT, "the watchdog")
        first._link.close()  # the port is free, nobody disarmed
        second = SerialRobot(line.path, FingertipDrive(), **PATIENT)
        second.connect(5.0)
        assert emulator.controller.state is State.DISARMED
        second.close()


def test_a_controller_that_restarts_is_noticed(connected):
    arm, emulator, _line = connected
    arm.arm()
    restarted = Board(Joints(START))
    emulator.controller = restarted.controller
    wait_for(lambda: lost(arm) or arm.read().fault is not None, "the restart to be noticed")


def test_no_port_and_the_wrong_arm_are_sentences():
    with pytest.raises(RobotError, match="There is no serial port /dev/nowhere"):
        SerialRobot("/dev/nowhere", FingertipDrive()).connect(0.5)
    with arm_board(4) as (line, _), pytest.raises(RobotError, match="has 4 joints, this robot has 6"):
        SerialRobot(line.path, FingertipDrive()).connect(5.0)


def test_reading_before_connecting_is_refused():
    with pytest.raises(RobotLost):
        SerialRobot("/dev/nowhere", FingertipDrive()).read()
