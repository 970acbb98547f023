"""Each source of reward and cost alone, and together behind the referee that the control loop asks."""

import os
import pty
import struct
import time
from dataclasses import replace

import numpy as np
import pytest

from fosp_edge.robots.arm import DESKTOP_ARM
from fosp_edge.robots.base import RobotState
from fosp_edge.robots.judging import (
    Finding,
    Gamepad,
    JointThresholds,
    KeepOut,
    Keyboard,
    Reached,
    Sample,
    SourcesReferee,
    StopsAndInterventions,
    Volume,
    volumes_from_json,
)
from fosp_edge.robots.kinematics import ArmKinematics

HOME = np.array(DESKTOP_ARM.home_rad)
STATE = RobotState(np.zeros(9, np.float32), HOME, np.zeros(6), 0, 0, None)
KINEMATICS = ArmKinematics(DESKTOP_ARM)
TIP = KINEMATICS.fingertip(HOME)[0]


def moved(**changes: object) -> Sample:
    return Sample(replace(STATE, **changes))  # type: ignore[arg-type]


def test_joint_thresholds_each_cost_alone():
    source = JointThresholds(HOME - 0.1, HOME + 0.1, np.full(6, 1.0))
    assert source.judge(moved()).cost == 0.0
    for change in ({"position_rad": HOME + 0.2}, {"position_rad": HOME - 0.2}, {"velocity_rad_s": np.full(6, -1.5)}):
        assert source.judge(moved(**change)).cost == 1.0


def test_effort_costs_where_the_motors_measure_it():
    effort = np.zeros(6)
    source = JointThresholds(largest_effort=[2.0] * 6, effort=lambda: effort)
    assert source.judge(moved()).cost == 0.0
    effort[2] = -3.0
    assert source.judge(moved()).cost == 1.0
    with pytest.raises(ValueError, match="do not"):
        JointThresholds(largest_effort=[2.0] * 6)


def test_stops_faults_and_interventions_cost_what_they_are_set_to():
    source = StopsAndInterventions(intervention_cost=0.25)
    assert source.judge(Sample(STATE)).cost == 0.0
    assert source.judge(Sample(STATE, intervened=True)).cost == 0.25
    assert source.judge(Sample(STATE, intervened=True, stopped=True)).cost == 1.0
    assert source.judge(moved(fault="watchdog")).cost == 1.0


def test_keep_out_volumes_in_the_base_frame_and_in_a_camera_s():
    low, high = tuple(TIP - 0.02), tuple(TIP + 0.02)
    assert KeepOut(KINEMATICS, [Volume(low, high)]).judge(Sample(STATE)).cost == 1.0
    aside = Volume(tuple(TIP + 0.03), tuple(TIP + 0.05))
    assert KeepOut(KINEMATICS, [aside]).judge(Sample(STATE)).cost == 0.0
    assert KeepOut(KINEMATICS, [aside], margin_m=0.06).judge(Sample(STATE)).cost == 1.0
    assert aside.distance_m(TIP) == pytest.approx(0.03 * np.sqrt(3))
    pose = np.eye(4)  # a camera that looks along the base's y, a metre away
    pose[:3, :3], pose[:3, 3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]], [0.0, 1.0, 0.0]
    seen = pose[:3, :3].T @ (TIP - pose[:3, 3])
    assert Volume(tuple(seen - 0.01), tuple(seen + 0.01), pose).distance_m(TIP) == 0.0


def test_volumes_are_read_with_sentences_for_what_cannot_be_meant():
    (volume,) = volumes_from_json('[{"low_m": [0, 0, 0], "high_m": [0.1, 0.1, 0.2]}]')
    assert volume.distance_m(np.array([0.1, 0.1, 0.3])) == pytest.approx(0.1)
    for text, word in [("{", "not JSON"), ("{}", "list"), ('[{"low_m": [0, 0]}]', "volume 1"),
                       ('[{"low_m": [1, 0, 0], "high_m": [0, 1, 1]}]', "below"),
                       ('[{"low_m": [0, 0, 0], "high_m": [1, 1, 1], "base_from_frame": [[2]]}]', "pose")]:  # fmt: skip
        with pytest.raises(ValueError, match=word):
            volumes_from_json(text)


def test_progress_is_reward_and_arriving_is_success():
    source = Reached(KINEMATICS, TIP - np.array([0.0, 0.0, 0.05]), radius_m=0.02)
    assert source.judge(Sample(STATE)) == Finding()
    lower = KINEMATICS.inverse(TIP - np.array([0.0, 0.0, 0.04]), HOME)
    found = source.judge(moved(position_rad=lower))
    assert found.success and found.reward == pytest.approx(10.0 * 0.04 + 10.0, abs=0.01)
    source.reset()
    assert source.judge(Sample(STATE)).reward == 0.0


def wait_for(source, wanted):
    deadline = time.monotonic() + 5.0
    while (found := source.judge(Sample(STATE))) == Finding() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert found == wanted


def test_a_person_presses_keys():
    master, slave = pty.openpty()
    source = Keyboard(descriptor=slave)
    try:
        os.write(master, b"xv")
        wait_for(source, Finding(cost=1.0))
        assert source.judge(Sample(STATE)) == Finding(), "told once"
        os.write(master, b"s")
        wait_for(source, Finding(reward=10.0, success=True))
    finally:
        source.close()
        os.close(master)
        os.close(slave)


def test_a_person_presses_buttons_and_pulls_the_plug(tmp_path):
    pipe = tmp_path / "js0"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(pipe, os.O_WRONLY)
    source = Gamepad(pipe)
    try:

        def event(kind, number, value):
            return struct.pack("<IhBB", 1, value, kind, number)

        # How things are at the start, an axis, a release: none of them is a press. The press itself comes in pieces.
        press = event(1, 1, 1)
        os.write(writer, event(0x81, 1, 1) + event(2, 0, 30000) + event(1, 0, 0) + press[:3])
        time.sleep(0.05)
        os.write(writer, press[3:])
        wait_for(source, Finding(cost=1.0))
        assert source.judge(Sample(STATE)) == Finding()
    finally:
        source.close()
        os.close(reader)
        os.close(writer)


def test_the_referee_adds_up_and_ends_the_episode():
    keys = StopsAndInterventions(intervention_cost=0.7)
    reached = Reached(KINEMATICS, TIP, radius_m=0.01)
    held_back = [True]
    referee = SourcesReferee([keys, KeepOut(KINEMATICS, [Volume(tuple(TIP - 1), tuple(TIP + 1))]), reached],
                             lambda: STATE, intervened=lambda: held_back[0], max_steps=3)  # fmt: skip
    referee.reset(0, "")
    found = referee.judge()
    assert (found.cost, found.success, found.finished) == (1.0, True, True)
    far = SourcesReferee([keys], lambda: STATE, max_steps=3)
    far.reset(0, "")
    assert [far.judge().finished for _ in range(3)] == [False, False, True]
    far.reset(1, "")
    assert not far.judge().finished
    with pytest.raises(ValueError, match="at least one source"):
        SourcesReferee([], lambda: STATE)
