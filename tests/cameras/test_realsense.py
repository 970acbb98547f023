"""The real RealSense code path, on a recording that the library itself made a moment ago."""

import numpy as np
import pytest

from tests.cameras.recordings import FOCAL, HEIGHT, SERIAL, WIDTH, colour_picture, depth_picture, record_realsense

pytest.importorskip("pyrealsense2", exc_type=ImportError)

from fosp_edge.cameras.address import CameraAddress
from fosp_edge.cameras.base import CameraError
from fosp_edge.cameras.realsense import RealSenseSource, list_realsense, reset_realsense
from fosp_edge.cameras.source import SourceEndedError, open_source


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("realsense") / "run.db3"
    record_realsense(path)
    return str(path)


def test_pixels_depth_serial_and_intrinsics_come_through(recording):
    source = open_source(CameraAddress("recording", recording))
    assert isinstance(source, RealSenseSource)
    assert (source.serial, source.width_px, source.height_px) == (SERIAL, WIDTH, HEIGHT)
    assert source.depth_scale_m == pytest.approx(0.001)
    assert source.intrinsics.focal_x_px == FOCAL and source.intrinsics.centre_y_px == HEIGHT / 2
    assert source.intrinsics.model == "brown_conrady" and source.intrinsics.coefficients[0] == pytest.approx(0.1)
    pictures = []
    with pytest.raises(SourceEndedError, match=f"recording of RealSense {SERIAL} has ended"):
        while True:
            pictures.append(source.read(2.0))
    source.close()
    assert len(pictures) >= 8  # a player in real time may skip under load, but not repeat
    numbers = [int(picture.colour[0, 0, 0]) // 10 for picture in pictures]
    assert numbers == sorted(set(numbers))
    for number, picture in zip(numbers, pictures, strict=True):
        np.testing.assert_array_equal(picture.colour, colour_picture(number))
        assert picture.depth.dtype == np.uint16
        assert abs(int(np.median(picture.depth)) - int(depth_picture(number)[0, 0])) <= 1
    # The recording's own frame numbers count: what the player skipped shows as a gap.
    assert [picture.sequence - pictures[0].sequence for picture in pictures] == [n - numbers[0] for n in numbers]
    assert np.all(np.diff([picture.sensor_ns for picture in pictures]) > 0)


def test_a_missing_and_a_broken_recording_are_sentences(tmp_path):
    with pytest.raises(CameraError, match="there is no recording"):
        RealSenseSource(CameraAddress("recording", str(tmp_path / "none.db3")))
    broken = tmp_path / "broken.db3"
    broken.write_bytes(b"not a recording")
    with pytest.raises(CameraError):
        RealSenseSource(CameraAddress("recording", str(broken)))


def test_a_camera_that_is_not_connected_is_a_sentence():
    connected = [serial for serial, _ in list_realsense()]
    if connected:
        pytest.skip("a RealSense is connected")
    with pytest.raises(CameraError, match="RealSense 42 is not connected; connected: none"):
        RealSenseSource(CameraAddress("realsense", "42"))
    with pytest.raises(CameraError, match="expected one RealSense, found 0"):
        RealSenseSource(CameraAddress("realsense"))
    with pytest.raises(CameraError, match="not connected"):
        reset_realsense("42")
