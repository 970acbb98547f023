"""MCAP recordings as ROS 2 and Foxglove write them, made here by the mcap packages themselves."""

import json
from base64 import b64encode

import numpy as np
import pytest

from fosp_edge.cameras.address import CameraAddress, parse_address
from fosp_edge.cameras.base import CameraError
from fosp_edge.cameras.mcap_recording import McapSource, image_topics
from fosp_edge.cameras.source import SourceEndedError, open_source
from tests.cameras.recordings import HEIGHT, WIDTH, colour_picture

cv2 = pytest.importorskip("cv2")
pytest.importorskip("mcap_ros2")

IMAGE = """std_msgs/Header header
uint32 height
uint32 width
string encoding
uint8 is_bigendian
uint32 step
uint8[] data
================================================================================
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
================================================================================
MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
"""
RAW_FIELDS = "uint32 height\nuint32 width\nstring encoding\nuint8 is_bigendian\nuint32 step"
COMPRESSED = IMAGE.replace(RAW_FIELDS, "string format")
HEADER = {"stamp": {"sec": 1, "nanosec": 2}, "frame_id": "camera"}


def ros2(path, *topics, frames=4, encoding="rgb8", pad=0):
    """Raw pictures, 20 ms apart, each row `pad` bytes longer than its pixels."""
    from mcap_ros2.writer import Writer

    with path.open("wb") as file:
        writer = Writer(file)
        schema = writer.register_msgdef("sensor_msgs/msg/Image", IMAGE)
        for number in range(frames):
            image = colour_picture(number)
            pixels = {
                "rgb8": image,
                "bgr8": image[:, :, ::-1],
                "rgba8": np.concatenate([image, image[:, :, :1]], axis=2),
                "mono8": image[:, :, 1:2],
                "16UC1": image[:, :, :2],
            }[encoding]
            rows = np.pad(pixels.reshape(HEIGHT, -1), ((0, 0), (0, pad)))
            message = {
                "header": HEADER, "height": HEIGHT, "width": WIDTH, "encoding": encoding, "is_bigendian": 0,
                "step": rows.shape[1], "data": rows.tobytes(),
            }  # fmt: skip
            for topic in topics:
                writer.write_message(topic, schema, message, log_time=10**18 + number * 20_000_000)
        writer.finish()
    return str(path)


def play(source, limit=50):
    pictures = []
    try:
        while len(pictures) < limit:
            pictures.append(source.read(1.0))
    except SourceEndedError:
        pass
    source.close()
    return pictures


@pytest.mark.parametrize(("encoding", "pad"), [("rgb8", 0), ("bgr8", 5), ("rgba8", 0), ("mono8", 3)])
def test_raw_pictures_of_ros_2_come_through(tmp_path, encoding, pad):
    source = open_source(CameraAddress("recording", ros2(tmp_path / "run.mcap", "/color", encoding=encoding, pad=pad)))
    assert isinstance(source, McapSource)
    assert (source.width_px, source.height_px, source.serial) == (WIDTH, HEIGHT, "run.mcap")
    pictures = play(source)
    assert [picture.sequence for picture in pictures] == [0, 1, 2, 3]
    assert np.diff([picture.sensor_ns for picture in pictures]).tolist() == [20e6] * 3
    for number, picture in enumerate(pictures):
        expected = colour_picture(number)
        expected = np.repeat(expected[:, :, 1:2], 3, axis=2) if encoding == "mono8" else expected
        np.testing.assert_array_equal(picture.colour, expected)


def test_compressed_pictures_of_ros_2(tmp_path):
    from mcap_ros2.writer import Writer

    path = tmp_path / "run.mcap"
    with path.open("wb") as file:
        writer = Writer(file)
        schema = writer.register_msgdef("sensor_msgs/msg/CompressedImage", COMPRESSED)
        for number in range(2):
            data = cv2.imencode(".png", colour_picture(number)[:, :, ::-1])[1].tobytes()
            message = {"header": HEADER, "format": "rgb8; png compressed", "data": data}
            writer.write_message("/color/compressed", schema, message, log_time=number * 1_000_000)
        writer.finish()
    pictures = play(open_source(parse_address(f"recording:{path}")))
    np.testing.assert_array_equal(pictures[1].colour, colour_picture(1))


def test_pictures_of_foxglove_as_json(tmp_path):
    from mcap.writer import Writer

    path = tmp_path / "run.mcap"
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start()
        schema = writer.register_schema("foxglove.CompressedImage", "jsonschema", b"{}")
        channel = writer.register_channel("/camera", "json", schema)
        for number in range(3):
            data = cv2.imencode(".png", colour_picture(number)[:, :, ::-1])[1].tobytes()
            message = json.dumps({"format": "png", "frame_id": "", "data": b64encode(data).decode()})
            writer.add_message(channel, number * 1_000_000, message.encode(), number * 1_000_000)
        writer.finish()
    pictures = play(open_source(CameraAddress("recording", str(path), loop=1)), limit=5)
    assert [picture.sequence for picture in pictures] == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(pictures[4].colour, colour_picture(1))


def test_one_of_several_topics_is_named(tmp_path):
    path = ros2(tmp_path / "run.mcap", "/wrist", "/fixed")
    assert image_topics(tmp_path / "run.mcap") == ["/fixed", "/wrist"]
    with pytest.raises(CameraError, match=r"2 topics with pictures \(/fixed, /wrist\); name one: recording:.*#TOPIC"):
        open_source(CameraAddress("recording", path))
    assert len(play(open_source(parse_address(f"recording:{path}#/wrist")))) == 4
    with pytest.raises(CameraError, match="no pictures under /front; topics with pictures: /fixed, /wrist"):
        open_source(parse_address(f"recording:{path}#/front"))


def test_what_is_no_recording_is_a_sentence(tmp_path):
    with pytest.raises(CameraError, match="there is no recording"):
        open_source(CameraAddress("recording", str(tmp_path / "none.mcap")))
    whole = (tmp_path / "whole.mcap", ros2(tmp_path / "whole.mcap", "/color"))[0].read_bytes()
    for content in (b"", b"not a recording", whole[: len(whole) // 2], whole[:-20]):
        (tmp_path / "broken.mcap").write_bytes(content)
        with pytest.raises(CameraError, match=r"broken\.mcap"):
            play(open_source(CameraAddress("recording", str(tmp_path / "broken.mcap"))))
    with pytest.raises(CameraError, match="stored as '16UC1'; known are rgb8"):
        open_source(CameraAddress("recording", ros2(tmp_path / "depth.mcap", "/depth", encoding="16UC1")))
