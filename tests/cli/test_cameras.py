"""`fosp-edge cameras` as a person calls it."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from fosp_edge.cli.cameras import app, half_blocks
from tests.cameras.recordings import write_folder

pytest.importorskip("cv2")


def call(*arguments):
    return CliRunner().invoke(app, list(arguments))


def sentence(result):
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1 and "Traceback" not in result.stderr
    return result.stderr


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "run", frames=20)


def test_ls_says_what_is_there_in_words_and_in_json():
    assert call("ls").exit_code == 0
    result = call("ls", "--json")
    assert result.exit_code == 0 and set(json.loads(result.stdout)) == {"cameras", "notes"}


def test_a_recording_is_viewed_recorded_again_and_checked(folder, tmp_path):
    result = call("view", f"recording:{folder}?loop=1", "--seconds", "0.5")
    assert result.exit_code == 0 and "run: " in result.stdout and "frames per second" in result.stdout
    result = call("record", f"recording:{folder}?loop=1", "--out", str(tmp_path / "copy"), "--seconds", "0.6")
    assert result.exit_code == 0 and "frames" in result.stdout
    assert (tmp_path / "copy" / "frames.csv").exists() and (tmp_path / "copy" / "000002.png").exists()
    result = call("check", f"recording:{tmp_path / 'copy'}?loop=1", "--seconds", "1")
    assert "brightness" in result.stdout and "sharpness" in result.stdout


def test_a_dark_camera_fails_the_check(tmp_path):
    cv2 = pytest.importorskip("cv2")
    folder = tmp_path / "dark"
    folder.mkdir()
    for number in range(10):
        cv2.imwrite(str(folder / f"{number}.png"), np.zeros((48, 64, 3), np.uint8))
    result = call("check", f"recording:{folder}?loop=1", "--seconds", "0.8")
    assert result.exit_code == 1 and "FAIL" in result.stdout
    assert "dark is not fit to steer by" in result.stderr


def test_the_simulated_cameras_can_be_viewed():
    pytest.importorskip("mujoco")
    result = call("view", "simulated:wrist", "--seconds", "0.5", "--policy")
    assert result.exit_code == 0 and "sim-wrist: " in result.stdout
    assert "has the cameras fixed, wrist, not 'third'" in sentence(call("view", "simulated:third"))


@pytest.mark.parametrize("verb", ["view", "check", "record"])
def test_mistakes_are_one_sentence(verb, tmp_path):
    extra = ["--out", str(tmp_path / "out")] if verb == "record" else []
    assert "begin with one of realsense" in sentence(call(verb, "webcam", *extra))
    assert "there is no camera /dev/video-none" in sentence(call(verb, "v4l2:/dev/video-none", *extra))
    assert "there is no recording" in sentence(call(verb, "recording:/nowhere", *extra))


def test_recording_into_an_occupied_folder_is_refused(folder):
    assert "is not empty" in sentence(call("record", f"recording:{folder}", "--out", str(folder), "--seconds", "1"))


def test_half_blocks_show_two_pixels_per_character():
    picture = np.zeros((4, 3, 3), np.uint8)
    picture[0, :, 0], picture[1, :, 2] = 255, 128
    text = half_blocks(picture)
    assert text.plain == "▀▀▀\n▀▀▀\n"
    assert str(text.spans[0].style) == "rgb(255,0,0) on rgb(0,0,128)"
