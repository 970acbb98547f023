"""The real process, the real wires: what `fosp-edge run` starts, and everything that can be taken away from it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mujoco")

from fosp_edge.cameras.base import CameraLost, FrameStale
from fosp_edge.cameras.ring import FOLDER
from fosp_edge.robots.base import RobotError, RobotLost
from fosp_edge.robots.fingertip_drive import FingertipDrive
from fosp_edge.robots.serial_robot import SerialRobot
from fosp_edge.simulation.launcher import SimulatedRobot
from fosp_edge.simulation.layout import make_layout
from fosp_edge.simulation.plant import Outcome
from fosp_edge.simulation.task import judge_step

ROOT = Path(__file__).resolve().parents[2]
PATIENT = {"watchdog_s": 1.0, "telemetry_timeout_s": 5.0}


def wait_for(condition, what, timeout_s=20.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.01)


def raises(error, call):
    try:
        call()
    except error:
        return True
    return False


@pytest.fixture(scope="module")
def shared():
    """One device for the tests that leave it whole."""
    with SimulatedRobot(seed=3) as robot:
        yield robot


@pytest.fixture
def robot(shared):
    yield shared
    shared.referee.ask("line-faults")
    for camera in shared.cameras:
        shared.referee.ask("freeze-camera", camera=camera, frozen=False)


@pytest.fixture
def arm(robot):
    arm = SerialRobot(robot.port, FingertipDrive(), **PATIENT)
    arm.connect(10.0)
    yield arm
    arm.close()


@pytest.fixture
def mortal():
    """A device of its own for a test that breaks it."""
    with SimulatedRobot(seed=3) as robot:
        yield robot


def test_an_episode_over_the_wires(robot, arm):
    robot.referee.reset(5, "standard")
    layout = make_layout("standard", 5)
    for camera in robot.cameras.values():
        camera.start()
        frame = camera.latest(5.0)
        assert frame.image.shape == (64, 64, 3) and frame.image.std() > 5
    arm.arm()
    np.testing.assert_allclose(arm.read().state[6:], layout.start_m, atol=3e-3)
    total, ticks = 0.0, 0
    inwards = np.array([0.0, -0.2 * np.sign(layout.start_m[1]), 0.0])
    while abs(arm.read().state[7]) > abs(layout.start_m[1]) - 0.06 and ticks < 200:
        arm.command(inwards)
        time.sleep(0.05)
        total += robot.referee.judge().reward
        ticks += 1
    assert ticks < 200
    status = robot.referee.ask("status")
    before = np.linalg.norm(np.subtract(layout.start_m, layout.target_m))
    after = np.linalg.norm(np.subtract(status["tip_m"], layout.target_m))
    # What each step earned adds up to what the whole way earns; the arm moves on between the last two questions.
    assert total == pytest.approx(progress(before, after), abs=progress(0.03, 0.0))
    arm.stop(5.0)


def progress(before_m, after_m):
    """What the task pays for coming nearer to the target."""
    return judge_step(Outcome(before_m, 0.2, False, False), Outcome(after_m, 0.2, False, False), 1).reward


def test_between_episodes_the_motors_must_be_disarmed(robot, arm):
    arm.arm()
    with pytest.raises(RobotError, match="motors are armed"):
        robot.referee.reset(6, "standard")
    arm.disarm()
    robot.referee.reset(6, "standard")
    arm.arm()  # its acknowledgement comes after all older telemetry, so what is read now is from after the reset
    np.testing.assert_allclose(arm.read().state[6:], make_layout("standard", 6).start_m, atol=3e-3)
    arm.disarm()
    with pytest.raises(RobotError, match="expected scenario to be one of standard"):
        robot.referee.reset(6, "moon")


def test_a_frozen_camera_is_stale_and_comes_back(robot):
    camera = robot.cameras["wrist"]
    camera.start()
    robot.referee.ask("freeze-camera", camera="wrist")
    time.sleep(0.06)
    with pytest.raises(FrameStale):
        camera.latest(0.05)
    robot.referee.ask("freeze-camera", camera="wrist", frozen=False)
    sequence = camera.latest(60.0).sequence
    wait_for(lambda: camera.latest(60.0).sequence > sequence, "a new frame")


def test_damaged_bytes_are_counted_and_never_obeyed(robot, arm):
    arm.arm()
    robot.referee.ask("line-faults", corrupt_probability=0.01, drop_probability=0.005)
    for _ in range(40):
        arm.command(np.array([0.0, 0.0, 0.05]))
        time.sleep(0.025)
    robot.referee.ask("line-faults")
    counters = robot.referee.ask("status")["counters"]
    assert counters["framing_errors"] + counters["crc_errors"] > 0
    assert counters["refused_value"] == counters["refused_velocity"] == counters["malformed_frames"] == 0
    assert arm.stop(5.0)


def test_a_silent_line_ends_in_a_lost_robot_and_motors_at_rest(robot):
    arm = SerialRobot(robot.port, FingertipDrive(), watchdog_s=0.2, telemetry_timeout_s=0.5)
    arm.connect(10.0)
    arm.arm()
    for _ in range(5):
        arm.command(np.array([0.0, 0.0, 0.1]))
        time.sleep(0.04)
    robot.referee.ask("line-faults", drop_probability=1.0)
    wait_for(lambda: raises(RobotLost, arm.read), "the loss of the robot")
    wait_for(lambda: robot.referee.ask("status")["state"] == "FAULT", "the watchdog")
    wait_for(lambda: np.max(np.abs(robot.referee.ask("status")["velocities_rad_s"])) < 1e-3, "standstill")
    robot.referee.ask("line-faults")
    arm.close()


def test_killing_the_device_loses_everything_at_once_and_leaves_no_shared_memory(mortal):
    arm = SerialRobot(mortal.port, FingertipDrive(), **PATIENT)
    arm.connect(10.0)
    arm.arm()
    camera = mortal.cameras["fixed"]
    camera.start()
    rings = [FOLDER / camera.ring for camera in mortal.cameras.values()]
    assert all(ring.exists() for ring in rings)
    os.kill(mortal.pid, signal.SIGKILL)
    wait_for(lambda: raises(CameraLost, lambda: camera.latest(60.0)), "the loss of the camera")
    wait_for(lambda: raises(RobotLost, arm.read), "the loss of the robot")
    with pytest.raises(RobotLost):
        arm.command(np.zeros(3))
    with pytest.raises(RobotLost):
        mortal.referee.judge()
    with pytest.raises(RobotLost):
        mortal.referee.reset(1, "standard")
    arm.close()
    mortal.close()
    assert not any(ring.exists() for ring in rings)


def test_unplugging_and_removing_a_camera(mortal):
    arm = SerialRobot(mortal.port, FingertipDrive(), **PATIENT)
    arm.connect(10.0)
    mortal.referee.ask("unplug")
    wait_for(lambda: raises(RobotLost, arm.read), "the loss of the robot")
    arm.close()
    mortal.cameras["wrist"].start()
    mortal.referee.ask("remove-camera", camera="wrist")
    with pytest.raises(CameraLost):
        mortal.cameras["wrist"].latest(60.0)
    mortal.cameras["fixed"].latest(60.0)


def test_a_restarted_controller_is_a_lost_robot(mortal):
    arm = SerialRobot(mortal.port, FingertipDrive(), **PATIENT)
    arm.connect(10.0)
    arm.arm()
    mortal.referee.ask("restart-controller")
    wait_for(lambda: raises(RobotLost, arm.read), "the loss of the session")
    arm.close()


PARENT = """
import time
from fosp_edge.simulation.launcher import SimulatedRobot
with SimulatedRobot() as robot:
    print(robot.pid, flush=True)
    time.sleep(120)
"""


def test_the_device_does_not_outlive_a_killed_parent():
    parent = subprocess.Popen([sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        pid = int(parent.stdout.readline())
        os.kill(pid, 0)
        parent.kill()
        parent.wait()
        wait_for(lambda: gone(pid), "the device to end")
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_device_that_cannot_start_says_why():
    with pytest.raises(RobotError, match="unknown scenario 'moon'"), SimulatedRobot(scenario="moon"):
        pytest.fail("it started")
    with pytest.raises(RobotError, match="expected 1 to 200"), SimulatedRobot(camera_hz=1000):
        pytest.fail("it started")


def test_without_mujoco_the_sentence_names_the_extra(tmp_path):
    (tmp_path / "mujoco.py").write_text("raise ModuleNotFoundError('no', name='mujoco')")
    result = subprocess.run(
        [sys.executable, "-m", "fosp_edge.simulation.device"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode != 0
    assert (
        result.stderr.strip() == "the simulated robot needs the extra `simulation`: pip install 'fosp-edge[simulation]'"
    )


def test_rubbish_on_the_channel_is_answered_and_survived():
    process = subprocess.Popen(
        [sys.executable, "-m", "fosp_edge.simulation.device"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert '"event": "ready"' in process.stdout.readline()
        process.stdin.write('what?\n\n{"id": 3, "verb": "judge"}\n')
        process.stdin.flush()
        assert '"ok": false' in process.stdout.readline()
        assert '"id": 3, "ok": true' in process.stdout.readline()
        process.stdin.close()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
