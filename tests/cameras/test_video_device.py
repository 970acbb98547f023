"""The V4L2 driver against a stand-in for OpenCV's capture, which behaves as its documentation says."""

import time

import numpy as np
import pytest

from fosp_edge.cameras.address import CameraAddress
from fosp_edge.cameras.base import CameraError
from fosp_edge.cameras.source import open_source
from fosp_edge.cameras.video_device import VideoDeviceSource, list_video_devices, video_device_serial

cv2 = pytest.importorskip("cv2")


class Capture:
    def __init__(self, size=(64, 48), stamps=None):
        self.properties = {cv2.CAP_PROP_EXPOSURE: 157.0, cv2.CAP_PROP_WB_TEMPERATURE: 4600.0}
        self.size, self.stamps, self.count, self.opened = size, stamps, 0, True
        self.history = []

    def isOpened(self):  # noqa: N802 - OpenCV's name
        return self.opened

    def set(self, name, value):
        self.properties[name] = value
        self.history.append((name, value))
        return True

    def get(self, name):
        if name == cv2.CAP_PROP_POS_MSEC:
            return self.stamps[self.count - 1] if self.stamps else 0.0
        return self.properties.get(name, 0.0)

    def read(self):
        if self.count >= 200:
            return False, None
        self.count += 1
        image = np.zeros((self.size[1], self.size[0], 3), np.uint8)
        image[:, :, 2] = self.count % 256  # red, in OpenCV's order
        return True, image

    def release(self):
        self.opened = False


def opened(capture, **options):
    address = CameraAddress("v4l2", "/dev/video9", width=64, height=48, **options)
    return VideoDeviceSource(address, lambda _: capture)


def test_exposure_and_white_balance_are_found_then_kept():
    capture = Capture()
    opened(capture)
    assert capture.count == 20  # it was given time to settle
    assert capture.properties[cv2.CAP_PROP_AUTO_EXPOSURE] == 1 and capture.properties[cv2.CAP_PROP_AUTO_WB] == 0
    assert capture.properties[cv2.CAP_PROP_EXPOSURE] == 157.0
    assert capture.properties[cv2.CAP_PROP_WB_TEMPERATURE] == 4600.0
    order = [value for name, value in capture.history if name == cv2.CAP_PROP_AUTO_EXPOSURE]
    assert order == [3, 1]


def test_exposure_and_white_balance_can_be_given():
    capture = Capture()
    opened(capture, exposure_us=8000, white_balance_k=5000)
    assert capture.count == 0
    assert capture.properties[cv2.CAP_PROP_EXPOSURE] == 80 and capture.properties[cv2.CAP_PROP_WB_TEMPERATURE] == 5000


def test_pictures_are_rgb_and_stamped_by_the_driver_and_gaps_are_counted():
    now_ms = time.monotonic_ns() / 1e6
    stamps = [now_ms - 500 + offset for offset in (0, 33.3, 66.7, 200.0, 233.3)]
    source = opened(Capture(stamps=stamps), exposure_us=8000, white_balance_k=5000)
    pictures = [source.read(1.0) for _ in stamps]
    assert [picture.sequence for picture in pictures] == [0, 1, 2, 6, 7]
    assert [picture.sensor_ns for picture in pictures] == [round(stamp * 1e6) for stamp in stamps]
    assert pictures[0].colour[0, 0].tolist() == [1, 0, 0]


def test_without_usable_stamps_the_arrival_counts():
    source = opened(Capture(), exposure_us=8000, white_balance_k=5000)
    before = time.monotonic_ns()
    assert before <= source.read(1.0).sensor_ns <= time.monotonic_ns()


def test_another_size_than_asked_for_and_an_unplugged_camera_are_sentences():
    with pytest.raises(CameraError, match="gives 32x24 pixels, 64x48 were asked for"):
        opened(Capture(size=(32, 24)))
    source = opened(Capture())
    with pytest.raises(CameraError, match="was it unplugged"):
        for _ in range(300):
            source.read(1.0)
    capture = Capture()
    capture.opened = False
    with pytest.raises(CameraError, match="another program"):
        opened(capture)


def test_a_device_that_is_not_there():
    with pytest.raises(CameraError, match="there is no camera /dev/video-none"):
        open_source(CameraAddress("v4l2", "/dev/video-none"))


def test_listing_leaves_out_metadata_nodes_and_finds_the_stable_name(tmp_path):
    for node, index in (("video0", "0"), ("video1", "1"), ("video10", "0"), ("video2", "0")):
        (tmp_path / node).mkdir()
        (tmp_path / node / "index").write_text(index + "\n")
        (tmp_path / node / "name").write_text(f"Camera {node}\n")
    found = list_video_devices(tmp_path)
    assert [device for device, _, _ in found] == ["/dev/video0", "/dev/video2", "/dev/video10"]
    assert found[0][1] == "Camera video0"
    device, links = tmp_path / "device", tmp_path / "by-id"
    device.touch()
    links.mkdir()
    (links / "usb-Maker_Camera_123-video-index0").symlink_to(device)
    assert video_device_serial(str(device), links) == "usb-Maker_Camera_123-video-index0"
    assert video_device_serial("/dev/video7", links) == "/dev/video7"
