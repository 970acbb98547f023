"""`fosp-edge robots`: what is known, what a file means, and a file out of a URDF."""

import json
from pathlib import Path

import pytest

from fosp_edge.robots.catalogue import ARMS, ROBOTS, arm_named, robot_kind
from tests.cli.tree import run_verb
from tests.robots.bench_arm import write_urdf

BOX = ("--low", "0.2,-0.1,0.05", "--high", "0.3,0.1,0.15")


def test_ls_names_every_robot() -> None:
    output = run_verb("robots", "ls", columns=160).output
    assert all(name in output for name in [*ROBOTS, *ARMS])


@pytest.mark.parametrize("name", ["so101", "serial", "desktop-arm-6dof"])
def test_what_is_shown_is_a_file_once_it_has_a_name_of_its_own(name: str, tmp_path: Path) -> None:
    text = run_verb("robots", "show", name).stdout
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(json.loads(text) | {"name": "mine"}))
    arm, box = arm_named(str(path))
    assert (arm.joints, box) == (arm_named(json.loads(text)["name"])[0].joints, arm_named(json.loads(text)["name"])[1])
    assert robot_kind(str(path)).wire == ("feetech" if name == "so101" else "controller")


def test_a_base_is_shown_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "base.json"
    path.write_text(run_verb("robots", "show", "two-wheels").stdout.replace("two-wheels", "mine"))
    checked = run_verb("robots", "check", str(path), columns=200)
    # v^2 / (2 a r) = 0.22^2 / (2 * 50 * 0.033)
    assert checked.exit_code == 0 and "15 mm" in checked.output and "never reached" not in checked.output
    path.write_text(path.read_text().replace('"speed_limit_m_s": 0.22', '"speed_limit_m_s": 0.5'))
    assert "never reached" in run_verb("robots", "check", str(path), columns=200).output
    drawn = run_verb("robots", "check", str(path), "--picture", str(tmp_path / "base.png"))
    assert drawn.exit_code == 1 and "none of a base" in drawn.output and not (tmp_path / "base.png").exists()


def test_a_urdf_becomes_a_robot_whose_home_lies_in_its_box(tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    made = run_verb("robots", "from-urdf", str(write_urdf(tmp_path / "a.urdf")), str(out), "--tip", "tip", *BOX)
    assert made.exit_code == 0 and "5 joints" in made.output
    checked = run_verb("robots", "check", str(out), columns=200)
    assert checked.exit_code == 0 and "27 of 27 points" in checked.output
    assert "fingertip at home: (0.25, 0, 0.1) m" in checked.output
    again = run_verb("robots", "from-urdf", str(tmp_path / "a.urdf"), str(out), "--tip", "tip", *BOX)
    assert again.exit_code == 1 and "is there already" in again.output


def test_a_picture_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "so101"  # under the very name that was given
    assert run_verb("robots", "check", "so101", "--picture", str(picture)).exit_code == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--tip", "tip", "--low", "2,-0.1,0.05", "--high", "2.2,0.1,0.15"), "no posture of bench was found"),
        (("--tip", "tip", "--low", "0.2,0.1", "--high", "0.3,0.1,0.15"), "--low '0.2,0.1': expected three numbers"),
        (("--tip", "tip", "--tool-axis", "0,0,0", *BOX), "has no direction"),
        (("--tip", "tool0", *BOX), "no link 'tool0'"),
        (("--tip", "tip", "--bus", "feetech", *BOX), "ids is missing"),
        (("--tip", "tip", "--bus", "feetech", "--ids", "1-6", *BOX), "5 joints, but the ids 1-6 of 6 servos"),
    ],
)
def test_a_file_that_makes_no_sense_is_not_left_behind(options: tuple[str, ...], sentence: str, tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    result = run_verb("robots", "from-urdf", str(write_urdf(tmp_path / "a.urdf")), str(out), *options, columns=300)
    assert result.exit_code == 1 and sentence in result.output
    assert list(tmp_path.glob("*bench*")) == []


def test_a_box_out_of_reach_ends_with_status_1(tmp_path: Path) -> None:
    described = json.loads(run_verb("robots", "show", "so101").stdout) | {"name": "mine"}
    described["workspace"] = {"low_m": [0.5, -0.1, 0.0], "high_m": [0.6, 0.1, 0.1]}
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(described))
    result = run_verb("robots", "check", str(path), columns=200)
    assert result.exit_code == 1 and "0 of 27 points" in result.output and "its middle is not" in result.output
