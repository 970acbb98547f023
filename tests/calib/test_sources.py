"""Folders, pose tables and the guided capture."""

import contextlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calib.boards import Charuco
from calib.capture import GuidedCapture
from calib.errors import CalibrationError
from calib.geometry import pose_from_vectors
from calib.lens import PINHOLE
from calib.render import Conditions, Renderer
from calib.simulate import board_poses
from calib.sources import TimedImage, images_in, read_depth_m, read_image, read_poses, write_poses


def test_pictures_come_in_order_without_depth(tmp_path: Path) -> None:
    for name in ("b.png", "a.png", "a_depth.png", "12.png"):
        cv2.imwrite(str(tmp_path / name), np.full((40, 50), 7, np.uint8))
    (tmp_path / "note.txt").write_text("no picture")
    found = list(images_in(tmp_path))
    assert [each.name for each in found] == ["12.png", "a.png", "b.png"]
    assert (found[0].time_ns, found[1].time_ns) == (12, 0)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="is no folder"):
        list(images_in(tmp_path / "nowhere"))
    with pytest.raises(CalibrationError, match="holds no pictures"):
        list(images_in(tmp_path))
    for content in (b"", b"no picture", b"\x89PNG\r\n\x1a\nshort"):
        (tmp_path / "x.png").write_bytes(content)
        with pytest.raises(CalibrationError, match="cannot be read as a picture"):
            read_image(tmp_path / "x.png")
    cv2.imwrite(str(tmp_path / "y.png"), np.zeros((40, 50), np.uint8))
    with pytest.raises(CalibrationError, match="no 16-bit depth"):
        read_depth_m(tmp_path / "y.png", 1e-3)
    cv2.imwrite(str(tmp_path / "z.png"), np.full((40, 50), 1500, np.uint16))
    assert read_depth_m(tmp_path / "z.png", 1e-3)[0, 0] == pytest.approx(1.5)


def test_poses_come_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    poses = {f"{i}.png": pose_from_vectors(rng.normal(size=3), rng.normal(size=3)) for i in range(5)}
    write_poses(tmp_path / "poses.csv", poses)
    found = read_poses(tmp_path / "poses.csv")
    for name, each in poses.items():
        np.testing.assert_allclose(found[name], each, atol=1e-9)


HEAD = "image,x_m,y_m,z_m,qx,qy,qz,qw\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "lacks the columns image"),
        (HEAD.replace("qw", "w"), "lacks the columns qw"),
        (HEAD + "a.png,0,0,0,0,0,0,2\n", "line 2: the quaternion has length 2"),
        (HEAD + "a.png,0,0,0,0,0,0,1\na.png,0,0,0,0,0,0,1\n", "line 3: a.png has two poses"),
        (HEAD + "a.png,0,nan,0,0,0,0,1\n", "line 2: expected 7 finite numbers"),
        (HEAD + "a.png,0,0\n", "line 2: expected 7 finite numbers"),
    ],
)
def test_bad_pose_tables(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "poses.csv").write_text(text)
    with pytest.raises(CalibrationError, match=sentence):
        read_poses(tmp_path / "poses.csv")


@settings(max_examples=100)
@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "poses.csv"
    path.write_bytes(HEAD.encode() + data)
    with contextlib.suppress(CalibrationError):
        read_poses(path)


def test_guided_capture_keeps_what_is_still_sharp_and_new(board: Charuco, parameters: np.ndarray) -> None:
    rng = np.random.default_rng(3)
    renderer = Renderer(board, PINHOLE, parameters, (640, 480), rays_per_side=1)
    poses = board_poses(board, PINHOLE, parameters, (640, 480), 6, rng, tilt_rad=0.5)
    capture = GuidedCapture(board)

    def show(index: int, **conditions: float) -> str:
        picture = renderer.render(poses[index], Conditions(**conditions), rng)
        guidance = capture.offer(TimedImage(f"{index}", picture, 0))
        assert guidance.picture.shape == (480, 640, 3)
        return guidance.message

    assert show(0) == "hold still"
    assert show(0).startswith("kept view 1")
    assert "move the board" in show(0), "the same place again adds nothing"
    assert show(1) == "hold still"
    assert "kept" not in show(1, blur_px=3.0)
    for index in range(1, 6):
        show(index)
        show(index)
    assert len(capture.detections) >= 5
    nothing = capture.offer(TimedImage("wall", np.full((480, 640), 120, np.uint8), 0))
    assert not nothing.kept
    assert "no marker" in nothing.message
    assert nothing.coverage is not None
    assert nothing.coverage.missing
    assert not capture.complete
