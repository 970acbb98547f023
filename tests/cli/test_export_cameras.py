"""What a bundle asks of a camera, from the recordings it learnt from."""

from dataclasses import replace

from fosp_edge.bundle.manifest import CameraContract
from fosp_edge.bundle.picture import Preprocessing
from fosp_edge.cli.export import camera_contracts
from fosp_edge.experience.episode import Camera
from tests.experience.episodes import RECORDING

SEEN = Preprocessing(crop=(80, 0, 480, 480), source_px=(640, 480))


def recording(**changes: object):
    return replace(RECORDING, cameras=(replace(Camera("fixed", 64, 64, SEEN, "123", "a" * 64), **changes),))


def test_recordings_of_one_camera_tie_the_bundle_to_it():
    wanted = CameraContract("fixed", 64, 64, serial="123", calibration_sha256="a" * 64, preprocessing=SEEN)
    assert camera_contracts([recording(), recording()]) == (wanted,)
    assert camera_contracts([recording()], any_camera=True) == (CameraContract("fixed", 64, 64, preprocessing=SEEN),)


def test_recordings_of_several_cameras_tie_it_to_none():
    (camera,) = camera_contracts([recording(), recording(serial="124", calibration_sha256="b" * 64)])
    assert (camera.serial, camera.calibration_sha256, camera.preprocessing) == (None, None, SEEN)


def test_a_simulation_beside_a_real_camera_leaves_the_real_one_s_size():
    plain = recording(preprocessing=replace(SEEN, source_px=None), serial=None)
    (camera,) = camera_contracts([plain, recording()])
    assert (camera.serial, camera.preprocessing) == (None, SEEN)
