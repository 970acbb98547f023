"""ROS `camera_info` YAML, in and out: what the `camera_info_manager` and `camera_calibration` packages exchange."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from .errors import CalibrationError
from .lens import PINHOLE, lens_model
from .storage import write_atomically
from .uncertainty import Camera


def to_camera_info(camera: Camera, name: str) -> str:
    """The YAML text. Covariances have no place in it and are lost."""
    fx, fy, cx, cy = (float(value) for value in camera.parameters[:4])
    distortion = [float(value) for value in camera.parameters[4:]]
    document = {
        "image_width": camera.size_px[0],
        "image_height": camera.size_px[1],
        "camera_name": name,
        "camera_matrix": {"rows": 3, "cols": 3, "data": [fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0]},
        "distortion_model": camera.lens.ros_name,
        "distortion_coefficients": {"rows": 1, "cols": len(distortion), "data": distortion},
        "rectification_matrix": {"rows": 3, "cols": 3, "data": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]},
        "projection_matrix": {
            "rows": 3,
            "cols": 4,
            "data": [fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
        },
    }
    return str(yaml.safe_dump(document, sort_keys=False, default_flow_style=None))


def save_camera_info(path: Path, camera: Camera, name: str) -> None:
    """Write the YAML file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, to_camera_info(camera, name).encode())


def load_camera_info(path: Path) -> tuple[str, Camera]:
    """The camera's name and the camera, its covariance zero. Raises CalibrationError naming what is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CalibrationError(f"{path} cannot be read as camera_info YAML: {error}") from None
    return parse_camera_info(text, str(path))


def parse_camera_info(text: str, source: str = "the text") -> tuple[str, Camera]:
    """As `load_camera_info`, from text."""
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise CalibrationError(f"{source} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise CalibrationError(f"{source} is no camera_info file: expected fields, found {type(document).__name__}")
    try:
        matrix = _numbers(document["camera_matrix"]["data"], 9, "camera_matrix")
        size_px = int(document["image_width"]), int(document["image_height"])
        model_name = str(document.get("distortion_model", "plumb_bob"))
        raw = document["distortion_coefficients"]["data"]
        name = str(document.get("camera_name", ""))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CalibrationError(f"{source} is no camera_info file: {type(error).__name__} at {error}") from None
    try:
        lens = lens_model(model_name)
    except ValueError as error:
        raise CalibrationError(f"{source}: {error}") from None
    distortion = _numbers(raw, None, "distortion_coefficients")
    expected = len(lens.distortion_names)
    if lens is PINHOLE and len(distortion) == 4:
        distortion = np.append(distortion, 0.0)
    if len(distortion) != expected:
        raise CalibrationError(
            f"{source}: {lens.ros_name} has {expected} distortion coefficients, found {len(distortion)}: check the "
            f"model"
        )
    if abs(matrix[1]) > 1e-9 or matrix[0] <= 0 or matrix[4] <= 0 or min(size_px) < 1:
        raise CalibrationError(f"{source}: focal lengths and size must be above zero and skew zero: not a plain camera")
    parameters = np.concatenate([[matrix[0], matrix[4], matrix[2], matrix[5]], distortion])
    return name, Camera(lens, parameters, np.zeros((lens.size, lens.size)), size_px)


def _numbers(values: Any, count: int | None, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A list of finite numbers. Raises CalibrationError."""
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError, OverflowError):
        raise CalibrationError(f"{name} must be a list of numbers, found {str(values)[:40]!r}") from None
    if not all(math.isfinite(number) for number in numbers) or (count is not None and len(numbers) != count):
        wanted = f"{count} " if count is not None else ""
        raise CalibrationError(f"{name} must be {wanted}finite numbers, found {str(values)[:40]!r}")
    return np.array(numbers)
