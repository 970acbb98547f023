"""`fosp-edge calibrate`: boards, intrinsics, hand-eye, extrinsics, depth, the start-up check and the report."""

import datetime
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ParamSpec

import numpy as np
import typer

from calib.boards import Board, board_from_text
from calib.camera_info import load_camera_info, save_camera_info
from calib.check import CheckResult, check_board, check_scene, remember_scene
from calib.depth import check_depth
from calib.detection import Detection, Rejection, detect, detect_all, grey
from calib.errors import CalibrationError
from calib.extrinsics import calibrate_extrinsics
from calib.hand_eye import HandEye, calibrate_hand_eye
from calib.intrinsics import Intrinsics, calibrate, middle_uncertainty_px
from calib.lens import LENS_MODELS, lens_model
from calib.printing import save_pdf
from calib.report import (
    compare_with_factory,
    depth_section,
    hand_eye_section,
    intrinsics_page,
    page,
    save_page,
    summary_numbers,
)
from calib.sources import images_in, read_depth_m, read_image, read_poses
from calib.storage import CameraRecord, load, pose_as_lists, record_path, save
from calib.urdf import load_chain
from fosp_edge.cli.calibrate_live import FACTORY_FILE, capture_views, is_address, started
from fosp_edge.cli.camera_check import DEFAULT_CAMERA_STORE as DEFAULT_STORE
from fosp_edge.cli.camera_check import compare_with_scene

app = typer.Typer(help="Where the cameras are, and how far that can be trusted.", no_args_is_help=True)

BoardText = Annotated[
    str, typer.Option("--board", help="The text printed under the board, as charuco:8x6:28:17:5X5_100")
]
Serial = Annotated[str, typer.Option("--serial", help="The camera's serial number; names its file")]
Store = Annotated[Path, typer.Option("--store", help="Folder of the cameras' files")]
DEFAULT_BOARD = "charuco:8x6:28:17:5X5_100"
P = ParamSpec("P")


def _in_a_sentence(command: Callable[P, None]) -> Callable[P, None]:
    """A user's mistake is one sentence and exit status 2, never a traceback."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except (CalibrationError, OSError) as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(2) from None

    return run


def _detections(board: Board, folder: Path) -> tuple[list[Detection], list[Rejection]]:
    return detect_all(board, ((each.name, each.image) for each in images_in(folder)))


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


@app.command()
@_in_a_sentence
def board(
    text: Annotated[str, typer.Argument(help="charuco:..., chessboard:... or aprilgrid:...")] = DEFAULT_BOARD,
    out: Annotated[Path, typer.Option("--out", help="The PDF to write")] = Path("board.pdf"),
    paper: Annotated[str, typer.Option("--paper", help="a4, a3, a2 or letter")] = "a4",
) -> None:
    """Write a board as a PDF to scale, with rulers to check the print."""
    save_pdf(board_from_text(text), out, paper)
    typer.echo(f"{out}: print at 100 %, check both rulers, glue it on something flat. Name it as {text}")


@app.command()
@_in_a_sentence
def capture(
    address: Annotated[str, typer.Argument(help="realsense:SERIAL, v4l2:/dev/video0 or recording:PATH")],
    out: Annotated[Path, typer.Option("--out", help="New folder for the pictures that are kept")],
    board_text: BoardText = DEFAULT_BOARD,
    seconds: Annotated[float, typer.Option(min=0.0, help="Stop after so long; 0 goes on until complete or Ctrl-C")] = 0,
) -> None:
    """Guided capture from a live camera: keeps sharp, still and new views, and shows what is missing.

    Shaded places of the live picture lack corners; blue dots are what was kept. It ends when nothing is missing. What
    the device states of its own lens is kept beside the pictures, and `intrinsics` compares with it.

    Example: fosp-edge calibrate capture realsense:943222071836 --out pictures
    """
    capture_views(address, out, board_text, seconds)


def _calibrate(folder: Path, board_text: str, model: str) -> Intrinsics:
    chosen = board_from_text(board_text)
    models = list(LENS_MODELS)
    if model != "auto":
        try:
            models = [lens_model(model)]
        except ValueError as error:
            raise CalibrationError(str(error)) from None
    found, rejected = _detections(chosen, folder)
    return calibrate(chosen, found, models, rejected=rejected)


def _page(result: Intrinsics, serial: str, folder: Path, factory: Path | None) -> str:
    name = result.detections[int(np.argmin(result.view_errors_px))].name
    maker = load_camera_info(factory)[1] if factory is not None else None
    return intrinsics_page(result, serial, _now(), (name, read_image(folder / name)), maker)


def _say(result: Intrinsics) -> None:
    for each in result.rejected:
        typer.echo(f"left out {each.name}: {each.reason}")
    agreement = result.agreement
    typer.echo(
        f"{result.camera.lens.name} from {len(result.detections)} views: corners {result.noise_px:.3f} px, projection "
        f"uncertain by {middle_uncertainty_px(result):.3f} px, halves {agreement.difference_px:.3f} px apart "
        f"({agreement.expected_px:.3f} expected)"
    )
    for advice in result.coverage.missing:
        typer.echo(f"better next time: {advice}")


@app.command()
@_in_a_sentence
def intrinsics(
    folder: Annotated[Path, typer.Argument(help="Folder of pictures of the board")],
    serial: Serial,
    board_text: BoardText = DEFAULT_BOARD,
    store: Store = DEFAULT_STORE,
    model: Annotated[str, typer.Option("--model", help="auto, pinhole, fisheye or rational")] = "auto",
    factory: Annotated[Path | None, typer.Option("--factory", help="The maker's camera_info YAML, to compare")] = None,
    ros: Annotated[Path | None, typer.Option("--ros", help="Also write camera_info YAML here")] = None,
) -> None:
    """Lens from pictures of a board; saved only if it passes. The report is written either way."""
    path = record_path(store, serial)
    if factory is None and (folder / FACTORY_FILE).is_file():
        factory = folder / FACTORY_FILE
    result = _calibrate(folder, board_text, model)
    _say(result)
    report_path = store / f"{serial}.html"
    save_page(report_path, _page(result, serial, folder, factory))
    typer.echo(f"report: {report_path}")
    if factory is not None:
        typer.echo(compare_with_factory(result.camera, load_camera_info(factory)[1]))
    if result.failures:
        raise CalibrationError("not saved: " + "; ".join(result.failures))
    old = load(store, serial) if path.exists() else None
    quality = {**summary_numbers(result), "date": _now()}
    record = save(store, CameraRecord(serial, result.camera, quality, dict(old.sections) if old else {}))
    if ros is not None:
        save_camera_info(ros, result.camera, serial)
    typer.echo(f"saved {path}, revision {record.revision}, hash {record.sha256[:12]}")


@app.command()
@_in_a_sentence
def report(
    folder: Annotated[Path, typer.Argument(help="Folder of pictures of the board")],
    serial: Serial,
    board_text: BoardText = DEFAULT_BOARD,
    out: Annotated[Path, typer.Option("--out", help="The HTML page to write")] = Path("calibration.html"),
    model: Annotated[str, typer.Option("--model", help="auto, pinhole, fisheye or rational")] = "auto",
    factory: Annotated[Path | None, typer.Option("--factory", help="The maker's camera_info YAML, to compare")] = None,
) -> None:
    """The report alone: calibrates from the folder, saves no calibration."""
    result = _calibrate(folder, board_text, model)
    _say(result)
    save_page(out, _page(result, serial, folder, factory))
    typer.echo(f"report: {out}")


def _warp(record: CameraRecord, board_text: str) -> "np.ndarray[Any, np.dtype[np.float64]] | None":
    """The board's sags as the intrinsics found them, where it is the same board."""
    quality = record.quality
    if quality.get("board") != board_text:
        return None
    return np.array([float(quality.get("board_sag_x_mm", 0)), float(quality.get("board_sag_y_mm", 0))]) / 1e3


@app.command("hand-eye")
@_in_a_sentence
def hand_eye(
    folder: Annotated[Path, typer.Argument(help="Folder of pictures of the board")],
    poses: Annotated[Path, typer.Argument(help="CSV: image and pose, or image and joint positions with --urdf")],
    serial: Serial,
    board_text: BoardText = DEFAULT_BOARD,
    store: Store = DEFAULT_STORE,
    urdf: Annotated[Path | None, typer.Option("--urdf", help="The robot's description, for joint positions")] = None,
    tip: Annotated[str | None, typer.Option("--tip", help="The gripper's link in the description")] = None,
    fixed: Annotated[
        bool, typer.Option("--fixed", help="The camera is fixed and watches a board on the gripper")
    ] = False,
) -> None:
    """Where the camera sits on the gripper (or, with --fixed, beside the robot).

    Wants at least 8, better 15 to 20 pictures of a board that stands still (with --fixed: of a board on the gripper),
    the gripper turned by 20 to 30 degrees about two of its axes, and a table with the robot's pose in each: columns
    image,x_m,y_m,z_m,qx,qy,qz,qw, the gripper in the robot's base frame; or, with --urdf, image and a column per joint.

    Example: fosp-edge calibrate hand-eye pictures poses.csv --serial 943222071836
    """
    record = load(store, serial)
    chosen = board_from_text(board_text)
    table = read_poses(poses, load_chain(urdf, tip) if urdf is not None else None)
    found, rejected = _detections(chosen, folder)
    for each in rejected:
        typer.echo(f"left out {each.name}: {each.reason}")
    without = [each.name for each in found if each.name not in table]
    if without:
        raise CalibrationError(f"{poses} has no pose for {', '.join(without[:3])} ({len(without)} pictures)")
    if not found:
        raise CalibrationError(f"the board {chosen.text} was found in none of the pictures of {folder}")
    reported = np.array([table[each.name] for each in found])
    result = calibrate_hand_eye(chosen, found, reported, record.camera, not fixed, _warp(record, chosen.text))
    for advice in result.motion.missing:
        typer.echo(f"better next time: {advice}")
    section = _hand_eye_section(result, record.sha256)
    saved = save(store, replace(record, sections={**record.sections, "hand_eye": section}))
    save_page(store / f"{serial}.hand_eye.html", page(f"Hand-eye of camera {serial}", [hand_eye_section(result)]))
    typer.echo(
        f"camera placed to {result.sigma_mm:.2f} mm and {result.sigma_deg:.3f} degrees (one sigma); the robot is off "
        f"by "
        f"{1e3 * result.robot_sigma_m:.2f} mm and {np.degrees(result.robot_sigma_rad):.3f} degrees per axis; saved as "
        f"revision {saved.revision}"
    )


def _hand_eye_section(result: HandEye, intrinsics_sha256: str) -> dict[str, Any]:
    key = "gripper_from_camera" if result.on_gripper else "base_from_camera"
    return {
        key: pose_as_lists(result.hand_from_camera),
        "covariance": result.covariance.tolist(),
        "sigma_mm": result.sigma_mm,
        "sigma_deg": result.sigma_deg,
        "robot_sigma_mm": 1e3 * result.robot_sigma_m,
        "robot_sigma_deg": float(np.degrees(result.robot_sigma_rad)),
        "views": len(result.view_errors),
        "made_with_sha256": intrinsics_sha256,
        "date": _now(),
    }


@app.command()
@_in_a_sentence
def extrinsics(
    folders: Annotated[list[str], typer.Argument(help="serial=folder for every camera, the first is the reference")],
    board_text: BoardText = DEFAULT_BOARD,
    store: Store = DEFAULT_STORE,
) -> None:
    """Places of several cameras that see one board at the same moments, relative to the first of them.

    Pictures of one moment have the same file name in every folder; every camera needs its intrinsics first.

    Example: fosp-edge calibrate extrinsics 943222071836=left 943222071837=right
    """
    chosen = board_from_text(board_text)
    records: dict[str, CameraRecord] = {}
    moments: dict[str, dict[str, Detection]] = {}
    for entry in folders:
        serial, _, folder = entry.partition("=")
        if not folder:
            raise CalibrationError(f"expected serial=folder, found {entry!r}")
        records[serial] = load(store, serial)
        for detection in _detections(chosen, Path(folder))[0]:
            moments.setdefault(detection.name, {})[serial] = detection
    cameras = {serial: record.camera for serial, record in records.items()}
    result = calibrate_extrinsics(chosen, cameras, list(moments.values()))
    for index, serial in enumerate(result.names):
        section = {
            "camera_from_reference": pose_as_lists(result.camera_from_reference[index]),
            "reference_serial": result.names[0],
            "covariance": result.covariance[index].tolist(),
            "moments": result.moments,
            "date": _now(),
        }
        record = records[serial]
        save(store, replace(record, sections={**record.sections, "extrinsics": section}))
        typer.echo(f"{serial}: placed to {result.sigma_mm(index):.2f} mm and {result.sigma_deg(index):.3f} degrees")


@app.command()
@_in_a_sentence
def depth(
    folder: Annotated[Path, typer.Argument(help="Folder of pictures a.png with aligned 16-bit depth a_depth.png")],
    serial: Serial,
    board_text: BoardText = DEFAULT_BOARD,
    store: Store = DEFAULT_STORE,
    unit_mm: Annotated[float, typer.Option("--unit-mm", help="Millimetres per count of the depth pictures")] = 1.0,
) -> None:
    """Depth scale, offset and plane flatness against the board, from at least three views of it.

    A scale more than 2 % off is refused: then the print or the camera is wrong. The report says what was found.

    Example: fosp-edge calibrate depth pictures --serial 943222071836 --unit-mm 1
    """
    record = load(store, serial)
    chosen = board_from_text(board_text)
    found, rejected = _detections(chosen, folder)
    for each in rejected:
        typer.echo(f"left out {each.name}: {each.reason}")
    depths = [read_depth_m(folder / f"{Path(each.name).stem}_depth.png", unit_mm / 1e3) for each in found]
    result = check_depth(chosen, found, depths, record.camera, _warp(record, chosen.text))
    section = {
        "scale": result.scale,
        "scale_sigma": result.scale_sigma,
        "offset_m": result.offset_m,
        "flatness_mm": result.flatness_mm,
        "views": len(found),
        "date": _now(),
    }
    save(store, replace(record, sections={**record.sections, "depth": section}))
    save_page(store / f"{serial}.depth.html", page(f"Depth of camera {serial}", [depth_section(result)]))
    typer.echo(
        f"true distance = {result.scale:.4f} (+- {result.scale_sigma:.4f}) x measured {1e3 * result.offset_m:+.1f} mm; "
        f"planes are flat to {result.flatness_mm:.2f} mm"
    )


def _picture(picture: str) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    """From a file, or one picture of a live camera, grey."""
    if not is_address(picture):
        return read_image(Path(picture))
    with started(picture) as camera:
        return grey(camera.latest(1.0).image)


@app.command()
@_in_a_sentence
def check(
    picture: Annotated[str, typer.Argument(help="A picture of today, or a camera: realsense:SERIAL")],
    serial: Serial,
    store: Store = DEFAULT_STORE,
    board_text: Annotated[str, typer.Option("--board", help="Check against this board instead of the scene")] = "",
    remember: Annotated[bool, typer.Option("--remember", help="Remember the scene of this picture")] = False,
) -> None:
    """Has the camera moved, or its focus? Exit status 0: no; 1: yes; 2: it cannot be told.

    Against the scene that --remember kept when all was well, or against a board with --board.

    Example: fosp-edge calibrate check realsense:943222071836 --serial 943222071836
    """
    record = load(store, serial)
    if is_address(picture) and not remember and not board_text:
        with started(picture) as camera:
            verdict, sentence = compare_with_scene(camera, dict(record.sections.get("reference", {})))
        typer.echo(sentence)
        if verdict != "same":
            raise typer.Exit(1)
        return
    image = _picture(picture)
    if remember:
        section = {**remember_scene(image), "date": _now()}
        saved = save(store, replace(record, sections={**record.sections, "reference": section}))
        typer.echo(f"remembered the scene of {picture} as revision {saved.revision}")
        return
    if board_text:
        chosen = board_from_text(board_text)
        noise_px = float(record.quality.get("noise_px", 0.1))
        result: CheckResult = check_board(chosen, detect(chosen, image, str(picture)), record.camera, noise_px)
    else:
        result = check_scene(record.sections.get("reference", {}), image)
    typer.echo(result.sentence)
    if not result.trustworthy:
        raise typer.Exit(1)
