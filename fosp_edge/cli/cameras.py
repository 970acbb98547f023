"""`fosp-edge cameras`: which cameras are there, what they see, record them, and are they fit to steer by."""

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fosp_edge.bundle.picture import Preprocessing
from fosp_edge.cameras.address import parse_address
from fosp_edge.cameras.base import Camera, CameraError, FrameStale
from fosp_edge.cameras.health import collect, judge
from fosp_edge.cameras.opening import open_camera
from fosp_edge.cameras.preprocess import preprocess
from fosp_edge.cameras.realsense import list_realsense
from fosp_edge.cameras.recorder import FolderRecorder
from fosp_edge.cameras.video_device import list_video_devices
from fosp_edge.cli.failures import fail
from fosp_edge.robots.base import RobotError

app = typer.Typer(help="Cameras: list, look, record, check.", no_args_is_help=True)

_SIMULATED = "simulated:"
_MAX_AGE_S = 1.0
_VIEW_COLUMNS = 64

Address = Annotated[
    str,
    typer.Argument(
        help="realsense:SERIAL, v4l2:/dev/video0, recording:PATH or simulated:fixed; "
        "options follow as in ?width=640&height=480&rate=30"
    ),
]


@app.command("ls")
def list_cameras(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the cameras that are connected, with the address to use for each."""
    found = [
        {"address": f"v4l2:{device}", "name": name, "serial": serial} for device, name, serial in list_video_devices()
    ]
    notes: list[str] = []
    try:
        found += [
            {"address": f"realsense:{serial}", "name": name, "serial": serial} for serial, name in list_realsense()
        ]
    except CameraError as error:
        notes.append(f"RealSense cameras are not listed: {error}")
    if as_json:
        print(json.dumps({"cameras": found, "notes": notes}, indent=2))
        return
    console = Console()
    if found:
        table = Table("address", "name", "serial")
        for camera in found:
            table.add_row(camera["address"], camera["name"], camera["serial"])
        console.print(table)
    else:
        console.print("no camera is connected; `simulated:fixed` and `recording:PATH` work without one")
    for note in notes:
        console.print(note)


@app.command()
def view(
    address: Address,
    seconds: Annotated[float, typer.Option(help="Stop after this long; 0 goes on until Ctrl-C.", min=0.0)] = 0.0,
    policy: Annotated[bool, typer.Option("--policy", help="Show the 64x64 pixels that the policy gets.")] = False,
) -> None:
    """Show live pictures in the terminal, with rate, age and drops."""
    with _opened(address) as camera, Live(refresh_per_second=10, transient=True) as live:
        rate = _Rate()
        end = time.monotonic() + seconds if seconds else float("inf")
        while time.monotonic() < end:
            try:
                frame = camera.latest(_MAX_AGE_S)
            except FrameStale as error:
                live.update(Text(str(error)))
            else:
                rate.add(frame.sequence, frame.sensor_ns)
                picture = preprocess(frame.image, _fit(frame.image.shape, policy))
                age_ms = (time.monotonic_ns() - frame.sensor_ns) * 1e-6
                caption = f"{camera.serial}  {camera.width_px}x{camera.height_px}  {rate.hz:.1f}/s  age {age_ms:.0f} ms"
                live.update(Group(half_blocks(picture), Text(f"{caption}  frame {frame.sequence}{_drops(camera)}")))
            time.sleep(0.05)
    typer.echo(f"{camera.serial}: {rate.hz:.1f} frames per second{_drops(camera)}")


@app.command()
def record(
    address: Address,
    out: Annotated[Path, typer.Option(help="New folder for the pictures.")],
    seconds: Annotated[float, typer.Option(help="How long; 0 goes on until Ctrl-C.", min=0.0)] = 0.0,
) -> None:
    """Record lossless pictures with their times into a folder, which `recording:FOLDER` plays back."""
    with _opened(address) as camera:
        recorder = FolderRecorder(out)
        end = time.monotonic() + seconds if seconds else float("inf")
        try:
            while time.monotonic() < end:
                with contextlib.suppress(FrameStale):
                    recorder.append(camera.latest(_MAX_AGE_S))
                time.sleep(0.002)
        except KeyboardInterrupt:
            pass
        finally:
            recorder.close()
    typer.echo(f"{recorder.frames} frames, {recorder.bytes_written / 1e6:.1f} MB in {out}{_drops(camera)}")


@app.command()
def check(
    address: Address,
    seconds: Annotated[float, typer.Option(help="How long to watch.", min=0.5)] = 5.0,
    rate: Annotated[float, typer.Option(help="Expected rate; 0 is what the address asks for.", min=0.0)] = 0.0,
) -> None:
    """Watch a camera for a few seconds and say whether it is fit to steer by; exit status 1 if not."""
    asked = _asked_rate(address)
    with _opened(address) as camera:
        samples = collect(camera, seconds)
    try:
        findings = judge(samples, rate or asked, has_noise=asked is not None)
    except ValueError as error:
        raise fail(CameraError(f"{camera.serial}: {error}")) from None
    table = Table("property", "found", "expected", "")
    for finding in findings:
        verdict = "[green]pass[/]" if finding.passed else "[red]FAIL[/]"
        table.add_row(finding.name, finding.found, finding.expected, verdict)
    Console().print(table)
    if not all(finding.passed for finding in findings):
        raise fail(CameraError(f"{camera.serial} is not fit to steer by: see above"))


class _Rate:
    """Frames per second over the last hundred frames looked at."""

    def __init__(self) -> None:
        self._seen: list[tuple[int, int]] = []

    def add(self, sequence: int, sensor_ns: int) -> None:
        if not self._seen or self._seen[-1][0] != sequence:
            self._seen = [*self._seen[-99:], (sequence, sensor_ns)]

    @property
    def hz(self) -> float:
        if len(self._seen) < 2:
            return 0.0
        (first, begin_ns), (last, end_ns) = self._seen[0], self._seen[-1]
        return (last - first) / max(1e-9, (end_ns - begin_ns) * 1e-9)


def half_blocks(picture: npt.NDArray[np.uint8]) -> Text:
    """A picture [2 rows, columns, 3] as text: each character shows two pixels, one above the other."""
    text = Text(no_wrap=True)
    for upper, lower in zip(picture[0::2], picture[1::2], strict=False):
        for (r, g, b), (s, h, c) in zip(upper.tolist(), lower.tolist(), strict=True):
            text.append("▀", style=f"rgb({r},{g},{b}) on rgb({s},{h},{c})")
        text.append("\n")
    return text


def _fit(shape: tuple[int, ...], policy: bool) -> Preprocessing:
    if policy:
        return Preprocessing()
    height, width = shape[:2]
    rows = max(2, round(_VIEW_COLUMNS * height / width / 2) * 2)
    return Preprocessing(width_px=_VIEW_COLUMNS, height_px=rows, crop=(0, 0, width, height))


def _asked_rate(address: str) -> float | None:
    """What a device is asked for; a recording and a simulation have rates of their own."""
    if address.startswith(_SIMULATED):
        return None
    try:
        parsed = parse_address(address)
    except CameraError as error:
        raise fail(error) from None
    return float(parsed.rate) if parsed.is_live else None


def _drops(camera: Camera) -> str:
    counters = getattr(camera, "counters", None)
    return "" if counters is None else f", {counters.sensor_dropped} dropped"


@contextlib.contextmanager
def _opened(address: str) -> Iterator[Camera]:
    """A started camera; trouble becomes one sentence and exit status 1, Ctrl-C ends quietly."""
    try:
        with contextlib.ExitStack() as stack:
            camera = _open(address, stack)
            stack.callback(camera.close)
            camera.start()
            yield camera
    except (CameraError, RobotError) as error:
        raise fail(error) from None
    except KeyboardInterrupt:
        return


def _open(address: str, stack: contextlib.ExitStack) -> Camera:
    if not address.startswith(_SIMULATED):
        return open_camera("camera", address)
    from fosp_edge.simulation.launcher import SimulatedRobot

    robot, name = stack.enter_context(SimulatedRobot()), address.removeprefix(_SIMULATED)
    if name not in robot.cameras:
        raise CameraError(f"the simulated robot has the cameras {', '.join(robot.cameras)}, not {name!r}")
    return robot.cameras[name]
