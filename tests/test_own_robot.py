"""A robot that nobody knows, from its description to a bundle that drives it: `pytest -m slow`, two minutes."""

import json
import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mujoco")
pytest.importorskip("torch")
pytest.importorskip("onnx")

from fosp_edge.cli.motors_access import parse_ids
from fosp_edge.experience.store import ExperienceStore
from fosp_edge.robots.catalogue import robot_kind
from fosp_edge.robots.hand import STICKS, GamepadHand
from fosp_edge.simulation.launcher import SimulatedRobot
from tests.cli.tree import run_verb
from tests.robots.bench_arm import write_urdf
from tests.robots.gamepads import AXIS, event

EPISODES = 36
FASTEST_JOINT_RAD_S, FASTEST_WHEEL_RAD_S = 0.4, 3.0
"""What turns faster is a violation, so that there is something for a filter to be calibrated on: it has to begin in the
middle of an episode, and the sticks reach it in most."""


@pytest.fixture
def gamepad(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A gamepad whose sticks somebody moves about as soon as it drives."""
    path, driving, done = tmp_path_factory.mktemp("pad") / "js0", threading.Event(), threading.Event()
    os.mkfifo(path)
    descriptor, sticks = os.open(path, os.O_RDWR), random.Random(0)

    def opened(*arguments: Any) -> GamepadHand:
        hand = GamepadHand(*arguments)
        driving.set()
        return hand

    def move_about() -> None:
        driving.wait()
        while not done.wait(0.1):
            for axis in STICKS:
                os.write(descriptor, event(AXIS, axis, sticks.randint(-32767, 32767)))

    monkeypatch.setattr("fosp_edge.cli.record.GamepadHand", opened)
    thread = threading.Thread(target=move_about, daemon=True)
    thread.start()
    yield path
    done.set()
    driving.set()
    thread.join()
    os.close(descriptor)


def done(*arguments: object) -> str:
    result = run_verb(*map(str, arguments), columns=200)
    assert result.exit_code == 0, result.output
    return result.output


def describe_arm() -> list[float]:
    """The file my-robot.json, from a URDF; how fast each of its joints may turn."""
    box = ("--low", "0.2,-0.15,0.05", "--high", "0.3,0.15,0.15")
    done("robots", "from-urdf", write_urdf(Path("arm.urdf")), "my-robot.json", "--tip", "tip", *box)
    return [FASTEST_JOINT_RAD_S] * 5


def describe_base() -> list[float]:
    """The same file, from another base's."""
    Path("my-robot.json").write_text(done("robots", "show", "two-wheels").replace("two-wheels", "my-robot"))
    return [FASTEST_WHEEL_RAD_S] * 2


def describe_base_of_servos() -> list[float]:
    """The same, whose wheels are servos mounted alike, so that one of them counts backwards."""
    fastest_rad_s = describe_base()
    values = json.loads(Path("my-robot.json").read_text()) | {"bus": "dynamixel", "ids": "1,2", "backwards": ["right"]}
    Path("my-robot.json").write_text(json.dumps(values))
    return fastest_rad_s


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("describe", [describe_arm, describe_base, describe_base_of_servos])
def test_from_a_description_to_a_bundle_that_drives(
    describe: Callable[[], list[float]], gamepad: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    costs = {"kind": "joint thresholds", "fastest_rad_s": describe()}
    Path("judge.json").write_text(json.dumps({"sources": [costs]}))
    kind = robot_kind("my-robot.json")
    ids = parse_ids(kind.motor_ids) if kind.motor_ids else ()
    with SimulatedRobot(wire=kind.wire, arm=kind.moved, motor_ids=ids, start_timeout_s=120.0) as device:
        robot = ["--robot", "my-robot.json", "--port", device.port, "--yes"]
        cameras = [f"--camera={name}=ring:{camera.ring}" for name, camera in device.cameras.items()]
        by_hand = ["--hand", "gamepad", "--gamepad", gamepad, "--judge", "judge.json", "--rate", 10]
        done("data", "record", "data", *robot, *cameras, *by_hand, "--episodes", EPISODES, "--max-steps", 16)
        with ExperienceStore(tmp_path / "data") as store:
            headers = [info.header for info in store.episodes()]
        assert len(headers) == EPISODES and {header.recording.robot for header in headers} == {"my-robot"}
        done("train", "--dataset", "data", "--preset", "nano", "--updates", 4, "--run", "run")
        exported = done("export", "run", "--dataset", "data", "--miss-rate", 0.5, "--out", "bundles")
        assert "fosp-edge run --bundle" in exported and "fosp-edge eval" not in exported
        [bundle] = Path("bundles").iterdir()
        drive = ["--bundle", bundle, "--episodes", 1, "--max-steps", 10, "--headless", "--no-filter"]
        assert "RUN_COMPLETE" in done("run", *robot, *cameras, *drive)
    refused = run_verb("eval", "--bundle", str(bundle), "--episodes", "1", columns=300)
    assert refused.exit_code == 1 and "made for the robot 'my-robot'" in refused.output
