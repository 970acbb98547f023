"""Recordings as cameras: a folder of pictures, or a video, played at the pace at which it was taken."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fosp_edge.cameras.address import CameraAddress
from fosp_edge.cameras.base import CameraError
from fosp_edge.cameras.pace import Pace
from fosp_edge.cameras.source import Intrinsics, Picture, SourceEndedError

FRAME_TABLE = "frames.csv"
"""Beside the pictures: file, sequence, sensor_ns. Without it, pictures are played in the order of their names."""
_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class _Entry:
    """One recorded picture, not loaded yet."""

    file: Path
    sequence: int
    sensor_ns: int


class FolderSource:
    """Pictures in a folder, all of one size."""

    depth_scale_m: float | None = None
    intrinsics: Intrinsics | None = None

    def __init__(self, address: CameraAddress) -> None:
        """Read the table of the folder and its first picture. Raises CameraError."""
        folder = Path(address.target)
        self.serial = folder.name
        self._entries = read_frame_table(folder, address.rate)
        first = read_picture(self._entries[0].file)
        self.height_px, self.width_px = first.shape[:2]
        self._loop = bool(address.loop)
        self._play = self._played()

    def read(self, timeout_s: float) -> Picture:
        """Wait for the next picture; recordings do not time out. Raises CameraError, SourceEndedError."""
        return next(self._play)

    def close(self) -> None:
        """Nothing is held open."""

    def _played(self) -> Iterator[Picture]:
        pace, offset = Pace(), 0
        while True:
            for entry in self._entries:
                image = read_picture(entry.file)
                if image.shape != (self.height_px, self.width_px, 3):
                    raise CameraError(f"{entry.file}: expected {self.width_px}x{self.height_px} pixels like the first")
                yield Picture(image, None, offset + entry.sequence, pace.wait(entry.sensor_ns))
            if not self._loop:
                raise SourceEndedError(f"the recording {self.serial} has ended")
            offset += self._entries[-1].sequence - self._entries[0].sequence + 1


class VideoSource:
    """A video file in any format that OpenCV reads, played at its own rate."""

    depth_scale_m: float | None = None
    intrinsics: Intrinsics | None = None

    def __init__(self, address: CameraAddress) -> None:
        """Open the file. Raises CameraError."""
        cv2 = import_opencv()
        if not Path(address.target).is_file():
            raise CameraError(f"there is no recording {address.target}")
        self._capture = cv2.VideoCapture(address.target)
        self.serial = Path(address.target).name
        self.width_px = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        self.height_px = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        rate = float(self._capture.get(cv2.CAP_PROP_FPS))
        if not self._capture.isOpened() or self.width_px < 1:
            raise CameraError(f"{address.target} is not a video that this OpenCV can read")
        self._period_ns = round(1e9 / (rate if 0.1 < rate < 1000.0 else address.rate))
        self._rewind = cv2.CAP_PROP_POS_FRAMES
        self._loop, self._pace, self._sequence, self._position = bool(address.loop), Pace(), 0, 0

    def read(self, timeout_s: float) -> Picture:
        """Wait for the next picture; recordings do not time out. Raises SourceEndedError."""
        found, bgr = self._capture.read()
        if not found and self._loop and self._position > 0:
            self._capture.set(self._rewind, 0)
            self._position = 0
            found, bgr = self._capture.read()
        if not found:
            raise SourceEndedError(f"the recording {self.serial} has ended")
        taken_ns = self._pace.wait(self._sequence * self._period_ns)
        picture = Picture(np.ascontiguousarray(bgr[:, :, ::-1]), None, self._sequence, taken_ns)
        self._sequence += 1
        self._position += 1
        return picture

    def close(self) -> None:
        """Close the file."""
        self._capture.release()


def open_recording(address: CameraAddress) -> FolderSource | VideoSource:
    """A folder is a folder of pictures, a file is a video. Raises CameraError."""
    return FolderSource(address) if Path(address.target).is_dir() else VideoSource(address)


def read_frame_table(folder: Path, rate: int) -> list[_Entry]:
    """The pictures of a folder in order; times from its table, else at `rate` per second.

    Raises:
        CameraError: no pictures, or a damaged table.
    """
    table = folder / FRAME_TABLE
    if not table.exists():
        files = sorted(file for file in folder.iterdir() if file.suffix.lower() in _SUFFIXES)
        if not files:
            raise CameraError(f"{folder} holds no pictures ({', '.join(_SUFFIXES)})")
        return [_Entry(file, number, round(number * 1e9 / rate)) for number, file in enumerate(files)]
    with table.open(newline="", encoding="utf-8") as lines:
        try:
            rows = [
                _Entry(folder / Path(row["file"]).name, int(row["sequence"]), int(row["sensor_ns"]))
                for row in csv.DictReader(lines)
            ]
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise CameraError(f"{table} is damaged ({error}): expected columns file, sequence, sensor_ns") from error
    rising = all(a.sequence < b.sequence for a, b in pairwise(rows))
    if not rows or not rising:
        raise CameraError(f"{table} is damaged: expected at least one row, and sequence numbers that rise")
    return rows


def read_picture(file: Path) -> npt.NDArray[np.uint8]:
    """One picture, shape [height, width, 3], RGB. Raises CameraError."""
    cv2 = import_opencv()
    bgr = cv2.imread(str(file), cv2.IMREAD_COLOR)
    if bgr is None:
        raise CameraError(f"{file} is missing or not a picture")
    return np.ascontiguousarray(bgr[:, :, ::-1])


def import_opencv() -> Any:
    """OpenCV, or a sentence that says how to get it. Raises CameraError."""
    try:
        import cv2
    except ImportError as error:
        raise CameraError("this needs the extra `cameras`: pip install 'fosp-edge[cameras]'") from error
    return cv2
