"""A bundle drives an arm through the real driver of a servo bus: `simulate`, and `run` for so101 and widowx250."""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

pytest.importorskip("mujoco")

import fosp_edge
from firmware_bridge.buses.calibration import calibrated_arm, centred, save_calibration
from firmware_bridge.ports import lasting_name
from fosp_edge.bundle.folder import write_bundle
from fosp_edge.bundle.manifest import GRAPH_FILE, WEIGHTS_FILE
from fosp_edge.cli.motors_access import parse_ids
from fosp_edge.cli.robots import from_urdf
from fosp_edge.cli.run import run
from fosp_edge.cli.simulated_ports import SIMULATED_PORTS, cameras_beside
from fosp_edge.robots.base import RobotError
from fosp_edge.robots.base_file import BaseFile
from fosp_edge.robots.catalogue import ROBOTS, mechanism, robot_kind
from fosp_edge.robots.channels import state_channels
from fosp_edge.robots.mobile_base import TWO_WHEELS
from fosp_edge.simulation.launcher import SimulatedRobot
from tests.faults.bundles import arm_manifest, base_manifest, scripted_graph
from tests.faults.patience import real_time
from tests.robots.bench_arm import write_urdf

APP = typer.Typer()
APP.command()(run)
RATE_HZ = 5.0
"""Slow: patience is counted in control periods, and the machine that runs the tests may be busy."""


def bundle_for(arm: str, folder: Path) -> Path:
    """A bundle that moves the fingertip of this arm sideways, or drives this base ahead and to the left."""
    found = mechanism(arm)
    if isinstance(found, BaseFile):
        manifest = base_manifest(found.base, RATE_HZ)
        graph = scripted_graph((0.8, 0.2), state=2, cameras=1)
    else:
        state = state_channels(found.arm)
        manifest = replace(arm_manifest(RATE_HZ), robot=found.name, state=state)
        graph = scripted_graph((0.0, 0.3, 0.0), state=len(state))
    return write_bundle(manifest, {GRAPH_FILE: graph, WEIGHTS_FILE: b""}, folder)


def drive(
    device: SimulatedRobot, robot: str, arm: str, bundle: Path, folder: Path, *more: str
) -> tuple[int, dict[str, object], str]:
    """`fosp-edge run` on a device; returns exit status, summary and output."""
    kind, calibration = robot_kind(robot), folder / "calibration.json"
    ids = parse_ids(kind.motor_ids) if kind.motor_ids else ()
    save_calibration(calibration, Path(lasting_name(device.port)).name, centred(ids), mechanism(arm).name)
    options = ["--robot", robot, "--port", device.port, "--calibration", str(calibration), "--bundle", str(bundle)]
    for name, camera in device.cameras.items():
        options += ["--camera", f"{name}=ring:{camera.ring}"]
    options += [
        "--episodes",
        "1",
        "--max-steps",
        "10",
        "--yes",
        "--headless",
        "--no-record",
        "--out",
        str(folder / "runs"),
    ]
    result = CliRunner().invoke(APP, [*options, *more])
    [summary] = (folder / "runs").glob("*/summary.json")
    return result.exit_code, json.loads(summary.read_text()), result.output


@pytest.mark.parametrize(
    ("robot", "arm"),
    [("so101", "desktop-arm-6dof"), ("so101", "so101"), ("widowx250", "desktop-arm-6dof")],
)
@real_time
def test_run_closes_the_loop_through_the_driver_of_the_bus(robot: str, arm: str, tmp_path: Path) -> None:
    kind = ROBOTS[robot]
    ids = parse_ids(kind.motor_ids)
    bundle = bundle_for(arm, tmp_path / "bundles")
    release = ["--release"] if robot == "widowx250" else []
    with SimulatedRobot(wire=kind.wire, arm=arm, motor_ids=ids, start_timeout_s=120.0) as device:
        start = np.array(device.referee.ask("status")["tip_m"])
        code, summary, output = drive(device, robot, arm, bundle, tmp_path, *release)
        status = device.referee.ask("status")
    assert code == 0, output
    assert summary["end"]["reason"] == "RUN_COMPLETE" and summary["end"]["stop_acknowledged"]  # type: ignore[index]
    moved = np.array(status["tip_m"]) - start
    # Ten steps of 0.2 s at 0.3 * 0.25 m/s, less the first tick and the braking before the box's edge.
    assert 0.03 < moved[1] < 0.17 and abs(moved[0]) < 0.03 and abs(moved[2]) < 0.03
    # It holds, because nobody lets an arm drop, unless that was asked for.
    assert status["torque"] == [0 if release else 1] * 6 and status["ids"] == list(ids)


def test_an_arm_refuses_the_bundle_of_another_whatever_the_wire(tmp_path: Path) -> None:
    with SimulatedRobot(wire="feetech", arm="so101", start_timeout_s=120.0) as device:
        code, summary, _ = drive(device, "so101", "so101", bundle_for("desktop-arm-6dof", tmp_path / "b"), tmp_path)
        status = device.referee.ask("status")
    assert code == 1 and summary["end"]["reason"] == "BUNDLE_REFUSED"  # type: ignore[index]
    assert "made for the robot 'desktop-arm-6dof', this is 'so101'" in summary["end"]["sentence"]  # type: ignore[index]
    assert status["state"] == "LIMP"


@pytest.fixture
def own_robot(tmp_path: Path) -> Path:
    """An arm of five servos that nobody knows, whose tool points along the z-axis of its last link."""
    out = tmp_path / "bench.json"
    from_urdf(
        write_urdf(tmp_path / "bench.urdf"), out, tip="tip", low="0.2,-0.15,0.05", high="0.3,0.15,0.15",
        bus="dynamixel", ids="1-4,6",
    )  # fmt: skip
    return out


@real_time
def test_a_robot_of_ones_own_is_driven_by_its_file(own_robot: Path, tmp_path: Path) -> None:
    robot = str(own_robot)
    bundle = bundle_for(robot, tmp_path / "bundles")
    with SimulatedRobot(wire="dynamixel", arm=robot, motor_ids=(1, 2, 3, 4, 6), start_timeout_s=120.0) as device:
        start = np.array(device.referee.ask("status")["tip_m"])
        code, summary, output = drive(device, robot, robot, bundle, tmp_path)
        status = device.referee.ask("status")
    assert code == 0, output
    moved = np.array(status["tip_m"]) - start
    assert 0.03 < moved[1] < 0.17 and abs(moved[0]) < 0.03 and abs(moved[2]) < 0.03
    assert summary["robot"].startswith(f"{robot} (bench) on")  # type: ignore[attr-defined]


@real_time
def test_a_base_is_driven_about_its_room(tmp_path: Path) -> None:
    bundle = bundle_for("two-wheels", tmp_path / "bundles")
    with SimulatedRobot(arm="two-wheels", start_timeout_s=120.0) as device:
        assert set(device.cameras) == {"front"}
        start = np.array(device.referee.ask("status")["tip_m"])
        code, summary, output = drive(device, "two-wheels", "two-wheels", bundle, tmp_path)
        status = device.referee.ask("status")
    assert code == 0, output
    assert summary["robot"].startswith("two-wheels (two-wheels) on")  # type: ignore[attr-defined]
    assert summary["end"]["stop_acknowledged"]  # type: ignore[index]
    # Ten steps of 0.2 s at 0.8 * 0.22 m/s, less the first tick; the wheel on the right has the longer way.
    assert 0.15 < np.linalg.norm(np.array(status["tip_m"]) - start) < 0.4
    left, right = status["positions_rad"]
    assert 4.0 < left < right < 16.0


@real_time
def test_a_base_whose_wheels_are_servos_is_driven_by_its_file(tmp_path: Path) -> None:
    described = BaseFile(replace(TWO_WHEELS, name="cart"), "dynamixel", "3,7", ("right",))
    robot = tmp_path / "cart.json"
    robot.write_text(described.to_json())
    bundle = bundle_for(str(robot), tmp_path / "bundles")
    with SimulatedRobot(wire="dynamixel", arm=str(robot), motor_ids=(3, 7), start_timeout_s=120.0) as device:
        code, summary, output = drive(device, str(robot), str(robot), bundle, tmp_path)
        status = device.referee.ask("status")
    assert code == 0, output
    assert summary["end"]["stop_acknowledged"]  # type: ignore[index]
    left, right = status["positions_rad"]
    assert 4.0 < left < right < 16.0  # though the servo on the right counts backwards
    assert status["torque"] == [1, 1] and status["ids"] == [3, 7] and max(map(abs, status["velocities_rad_s"])) < 0.1


@real_time
def test_a_base_s_bundle_needs_no_robot_to_be_named(tmp_path: Path) -> None:
    bundle = bundle_for("two-wheels", tmp_path / "bundles")
    options = ["--bundle", str(bundle), "--episodes", "1", "--max-steps", "10", "--headless", "--no-record"]
    result = CliRunner().invoke(APP, [*options, "--out", str(tmp_path / "runs")])
    assert result.exit_code == 0 and "simulated base on /dev/" in result.output


def test_servos_without_a_watchdog_are_no_wheels() -> None:
    with pytest.raises(RobotError, match="feetech servos cannot be wheels: they have no watchdog"):
        SimulatedRobot(wire="feetech", arm="two-wheels", start_timeout_s=120.0).__enter__()


def test_servos_that_were_calibrated_as_an_arm_of_ones_own_want_its_file(own_robot: Path, tmp_path: Path) -> None:
    with SimulatedRobot(wire="dynamixel", arm=str(own_robot), motor_ids=(1, 2, 4, 6, 7)) as device:
        calibration = tmp_path / "calibration.json"
        save_calibration(calibration, Path(lasting_name(device.port)).name, centred((1, 2, 4, 6, 7)), "bench")
        options = ["--robot", "widowx250", "--ids", "1,2,4,6,7", "--port", device.port, "--yes", "--headless"]
        options += ["--calibration", str(calibration), "--bundle", str(bundle_for(str(own_robot), tmp_path / "b"))]
        result = CliRunner().invoke(APP, [*options, "--out", str(tmp_path / "runs")])
    assert result.exit_code == 2 and "calibrated as the arm 'bench'" in result.output


def test_simulate_says_what_to_type_and_tidies_up(tmp_path: Path) -> None:
    calibration = tmp_path / "calibration.json"
    command = [sys.executable, "-m", "fosp_edge.cli", "simulate", "--robot", "so101", "--calibration", str(calibration)]
    # In a folder of its own, and this very package.
    here = {**os.environ, "PYTHONPATH": str(Path(fosp_edge.__file__).parents[1])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=here, cwd=tmp_path) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        try:
            found = re.search(r"run --robot so101 --port (\S+)", lines[1])
            assert found, lines
            assert "motors watch --bus feetech --ids 1-6" in lines[2]
            assert calibrated_arm(calibration, Path(found[1]).name) == "desktop-arm-6dof"
            beside = cameras_beside(found[1], tmp_path / SIMULATED_PORTS)
            assert beside.keys() == {"fixed", "wrist"} and f"--camera fixed={beside['fixed']}" in lines[3]
            # What was printed, typed as it stands, with a bundle that is slow enough for a busy machine.
            bundle = bundle_for("desktop-arm-6dof", tmp_path / "bundles")
            run_it = ["run", "--robot", "so101", "--port", found[1], "--calibration", str(calibration)]
            run_it += ["--bundle", str(bundle), "--yes", "--headless", "--episodes", "1", "--max-steps", "3"]
            ran = subprocess.run(
                [sys.executable, "-m", "fosp_edge.cli", *run_it], capture_output=True, text=True, env=here, cwd=tmp_path
            )
            # A machine that is too busy ends it as a lost or silent robot; refused it must not be.
            assert "ROBOT_" in ran.stdout or ran.returncode == 0, ran.stdout + ran.stderr
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20.0)
    assert json.loads(calibration.read_text())["adapters"] == {}
    assert cameras_beside(found[1], tmp_path / SIMULATED_PORTS) == {}


def test_notes_that_cannot_be_read_are_none(tmp_path: Path) -> None:
    notes = tmp_path / "ports.json"
    for content in ("", "[1]", "{"):
        notes.write_text(content)
        assert cameras_beside("/dev/pts/1", notes) == {}
