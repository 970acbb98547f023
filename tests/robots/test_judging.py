"""Each source of reward and cost alone, and together behind the referee that the control loop asks."""

import json
import os
import pty
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fosp_edge.cameras.base import CameraError, DepthFrame
from fosp_edge.control.emergency import EmergencyStop
from fosp_edge.robots.arm import DESKTOP_ARM
from fosp_edge.robots.base import RobotError, RobotState
from fosp_edge.robots.judge_file import open_judges
from fosp_edge.robots.judging import Finding, Sample, SourcesReferee
from fosp_edge.robots.kinematics import ArmKinematics
from fosp_edge.robots.outcome_classifier import Classifier
from fosp_edge.robots.presses import Gamepad, Keyboard
from fosp_edge.robots.sources import JointThresholds, KeepOut, Reached, StopsAndInterventions, Volume, volumes_from
from tests.robots.gamepads import event

HOME = np.array(DESKTOP_ARM.home_rad)
STATE = RobotState(np.zeros(9, np.float32), HOME, np.zeros(6), 0, 0, None)
KINEMATICS = ArmKinematics(DESKTOP_ARM)
TIP = KINEMATICS.fingertip(HOME)[0]


def tip(state: RobotState) -> np.ndarray:
    return KINEMATICS.fingertip(state.position_rad)[0]


def blind() -> DepthFrame:
    raise CameraError("camera blind measures no distances")


DEPTH = {"front": lambda: DepthFrame(np.full((4, 4), 400, np.uint16), 0.001, 0, 0), "blind": blind}


def moved(**changes: object) -> Sample:
    return Sample(replace(STATE, **changes))  # type: ignore[arg-type]


def test_joint_thresholds_each_cost_alone():
    source = JointThresholds(HOME - 0.1, HOME + 0.1, np.full(6, 1.0))
    assert source.judge(moved()).cost == 0.0
    for change in ({"position_rad": HOME + 0.2}, {"position_rad": HOME - 0.2}, {"velocity_rad_s": np.full(6, -1.5)}):
        assert source.judge(moved(**change)).cost == 1.0


def test_current_costs_where_the_motors_measure_it():
    source = JointThresholds(largest_current_a=[2.0] * 6)
    assert source.judge(moved(current_a=np.zeros(6))).cost == 0.0
    assert source.judge(moved(current_a=np.array([0.0, 0.0, -3.0, 0.0, 0.0, 0.0]))).cost == 1.0
    with pytest.raises(RobotError, match="do not"):
        source.judge(moved())
    with pytest.raises(ValueError, match="at least one"):
        JointThresholds()


def test_stops_faults_and_interventions_cost_what_they_are_set_to():
    source = StopsAndInterventions(intervention_cost=0.25)
    assert source.judge(Sample(STATE)).cost == 0.0
    assert source.judge(Sample(STATE, intervened=True)).cost == 0.25
    assert source.judge(Sample(STATE, intervened=True, stopped=True)).cost == 1.0
    assert source.judge(moved(fault="watchdog")).cost == 1.0


def test_keep_out_volumes_in_the_base_frame_and_in_a_camera_s():
    low, high = tuple(TIP - 0.02), tuple(TIP + 0.02)
    assert KeepOut(tip, [Volume(low, high)]).judge(Sample(STATE)).cost == 1.0
    aside = Volume(tuple(TIP + 0.03), tuple(TIP + 0.05))
    assert KeepOut(tip, [aside]).judge(Sample(STATE)).cost == 0.0
    assert KeepOut(tip, [aside], margin_m=0.06).judge(Sample(STATE)).cost == 1.0
    assert aside.distance_m(TIP) == pytest.approx(0.03 * np.sqrt(3))
    pose = np.eye(4)  # a camera that looks along the base's y, a metre away
    pose[:3, :3], pose[:3, 3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]], [0.0, 1.0, 0.0]
    seen = pose[:3, :3].T @ (TIP - pose[:3, 3])
    assert Volume(tuple(seen - 0.01), tuple(seen + 0.01), pose).distance_m(TIP) == 0.0


def test_volumes_are_read_with_sentences_for_what_cannot_be_meant():
    (volume,) = volumes_from([{"low_m": [0, 0, 0], "high_m": [0.1, 0.1, 0.2]}])
    assert volume.distance_m(np.array([0.1, 0.1, 0.3])) == pytest.approx(0.1)
    nowhere, mirrored = np.eye(4), np.diag([1.0, 1.0, -1.0, 1.0])
    nowhere[0, 3] = np.nan
    for raw, word in [({}, "list"), ([{"low_m": [0, 0]}], "volume 1"), ([3], "volume 1"),
                      ([{"low_m": [1, 0, 0], "high_m": [0, 1, 1]}], "below"),
                      ([{"low_m": [0, 0, 0], "high_m": [1, 1, 1], "base_from_frame": [[2]]}], "pose"),
                      ([{"low_m": [0, 0, 0], "high_m": [1, 1, 1], "base_from_frame": nowhere}], "pose"),
                      ([{"low_m": [0, 0, 0], "high_m": [1, 1, 1], "base_from_frame": mirrored}], "pose"),
                      ([{"low_m": [0, 0, 0], "high_m": [1, 1, 1], "base_from_fram": []}], "unknown entry base_from_f"),
                      ]:  # fmt: skip
        with pytest.raises(ValueError, match=word):
            volumes_from(raw)


def test_progress_is_reward_and_arriving_is_success():
    source = Reached(tip, TIP - np.array([0.0, 0.0, 0.05]), radius_m=0.02)
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


def test_a_person_presses_keys_and_the_stop_stays_the_stop():
    """One reader of the terminal for both: no key of the one is swallowed by the other."""

    class Motors:
        orders = 0

        def stop(self, timeout_s: float) -> bool:
            self.orders += 1
            return True

    master, slave = pty.openpty()
    source, motors = Keyboard(), Motors()
    button = EmergencyStop(motors, lambda detail: None, lambda sentence: None)
    try:
        assert button.watch_keyboard(slave, others=source.press)
        time.sleep(0.05)
        os.write(master, b"xv")
        wait_for(source, Finding(cost=1.0))
        assert source.judge(Sample(STATE)) == Finding(), "told once"
        os.write(master, b"s")
        wait_for(source, Finding(reward=10.0, success=True))
        os.write(master, b"v")
        time.sleep(0.1)
        source.reset()
        assert source.judge(Sample(STATE)) == Finding(), "what was pressed between two episodes belongs to none"
        os.write(master, b"v ")
        deadline = time.monotonic() + 5.0
        while not button.pressed and time.monotonic() < deadline:
            time.sleep(0.01)
        assert button.pressed and source.judge(Sample(STATE)).cost == 1.0
    finally:
        button.close()
        os.close(master)
        os.close(slave)
    assert motors.orders


def test_a_person_presses_buttons_and_pulls_the_plug(tmp_path):
    pipe = tmp_path / "js0"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(pipe, os.O_WRONLY)
    source = Gamepad(pipe)
    try:
        # How things are at the start, an axis, a release: none of them is a press. The press itself comes in pieces.
        press = event(1, 1, 1)
        os.write(writer, event(0x81, 1, 1) + event(2, 0, 30000) + event(1, 0, 0) + press[:3])
        time.sleep(0.05)
        os.write(writer, press[3:])
        wait_for(source, Finding(cost=1.0))
        assert source.judge(Sample(STATE)) == Finding()
        source.joystick.gone = True
        with pytest.raises(RobotError, match="gamepad is gone"):
            source.judge(Sample(STATE))
    finally:
        source.close()
        os.close(reader)
        os.close(writer)


def test_the_referee_adds_up_and_ends_the_episode():
    keys = StopsAndInterventions(intervention_cost=0.7)
    reached = Reached(tip, TIP, radius_m=0.01)
    held_back = [True]
    referee = SourcesReferee([keys, KeepOut(tip, [Volume(tuple(TIP - 1), tuple(TIP + 1))]), reached],
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


def test_a_stop_costs_and_is_no_success():
    referee = SourcesReferee([StopsAndInterventions(), Reached(tip, TIP, radius_m=0.01)], lambda: STATE)
    referee.reset(0, "")
    assert referee.judge().cost == 0.0
    found = referee.judge_stop()
    assert (found.cost, found.success, found.finished) == (1.0, False, True)


def judge_file(folder, *sources):
    path = folder / "judge.json"
    path.write_text(json.dumps({"sources": list(sources)}))
    return path


def test_a_file_names_every_kind_of_source(tmp_path):
    pipe = tmp_path / "js0"
    os.mkfifo(pipe)
    holder = os.open(pipe, os.O_RDWR)
    count = 8 * 8 * 3 + 9
    Classifier(np.zeros(count), np.ones(count), np.zeros(count), 0.0, ("fixed",)).save(tmp_path / "x.safetensors")
    path = judge_file(
        tmp_path,
        {"kind": "joint thresholds", "fastest_rad_s": [1.0] * 6},
        {"kind": "stops and interventions", "intervention_cost": 0.5},
        {"kind": "keep out", "volumes": [{"low_m": list(TIP - 1), "high_m": list(TIP + 1)}], "margin_m": 0.01},
        {"kind": "reached", "target_m": list(TIP), "radius_m": 0.02, "reward_per_m": 5},
        {"kind": "too close", "camera": "front", "nearer_m": 0.5, "window": [0, 0, 1, 0.5]},
        {"kind": "keyboard", "keys": {"b": {"cost": 1}}},
        {"kind": "gamepad", "device": str(pipe), "buttons": {"3": {"reward": 2}}},
        {"kind": "classifier", "file": "x.safetensors", "means": {"success": True}},
    )
    judges = open_judges(path, 6, tip, DEPTH)
    try:
        names = [type(source).__name__ for source in judges.sources]
        assert names == ["JointThresholds", "StopsAndInterventions", "KeepOut", "Reached", "TooClose", "Keyboard",
                         "Gamepad", "LearntOutcome"]  # fmt: skip
        assert judges.cameras == ("fixed",)
        judges.keyboard.press("b")
        costs = [source.judge(Sample(STATE, np.zeros((64, 64, 3), np.uint8))).cost for source in judges.sources]
        assert costs == [0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0]
    finally:
        for source in judges.sources:
            source.close()
        os.close(holder)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ({"kind": "oracle"}, r"source 1: unknown kind 'oracle'; choose one of: joint thresholds"),
        ({"kind": "reached", "target_m": [0, 0, 0]}, r"source 1 \(reached\): radius_m is missing"),
        ({"kind": "reached", "target_m": [0, 0], "radius_m": 1}, "expected x, y and z"),
        ({"kind": "joint thresholds", "upper_rad": [1, 2]}, "expected 6 numbers, found 2"),
        ({"kind": "joint thresholds"}, "at least one limit"),
        ({"kind": "joint thresholds", "fastest_rad_s": [1, 1, 1, 1, 1, float("nan")]}, "expected a number, found nan"),
        ({"kind": "joint thresholds", "fastest_rad_s": ["1", 1, 1, 1, 1, 1]}, "expected a number, found '1'"),
        ({"kind": "joint thresholds", "upper_rad": [10**400] * 6}, "upper_rad: int too large"),
        ({"kind": ["reached"]}, r"source 1: unknown kind \['reached'\]"),
        ({"kind": "reached", "target_m": [0, 0, float("inf")], "radius_m": 1}, "expected a number, found inf"),
        ({"kind": "stops and interventions", "stop_cost": -1}, "from 0 on"),
        ({"kind": "stops and interventions", "taste": 1}, "unknown entry taste"),
        ({"kind": "keyboard", "keys": {" ": {"cost": 1}}}, "emergency stop"),
        ({"kind": "keyboard", "keys": {"v": {"pain": 1}}}, "some of reward, cost and success"),
        ({"kind": "keyboard", "keys": {"v": {"reward": float("nan")}}}, "expected a number, found nan"),
        ({"kind": "keyboard", "keys": {"v": {"success": "no"}}}, "expected true or false, found 'no'"),
        ({"kind": "keep out", "volumes": []}, "list of volumes"),
        ({"kind": "classifier", "file": "no", "means": {"cost": 1}}, "no outcome classifier at"),
        ({"kind": "too close", "camera": "rear", "nearer_m": 1}, r"expected one of front, blind, found rear"),
        ({"kind": "too close", "camera": "front"}, r"source 1 \(too close\): nearer_m is missing"),
        ({"kind": "too close", "camera": "front", "nearer_m": 1, "window": [0, 1]}, "right and bottom, found 2"),
        ({"kind": "too close", "camera": "front", "nearer_m": 0}, "metres above 0"),
    ],
)
def test_a_mistake_in_the_file_is_a_sentence_that_names_the_entry(tmp_path, source, sentence):
    with pytest.raises(ValueError, match=sentence):
        open_judges(judge_file(tmp_path, source), 6, tip, DEPTH)


def test_a_camera_without_distances_is_found_out_when_the_file_is_opened(tmp_path):
    with pytest.raises(CameraError, match="measures no distances"):
        open_judges(judge_file(tmp_path, {"kind": "too close", "camera": "blind", "nearer_m": 1}), 6, None, DEPTH)


def test_a_source_before_one_that_cannot_be_had_is_let_go_of(tmp_path):
    pipe = tmp_path / "js0"
    os.mkfifo(pipe)
    holder = os.open(pipe, os.O_RDWR)
    before = len(list(Path("/proc/self/fd").iterdir()))
    sources = {"kind": "gamepad", "device": str(pipe)}, {"kind": "too close", "camera": "blind", "nearer_m": 1}
    with pytest.raises(CameraError):
        open_judges(judge_file(tmp_path, *sources), 6, None, DEPTH)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    os.close(holder)


def test_what_is_no_such_file_is_said(tmp_path):
    for text, word in [("{", "not JSON"), ("[]", "at least one source"), ('{"sources": []}', "at least one source")]:
        (tmp_path / "judge.json").write_text(text)
        with pytest.raises(ValueError, match=word):
            open_judges(tmp_path / "judge.json", 6, tip)
