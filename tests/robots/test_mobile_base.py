"""A base on two wheels: odometry against an integration of its own, a tether that holds, and boards that fit."""

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.codes import State
from fosp_edge.cameras.base import CameraLost, DepthFrame
from fosp_edge.robots.base import RobotError
from fosp_edge.robots.depth_window import DepthWindow
from fosp_edge.robots.fingertip_drive import FingertipDrive
from fosp_edge.robots.mobile_base import TWO_WHEELS, WHEEL_RANGE_RAD, BaseDescription, Bumper, WheelDrive
from fosp_edge.robots.serial_robot import SerialRobot
from tests.robots.boards import Joints, board

PERIOD_S = 0.05
PERIOD_NS = round(PERIOD_S * 1e9)
QUICK = replace(TWO_WHEELS, wheel_velocity_limit_rad_s=60.0, wheel_acceleration_limit_rad_s2=200.0, speed_limit_m_s=1.9)
"""Its wheels turn by half a turn and more between two commands."""
ACTION = st.tuples(st.floats(-1.0, 1.0), st.floats(-1.0, 1.0))


def within_a_turn(position_rad: np.ndarray) -> np.ndarray:
    return np.angle(np.exp(1j * position_rad))


class Rolling:
    """The truth: wheels that follow at once, integrated in steps of a tenth of a millisecond."""

    def __init__(self, base: BaseDescription) -> None:
        self.base, self.wheels_rad, self.pose = base, np.array([2.0, -3.0]), np.zeros(3)

    def roll(self, wheels_rad_s: np.ndarray, duration_s: float = PERIOD_S) -> None:
        left, right = wheels_rad_s * self.base.wheel_radius_m
        steps = round(duration_s / 1e-4)
        for _ in range(steps):
            speed, turn_rate = (left + right) / 2.0, (right - left) / self.base.track_m
            self.pose += 1e-4 * np.array([speed * np.cos(self.pose[2]), speed * np.sin(self.pose[2]), turn_rate])
        self.wheels_rad = self.wheels_rad + wheels_rad_s * duration_s

    @property
    def from_start_m(self) -> float:
        return float(np.hypot(self.pose[0], self.pose[1]))


Actions = list[tuple[float, float]]


def drive_along(base: BaseDescription, actions: Actions, times: int) -> Iterator[Rolling]:
    """Every action for so many ticks, with wheels that do what they are told; where that leads, after each."""
    drive, truth, now_ns, travelled_m = WheelDrive(base, PERIOD_S), Rolling(base), 5, 0.0
    drive.reset(now_ns)
    high = np.array(base.action_space.high)
    for action in actions:
        for _ in range(times):
            wheels = drive.joint_velocity(within_a_turn(truth.wheels_rad), np.array(action) * high, now_ns)
            assert np.all(np.abs(wheels) <= base.wheel_velocity_limit_rad_s + 1e-9)
            # The midpoint rule over 50 ms, against the integral.
            assert abs(drive.from_start_m - truth.from_start_m) <= 0.005 * travelled_m + 1e-9
            truth.roll(wheels)
            travelled_m += PERIOD_S * base.wheel_radius_m * float(np.max(np.abs(wheels)))
            now_ns += PERIOD_NS
            yield truth


@pytest.mark.parametrize("base", [TWO_WHEELS, QUICK])
@given(actions=st.lists(ACTION, min_size=1, max_size=6))
@settings(max_examples=15)
def test_it_knows_how_far_it_has_come_though_turns_are_not_told(base: BaseDescription, actions: Actions) -> None:
    assert list(drive_along(replace(base, tether_m=1000.0), actions, 8))


@given(actions=st.lists(ACTION, min_size=1, max_size=8))
@settings(max_examples=25)
def test_it_never_leaves_its_tether(actions: Actions) -> None:
    base = replace(QUICK, tether_m=0.5)
    for truth in drive_along(base, actions, 12):
        assert truth.from_start_m <= 0.5 + 0.005


def test_at_the_end_of_the_tether_it_turns_and_comes_back() -> None:
    base = replace(TWO_WHEELS, tether_m=0.2)
    far = [truth.from_start_m for truth in drive_along(base, [(1.0, 0.0)], 60)]
    assert 0.19 < far[-1] <= 0.2 + 1e-6 and far[-1] - far[-2] < 1e-4
    back = [truth.from_start_m for truth in drive_along(base, [(1.0, 0.0), (-1.0, 0.0)], 60)]
    assert back[-1] <= 0.2 + 1e-6 and min(back[60:]) < 0.01  # through the middle, and to the other end
    turned = [truth.pose[2] for truth in drive_along(base, [(1.0, 0.0), (1.0, 1.0)], 60)]
    assert turned[-1] > 3.0


WALL_M, GAP_M, AGE_S = 1.0, 0.25, 0.04
BUMPER = Bumper("front", GAP_M, DepthWindow())


def towards_a_wall(actions: Actions, times: int, told: list[str]) -> Iterator[Rolling]:
    """Each action for so many ticks, in front of a wall whose picture is as old as AGE_S and in millimetres."""
    base = replace(QUICK, bumper=BUMPER, tether_m=100.0)
    drive, truth, now_ns = WheelDrive(base, PERIOD_S), Rolling(base), 5
    before_m = [0.0]
    drive.tell = told.append

    def look() -> DepthFrame:
        ahead_mm = np.ceil(1e3 * max(0.0, WALL_M - before_m[-1]))
        return DepthFrame(np.full((4, 4), ahead_mm, np.uint16), 0.001, 0, now_ns - round(AGE_S * 1e9))

    drive.look = look
    drive.reset(now_ns)
    for speed, _ in actions:
        for _ in range(times):
            wheels = drive.joint_velocity(within_a_turn(truth.wheels_rad), np.array([speed * 1.9, 0.0]), now_ns)
            truth.roll(wheels, PERIOD_S - AGE_S)
            before_m.append(float(truth.pose[0]))  # what the next picture shows
            truth.roll(wheels, AGE_S)
            now_ns += PERIOD_NS
            yield truth


@given(actions=st.lists(ACTION, min_size=1, max_size=8))
@settings(max_examples=25)
def test_a_bumper_leaves_its_gap_to_what_is_ahead(actions: Actions) -> None:
    for truth in towards_a_wall(actions, 12, []):
        assert truth.pose[0] <= WALL_M - GAP_M + 0.002


def test_before_the_wall_it_stands_says_so_and_drives_back() -> None:
    told: list[str] = []
    places = [truth.pose[0] for truth in towards_a_wall([(1.0, 0.0)], 60, told)]
    assert places[-1] > WALL_M - GAP_M - 0.01 and set(told) == {"held back by the bumper"} and len(told) > 30
    told.clear()
    places = [truth.pose[0] for truth in towards_a_wall([(1.0, 0.0), (-1.0, 0.0)], 60, told)]
    assert places[-1] < 0.0


def test_a_bumper_that_sees_nothing_lets_nothing_forwards() -> None:
    never_covered = replace(BUMPER, window=DepthWindow(unmeasured=1.0))
    drive = WheelDrive(replace(TWO_WHEELS, bumper=never_covered), PERIOD_S)
    drive.reset(0)
    assert np.all(drive.joint_velocity(np.zeros(2), np.array([0.2, 0.0]), 1) == 0.0), "no camera was given"
    assert np.all(drive.joint_velocity(np.zeros(2), np.array([-0.2, 0.0]), 2) < 0.0)

    def gone() -> DepthFrame:
        raise CameraLost("camera front is gone")

    drive.look = gone
    with pytest.raises(CameraLost):
        drive.joint_velocity(np.zeros(2), np.array([0.2, 0.0]), 3)


def test_the_end_of_the_tether_is_told_too() -> None:
    drive, told = WheelDrive(replace(TWO_WHEELS, tether_m=0.02), PERIOD_S), []
    drive.tell = told.append
    drive.reset(0)
    drive.joint_velocity(np.zeros(2), np.array([0.05, 0.0]), 1)
    assert told == []
    drive.joint_velocity(np.zeros(2), np.array([0.22, 0.0]), 2)
    assert told == ["held back by the tether"]


def test_ahead_left_and_on_the_spot() -> None:
    drive = WheelDrive(replace(TWO_WHEELS, wheel_acceleration_limit_rad_s2=1000.0), PERIOD_S)
    drive.reset(0)
    at = np.zeros(2)
    np.testing.assert_allclose(drive.joint_velocity(at, np.array([0.1, 0.0]), 1), 0.1 / 0.033, rtol=1e-12)
    left, right = drive.joint_velocity(at, np.array([0.0, 0.5]), 2)
    assert left < 0.0 < right and left == -right
    np.testing.assert_allclose(drive.state_vector(at, np.array([left, right])), [0.0, 0.5], atol=1e-12)


def test_where_both_are_too_much_the_way_keeps_its_curvature() -> None:
    drive = WheelDrive(replace(TWO_WHEELS, wheel_acceleration_limit_rad_s2=1000.0), PERIOD_S)
    drive.reset(0)
    wheels = drive.joint_velocity(np.zeros(2), np.array([0.22, 2.0]), 1)
    assert np.max(wheels) == pytest.approx(8.0)
    speed, turn_rate = drive.state_vector(np.zeros(2), wheels)
    assert turn_rate / speed == pytest.approx(2.0 / 0.22)


def test_it_drives_on_where_a_joint_would_have_come_to_its_end() -> None:
    with board(Joints(np.full(2, WHEEL_RANGE_RAD - 0.05)), endless=True) as (line, emulator):
        robot = SerialRobot(line.path, WheelDrive(TWO_WHEELS, PERIOD_S), watchdog_s=1.0, telemetry_timeout_s=5.0)
        robot.connect(5.0)
        assert robot.state_names == ("speed", "turn_rate") and robot.action_space.units == ("m/s", "rad/s")
        robot.arm()
        deadline = time.monotonic() + 30.0
        while emulator.joints.position[0] < WHEEL_RANGE_RAD + 1.0:
            assert time.monotonic() < deadline
            robot.command(np.array([0.15, 0.0]))
            time.sleep(0.02)
        state = robot.read()
        assert state.fault is None and emulator.controller.state is State.ARMED
        np.testing.assert_allclose(state.state, [0.15, 0.0], atol=1e-5)
        assert np.all(np.abs(state.position_rad) <= np.pi + 1e-6)
        assert emulator.controller.read_counters().refused_position == 0
        with pytest.raises(ValueError, match=r"beyond its range, \[-0.22, -2.0\] to \[0.22, 2.0\]"):
            robot.command(np.array([0.23, 0.0]))
        assert robot.stop(2.0)
        robot.close()


def test_a_board_that_counts_turns_up_is_none_for_a_base() -> None:
    with board(Joints(np.zeros(2))) as (line, _), pytest.raises(RobotError, match="ENDLESS=1"):
        SerialRobot(line.path, WheelDrive(TWO_WHEELS, PERIOD_S)).connect(5.0)


def test_a_board_for_wheels_is_none_for_an_arm() -> None:
    with board(Joints(np.zeros(6)), endless=True) as (line, _), pytest.raises(RobotError, match="made for wheels"):
        SerialRobot(line.path, FingertipDrive()).connect(5.0)
