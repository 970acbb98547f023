"""Cameras whose driver lives in another process, which is stopped, killed and brought back."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.cameras.recordings import HEIGHT, SERIAL, WIDTH, record_realsense, write_folder

pytest.importorskip("cv2")

from fosp_edge.bundle.picture import Preprocessing
from fosp_edge.cameras.address import CameraAddress
from fosp_edge.cameras.base import CameraError, CameraLost, FrameStale
from fosp_edge.cameras.fed_camera import FedCamera, Patience
from fosp_edge.cameras.opening import open_camera
from fosp_edge.cameras.policy_camera import PolicyCamera
from fosp_edge.cameras.preprocess import preprocess
from fosp_edge.cameras.ring import FOLDER


class LiveRecording(CameraAddress):
    """A recording treated like a device that can come back."""

    @property
    def is_live(self):
        return True


def wait_for(condition, what, timeout_s=40.0):
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


@pytest.fixture
def endless(tmp_path):
    return LiveRecording("recording", str(write_folder(tmp_path / "run", frames=10)), loop=1)


@pytest.fixture
def camera(endless):
    camera = FedCamera("fixed", endless, patience=Patience(silence_s=1.5, pause_s=0.05))
    camera.start()
    yield camera
    camera.close()


def test_frames_arrive_with_size_serial_and_rising_numbers(camera):
    assert (camera.width_px, camera.height_px, camera.serial) == (WIDTH, HEIGHT, "run")
    first = camera.latest(30.0)
    assert first.image.shape == (HEIGHT, WIDTH, 3)
    wait_for(lambda: camera.latest(30.0).sequence > first.sequence, "the next frame")
    assert camera.counters.received >= 2
    with pytest.raises(CameraError, match=r"measures no distances: a RealSense does with \?depth=1"):
        camera.latest_depth(30.0)


def test_a_killed_driver_is_a_lost_camera_that_comes_back_with_rising_numbers(camera):
    wait_for(lambda: camera.latest(30.0).sequence >= 3, "some frames")
    sequence, received = camera.latest(30.0).sequence, camera.counters.received
    os.kill(camera.driver_pid, signal.SIGKILL)
    wait_for(lambda: raises(CameraLost, lambda: camera.latest(30.0)), "the loss")
    wait_for(lambda: camera.reconnections == 1, "the reconnection")
    assert camera.latest(30.0).sequence > sequence
    assert camera.counters.received > received


def test_a_hanging_driver_is_stale_then_killed_then_replaced(camera):
    pid = camera.driver_pid
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: raises(FrameStale, lambda: camera.latest(0.2)), "staleness")
    wait_for(lambda: camera.reconnections == 1, "the reconnection")
    assert camera.driver_pid != pid and not Path(f"/proc/{pid}").exists()
    camera.latest(30.0)


def test_a_camera_that_does_not_come_back_says_why(endless, tmp_path):
    camera = FedCamera("fixed", endless, patience=Patience(pause_s=0.05))
    camera.start()
    (tmp_path / "run").rename(tmp_path / "moved")
    os.kill(camera.driver_pid, signal.SIGKILL)
    wait_for(lambda: camera._reason.startswith("there is no recording"), "an attempt to reconnect")
    with pytest.raises(CameraLost, match="camera fixed is gone: there is no recording"):
        camera.latest(30.0)
    (tmp_path / "moved").rename(tmp_path / "run")
    wait_for(lambda: camera.reconnections == 1, "the reconnection")
    camera.close()


def test_a_recording_that_ends_is_a_lost_camera_and_stays_lost(tmp_path):
    address = CameraAddress("recording", str(write_folder(tmp_path / "run", frames=4)))
    camera = FedCamera("fixed", address)
    camera.start()
    wait_for(lambda: camera.driver_pid is None, "the end")
    with pytest.raises(CameraLost, match="the recording run has ended"):
        camera.latest(30.0)
    assert camera.reconnections == 0
    camera.close()


def test_a_driver_that_hangs_while_starting_is_given_up(tmp_path):
    fifo = tmp_path / "never.png"
    os.mkfifo(fifo)  # opening it blocks for ever
    camera = FedCamera("fixed", CameraAddress("recording", str(tmp_path)), patience=Patience(start_s=2.0))
    with pytest.raises(CameraError, match="hangs while starting"):
        camera.start()
    assert camera.driver_pid is None
    camera.close()


def test_closing_while_a_driver_hangs_in_reconnecting_does_not_wait_for_it(endless, tmp_path):
    camera = FedCamera("fixed", endless, patience=Patience(start_s=60.0, pause_s=0.05))
    camera.start()
    (tmp_path / "run").rename(tmp_path / "moved")
    (tmp_path / "run").mkdir()
    os.mkfifo(tmp_path / "run" / "never.png")
    os.kill(camera.driver_pid, signal.SIGKILL)
    wait_for(lambda: camera.driver_pid is None, "the loss")
    time.sleep(0.5)
    before = time.monotonic()
    camera.close()
    assert time.monotonic() - before < 30.0


def test_closing_ends_the_driver_and_frees_the_shared_memory(endless):
    camera = FedCamera("fixed", endless)
    camera.start()
    pid, ring = camera.driver_pid, FOLDER / camera._connection.feeder.colour.ring
    assert ring.exists()
    camera.close()
    assert not Path(f"/proc/{pid}").exists() and not ring.exists()
    with pytest.raises(CameraLost, match="it was closed"):
        camera.latest(30.0)
    camera.close()


PARENT = """
import sys, time
from fosp_edge.cameras.opening import open_camera
camera = open_camera("fixed", sys.argv[1])
camera.start()
print(camera.driver_pid, flush=True)
time.sleep(120)
"""


def test_the_driver_does_not_outlive_a_killed_parent(endless):
    root = Path(__file__).resolve().parents[2]
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(endless)], cwd=root, stdout=subprocess.PIPE, text=True)
    try:
        pid = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
        wait_for(lambda: gone(pid), "the driver to end")
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("recording:/nowhere/at-all", "there is no recording /nowhere/at-all"),
        ("v4l2:/dev/video-none", "there is no camera /dev/video-none"),
    ],
)
def test_a_camera_that_cannot_start_gives_the_drivers_own_sentence(address, sentence):
    camera = open_camera("fixed", address)
    with pytest.raises(CameraError, match=sentence):
        camera.start()
    camera.close()


def test_a_realsense_recording_through_its_own_process_colour_and_depth(tmp_path):
    pytest.importorskip("pyrealsense2", exc_type=ImportError)
    path = tmp_path / "run.db3"
    record_realsense(path, frames=30)
    camera = FedCamera("wrist", CameraAddress("recording", str(path), loop=1))
    camera.start()
    assert camera.serial == SERIAL and camera.intrinsics.width_px == WIDTH
    frame = camera.latest(30.0)
    assert frame.image[10, 45].tolist()[1] == 200
    depth = camera.latest_depth(30.0)
    assert depth.depth.shape == (HEIGHT, WIDTH) and depth.unit_m == pytest.approx(0.001)
    assert 1000 <= int(np.median(depth.depth)) < 1030
    camera.close()


def test_the_policy_sees_its_own_size(camera):
    policy = PolicyCamera(camera, Preprocessing(crop=(8, 0, 48, 48)))
    policy.start()
    frame = policy.latest(30.0)
    assert frame.image.shape == (64, 64, 3) and policy.serial == "run"
    whole = camera.latest(30.0)
    if whole.sequence == frame.sequence:
        np.testing.assert_array_equal(frame.image, preprocess(whole.image, Preprocessing(crop=(8, 0, 48, 48))))
    assert (policy.width_px, policy.height_px) == (64, 64)
