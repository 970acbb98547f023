"""Episodes as a LeRobotDataset v3, pictures without loss as PNG inside the tables. Needs the extra `datasets`.

Beside the format's own columns there are `next.cost`, `violation`, `nominal_action`, `filter_reason`, and
`is_final_observation`, which marks the row after the last action: it holds no action of its own.
"""

import io
import json
import os
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from fosp_edge.experience.episode import EpisodeInfo, Recording, StoreError
from fosp_edge.experience.formats import lerobot as names
from fosp_edge.experience.schema import Steps
from fosp_edge.experience.source import EpisodeSource

_FILE_BYTES = 100 << 20
_FILES_PER_CHUNK = 1000
_DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_EPISODES_PATH = "meta/episodes/chunk-000/file-000.parquet"
_COUNTERS = ("frame_index", "episode_index", "index", "task_index")
_PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])

Values = npt.NDArray[Any]


def write_lerobot(source: EpisodeSource, folder: Path, episode_ids: Sequence[str]) -> int:
    """Write episodes as a new data set, whole or not at all; returns how many table files it has.

    Raises:
        StoreError: the folder is not empty, an episode cannot be read, or there is none.
        OSError: the disk refuses.
    """
    recording = source.header
    if recording is None or not episode_ids:
        raise StoreError("there are no episodes to export")
    if folder.exists() and any(folder.iterdir()):
        raise StoreError(f"{folder} is not empty; choose another folder")
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    try:
        writer = _Writer(temporary, recording)
        infos = {info.id: info for info in source.episodes()}
        for episode_id in episode_ids:
            writer.add(infos[episode_id], source.read(episode_id))
        files = writer.finish()
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return files


class _Writer:
    """Collects episodes into table files of about a hundred mebibytes."""

    def __init__(self, folder: Path, recording: Recording) -> None:
        self._folder, self._recording = folder, recording
        self._features = _features(recording)
        self._schema = _schema(self._features)
        self._tables: list[pa.Table] = []
        self._bytes = self._files = self._frames = 0
        self._episodes: list[dict[str, Any]] = []
        self._tasks: dict[str, int] = {}
        self._stats: list[dict[str, dict[str, Values]]] = []
        self._own: dict[str, Any] = {}

    def add(self, info: EpisodeInfo, steps: Steps) -> None:
        """Take one episode."""
        rows, index = len(steps["reward"]), len(self._episodes)
        task = info.header.scenario or "episode"
        task_index = self._tasks.setdefault(task, len(self._tasks))
        columns = _columns(steps, self._recording)
        frames = np.arange(rows)
        columns["timestamp"] = (frames / self._recording.rate_hz).astype(np.float32)
        columns["frame_index"] = frames
        columns["episode_index"] = np.full(rows, index)
        columns["index"] = self._frames + frames
        columns["task_index"] = np.full(rows, task_index)
        arrays = []
        for field in self._schema:
            values = columns[field.name]
            if field.type == _PICTURE:
                entries = [{"bytes": _png(picture), "path": f"{field.name}-{index:06d}-{i:06d}.png"}
                           for i, picture in enumerate(values)]  # fmt: skip
                arrays.append(pa.array(entries, _PICTURE))
            else:
                arrays.append(pa.array(values.tolist(), field.type))
        table = pa.Table.from_arrays(arrays, schema=self._schema)
        if self._tables and self._bytes + table.nbytes > _FILE_BYTES:
            self._flush()
        self._tables.append(table)
        self._bytes += table.nbytes
        stats = {name: _statistics(columns[name], self._features[name]["dtype"] == "image") for name in self._features}
        self._stats.append(stats)
        chunk, file = divmod(self._files, _FILES_PER_CHUNK)
        self._episodes.append(
            {
                "episode_index": index,
                "tasks": [task],
                "length": rows,
                "data/chunk_index": chunk,
                "data/file_index": file,
                "dataset_from_index": self._frames,
                "dataset_to_index": self._frames + rows,
                "meta/episodes/chunk_index": 0,
                "meta/episodes/file_index": 0,
            }
            | {f"stats/{name}/{key}": value.tolist() for name, values in stats.items() for key, value in values.items()}
        )
        header = info.header
        self._own[f"{index:06d}"] = {
            "source": header.source, "scenario": header.scenario, "seed": header.seed, "bundle": header.bundle,
            "reasons": list(header.reasons), "created_utc": header.created_utc, "outcome": info.summary.outcome,
        }  # fmt: skip
        self._frames += rows

    def finish(self) -> int:
        """Write what is left and the metadata."""
        self._flush()
        fps = self._recording.rate_hz
        info = {
            "codebase_version": "v3.0",
            "robot_type": self._recording.robot,
            "total_episodes": len(self._episodes),
            "total_frames": self._frames,
            "total_tasks": len(self._tasks),
            "chunks_size": _FILES_PER_CHUNK,
            "data_files_size_in_mb": _FILE_BYTES >> 20,
            "video_files_size_in_mb": 200,
            "fps": int(fps) if float(fps).is_integer() else fps,
            "splits": {"train": f"0:{len(self._episodes)}"},
            "data_path": _DATA_PATH,
            "video_path": None,
            "features": self._features,
        }
        self._json(names.INFO, info)
        self._json(names.OWN, {"recording": asdict(self._recording), "episodes": self._own})
        self._json("meta/stats.json", _aggregate(self._stats))
        self._parquet(_EPISODES_PATH, pa.Table.from_pylist(self._episodes))
        self._parquet("meta/tasks.parquet", _task_table(self._tasks))
        return self._files

    def _flush(self) -> None:
        if self._tables:
            chunk, file = divmod(self._files, _FILES_PER_CHUNK)
            self._parquet(_DATA_PATH.format(chunk_index=chunk, file_index=file), pa.concat_tables(self._tables))
            self._tables, self._bytes = [], 0
            self._files += 1

    def _parquet(self, place: str, table: pa.Table) -> None:
        path = self._folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            pq.write_table(table, file)
            file.flush()
            os.fsync(file.fileno())

    def _json(self, place: str, content: dict[str, Any]) -> None:
        path = self._folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            json.dump(content, file, indent=4)
            file.flush()
            os.fsync(file.fileno())


def _features(recording: Recording) -> dict[str, dict[str, Any]]:
    """What each column is, as the format's `info.json` says it."""
    action = [channel.name for channel in recording.action]
    features: dict[str, dict[str, Any]] = {
        f"{names.PICTURES}{camera.name}": {
            "dtype": "image",
            "shape": [camera.height_px, camera.width_px, 3],
            "names": ["height", "width", "channels"],
        }
        for camera in recording.cameras
    }
    if recording.state:
        state = [channel.name for channel in recording.state]
        features[names.STATE] = {"dtype": "float32", "shape": [len(state)], "names": state}
    for name in (names.ACTION, names.NOMINAL):
        features[name] = {"dtype": "float32", "shape": [len(action)], "names": action}
    for name in (names.REWARD, names.COST, names.VIOLATION, "timestamp"):
        features[name] = {"dtype": "float32", "shape": [1], "names": None}
    for name in (names.DONE, names.SUCCESS, names.FINAL):
        features[name] = {"dtype": "bool", "shape": [1], "names": None}
    for name in (names.REASON, *_COUNTERS):
        features[name] = {"dtype": "int64", "shape": [1], "names": None}
    return features


def _schema(features: dict[str, dict[str, Any]]) -> pa.Schema:
    kinds = {"float32": pa.float32(), "bool": pa.bool_(), "int64": pa.int64()}
    fields = []
    for name, feature in features.items():
        if feature["dtype"] == "image":
            fields.append((name, _PICTURE))
        elif feature["names"] is None:
            fields.append((name, kinds[feature["dtype"]]))
        else:
            fields.append((name, pa.list_(kinds[feature["dtype"]], feature["shape"][0])))
    return pa.schema(fields)


def _columns(steps: Steps, recording: Recording) -> dict[str, Values]:
    """An episode's rows under the format's names, actions in physical units."""
    rows = len(steps["reward"])
    low = np.array([channel.low for channel in recording.action])
    high = np.array([channel.high for channel in recording.action])
    final = np.arange(rows) == rows - 1
    ended = bool(steps["is_terminal"].any())

    def physical(name: str) -> Values:
        values: Values = (low + (steps[name].astype(np.float64) + 1.0) * 0.5 * (high - low)).astype(np.float32)
        return values

    last_action = np.arange(rows) >= rows - 2
    columns: dict[str, Values] = {
        names.STATE: steps["state"],
        names.ACTION: physical("action"),
        names.NOMINAL: physical("nominal"),
        names.REWARD: steps["reward"],
        names.COST: steps["cost"],
        names.VIOLATION: steps["violation"],
        names.DONE: last_action,
        names.SUCCESS: last_action & ended,
        names.FINAL: final,
        names.REASON: steps["reason"].astype(np.int64),
    }
    for i, camera in enumerate(recording.cameras):
        columns[f"{names.PICTURES}{camera.name}"] = steps["image"][..., 3 * i : 3 * i + 3]
    return columns


def _png(picture: Values) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    return buffer.getvalue()


def _statistics(values: Values, picture: bool) -> dict[str, Values]:
    """Minimum, maximum, mean, standard deviation and count; pictures per channel, scaled to [0, 1]."""
    count = np.array([len(values)])
    numbers = values.astype(np.float64)
    axes: tuple[int, ...] = (0,)
    if picture:
        numbers, axes = np.moveaxis(numbers / 255.0, 3, 1), (0, 2, 3)
    elif numbers.ndim == 1:
        numbers = numbers[:, None]

    def reduced(result: Values) -> Values:
        return result[0] if picture else result.reshape(-1)

    return {
        "min": reduced(numbers.min(axis=axes, keepdims=picture)),
        "max": reduced(numbers.max(axis=axes, keepdims=picture)),
        "mean": reduced(numbers.mean(axis=axes, keepdims=picture)),
        "std": reduced(numbers.std(axis=axes, keepdims=picture)),
        "count": count,
    }


def _aggregate(stats: list[dict[str, dict[str, Values]]]) -> dict[str, dict[str, Any]]:
    """Statistics of the whole from those of its parts (parallel variance, Chan et al. 1979)."""
    result: dict[str, dict[str, Any]] = {}
    for name in stats[0]:
        parts = [part[name] for part in stats]
        counts = np.array([float(part["count"][0]) for part in parts])
        weights = (counts / counts.sum()).reshape(-1, *[1] * parts[0]["mean"].ndim)
        means = np.stack([part["mean"] for part in parts])
        mean = (weights * means).sum(axis=0)
        variances = np.stack([part["std"] for part in parts]) ** 2
        variance = (weights * (variances + (means - mean) ** 2)).sum(axis=0)
        result[name] = {
            "min": np.min([part["min"] for part in parts], axis=0).tolist(),
            "max": np.max([part["max"] for part in parts], axis=0).tolist(),
            "mean": mean.tolist(),
            "std": np.sqrt(variance).tolist(),
            "count": [int(counts.sum())],
        }
    return result


def _task_table(tasks: dict[str, int]) -> pa.Table:
    """Tasks as pandas writes a frame indexed by the task's text, which is how the format's readers look them up."""
    index = "__index_level_0__"

    def described(name: str | None, field: str, kind: str, dtype: str) -> dict[str, str | None]:
        return {"name": name, "field_name": field, "pandas_type": kind, "numpy_type": dtype, "metadata": None}

    columns = [described("task_index", "task_index", "int64", "int64"), described(None, index, "unicode", "object")]
    pandas = {"index_columns": [index], "column_indexes": [], "columns": columns, "pandas_version": "2.2.0"}
    table = pa.table({"task_index": pa.array(list(tasks.values()), pa.int64()), index: list(tasks)})
    return table.replace_schema_metadata({"pandas": json.dumps(pandas)})
