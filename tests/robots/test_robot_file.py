"""A robot's file: what is written reads back, what cannot be meant is refused with its place."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fosp_edge.robots.arm_file import ArmFile
from fosp_edge.robots.base import RobotError
from fosp_edge.robots.catalogue import ARMS, arm_named, robot_kind
from fosp_edge.robots.robot_file import read_robot
from fosp_edge.robots.so101 import SO101_ARM, SO101_WORKSPACE

GOOD = json.loads(ArmFile(SO101_ARM, SO101_WORKSPACE, "feetech", "1-6").to_json()) | {"name": "mine"}


def written(folder: Path, **changes: Any) -> Path:
    path = folder / "robot.json"
    path.write_text(json.dumps(GOOD | changes))
    return path


@pytest.mark.parametrize("name", ARMS)
def test_what_is_written_reads_back(name: str, tmp_path: Path) -> None:
    robot = ArmFile(*arm_named(name), "dynamixel", "1,3-7")
    path = tmp_path / "robot.json"
    path.write_text(robot.to_json())
    found = read_robot(path)
    assert found.arm.joints == robot.arm.joints
    assert found == robot


def test_a_file_is_a_robot_and_an_arm(tmp_path: Path) -> None:
    path = str(written(tmp_path))
    kind = robot_kind(path)
    assert (kind.wire, kind.motor_ids, kind.moved) == ("feetech", "1-6", path)
    arm, box = arm_named(kind.moved)
    assert arm.name == "mine" and box == SO101_WORKSPACE and arm.tool_link == SO101_ARM.tool_link


def test_a_board_is_what_it_hangs_on_if_nothing_is_said(tmp_path: Path) -> None:
    path = tmp_path / "robot.json"
    path.write_text(json.dumps({key: value for key, value in GOOD.items() if key not in ("bus", "ids")}))
    assert robot_kind(str(path)).wire == "controller" and robot_kind(str(path)).motor_ids == ""


def test_no_file_takes_the_name_of_an_arm_that_is_known(tmp_path: Path) -> None:
    with pytest.raises(RobotError, match="'so101' is taken"):
        arm_named(str(written(tmp_path, name="so101")))


def joint(**changes: Any) -> list[dict[str, Any]]:
    return [GOOD["joints"][0] | changes, *GOOD["joints"][1:]]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": "two words"}, "name: expected letters"),
        ({"name": "a<b"}, "name: expected letters"),
        ({"joints": []}, "1 to 16 joints"),
        ({"joints": joint(lower_rad=float("nan"))}, "joint 1: lower_rad: expected a number"),
        ({"joints": joint(lower_rad=2.0, upper_rad=1.0)}, "shoulder_pan: lower_rad 2 has to lie below 1"),
        ({"joints": joint(velocity_limit_rad_s=0.0)}, "joint 1: velocity_limit_rad_s: expected a number from 0.001"),
        ({"joints": joint(velocity_limit_rad_s=True)}, "joint 1: velocity_limit_rad_s"),
        ({"joints": joint(acceleration_limit_rad_s2=float("inf"))}, "joint 1: acceleration_limit_rad_s2"),
        ({"joints": joint(axis=[0, 0, 2])}, "joint 1: axis"),
        ({"joints": joint(axis=[0, 0, 0.5])}, "axis: expected a vector of length 1"),
        ({"joints": joint(offset_m=[0, 0])}, "joint 1: offset_m: expected 3 numbers"),
        ({"joints": joint(velocty_limit=1.0)}, "joint 1: unknown entry 'velocty_limit'"),
        ({"joints": joint(name="gripper")}, "gripper is there more than once"),
        ({"home_rad": [0.0] * 5}, "home_rad: expected 6 numbers"),
        ({"home_rad": [3.0, 0, 0, 0, 0, 0]}, "home_rad: expected shoulder_pan within -1.92 to 1.92"),
        ({"resting_joints": ["elbow"]}, "resting_joints: expected names out of shoulder_pan"),
        ({"joints_beyond_tool": ["wrist_roll"]}, "the last names of"),
        ({"tool": {"offset_m": [0, 0, 0]}}, "tool: axis is missing"),
        ({"workspace": {"low_m": [0, 0, 0], "high_m": [1, 1, 0]}}, "low_m .* has to lie below"),
        ({"bus": "canopen"}, "bus: expected one of controller"),
        ({"workspaces": {}}, "unknown entry 'workspaces'"),
    ],
)
def test_what_cannot_be_meant_is_refused(changes: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(RobotError, match=sentence):
        read_robot(written(tmp_path, **changes))


@pytest.mark.parametrize("missing", [key for key in GOOD if key not in ("bus", "resting_joints", "joints_beyond_tool")])
def test_what_is_missing_is_named(missing: str, tmp_path: Path) -> None:
    path = tmp_path / "robot.json"
    path.write_text(json.dumps({key: value for key, value in GOOD.items() if key != missing}))
    with pytest.raises(RobotError, match=f"{missing} is missing"):
        read_robot(path)


def test_a_limit_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_text(path.read_text().replace('"lower_rad": -1.92', '"lower_rad": -1.92, "lower_rad": -3.0', 1))
    with pytest.raises(RobotError, match="lower_rad is there more than once"):
        read_robot(path)


def test_what_is_no_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RobotError, match="cannot be read"):
        robot_kind(str(tmp_path / "none.json"))
    (tmp_path / "half.json").write_text('{"name": ')
    with pytest.raises(RobotError, match="is not JSON"):
        robot_kind(str(tmp_path / "half.json"))
    with pytest.raises(
        RobotError, match=r"'crane'; choose one of: serial, so101, widowx250, two-wheels, or FILE\.json"
    ):
        robot_kind("crane")


_SOMETHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(key=st.sampled_from(sorted(GOOD)), value=_SOMETHING)
def test_any_value_is_taken_or_refused_with_a_sentence(key: str, value: Any, tmp_path_factory: Any) -> None:
    path = written(tmp_path_factory.getbasetemp(), **{key: value})
    try:
        robot = read_robot(path)
    except RobotError as error:
        assert str(path) in str(error)
    else:
        path.write_text(robot.to_json())
        assert read_robot(path) == robot


@given(number=st.integers(0, 5), key=st.sampled_from(sorted(GOOD["joints"][0])), value=_SOMETHING)
def test_any_value_of_a_joint_is_taken_or_refused_with_a_sentence(
    number: int, key: str, value: Any, tmp_path_factory: Any
) -> None:
    joints = [dict(one) for one in GOOD["joints"]]
    joints[number][key] = value
    try:
        robot = read_robot(written(tmp_path_factory.getbasetemp(), joints=joints))
    except RobotError:
        return
    for one in robot.arm.joints:
        assert one.lower_rad < one.upper_rad and 0.0 < one.velocity_limit_rad_s <= 50.0
