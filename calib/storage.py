"""What is known about one camera, in one file that says which camera, how wrong, and whether it was touched since.

`<folder>/<serial>.json` is the current state; what it replaces moves to `<folder>/history/<serial>.r0001.json` and so
on.
The file's `sha256` is over its own content without that field, in canonical JSON. Bundles carry, and control compares,
`place_sha256`: over the lens and the camera's place alone, so that remembering a scene changes nothing for a bundle.
"""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .errors import CalibrationError
from .geometry import Array, is_rigid
from .lens import lens_model
from .uncertainty import Camera

SCHEMA_VERSION = 1
DEPENDENT_SECTIONS = ("hand_eye", "extrinsics", "depth", "reference")
"""What was measured through the intrinsics, and means nothing once these change."""


@dataclass(frozen=True)
class CameraRecord:
    """The content of one camera's file."""

    serial: str
    camera: Camera
    quality: Mapping[str, Any] = field(default_factory=dict)
    """How the intrinsics were made: board, views, noise, agreement of the halves, date; for people and reports."""
    sections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Further results by name, see DEPENDENT_SECTIONS; plain numbers, texts and lists."""
    revision: int = 0
    """Counts up with every save; 0 before the first."""

    @property
    def sha256(self) -> str:
        """Hash of the content, 64 hexadecimal digits."""
        return _hash(_content(self))

    @property
    def place_sha256(self) -> str:
        """Hash of what a policy depends on: which camera, its lens, and where it is; 64 hexadecimal digits."""
        places = {
            f"{name}.{key}": value
            for name, section in self.sections.items()
            for key, value in section.items()
            if "_from_" in key
        }
        lens = {"model": self.camera.lens.name, "parameters": self.camera.parameters.tolist()}
        return _hash({"serial": self.serial, "size_px": list(self.camera.size_px), "lens": lens, "places": places})


def record_path(folder: Path, serial: str) -> Path:
    """Where a camera's file is. Raises CalibrationError for a serial number that is no file name."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", serial):
        raise CalibrationError(
            f"the camera's serial number {serial!r} cannot name a file: use letters, digits, dots, dashes, underscores"
        )
    return folder / f"{serial}.json"


def save(folder: Path, record: CameraRecord) -> CameraRecord:
    """Write the record atomically, the old file into history; returns it with its revision.

    When the intrinsics differ from those in the old file, sections that depend on them are dropped unless they were
    made
    anew (they differ from the old ones).
    """
    path = record_path(folder, record.serial)
    old = load(folder, record.serial) if path.exists() else None
    sections = dict(record.sections)
    if old is not None and not _same_lens(old.camera, record.camera):
        for name in DEPENDENT_SECTIONS:
            if name in sections and sections[name] == old.sections.get(name):
                del sections[name]
    revision = old.revision + 1 if old is not None else 1
    final = CameraRecord(record.serial, record.camera, record.quality, sections, revision)
    content = _content(final)
    _check(content, path)
    folder.mkdir(parents=True, exist_ok=True)
    if old is not None:
        history = folder / "history"
        history.mkdir(exist_ok=True)
        write_atomically(history / f"{record.serial}.r{old.revision:04d}.json", path.read_bytes())
    text = json.dumps({**content, "sha256": _hash(content)}, indent=1, sort_keys=True) + "\n"
    write_atomically(path, text.encode())
    return final


def load(folder: Path, serial: str) -> CameraRecord:
    """Read and verify. Raises CalibrationError: no file, damaged or edited, of a newer version, not a calibration."""
    path = record_path(folder, serial)
    if not path.exists():
        known = ", ".join(sorted(each.stem for each in folder.glob("*.json"))) or "none"
        raise CalibrationError(
            f"no calibration of camera {serial} in {folder} (there: {known}): run `calibrate intrinsics` first"
        )
    return load_file(path)


def load_file(path: Path) -> CameraRecord:
    """As `load`, from a given file."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CalibrationError(f"{path} is no calibration file: {error}") from None
    if not isinstance(document, dict):
        raise CalibrationError(f"{path} is no calibration file: expected an object, found {type(document).__name__}")
    stated = document.pop("sha256", None)
    version = document.get("schema_version")
    if version != SCHEMA_VERSION:
        raise CalibrationError(
            f"{path} is of version {version!r}, this program reads version {SCHEMA_VERSION}: update the program, or "
            "calibrate again"
        )
    if stated != _hash(document):
        raise CalibrationError(
            f"{path} was changed after it was written (its hash is {_hash(document)[:12]}..., it states "
            f"{str(stated)[:12]}...): restore it from history or calibrate again"
        )
    return _check(document, path)


def _same_lens(first: Camera, second: Camera) -> bool:
    return (
        first.lens == second.lens
        and first.size_px == second.size_px
        and bool(np.array_equal(first.parameters, second.parameters))
    )


def _content(record: CameraRecord) -> dict[str, Any]:
    camera = record.camera
    return {
        "schema_version": SCHEMA_VERSION,
        "serial": record.serial,
        "revision": record.revision,
        "intrinsics": {
            "lens": camera.lens.name,
            "width_px": camera.size_px[0],
            "height_px": camera.size_px[1],
            "parameters": dict(zip(camera.lens.parameter_names, camera.parameters.tolist(), strict=True)),
            "covariance": camera.covariance.tolist(),
            "quality": dict(record.quality),
        },
        **{name: dict(section) for name, section in record.sections.items()},
    }


def _hash(content: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CalibrationError(f"a calibration holds a value that is no plain finite number or text: {error}") from None
    return hashlib.sha256(text.encode()).hexdigest()


def _check(content: Mapping[str, Any], path: Path) -> CameraRecord:
    """The record in a document. Raises CalibrationError naming what is wrong."""
    try:
        intrinsics = content["intrinsics"]
        lens = lens_model(intrinsics["lens"])
        parameters = np.array([float(intrinsics["parameters"][name]) for name in lens.parameter_names])
        covariance = np.array(intrinsics["covariance"], dtype=np.float64)
        size_px = int(intrinsics["width_px"]), int(intrinsics["height_px"])
        sections = {
            str(name): dict(section)
            for name, section in content.items()
            if name not in ("schema_version", "serial", "revision", "intrinsics")
        }
        record = CameraRecord(
            str(content["serial"]),
            Camera(lens, parameters, covariance, size_px),
            dict(intrinsics.get("quality", {})),
            sections,
            int(content["revision"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CalibrationError(f"{path} is no calibration file: {type(error).__name__}: {error}") from None
    problem = _problem(record.camera)
    if problem:
        raise CalibrationError(f"{path} is not used: {problem}; calibrate again")
    for name, section in sections.items():
        for key, value in section.items():
            if "_from_" in key:
                matrix = np.asarray(value, dtype=np.float64)
                if not is_rigid(matrix):
                    raise CalibrationError(f"{path} is not used: {name}.{key} is no rigid pose; calibrate again")
    return record


def _problem(camera: Camera) -> str:
    count = camera.lens.size
    if not np.all(np.isfinite(camera.parameters)) or np.any(camera.parameters[:2] <= 0):
        return "the lens parameters are not finite, or a focal length is not above zero"
    if camera.covariance.shape != (count, count) or not np.all(np.isfinite(camera.covariance)):
        return f"the covariance must be {count} x {count} finite numbers"
    if np.any(np.diag(camera.covariance) < 0) or not np.allclose(camera.covariance, camera.covariance.T):
        return "the covariance is not symmetric with a diagonal of at least zero"
    if min(camera.size_px) < 1:
        return "the picture has no size"
    return ""


def pose_as_lists(pose: Array) -> list[list[float]]:
    """A pose as the nested lists that sections hold."""
    return [[float(value) for value in row] for row in pose]


def write_atomically(path: Path, data: bytes) -> None:
    """Write beside, fsync, rename, fsync the folder: after a power cut there is the old file or the new one."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
