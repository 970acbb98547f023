"""The verbs, end to end on rendered pictures; and bad folders, after which nothing may be saved."""

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from calib.boards import board_from_text
from calib.camera_info import load_camera_info
from calib.geometry import difference, inverse, pose_from_vectors
from calib.lens import PINHOLE
from calib.render import Conditions, Renderer
from calib.simulate import board_poses
from calib.sources import write_poses
from calib.storage import CameraRecord, load, save
from calib.uncertainty import Camera as Calibrated
from fosp_edge.cameras.base import CameraLost, Frame
from fosp_edge.cameras.source import Intrinsics
from fosp_edge.cli.calibrate import DEFAULT_BOARD, app

LENS = np.array([600.0, 602.0, 322.0, 238.0, -0.2, 0.05, 0.001, -0.0005, 0.0])
HAND = pose_from_vectors(np.array([0.1, 0.2, -0.4]), np.array([0.03, 0.01, 0.06]))
runner = CliRunner()


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighteen pictures with depth and robot poses."""
    folder = tmp_path_factory.mktemp("capture")
    rng = np.random.default_rng(0)
    board = board_from_text(DEFAULT_BOARD)
    renderer = Renderer(board, PINHOLE, LENS, (640, 480), rays_per_side=2)
    poses = board_poses(board, PINHOLE, LENS, (640, 480), 18, rng, tilt_rad=0.6, filling=(0.45, 0.9))
    base_from_board = pose_from_vectors(np.array([3.0, 0.0, 0.1]), np.array([0.4, 0.0, 0.0]))
    robot = {}
    for index, pose in enumerate(poses):
        cv2.imwrite(str(folder / f"{index:02d}.png"), renderer.render(pose, Conditions(), rng))
        robot[f"{index:02d}.png"] = base_from_board @ inverse(HAND @ pose)
        if index < 4:
            depth = np.rint(renderer.depth_m(pose, surround_m=0.1) * 1e4).astype(np.uint16)
            (folder / "depth").mkdir(exist_ok=True)
            cv2.imwrite(str(folder / "depth" / f"{index:02d}_depth.png"), depth)
            cv2.imwrite(str(folder / "depth" / f"{index:02d}.png"), cv2.imread(str(folder / f"{index:02d}.png")))
    write_poses(folder / "poses.csv", robot)
    return folder


def run(*arguments: object, status: int = 0) -> str:
    result = runner.invoke(app, [str(each) for each in arguments])
    assert result.exit_code == status, result.output
    assert "Traceback" not in result.output
    return result.output


def test_from_pictures_to_a_checked_camera(capture: Path, tmp_path: Path) -> None:
    store = ["--serial", "cam1", "--store", tmp_path / "store"]
    run("intrinsics", capture, *store, "--model", "pinhole", "--ros", tmp_path / "cam.yaml")
    record = load(tmp_path / "store", "cam1")
    assert record.camera.parameters[:2] == pytest.approx(LENS[:2], abs=2.0)
    assert load_camera_info(tmp_path / "cam.yaml")[1].parameters == pytest.approx(record.camera.parameters)
    assert "data:image/png" in (tmp_path / "store" / "cam1.html").read_text()

    output = run("hand-eye", capture, capture / "poses.csv", *store)
    assert "camera placed to" in output
    found = np.array(load(tmp_path / "store", "cam1").sections["hand_eye"]["gripper_from_camera"])
    assert np.linalg.norm(difference(found, HAND)[3:]) < 0.002

    assert "true distance" in run("depth", capture / "depth", *store, "--unit-mm", 0.1)
    run("check", capture / "00.png", *store, "--remember")
    assert "where it was" in run("check", capture / "00.png", *store)
    assert "recognised" in run("check", capture / "05.png", *store, status=1)
    assert "as calibrated" in run("check", capture / "03.png", *store, "--board", DEFAULT_BOARD)
    sections = load(tmp_path / "store", "cam1").sections
    assert set(sections) == {"hand_eye", "depth", "reference"}
    again = ["extrinsics", f"cam1={capture}", f"cam2={capture}", "--store", tmp_path / "store"]
    assert "no calibration of camera cam2" in run(*again, status=2)
    save(tmp_path / "store", replace(record, serial="cam2"))
    assert "cam2: placed to" in run(*again)
    place = np.array(load(tmp_path / "store", "cam2").sections["extrinsics"]["camera_from_reference"])
    assert np.linalg.norm(difference(place, np.eye(4))[3:]) < 1e-6, "one camera, twice"


def test_a_board_is_printed(tmp_path: Path) -> None:
    run("board", "--out", tmp_path / "board.pdf")
    assert (tmp_path / "board.pdf").read_bytes().startswith(b"%PDF")
    assert "is no board" in run("board", "circles", "--out", tmp_path / "x.pdf", status=2)


def bad(folder: Path, tmp_path: Path, *more: object) -> str:
    output = run("intrinsics", folder, "--serial", "a", "--store", tmp_path / "store", *more, status=2)
    assert not list((tmp_path / "store").glob("*.json")), "a bad calibration was saved"
    return output


def copied(capture: Path, tmp_path: Path, count: int = 18) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for path in sorted(capture.glob("*.png"))[:count]:
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def test_bad_input_saves_nothing(capture: Path, tmp_path: Path) -> None:
    assert "is no folder" in bad(tmp_path / "none", tmp_path)
    three = copied(capture, tmp_path, 3)
    assert "at least 10 usable views are needed, found 3" in bad(three, tmp_path)
    assert "another board" in bad(three, tmp_path, "--board", "charuco:8x6:28:17:4X4_50")
    assert "only pinhole, fisheye, rational are known" in bad(three, tmp_path, "--model", "mirror")


def test_mirrored_and_mixed_pictures(capture: Path, tmp_path: Path) -> None:
    folder = copied(capture, tmp_path, 11)
    for path in list(folder.glob("*.png")):
        cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)[:, ::-1])
    assert "mirrored" in bad(folder, tmp_path)
    for path in sorted(folder.glob("*.png"))[:6]:
        picture = cv2.imread(str(capture / path.name), cv2.IMREAD_GRAYSCALE)
        cv2.imwrite(str(path), cv2.resize(picture, (1280, 960)))
    for path in sorted(folder.glob("*.png"))[6:]:
        path.write_bytes((capture / path.name).read_bytes())
    assert "same size" in bad(folder, tmp_path)


def test_no_board_two_boards_and_only_frontal_views(capture: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    board = board_from_text(DEFAULT_BOARD)
    folder = tmp_path / "made"
    folder.mkdir()
    cv2.imwrite(str(folder / "wall.png"), np.clip(rng.normal(120, 20, (480, 640)), 0, 255).astype(np.uint8))
    assert "found in none of the pictures; the first: no marker" in bad(folder, tmp_path)

    renderer = Renderer(board, PINHOLE, LENS, (640, 480), rays_per_side=2)
    left, right = (pose_from_vectors(np.zeros(3), np.array([x, -0.08, 0.5])) for x in (-0.25, 0.01))
    calm = Conditions(blur_px=0.0, read_noise=0.0, shot_noise=0.0, light_gradient=0.0)
    both = renderer.render(left, Conditions(), rng, background=renderer.render(right, calm, rng))
    cv2.imwrite(str(folder / "wall.png"), both)
    assert "more than one board" in bad(folder, tmp_path)
    (folder / "wall.png").unlink()

    for index in range(11):
        place = np.array([-0.15 + 0.012 * index, -0.1 + 0.007 * index, 0.32 + 0.02 * index])
        picture = renderer.render(pose_from_vectors(np.zeros(3), place), Conditions(), rng)
        cv2.imwrite(str(folder / f"{index:02d}.png"), picture)
    assert "frontal views cannot tell focal length from distance" in bad(folder, tmp_path)


def test_a_wrong_square_size_is_found_by_robot_and_depth_camera(capture: Path, tmp_path: Path) -> None:
    """The pictures alone cannot tell it; nothing is saved where a second measure contradicts."""
    save(tmp_path / "store", CameraRecord("cam1", Calibrated(PINHOLE, LENS, np.eye(9) * 1e-6, (640, 480))))
    before = load(tmp_path / "store", "cam1").sha256
    larger = ["--serial", "cam1", "--store", tmp_path / "store", "--board", "charuco:8x6:30:18.2:5X5_100"]
    said = run("hand-eye", capture, capture / "poses.csv", *larger, status=2)
    assert "the board's squares measure 28.0" in said and "30.00 mm is stated" in said
    assert "30.0 mm is stated" in run("depth", capture / "depth", *larger, "--unit-mm", 0.1, status=2)
    assert load(tmp_path / "store", "cam1").sha256 == before


def test_hand_eye_without_its_poses(capture: Path, tmp_path: Path) -> None:
    store = ["--serial", "cam1", "--store", tmp_path / "store"]
    assert "no calibration of camera cam1" in run("hand-eye", capture, capture / "poses.csv", *store, status=2)
    assert "no calibration" in run("check", capture / "00.png", *store, status=2)


class PlayedCamera:
    """Shows each picture twice, as one who holds still, and then is gone."""

    serial, intrinsics = "cam1", Intrinsics(640, 480, 601.0, 601.0, 320.0, 240.0, "brown_conrady", (0.1, 0, 0, 0, 0))

    def __init__(self, paths: list[Path]) -> None:
        self._paths, self._looks = [path for path in paths for _ in range(2)], 0

    def latest(self, max_age_s: float) -> Frame:
        if self._looks == len(self._paths):
            raise CameraLost("unplugged")
        self._looks += 1
        image = cv2.imread(str(self._paths[self._looks - 1]))
        return Frame(np.ascontiguousarray(image[:, :, ::-1]), self._looks, self._looks)


def play(monkeypatch: pytest.MonkeyPatch, paths: list[Path]) -> None:
    started = contextmanager(lambda address: iter([PlayedCamera(paths)]))
    monkeypatch.setattr("fosp_edge.cli.calibrate_live.started", started)
    monkeypatch.setattr("fosp_edge.cli.calibrate.started", started)


def test_a_guided_capture_keeps_new_views_and_what_the_maker_states(
    capture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = sorted(capture.glob("*.png"))
    play(monkeypatch, [*paths[:5], paths[0]])
    output = run("capture", "v4l2:/dev/video0", "--out", tmp_path / "views")
    assert "kept view 5" in output and "5 views in" in output and "not complete: bring the board" in output
    assert "hold still" in output
    assert sorted(path.name for path in (tmp_path / "views").glob("*.png")) == [f"00{n}.png" for n in range(5)]
    kept = cv2.imread(str(tmp_path / "views" / "004.png"))
    np.testing.assert_array_equal(kept, cv2.imread(str(paths[4])))
    assert load_camera_info(tmp_path / "views" / "factory.yaml")[1].parameters[:2].tolist() == [601.0, 601.0]
    assert "is not empty" in run("capture", "v4l2:/dev/video0", "--out", tmp_path / "views", status=2)
    play(monkeypatch, [])
    assert "no view was kept" in run("capture", "v4l2:/dev/video0", "--out", tmp_path / "none", status=2)


def test_a_live_camera_is_checked_against_its_scene(
    capture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ["--serial", "cam1", "--store", tmp_path / "store"]
    save(tmp_path / "store", CameraRecord("cam1", Calibrated(PINHOLE, LENS, np.eye(9) * 1e-6, (640, 480))))
    play(monkeypatch, [capture / "00.png"])
    run("check", "v4l2:/dev/video0", *store, "--remember")
    play(monkeypatch, [capture / "00.png"])
    assert "where it was" in run("check", "v4l2:/dev/video0", *store)


def test_a_camera_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    output = run("capture", "recording:/nowhere/at/all.avi", "--out", tmp_path / "views", status=2)
    assert "there is no recording /nowhere/at/all.avi" in output
