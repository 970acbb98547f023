"""MCAP recordings as cameras: pictures as ROS 2 and Foxglove log them, at the pace at which they were taken.

`recording:run.mcap` plays the only topic with pictures; `recording:run.mcap#/wrist/color` names one of several. The
containers and both encodings are read by the mcap packages; only the layout of pixels is looked at here.
"""

import json
from base64 import b64decode
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fosp_edge.cameras.address import CameraAddress
from fosp_edge.cameras.base import CameraError
from fosp_edge.cameras.pace import Pace
from fosp_edge.cameras.recorded import import_opencv
from fosp_edge.cameras.source import Intrinsics, Picture, SourceEndedError

SUFFIX = ".mcap"
RAW = ("sensor_msgs/msg/Image", "foxglove.RawImage")
COMPRESSED = ("sensor_msgs/msg/CompressedImage", "foxglove.CompressedImage")
_CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1, "8UC1": 1, "8UC3": 3}


class McapSource:
    """The pictures of one topic; log times are when they were taken."""

    depth_scale_m: float | None = None
    intrinsics: Intrinsics | None = None

    def __init__(self, address: CameraAddress) -> None:
        """Open the file and look at its first picture. Raises CameraError."""
        file, _, topic = address.target.partition(f"{SUFFIX}#")
        self._path = Path(file + SUFFIX if topic else address.target)
        self._topic = topic or _only_topic(self._path)
        self._loop = bool(address.loop)
        self.serial = self._path.name
        first = next(self._messages(), None)
        if first is None:
            raise CameraError(
                f"{self._path} holds no pictures under {self._topic}; topics with pictures: "
                f"{', '.join(image_topics(self._path)) or 'none'}"
            )
        self.height_px, self.width_px = first[0].shape[:2]
        self._play = self._played()

    def read(self, timeout_s: float) -> Picture:
        """Wait for the next picture; recordings do not time out. Raises CameraError, SourceEndedError."""
        return next(self._play)

    def close(self) -> None:
        """Let go of the file."""
        self._play.close()

    def _played(self) -> Generator[Picture, None, None]:
        pace, sequence = Pace(), 0
        while True:
            for image, taken_ns in self._messages():
                if image.shape != (self.height_px, self.width_px, 3):
                    raise CameraError(f"{self._path}: expected {self.width_px}x{self.height_px} pixels like the first")
                yield Picture(image, None, sequence, pace.wait(taken_ns))
                sequence += 1
            if not self._loop:
                raise SourceEndedError(f"the recording {self.serial} has ended")

    def _messages(self) -> Iterator[tuple[npt.NDArray[np.uint8], int]]:
        """Pictures [height, width, 3], RGB, and log times in nanoseconds. Raises CameraError."""
        mcap = import_mcap()
        try:
            with self._path.open("rb") as file:
                reader = mcap.make_reader(file, decoder_factories=mcap.factories)
                for schema, _, message, decoded in reader.iter_decoded_messages(topics=[self._topic]):
                    yield _picture(schema.name, decoded, f"{self._path}, {self._topic}"), int(message.log_time)
        except (OSError, mcap.McapError, ValueError, EOFError) as error:
            raise CameraError(f"{self._path} cannot be read as an MCAP recording: {error}") from error


def image_topics(path: Path) -> list[str]:
    """Topics of a file that hold pictures, in the order of names. Raises CameraError."""
    mcap = import_mcap()
    try:
        with path.open("rb") as file:
            summary = mcap.make_reader(file).get_summary()
    except FileNotFoundError:
        raise CameraError(f"there is no recording {path}") from None
    except (OSError, mcap.McapError, ValueError, EOFError) as error:
        raise CameraError(f"{path} is not an MCAP recording: {error or type(error).__name__}") from error
    if summary is None:
        raise CameraError(f"{path} has no summary, its writer was cut off: repair it with `mcap recover`")
    kinds = {key: schema.name for key, schema in summary.schemas.items()}
    return sorted(c.topic for c in summary.channels.values() if kinds.get(c.schema_id) in (*RAW, *COMPRESSED))


def _only_topic(path: Path) -> str:
    topics = image_topics(path)
    if len(topics) != 1:
        listed = ", ".join(topics) or "none"
        raise CameraError(
            f"{path} holds {len(topics)} topics with pictures ({listed}); name one: recording:{path}#TOPIC"
        )
    return topics[0]


def _picture(kind: str, message: Any, place: str) -> npt.NDArray[np.uint8]:
    """Pixels of a decoded message, RGB. Raises CameraError."""
    fields = message if isinstance(message, dict) else None

    def get(name: str) -> Any:
        return fields.get(name) if fields is not None else getattr(message, name, None)

    data = get("data")
    data = b64decode(data) if isinstance(data, str) else bytes(data or b"")
    if kind in COMPRESSED:
        cv2 = import_opencv()
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
        if bgr is None:
            raise CameraError(f"{place}: a picture is compressed as {get('format')!r}, which this OpenCV cannot read")
        return np.ascontiguousarray(bgr[:, :, ::-1])
    encoding, height, width, step = get("encoding"), get("height"), get("width"), get("step")
    channels = _CHANNELS.get(encoding)
    if channels is None:
        raise CameraError(f"{place}: pixels are stored as {encoding!r}; known are {', '.join(_CHANNELS)}")
    if not (height and width and step >= width * channels and len(data) >= height * step):
        raise CameraError(f"{place}: a picture of {width}x{height} pixels has {len(data)} bytes, too few")
    rows = np.frombuffer(data, np.uint8, height * step).reshape(height, step)[:, : width * channels]
    pixels = rows.reshape(height, width, channels)
    if channels == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    swapped = encoding.startswith("bgr") or encoding == "8UC3"
    return np.ascontiguousarray(pixels[:, :, 2::-1] if swapped else pixels[:, :, :3])


class _Mcap:
    """What is needed of the mcap packages."""

    def __init__(self) -> None:
        from mcap.decoder import DecoderFactory
        from mcap.exceptions import McapError
        from mcap.reader import make_reader
        from mcap_protobuf.decoder import DecoderFactory as Protobuf
        from mcap_ros2.decoder import DecoderFactory as Ros2

        class Json(DecoderFactory):  # type: ignore[misc]  # untyped base
            """Foxglove's pictures as JSON text."""

            def decoder_for(self, message_encoding: str, schema: Any) -> Any:
                return json.loads if message_encoding == "json" else None

        self.McapError, self.make_reader = McapError, make_reader
        self.factories = [Ros2(), Protobuf(), Json()]


def import_mcap() -> _Mcap:
    """The mcap packages, or a sentence that says how to get them. Raises CameraError."""
    try:
        return _Mcap()
    except ImportError as error:
        raise CameraError("this needs the extra `mcap`: pip install 'fosp-edge[mcap]'") from error
