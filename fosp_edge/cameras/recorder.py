"""Write frames to a folder that `recorded.FolderSource` plays back: lossless pictures and a table of their times."""

import os
from pathlib import Path

import numpy as np

from fosp_edge.cameras.base import CameraError, Frame
from fosp_edge.cameras.recorded import FRAME_TABLE, import_opencv


class FolderRecorder:
    """One recording. The table is written by `close`; without it, the pictures still play in order."""

    def __init__(self, folder: Path) -> None:
        """Create the folder.

        Raises:
            CameraError: it exists and is not empty, or cannot be made.
        """
        self._cv2 = import_opencv()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            occupied = any(folder.iterdir())
        except OSError as error:
            raise CameraError(f"cannot record into {folder}: {error.strerror}") from error
        if occupied:
            raise CameraError(f"{folder} is not empty: record into a new folder")
        self._folder = folder
        self._rows: list[str] = []
        self._last = -1
        self.bytes_written = 0

    @property
    def frames(self) -> int:
        """How many pictures were written."""
        return len(self._rows)

    def append(self, frame: Frame) -> bool:
        """Write one frame; False if it is the one written last. Raises CameraError when the disk is full."""
        if frame.sequence == self._last:
            return False
        encoded, data = self._cv2.imencode(
            ".png", np.ascontiguousarray(frame.image[:, :, ::-1]), [self._cv2.IMWRITE_PNG_COMPRESSION, 1]
        )
        if not encoded:
            raise CameraError(f"frame {frame.sequence} cannot be written as PNG")
        name = f"{len(self._rows):06d}.png"
        self._write(name, data.tobytes())
        self._rows.append(f"{name},{frame.sequence},{frame.sensor_ns}")
        self._last = frame.sequence
        return True

    def close(self) -> None:
        """Write the table. Raises CameraError when the disk is full."""
        if self._rows:
            self._write(FRAME_TABLE, ("\n".join(["file,sequence,sensor_ns", *self._rows]) + "\n").encode(), sync=True)

    def _write(self, name: str, data: bytes, *, sync: bool = False) -> None:
        temporary = self._folder / f".{name}.partial"
        try:
            with temporary.open("wb") as file:
                file.write(data)
                if sync:
                    file.flush()
                    os.fsync(file.fileno())
            temporary.rename(self._folder / name)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise CameraError(f"cannot write {self._folder / name}: {error.strerror}") from error
        self.bytes_written += len(data)
