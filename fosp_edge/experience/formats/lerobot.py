"""LeRobotDataset v3 as a source of episodes: parquet tables with pictures inside them or in video files.

Actions there are physical; here they are normalised by the range that our own export wrote down, or else by the
range the data set spans. A LeRobot episode ends with its last action: unless our export kept the observation after
it, the last observation stands in for that, so that the last reward and cost are not lost.
"""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fosp_edge.bundle.manifest import Channel
from fosp_edge.experience.episode import Camera, EpisodeHeader, EpisodeInfo, EpisodeSummary, Recording, StoreError
from fosp_edge.experience.formats.lerobot_video import VideoReader
from fosp_edge.experience.schema import Steps

if TYPE_CHECKING:
    import pyarrow as pa

INFO = "meta/info.json"
OWN = "meta/fosp_edge.json"
"""Where our export keeps what the format has no place for."""
PICTURES, STATE, ACTION = "observation.images.", "observation.state", "action"
REWARD, COST, DONE, SUCCESS = "next.reward", "next.cost", "next.done", "next.success"
VIOLATION, NOMINAL, REASON, FINAL = "violation", "nominal_action", "filter_reason", "is_final_observation"
_UNBOUNDED = 1e6


class LeRobotDataset:
    """A folder with a LeRobotDataset of version 3, as a source. Needs the extra `datasets`.

    Raises:
        StoreError: another version, or files that contradict one another.
        ImportError: pyarrow is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._info = _read_json(folder / INFO)
        version = str(self._info.get("codebase_version"))
        if not version.startswith("v3."):
            raise StoreError(f"{folder} is a LeRobotDataset {version}; convert it to v3.0 with LeRobot's own converter")
        self._own: dict[str, Any] = _read_json(folder / OWN) if (folder / OWN).is_file() else {}
        try:
            self._features: dict[str, dict[str, Any]] = dict(self._info["features"])
            self._rate_hz = float(self._info["fps"])
            self._data_path = str(self._info["data_path"])
            self._episodes = self._read_episodes()
            self._recording = self._read_recording()
        except StoreError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(f"{folder}: its metadata cannot be understood ({error!r})") from error
        self._videos = VideoReader(folder, str(self._info.get("video_path") or ""), self._rate_hz)

    @property
    def header(self) -> Recording:
        """What all episodes have in common."""
        return self._recording

    def episodes(self) -> Sequence[EpisodeInfo]:
        """Every episode, by its index."""
        return [self._info_of(episode_id) for episode_id in self._episodes]

    def read(self, episode_id: str) -> Steps:
        """All rows of one episode. Raises StoreError."""
        if episode_id not in self._episodes:
            raise StoreError(f"{self.folder} has no episode {episode_id}; `fosp-edge data ls` lists them")
        steps = self._columns(self._table(episode_id, None))
        rows = len(steps["reward"])
        table = self._table(episode_id, [name for name in self._cameras() if self._features[name]["dtype"] == "image"])
        images = [self._pictures(name, table, episode_id) for name in self._cameras()]
        image = np.concatenate(images, axis=3)
        return steps | {"image": image if len(image) == rows else np.concatenate([image, image[-1:]])}

    def _cameras(self) -> list[str]:
        return [name for name, feature in self._features.items() if feature["dtype"] in ("image", "video")]

    def _read_episodes(self) -> dict[str, dict[str, Any]]:
        import pyarrow.parquet as pq

        paths = sorted((self.folder / "meta/episodes").glob("*/*.parquet"))
        rows: list[dict[str, Any]] = []
        for path in paths:
            names = [name for name in _parquet(pq.read_schema, path).names if not name.startswith("stats/")]
            rows += _parquet(lambda p, n=names: pq.read_table(p, columns=n), path).to_pylist()
        if not rows:
            raise StoreError(f"{self.folder} holds no episodes")
        return {f"{row['episode_index']:06d}": row for row in sorted(rows, key=lambda row: int(row["episode_index"]))}

    def _read_recording(self) -> Recording:
        if "recording" in self._own:
            return Recording.from_raw(self._own["recording"])
        cameras = []
        for name in self._cameras():
            height, width = self._features[name]["shape"][:2]
            cameras.append(Camera(name.removeprefix(PICTURES), int(width), int(height)))
        if not cameras:
            raise StoreError(f"{self.folder} holds no pictures")
        state = [Channel(name, "", -_UNBOUNDED, _UNBOUNDED) for name in self._channel_names(STATE)]
        low, high = self._action_range()
        action = [
            Channel(name, "", float(low[i]), float(high[i])) for i, name in enumerate(self._channel_names(ACTION))
        ]
        robot = str(self._info.get("robot_type") or "lerobot")
        return Recording(robot, self._rate_hz, tuple(cameras), tuple(state), tuple(action))

    def _channel_names(self, feature: str) -> list[str]:
        if feature not in self._features:
            return []
        names = self._features[feature].get("names")
        if isinstance(names, dict):
            names = next(iter(names.values()), None)
        count = int(self._features[feature]["shape"][0])
        if isinstance(names, list) and len(names) == count:
            return [str(name) for name in names]
        return [f"{feature.rpartition('.')[2]}-{i}" for i in range(count)]

    def _action_range(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        values = np.concatenate([_matrix(self._table(episode_id, [ACTION]), ACTION) for episode_id in self._episodes])
        low, high = values.min(axis=0).astype(np.float64), values.max(axis=0).astype(np.float64)
        still = high - low < 1e-9
        return np.where(still, low - 1.0, low), np.where(still, high + 1.0, high)

    def _table(self, episode_id: str, columns: list[str] | None) -> "pa.Table":
        """Rows of one episode in order; None takes every column but the pictures."""
        import pyarrow.parquet as pq

        row = self._episodes[episode_id]
        if columns is None:
            columns = [name for name, feature in self._features.items() if feature["dtype"] not in ("image", "video")]
        place = self._data_path.format(chunk_index=int(row["data/chunk_index"]), file_index=int(row["data/file_index"]))
        path = _inside(self.folder, place)
        index = int(row["episode_index"])
        wanted = [*columns, "frame_index"] if "frame_index" not in columns else columns
        table = _parquet(lambda p: pq.read_table(p, columns=wanted, filters=[("episode_index", "=", index)]), path)
        table = table.sort_by("frame_index")
        if table.num_rows != int(row["length"]) or table.num_rows == 0:
            raise StoreError(f"{path}: episode {index} should have {row['length']} rows, found {table.num_rows}")
        return table

    def _columns(self, table: "pa.Table") -> Steps:
        """Every column but the pictures; one row more than the table where the final observation was not kept."""
        recording, names = self._recording, table.column_names

        def number(name: str) -> npt.NDArray[np.float32]:
            return _matrix(table, name)[:, 0] if name in names else np.zeros(table.num_rows, np.float32)

        low = np.array([channel.low for channel in recording.action])
        high = np.array([channel.high for channel in recording.action])

        def normalised(name: str) -> npt.NDArray[np.float32]:
            scaled = 2.0 * (_matrix(table, name).astype(np.float64) - low) / (high - low) - 1.0
            clipped: npt.NDArray[np.float32] = np.clip(scaled, -1.0, 1.0).astype(np.float32)
            return clipped

        action = normalised(ACTION)
        rows = table.num_rows
        steps: Steps = {
            "state": _matrix(table, STATE) if STATE in names else np.zeros((rows, 0), np.float32),
            "action": action,
            "nominal": normalised(NOMINAL) if NOMINAL in names else action.copy(),
            "reward": number(REWARD),
            "cost": number(COST),
            "violation": number(VIOLATION),
            "is_terminal": np.zeros(rows, np.bool_),
            "reason": number(REASON).astype(np.uint8),
        }
        kept = FINAL in names and bool(number(FINAL)[-1])
        ended = number(SUCCESS if SUCCESS in names else DONE)
        if not kept:
            steps = {name: np.concatenate([values, values[-1:]]) for name, values in steps.items()}
        for name in ("action", "nominal", "reward", "cost", "reason"):
            steps[name][-1] = 0
        if VIOLATION not in names:
            steps["violation"] = np.append(np.float32(0), np.sign(number(COST))[: len(steps["reward"]) - 1]).astype(
                np.float32
            )
        steps["is_terminal"][-1] = bool(ended.any())
        count = len(steps["reward"])
        steps["is_first"] = np.arange(count) == 0
        steps["time_ns"] = np.round(np.arange(count) * (1e9 / self._rate_hz)).astype(np.int64)
        return steps

    def _info_of(self, episode_id: str) -> EpisodeInfo:
        steps = self._columns(self._table(episode_id, None))
        own = (self._own.get("episodes") or {}).get(episode_id, {})
        tasks = self._episodes[episode_id].get("tasks") or [""]
        header = EpisodeHeader(
            self._recording,
            source=str(own.get("source", "lerobot")),
            scenario=str(own.get("scenario", tasks[0])),
            seed=int(own.get("seed", int(episode_id))),
            bundle=own.get("bundle"),
            reasons=tuple(own.get("reasons", ("",))),
            created_utc=str(own.get("created_utc", "")),
        )
        summary = EpisodeSummary(outcome=str(own.get("outcome", "complete"))).extended(steps)
        return EpisodeInfo(episode_id, header, summary)

    def _pictures(self, name: str, table: "pa.Table", episode_id: str) -> npt.NDArray[np.uint8]:
        if self._features[name]["dtype"] == "video":
            return self._videos.read(name, self._episodes[episode_id])
        from PIL import Image

        pictures = []
        for entry in table.column(name).to_pylist():
            data = entry.get("bytes")
            if data is None:
                data = _inside(self.folder, str(entry.get("path"))).read_bytes()
            pictures.append(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
        return np.stack(pictures)


def _matrix(table: "pa.Table", name: str) -> npt.NDArray[np.float32]:
    """A column as float32 [rows, components]."""
    values = np.asarray(table.column(name).to_pylist(), np.float32)
    return values.reshape(table.num_rows, -1)


def _inside(folder: Path, place: str) -> Path:
    """A path below the folder; anything that leads out of it is refused."""
    path = (folder / place).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise StoreError(f"{folder}: {place!r} leads out of the data set; it is not read")
    return path


def _parquet(read: Any, path: Path) -> Any:
    import pyarrow as pa

    try:
        return read(path)
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{path} cannot be read ({error})") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{path} cannot be read ({error})") from error
    if not isinstance(found, dict):
        raise StoreError(f"{path} should hold an object, found {type(found).__name__}")
    return found
