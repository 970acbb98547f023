"""What the npz formats have in common: careful loading, and rows turned the way our schema has them.

Their rewards and costs stand in the row in which the step arrived, ours in the row from which it began.
"""

import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fosp_edge.bundle.manifest import Channel
from fosp_edge.experience.episode import Camera, Recording, StoreError
from fosp_edge.experience.schema import Steps
from fosp_edge.files import write_atomically

Array = npt.NDArray[np.generic]

_LARGEST_MEMBER_BYTES = 4 << 30
_UNBOUNDED = 1e6
"""These formats do not say between what their state vectors lie."""
_NOT_STATE = re.compile(r"action|reset|log_.*|lagrange.*")


class NpzFile:
    """Arrays of one npz file, each read when asked for and cut to the rows that are really there.

    Chunks are saved at their full capacity with an uninitialised tail; how many rows count stands in the file's name.
    Pickled members are refused.

    Args:
        path: the file; its name ends in `-<rows>.npz`.

    Raises:
        StoreError: from any method, with a sentence that names the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        digits = path.stem.rpartition("-")[2]
        if not (digits.isascii() and digits.isdecimal()) or int(digits) == 0:
            raise StoreError(f"{path.name} should end in the number of its rows, such as -1024.npz")
        self.rows = int(digits)

    def names(self) -> list[str]:
        """Arrays that there are."""
        try:
            with zipfile.ZipFile(self.path) as archive:
                return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        except (OSError, zipfile.BadZipFile) as error:
            raise StoreError(f"{self.path} cannot be read ({error})") from error

    def array(self, name: str) -> Array:
        """One array, its first axis cut to the rows that count."""
        try:
            with zipfile.ZipFile(self.path) as archive:
                if archive.getinfo(f"{name}.npy").file_size > _LARGEST_MEMBER_BYTES:
                    raise StoreError(f"{self.path}: {name} unpacks to more than {_LARGEST_MEMBER_BYTES >> 30} GiB")
                values = np.lib.format.read_array(io.BytesIO(archive.read(f"{name}.npy")), allow_pickle=False)
        except KeyError as error:
            raise StoreError(f"{self.path} has no array {name!r}") from error
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise StoreError(f"{self.path}: {name} cannot be read ({error})") from error
        if values.ndim == 0 or len(values) < self.rows:
            raise StoreError(f"{self.path}: {name} has shape {values.shape}, its name promises {self.rows} rows")
        cut: Array = values[: self.rows]
        return cut

    def flags(self, name: str, names: Sequence[str]) -> npt.NDArray[np.bool_]:
        """A column of booleans, all false where the file has none."""
        return self.array(name).astype(np.bool_) if name in names else np.zeros(self.rows, np.bool_)

    def numbers(self, name: str, names: Sequence[str]) -> npt.NDArray[np.float32]:
        """A column of numbers, all zero where the file has none."""
        return (
            self.array(name).astype(np.float32).reshape(self.rows) if name in names else np.zeros(self.rows, np.float32)
        )


def layout_of(file: NpzFile, robot: str, rate_hz: float) -> tuple[Recording, list[str], list[str]]:
    """What a file records, the arrays that are pictures, and the arrays that make up the state.

    Raises:
        StoreError: no pictures, pictures of several sizes, or no actions.
    """
    cameras: list[Camera] = []
    state: list[Channel] = []
    vectors: list[str] = []
    action: Array | None = None
    for name in sorted(file.names()):
        values = file.array(name)
        if values.dtype == np.uint8 and values.ndim == 4 and values.shape[3] == 3:
            cameras.append(Camera(name, values.shape[2], values.shape[1]))
        elif name == "action" and values.ndim == 2:
            action = values
        elif values.ndim == 2 and values.dtype.kind == "f" and not _NOT_STATE.fullmatch(name):
            vectors.append(name)
            state += [Channel(f"{name}-{i}", "", -_UNBOUNDED, _UNBOUNDED) for i in range(values.shape[1])]
    if not cameras or len({(camera.width_px, camera.height_px) for camera in cameras}) != 1:
        raise StoreError(
            f"{file.path}: expected pictures [rows, height, width, 3] of one size, found {len(cameras)} kinds"
        )
    if action is None:
        raise StoreError(f"{file.path}: expected actions [rows, components] under 'action'")
    channels = tuple(Channel(f"action-{i}", "", -1.0, 1.0) for i in range(action.shape[1]))
    recording = Recording(robot, rate_hz, tuple(cameras), tuple(state), channels)
    return recording, [camera.name for camera in cameras], vectors


def steps_of(arrays: Mapping[str, Array], cameras: Sequence[str], vectors: Sequence[str], rate_hz: float) -> Steps:
    """One episode in our schema.

    Args:
        arrays: `action` as chosen upon the row's observation; `reward`, `cost` as they arrived with it; `is_terminal`;
            the pictures and state vectors.
        cameras: names of the pictures, in channel order.
        vectors: names of the state vectors, in order.
        rate_hz: control rate.
    """
    rows = len(arrays["action"])
    action = np.clip(arrays["action"].astype(np.float32), -1.0, 1.0)
    action[-1] = 0.0
    cost = arrays["cost"].astype(np.float32)
    parts = [arrays[name].astype(np.float32) for name in vectors]
    return {
        "image": np.concatenate([arrays[name] for name in cameras], axis=3),
        "state": np.concatenate([np.zeros((rows, 0), np.float32), *parts], axis=1),
        "action": action,
        "nominal": action.copy(),
        "reward": departing(arrays["reward"].astype(np.float32)),
        "cost": departing(cost),
        "violation": (cost > 0).astype(np.float32),
        "is_first": np.arange(rows) == 0,
        "is_terminal": arrays["is_terminal"].astype(np.bool_),
        "reason": np.zeros(rows, np.uint8),
        "time_ns": np.round(np.arange(rows) * (1e9 / rate_hz)).astype(np.int64),
    }


def departing(arrived: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """What each step brought, in the row it began in; the last row begins none."""
    return np.append(arrived[1:], np.float32(0.0))


def arriving(departed: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    """The other way round: what each step brought, in the row it ended in; the first row ends none."""
    return np.append(np.float32(0.0), departed[:-1].astype(np.float32))


def pictures_of(steps: Steps) -> dict[str, Array]:
    """The cameras' pictures under the names these formats use: `image`, `image2`, ..."""
    images = steps["image"]
    count = images.shape[3] // 3
    return {f"image{i + 1 if i else ''}": images[..., 3 * i : 3 * i + 3] for i in range(count)}


def save(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write an npz file, whole or not at all. Raises OSError."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **dict[str, Any](arrays))
    write_atomically(path, buffer.getvalue())
