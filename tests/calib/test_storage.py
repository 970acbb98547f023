"""Files that come back as they went, and files that were tampered with."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calib.camera_info import load_camera_info, parse_camera_info, save_camera_info, to_camera_info
from calib.errors import CalibrationError
from calib.lens import LENS_MODELS, PINHOLE, LensModel
from calib.storage import CameraRecord, load, load_file, pose_as_lists, save, write_atomically
from calib.uncertainty import Camera


def camera(lens: LensModel = PINHOLE, focal: float = 600.0) -> Camera:
    parameters = np.concatenate([[focal, focal + 1, 320, 240], np.linspace(-0.1, 0.1, lens.size - 4)])
    spread = np.diag(np.linspace(0.1, 1.0, lens.size))
    return Camera(lens, parameters, spread, (640, 480))


@pytest.mark.parametrize("lens", LENS_MODELS, ids=lambda m: m.name)
def test_a_record_comes_back_with_its_hash(tmp_path: Path, lens: LensModel) -> None:
    hand_eye = {"gripper_from_camera": pose_as_lists(np.eye(4)), "sigma_mm": 0.3}
    saved = save(tmp_path, CameraRecord("943222071836", camera(lens), {"views": 30}, {"hand_eye": hand_eye}))
    found = load(tmp_path, "943222071836")
    np.testing.assert_array_equal(found.camera.parameters, saved.camera.parameters)
    np.testing.assert_array_equal(found.camera.covariance, saved.camera.covariance)
    assert (found.sha256, found.revision, found.sections) == (saved.sha256, 1, {"hand_eye": hand_eye})
    assert found.sha256 == json.loads((tmp_path / "943222071836.json").read_text())["sha256"]


def test_history_is_kept_and_revisions_count(tmp_path: Path) -> None:
    first = save(tmp_path, CameraRecord("a", camera()))
    second = save(tmp_path, CameraRecord("a", camera(focal=610)))
    assert (first.revision, second.revision) == (1, 2)
    assert load_file(tmp_path / "history" / "a.r0001.json").sha256 == first.sha256
    assert not list(tmp_path.glob(".*"))


def test_new_intrinsics_drop_what_was_measured_through_the_old(tmp_path: Path) -> None:
    old = save(tmp_path, CameraRecord("a", camera(), {}, {"hand_eye": {"sigma_mm": 1.0}}))
    same = save(tmp_path, replace(old, sections={**old.sections, "depth": {"scale": 1.0}}))
    assert set(same.sections) == {"hand_eye", "depth"}
    new = save(tmp_path, replace(same, camera=camera(focal=620), sections={**same.sections, "depth": {"scale": 1.1}}))
    assert set(new.sections) == {"depth"}


def test_an_edited_file_is_refused(tmp_path: Path) -> None:
    save(tmp_path, CameraRecord("a", camera()))
    path = tmp_path / "a.json"
    path.write_text(path.read_text().replace("600.0", "650.0"))
    with pytest.raises(CalibrationError, match="was changed after it was written"):
        load(tmp_path, "a")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [("", "no calibration file"), ("[]", "expected an object"), ('{"schema_version": 9}', "of version 9")],
)
def test_other_files_are_refused(tmp_path: Path, content: str, sentence: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(CalibrationError, match=sentence):
        load(tmp_path, "a")


def test_bad_content_is_never_written(tmp_path: Path) -> None:
    nan = replace(camera(), parameters=np.full(9, np.nan))
    for record, sentence in [
        (CameraRecord("a", nan), "finite"),
        (CameraRecord("../a", camera()), "cannot name a file"),
        (CameraRecord("a", replace(camera(), covariance=np.eye(3))), "covariance"),
        (CameraRecord("a", camera(), {}, {"hand_eye": {"gripper_from_camera": [[1]]}}), "no rigid pose"),
        (CameraRecord("a", camera(), {"when": object()}), "plain"),
    ]:
        with pytest.raises(CalibrationError, match=sentence):
            save(tmp_path, record)
    assert not list(tmp_path.rglob("*.json"))


def test_missing_names_what_is_there(tmp_path: Path) -> None:
    save(tmp_path, CameraRecord("left", camera()))
    with pytest.raises(CalibrationError, match="there: left"):
        load(tmp_path, "right")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_atomically(tmp_path / "x", b"old")

    def full(handle: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("calib.storage.os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_atomically(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("lens", LENS_MODELS, ids=lambda m: m.name)
def test_camera_info_round_trip(tmp_path: Path, lens: LensModel) -> None:
    save_camera_info(tmp_path / "c.yaml", camera(lens), "head")
    name, found = load_camera_info(tmp_path / "c.yaml")
    assert (name, found.lens, found.size_px) == ("head", lens, (640, 480))
    np.testing.assert_array_equal(found.parameters, camera(lens).parameters)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("plumb_bob", "mirror_ball", "lens model is 'mirror_ball'"),
        ("640", "zero", "no camera_info"),
        ("640", "0", "above zero"),
        ("camera_matrix", "matrix", "no camera_info"),
        ("600.0", ".nan", "finite"),
        ("plumb_bob", "rational_polynomial", "8 distortion coefficients, found 5"),
    ],
)
def test_bad_camera_info(old: str, new: str, sentence: str) -> None:
    with pytest.raises(CalibrationError, match=sentence):
        parse_camera_info(to_camera_info(camera(), "x").replace(old, new))


@settings(max_examples=200)
@given(st.text(max_size=200) | st.text(alphabet="{}[]:,-&*!|>'\"\n abc01", max_size=80))
def test_any_text_is_read_or_refused_in_a_sentence(text: str) -> None:
    try:
        parse_camera_info(text)
    except CalibrationError as error:
        assert "\n" not in str(error)


@settings(max_examples=100)
@given(st.data())
def test_any_damaged_file_is_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    save(folder, CameraRecord("a", camera()))
    content = bytearray((folder / "a.json").read_bytes())
    index = data.draw(st.integers(0, len(content) - 2))
    value = data.draw(st.integers(0, 255))
    if content[index] == value or (chr(content[index]).isspace() and chr(value).isspace()):
        return
    content[index] = value
    (folder / "a.json").write_bytes(bytes(content))
    try:
        found = load(folder, "a")
    except CalibrationError:
        return
    assert found.sha256 == save(folder / "again", CameraRecord("a", camera())).sha256, "only blanks may differ"
