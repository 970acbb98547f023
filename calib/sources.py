"""Where pictures and robot poses come from: folders, pose tables; a live camera is any iterator of `TimedImage`."""

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from .errors import CalibrationError
from .geometry import Array, pose, quaternion_from_rotation, rotation_from_vector
from .urdf import Chain

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".pgm", ".webp")
_QUATERNION = ("x_m", "y_m", "z_m", "qx", "qy", "qz", "qw")


@dataclass(frozen=True)
class TimedImage:
    """One picture of a capture, from a folder or from a camera."""

    name: str
    image: npt.NDArray[np.uint8]
    """Grey [height, width] or RGB [height, width, 3]."""
    time_ns: int
    """When it was taken, monotonic; 0 where a folder does not say."""


def images_in(folder: Path) -> Iterator[TimedImage]:
    """Every picture of a folder in the order of names. Raises CalibrationError for no folder, none, or an unreadable
    one.

    Files whose names end in `_depth` are depth pictures and are left out.
    """
    if not folder.is_dir():
        raise CalibrationError(f"{folder} is no folder: give the folder that holds the pictures")
    paths = [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.stem.endswith("_depth")
    ]
    if not paths:
        raise CalibrationError(f"{folder} holds no pictures ({', '.join(IMAGE_SUFFIXES)})")
    for path in paths:
        yield TimedImage(path.name, read_image(path), int(path.stem) if path.stem.isdecimal() else 0)


def read_image(path: Path) -> npt.NDArray[np.uint8]:
    """A grey picture. Raises CalibrationError when the file is none."""
    if path.is_dir():
        raise CalibrationError(f"{path} is a folder: give one picture")
    if not path.exists():
        raise CalibrationError(f"there is no picture {path}")
    try:
        data = np.frombuffer(path.read_bytes(), dtype=np.uint8)
        picture = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) if len(data) else None
    except (OSError, cv2.error):
        picture = None
    if picture is None:
        raise CalibrationError(f"{path} cannot be read as a picture: remove it or save it again")
    return np.asarray(picture, dtype=np.uint8)


def read_depth_m(path: Path, unit_m: float) -> Array:
    """A 16-bit depth picture in metres, 0 where there is none. Raises CalibrationError for any other picture."""
    try:
        picture = cv2.imdecode(np.frombuffer(path.read_bytes(), dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    except (OSError, cv2.error):
        picture = None
    if picture is None or picture.dtype != np.uint16 or picture.ndim != 2:
        raise CalibrationError(f"{path} is no 16-bit depth picture of one channel")
    return np.asarray(picture * unit_m, dtype=np.float64)


def read_poses(path: Path, chain: Chain | None = None) -> dict[str, Array]:
    """base_from_gripper [4, 4] by picture name, from a CSV table with a header.

    Columns `image, x_m, y_m, z_m, qx, qy, qz, qw`; or, with a kinematic chain, `image` and one column per moving joint
    (rad or m). Raises CalibrationError naming the line.
    """
    needed = chain.moving if chain is not None else _QUATERNION
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            lacking = [name for name in ("image", *needed) if name not in (reader.fieldnames or ())]
            if lacking:
                raise CalibrationError(
                    f"{path} lacks the columns {', '.join(lacking)}; expected image, {', '.join(needed)}"
                )
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CalibrationError(f"{path} cannot be read as a table of poses: {error}") from None
    poses: dict[str, Array] = {}
    for number, row in enumerate(rows, start=2):
        name = row["image"]
        if name in poses:
            raise CalibrationError(f"{path}, line {number}: {name} has two poses")
        try:
            values = np.array([float(row[column]) for column in needed])
        except (TypeError, ValueError):
            values = np.full(len(needed), math.nan)
        if not np.all(np.isfinite(values)):
            raise CalibrationError(f"{path}, line {number}: expected {len(needed)} finite numbers after the name")
        if chain is not None:
            poses[name] = chain.pose(dict(zip(needed, values.tolist(), strict=True)))
        else:
            poses[name] = _from_quaternion(values, f"{path}, line {number}")
    return poses


def _from_quaternion(values: Array, place: str) -> Array:
    imaginary, real = values[3:6], values[6]
    norm = float(np.hypot(np.linalg.norm(imaginary), real))
    if abs(norm - 1) > 1e-2:
        raise CalibrationError(f"{place}: the quaternion has length {norm:.3f}, expected 1")
    sine = float(np.linalg.norm(imaginary))
    axis = imaginary / sine if sine > 1e-12 else np.zeros(3)
    return pose(rotation_from_vector(axis * 2 * math.atan2(sine, real)), values[:3])


def write_poses(path: Path, poses: dict[str, Array]) -> None:
    """The table that `read_poses` reads."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", *_QUATERNION])
        for name, each in poses.items():
            quaternion = quaternion_from_rotation(each[:3, :3])
            writer.writerow([name, *each[:3, 3].tolist(), *quaternion[1:].tolist(), float(quaternion[0])])
