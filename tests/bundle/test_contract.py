from dataclasses import replace

import pytest

from fosp_edge.bundle.contract import check_contract
from fosp_edge.bundle.manifest import CameraContract, Channel
from fosp_edge.bundle.picture import Lens, Preprocessing
from tests.bundle.manifests import PICTURE, make_manifest


def robot_of(manifest):
    return {
        "robot": manifest.robot,
        "rate_hz": manifest.rate_hz,
        "cameras": list(manifest.cameras),
        "state": list(manifest.state),
        "actions": list(manifest.actions),
    }


def test_a_bundle_fits_the_robot_it_was_made_for():
    manifest = make_manifest()
    assert check_contract(manifest, **robot_of(manifest)) == []


def test_a_camera_that_is_not_tied_may_have_any_serial_number():
    manifest = make_manifest()
    robot = robot_of(manifest)
    robot["cameras"][0] = replace(robot["cameras"][0], serial="999", calibration_sha256="1" * 64)
    assert check_contract(manifest, **robot) == []


@pytest.mark.parametrize(
    ("field", "value", "phrases"),
    [
        ("robot", "other-arm", ["other-arm"]),
        ("rate_hz", 50.0, ["made for 20 Hz, this runs at 50 Hz"]),
        ("cameras", [CameraContract("fixed", 64, 64, preprocessing=PICTURE)], ["fixed, wrist"]),
        (
            "cameras",
            [CameraContract("fixed", 32, 32, preprocessing=PICTURE), CameraContract("wrist", 64, 64, serial="124")],
            ["camera fixed: 64x64 pixels wanted, 32x32 found", "camera wrist: serial number 123 wanted, 124 found"],
        ),
        ("state", [Channel("joint-2", "rad", -3, 3), Channel("joint-1", "rad", -3, 3)], ["joint-2 (rad), joint-1"]),
        ("actions", [Channel("vy", "m/s", -0.25, 0.25), Channel("vx", "m/s", -0.25, 0.25)], ["vy (m/s), vx (m/s)"]),
        ("actions", [Channel("vx", "mm/s", -0.25, 0.25), Channel("vy", "m/s", -0.25, 0.25)], ["vx (mm/s)"]),
        (
            "actions",
            [Channel("vx", "m/s", -0.25, 0.3), Channel("vy", "m/s", -0.25, 0.25)],
            ["action vx: -0.25 to 0.25 m/s wanted, -0.25 to 0.3 found"],
        ),
    ],
)
def test_every_difference_is_said(field, value, phrases):
    manifest = make_manifest()
    found = check_contract(manifest, **(robot_of(manifest) | {field: value}))
    assert len(found) == len(phrases)
    for sentence, phrase in zip(found, phrases, strict=True):
        assert phrase in sentence


def test_a_calibration_that_is_asked_for_must_be_the_one():
    manifest = make_manifest()
    camera = replace(manifest.cameras[0], calibration_sha256="a" * 64)
    manifest = replace(manifest, cameras=(camera, manifest.cameras[1]))
    robot = robot_of(make_manifest())
    assert check_contract(manifest, **robot) == ["camera fixed: calibration aaaaaaaaaaaa wanted, none found"]


def test_pictures_must_be_made_as_in_training():
    manifest = make_manifest()
    seen = Preprocessing(crop=(80, 0, 480, 480), source_px=(640, 480))
    camera = replace(manifest.cameras[0], preprocessing=seen)
    manifest = replace(manifest, cameras=(camera, manifest.cameras[1]))
    for other, phrase in [
        (replace(seen, crop=None), "crop (80, 0, 480, 480) here, none there"),
        (replace(seen, colour_order="bgr"), "colour order rgb here, bgr there"),
        (replace(seen, lens=Lens(640, 480, 600, 600, 320, 240)), "straightening none here, brown-conrady 600 px there"),
        (replace(seen, source_px=(1280, 720)), "camera's size (640, 480) here, (1280, 720) there"),
    ]:
        robot = robot_of(manifest)
        robot["cameras"][0] = replace(camera, preprocessing=other)
        assert check_contract(manifest, **robot) == [f"camera fixed: {phrase}"]
    robot = robot_of(manifest)
    robot["cameras"][0] = replace(camera, preprocessing=replace(seen, source_px=None))
    assert check_contract(manifest, **robot) == [], "a size that is not known is no difference"
