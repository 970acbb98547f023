"""The file of a base: it reads back as it was written, and says where it cannot be meant."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fosp_edge.robots.base import RobotError
from fosp_edge.robots.base_file import BaseFile
from fosp_edge.robots.catalogue import arm_named, mechanism, robot_kind
from fosp_edge.robots.depth_window import DepthWindow
from fosp_edge.robots.mobile_base import TWO_WHEELS, BaseDescription, Bumper
from fosp_edge.robots.robot_file import parse_robot, read_robot

GOOD: dict[str, Any] = json.loads(BaseFile(TWO_WHEELS).to_json()) | {"name": "mine"}


def described(tmp_path: Path, values: Any) -> Path:
    path = tmp_path / "base.json"
    path.write_text(values if isinstance(values, str) else json.dumps(values))
    return path


@given(
    st.builds(
        BaseDescription, st.just("some-base"), st.floats(0.005, 1.0), st.floats(0.02, 5.0), st.floats(0.001, 18.0),
        st.floats(2.0, 2000.0), st.floats(0.001, 10.0), st.floats(0.001, 20.0), st.floats(0.05, 1000.0),
    )
)  # fmt: skip
def test_it_reads_back_as_it_was_written(base: BaseDescription) -> None:
    assert parse_robot(BaseFile(base).to_json(), "here") == BaseFile(base)


def test_wheels_that_are_servos_read_back_too() -> None:
    base = BaseFile(TWO_WHEELS, "dynamixel", "3,7", ("right",))
    assert parse_robot(base.to_json(), "here") == base
    assert base.directions == (1, -1)


def test_a_bumper_reads_back_too_and_leaves_out_what_is_usual() -> None:
    window = DepthWindow((0.1, 0.2, 0.9, 0.7), 0.05, 0.5)
    base = BaseFile(replace(TWO_WHEELS, bumper=Bumper("front", 0.3, window)))
    assert parse_robot(base.to_json(), "here") == base
    short = parse_robot(json.dumps(GOOD | {"bumper": {"camera": "front", "gap_m": 0.3}}), "here")
    assert isinstance(short, BaseFile) and short.base.bumper == Bumper("front", 0.3, DepthWindow())


def test_a_file_is_taken_for_a_robot_and_for_what_it_moves(tmp_path: Path) -> None:
    path = str(described(tmp_path, GOOD))
    kind = robot_kind(path)
    assert kind.wire == "controller" and kind.about == "mine on a controller board"
    found = mechanism(kind.moved)
    assert isinstance(found, BaseFile) and found.base.tether_m == TWO_WHEELS.tether_m
    with pytest.raises(RobotError, match="mine is a base on wheels; an arm is needed here"):
        arm_named(path)
    assert isinstance(mechanism("two-wheels"), BaseFile)


def changed(place: str, **values: Any) -> dict[str, Any]:
    return GOOD | values if not place else GOOD | {place: GOOD[place] | values}


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({key: value for key, value in GOOD.items() if key != "tether_m"}, "tether_m is missing"),
        ({key: value for key, value in GOOD.items() if key != "speed_limit_m_s"}, "speed_limit_m_s is missing"),
        (changed("wheels", radius=0.03), "wheels: unknown entry 'radius'"),
        (changed("", bus="feetech"), "bus: expected one of controller, dynamixel (other servos have no watchdog"),
        (changed("", bus="dynamixel"), "ids is missing"),
        (changed("", ids="1,2"), "unknown entry 'ids'"),
        (changed("", bus="dynamixel", ids="1,2", backwards=["both"]), "backwards: expected names out of left, right"),
        (changed("", bus="dynamixel", ids="1,2", backwards=["left", "left"]), "left is there more than once"),
        (
            changed("wheels", velocity_limit_rad_s=13) | {"bus": "dynamixel", "ids": "1,2"},
            "wheels: velocity_limit_rad_s: expected at most 12 on dynamixel servos, found 13",
        ),
        (changed("wheels", radius_m=0.0), "wheels: radius_m: expected a number from 0.005 to 1, found 0.0"),
        (changed("", tether_m=float("nan")), "tether_m: expected a number from 0.05 to 1000, found nan"),
        (changed("", speed_limit_m_s=True), "speed_limit_m_s: expected a number"),
        (changed("", turn_limit_rad_s=-1), "turn_limit_rad_s: expected a number from 0.001"),
        (changed("wheels", velocity_limit_rad_s=50, acceleration_limit_rad_s2=1), "takes 1250 rad, more than 90"),
        (GOOD | {"wheels": [1, 2]}, "wheels: expected an object"),
        (GOOD | {"bumper": {"camera": "front"}}, "bumper: gap_m is missing"),
        (GOOD | {"bumper": {"camera": "front", "gap_m": 0}}, "bumper: gap_m: expected a number from 0.02 to 10"),
        (GOOD | {"bumper": {"camera": "front", "gap_m": 1, "gap": 1}}, "bumper: unknown entry 'gap'"),
        (GOOD | {"bumper": {"camera": "front", "gap_m": 1, "window": [0, 1]}}, "bumper: window: expected 4 numbers"),
        (GOOD | {"bumper": {"camera": "front", "gap_m": 1, "window": [0, 1, 1, 0]}}, "left, top, right, bottom"),
        (GOOD | {"bumper": {"camera": "front", "gap_m": 1, "unmeasured": 0}}, "share and unmeasured are parts of 1"),
        (GOOD | {"joints": []}, "unknown entry 'joints'"),
        (json.dumps(GOOD)[:-1] + ', "tether_m": 9}', "tether_m is there more than once"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_place(values: Any, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(RobotError) as refused:
        read_robot(described(tmp_path, values))
    assert complaint in str(refused.value)


def test_the_name_of_one_of_the_catalogue_cannot_be_taken(tmp_path: Path) -> None:
    with pytest.raises(RobotError, match="'two-wheels' is taken"):
        mechanism(str(described(tmp_path, GOOD | {"name": "two-wheels"})))
