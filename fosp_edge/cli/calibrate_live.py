"""`fosp-edge calibrate capture`, and what else calibration does with a live camera."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from calib.boards import board_from_text
from calib.camera_info import save_camera_info
from calib.capture import GuidedCapture
from calib.errors import CalibrationError
from calib.lens import FISHEYE, PINHOLE, LensModel
from calib.sources import TimedImage
from calib.storage import write_atomically
from calib.uncertainty import Camera as Calibrated
from fosp_edge.bundle.picture import Preprocessing
from fosp_edge.cameras.address import Kind, parse_address
from fosp_edge.cameras.base import Camera, CameraError, CameraLost, Frame, FrameStale
from fosp_edge.cameras.opening import open_camera
from fosp_edge.cameras.preprocess import Image, preprocess
from fosp_edge.cameras.source import Intrinsics
from fosp_edge.cli.cameras import half_blocks

FACTORY_FILE = "factory.yaml"
"""What the maker states of the lens, beside the pictures of a capture."""
_COLUMNS = 80
_MODELS: dict[str, LensModel] = {
    "brown_conrady": PINHOLE,
    "modified_brown_conrady": PINHOLE,
    "kannala_brandt4": FISHEYE,
}


def is_address(text: str) -> bool:
    """Whether a text names a camera rather than a file."""
    return text.partition(":")[0] in get_args(Kind) and not Path(text).exists()


@contextlib.contextmanager
def started(address: str) -> Iterator[Camera]:
    """The camera at an address, started. Raises CalibrationError with the camera's own sentence."""
    try:
        parse_address(address)
        camera = open_camera("camera", address)
        try:
            camera.start()
            yield camera
        finally:
            camera.close()
    except CameraError as error:
        raise CalibrationError(str(error)) from error


def factory_camera(camera: Camera) -> Calibrated | None:
    """What the device itself states of its lens; None where it states nothing that can be compared."""
    stated: Intrinsics | None = getattr(camera, "intrinsics", None)
    if stated is None:
        return None
    lens = _MODELS.get(stated.model, PINHOLE if not any(stated.coefficients) else None)
    if lens is None:
        return None  # RealSense's inverse models have no counterpart here unless they are zero
    given = stated.coefficients[: lens.size - 4]
    coefficients = np.concatenate([given, np.zeros(lens.size - 4 - len(given))])
    plane = [stated.focal_x_px, stated.focal_y_px, stated.centre_x_px, stated.centre_y_px]
    parameters = np.concatenate([plane, coefficients])
    return Calibrated(lens, parameters, np.zeros((lens.size, lens.size)), (stated.width_px, stated.height_px))


def frames(camera: Camera, seconds: float) -> Iterator[Frame]:
    """Each frame once, as they come, for so long or until a recording ends; 0 seconds go on without an end."""
    end, last = time.monotonic() + seconds if seconds else float("inf"), -1
    while time.monotonic() < end:
        try:
            frame = camera.latest(1.0)
        except FrameStale:
            time.sleep(0.02)
            continue
        except CameraLost:
            return
        if frame.sequence == last:
            time.sleep(0.005)
            continue
        last = frame.sequence
        yield frame


def capture_views(address: str, out: Path, board_text: str, seconds: float) -> None:
    """Keep the good views of a camera in `out`, telling the person what is missing. Raises CalibrationError."""
    guide = GuidedCapture(board_from_text(board_text))
    if out.exists() and any(out.iterdir()):
        raise CalibrationError(f"{out} is not empty: capture into a new folder")
    out.mkdir(parents=True, exist_ok=True)
    console, kept, last = Console(), 0, ""
    with started(address) as camera:
        if (factory := factory_camera(camera)) is not None:
            save_camera_info(out / FACTORY_FILE, factory, camera.serial)
        with contextlib.suppress(KeyboardInterrupt), Live(console=console, transient=True) as live:
            for frame in frames(camera, seconds):
                guidance = guide.offer(TimedImage(f"{kept:03d}.png", frame.image, frame.sensor_ns))
                if guidance.kept:
                    write_atomically(out / f"{kept:03d}.png", _png(frame))
                    kept += 1
                if guidance.message != last:
                    last = guidance.message
                    console.print(f"{kept:3d} kept: {last}", highlight=False, markup=False)
                live.update(Group(half_blocks(_small(guidance.picture)), Text(f"{kept} kept: {guidance.message}")))
                if guide.complete:
                    break
        serial = camera.serial
    if not kept:
        raise CalibrationError(f"no view was kept from {address}; the last word was: {last or 'no picture came'}")
    state = "complete" if guide.complete else f"not complete: {guide.missing[0]}" if guide.missing else "not complete"
    typer.echo(f"{kept} views in {out} ({state}). Next: fosp-edge calibrate intrinsics {out} --serial {serial}")


def _png(frame: Frame) -> bytes:
    import cv2

    good, data = cv2.imencode(".png", np.ascontiguousarray(frame.image[:, :, ::-1]))
    assert good, "a colour picture can be encoded"
    return bytes(data.tobytes())


def _small(picture: Image) -> Image:
    height, width = picture.shape[:2]
    rows = max(2, round(_COLUMNS * height / width / 2) * 2)
    return preprocess(picture, Preprocessing(width_px=_COLUMNS, height_px=rows, crop=(0, 0, width, height)))
