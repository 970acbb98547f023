"""Pictures of one episode out of a video file that holds many."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fosp_edge.experience.episode import StoreError


class VideoReader:
    """Reads stretches of a LeRobotDataset's videos. Needs PyAV.

    Args:
        folder: the data set.
        pattern: where a video lies, with `video_key`, `chunk_index` and `file_index` to fill in.
        rate_hz: pictures per second.
    """

    def __init__(self, folder: Path, pattern: str, rate_hz: float) -> None:
        self._folder, self._pattern, self._rate_hz = folder, pattern, rate_hz

    def read(self, name: str, episode: dict[str, Any]) -> npt.NDArray[np.uint8]:
        """Pictures of one camera in one episode, [rows, height, width, 3].

        Raises:
            StoreError: the video is not there, ends too early, or cannot be decoded.
            ImportError: PyAV is not installed.
        """
        import av

        place = self._pattern.format(
            video_key=name,
            chunk_index=int(episode[f"videos/{name}/chunk_index"]),
            file_index=int(episode[f"videos/{name}/file_index"]),
        )
        path = (self._folder / place).resolve()
        if not path.is_relative_to(self._folder.resolve()):
            raise StoreError(f"{self._folder}: {place!r} leads out of the data set; it is not read")
        first_s, rows = float(episode[f"videos/{name}/from_timestamp"]), int(episode["length"])
        half_s = 0.5 / self._rate_hz
        pictures: list[npt.NDArray[np.uint8]] = []
        try:
            with av.open(str(path)) as container:
                stream = container.streams.video[0]
                container.seek(round(first_s / stream.time_base), stream=stream)
                for frame in container.decode(stream):
                    if frame.time is not None and frame.time >= first_s - half_s:
                        pictures.append(frame.to_ndarray(format="rgb24"))
                    if len(pictures) == rows:
                        return np.stack(pictures)
        except (OSError, av.error.FFmpegError, IndexError) as error:
            raise StoreError(f"{path} cannot be decoded ({error})") from error
        raise StoreError(f"{path} ends after {len(pictures)} of the {rows} pictures of its episode")
