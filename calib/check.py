"""Has the camera moved, or its focus? A ten-second check at start-up, against a remembered scene or the board.

A remembered scene is one small grey picture. Its corners are followed into the picture of today; what most of them
agree
on is the camera's own motion, what few disagree on is a chair that somebody moved.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from .board_fit import fit_poses, views_of
from .boards import Board
from .corner_refinement import edge_width_px
from .detection import Detection, grey
from .errors import CalibrationError
from .geometry import Array, difference
from .uncertainty import Camera

Verdict = Literal["same", "moved", "refocused", "unrecognised"]
_LEAST_CORNERS = 25
_WIDTH_PX = 640
"""Scenes are remembered at most this wide."""


@dataclass(frozen=True)
class CheckLimits:
    """How much change is none."""

    shift_px: float = 1.0
    """In pixels of the full picture, of the typical corner."""
    scale: float = 0.004
    """Change of size: a refocused or zoomed lens, or a camera moved along its axis."""
    blur_ratio: float = 1.6
    """Edges this much wider or narrower mean another focus."""
    board_mm: float = 3.0
    board_deg: float = 0.5
    board_noise_ratio: float = 3.0
    """Corner errors this many times those at calibration, and above a quarter of a pixel, mean another lens setting."""


@dataclass(frozen=True)
class CheckResult:
    """What the check found."""

    verdict: Verdict
    sentence: str
    """For a person: what was found, and what to do if it is not `same`."""
    shift_px: float
    rotation_deg: float
    scale: float
    blur_ratio: float

    @property
    def trustworthy(self) -> bool:
        """Whether the calibration may be used."""
        return self.verdict == "same"


def remember_scene(image: npt.NDArray[np.generic]) -> dict[str, Any]:
    """What to store of a scene. Raises CalibrationError when it has too few corners to recognise it by."""
    picture = grey(image)
    small = _reduced(picture)
    corners = _corners(small)
    if len(corners) < 2 * _LEAST_CORNERS:
        raise CalibrationError(
            f"the scene has only {len(corners)} corners to recognise it by, at least {2 * _LEAST_CORNERS} are needed: "
            "point the camera at a scene with texture, or use the board"
        )
    good, encoded = cv2.imencode(".png", small)
    assert good, "a grey picture of at least 32 x 32 pixels can be encoded"
    return {
        "width_px": picture.shape[1],
        "height_px": picture.shape[0],
        "blur_px": edge_width_px(small, corners),
        "png_base64": base64.b64encode(encoded.tobytes()).decode(),
    }


def check_scene(
    remembered: Mapping[str, Any], image: npt.NDArray[np.generic], limits: CheckLimits | None = None
) -> CheckResult:
    """Compare `image` with what `remember_scene` stored. Raises CalibrationError for another resolution or bad data."""
    limits = limits or CheckLimits()
    picture = grey(image)
    before = _decoded(remembered)
    expected = int(remembered["width_px"]), int(remembered["height_px"])
    if (picture.shape[1], picture.shape[0]) != expected:
        raise CalibrationError(
            f"the scene was remembered at {expected[0]}x{expected[1]} pixels, this picture has {picture.shape[1]}x"
            f"{picture.shape[0]}: use the same resolution"
        )
    now = _reduced(picture)
    factor = expected[0] / before.shape[1]
    start, end = _followed(before, now)
    inlier = np.zeros(len(start), dtype=np.bool_)
    fit = None
    if len(start) >= _LEAST_CORNERS:
        fit, mask = cv2.estimateAffinePartial2D(start, end, method=cv2.RANSAC, ransacReprojThreshold=1.5)
        inlier = mask.ravel().astype(np.bool_) if mask is not None else inlier
    if fit is None or inlier.sum() < max(_LEAST_CORNERS, 0.4 * len(start)):
        return CheckResult(
            "unrecognised",
            f"the remembered scene is not recognised ({int(inlier.sum())} of its corners found): light the scene, "
            f"clear "
            "the view, or, if the camera was moved, calibrate its place again",
            float("nan"),
            float("nan"),
            float("nan"),
            float("nan"),
        )
    scale = float(np.hypot(fit[0, 0], fit[1, 0]))
    rotation_deg = float(np.degrees(np.arctan2(fit[1, 0], fit[0, 0])))
    shift_px = factor * float(np.median(np.linalg.norm(end[inlier] - start[inlier], axis=1)))
    blur_ratio = edge_width_px(now, end[inlier]) / max(edge_width_px(before, start[inlier]), 1e-6)
    numbers = (shift_px, rotation_deg, scale, blur_ratio)
    return _judge(numbers, limits)


def _judge(numbers: tuple[float, float, float, float], limits: CheckLimits) -> CheckResult:
    shift_px, rotation_deg, scale, blur_ratio = numbers
    blurred = not 1 / limits.blur_ratio < blur_ratio < limits.blur_ratio
    resized = abs(scale - 1) > limits.scale
    # a change of size about the picture's centre without turn or sideways shift is the lens; the rest is the camera
    if blurred:
        verdict: Verdict = "refocused"
        sentence = (
            f"the lens was refocused or is dirty: edges are {blur_ratio:.1f} times as wide as at calibration; set the "
            "focus back (or clean the lens), or calibrate again"
        )
    elif resized and abs(rotation_deg) < 0.1:
        verdict = "refocused"
        sentence = (
            f"the picture is {100 * (scale - 1):+.1f} % in size: the lens was refocused or zoomed, or the camera moved "
            "along its axis; calibrate again"
        )
    elif resized or shift_px > limits.shift_px:
        verdict = "moved"
        sentence = (
            f"the camera has moved: the scene is shifted by {shift_px:.1f} px and turned by {rotation_deg:+.2f} "
            f"degrees; "
            "put it back, or calibrate its place again"
        )
    else:
        verdict = "same"
        sentence = f"the camera is where it was: the scene is shifted by {shift_px:.2f} px, at most {limits.shift_px:g}"
    return CheckResult(verdict, sentence, shift_px, rotation_deg, scale, blur_ratio)


def check_board(
    board: Board,
    detection: Detection,
    camera: Camera,
    noise_px: float,
    remembered_pose: Array | None = None,
    limits: CheckLimits | None = None,
) -> CheckResult:
    """Whether the lens still explains the board (and, with a pose remembered, whether the board is where it was).

    `remembered_pose` is camera_from_board [4, 4] of a board that is fixed to the scene; shift_px then is the distance
    that the board's centre moved in the picture. Raises CalibrationError for another resolution.
    """
    limits = limits or CheckLimits()
    if detection.size_px != camera.size_px:
        raise CalibrationError(
            f"the camera was calibrated at {camera.size_px[0]}x{camera.size_px[1]} pixels, this picture has "
            f"{detection.size_px[0]}x{detection.size_px[1]}: use the same resolution"
        )
    solution = fit_poses(camera.lens, camera.parameters, views_of(board, [detection]))
    rms = float(np.sqrt(2 * solution.cost / (2 * len(detection.ids) - 6)))
    ratio = rms / max(noise_px, 0.02)
    if rms > max(limits.board_noise_ratio * noise_px, 0.25):
        sentence = (
            f"the lens has changed: the board's corners are off by {rms:.2f} px, {noise_px:.2f} at calibration; it was "
            "refocused, zoomed or knocked: calibrate the intrinsics again"
        )
        return CheckResult("refocused", sentence, float("nan"), float("nan"), float("nan"), ratio)
    if remembered_pose is None:
        return CheckResult("same", f"the lens is as calibrated: corners are off by {rms:.2f} px", 0.0, 0.0, 1.0, ratio)
    change = difference(solution.poses[0], remembered_pose)
    middle = np.array([*board.size_m, 0.0, 2.0]) / 2
    places = [(pose @ middle)[:3] for pose in (solution.poses[0], remembered_pose)]
    pixels = camera.lens.project(camera.parameters, np.array(places))
    shift_px = float(np.linalg.norm(pixels[0] - pixels[1]))
    moved_mm = 1e3 * float(np.linalg.norm(places[0] - places[1]))
    turned_deg = float(np.degrees(np.linalg.norm(change[:3])))
    if moved_mm > limits.board_mm or turned_deg > limits.board_deg:
        sentence = (
            f"camera or board has moved: the board is {moved_mm:.1f} mm and {turned_deg:.2f} degrees from where it "
            f"was; "
            "put it back, or calibrate the camera's place again"
        )
        return CheckResult("moved", sentence, shift_px, turned_deg, 1.0, ratio)
    sentence = f"the camera is where it was: the board is within {moved_mm:.1f} mm and {turned_deg:.2f} degrees"
    return CheckResult("same", sentence, shift_px, turned_deg, 1.0, ratio)


def _reduced(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    if picture.shape[1] <= _WIDTH_PX:
        return picture
    height = round(picture.shape[0] * _WIDTH_PX / picture.shape[1])
    return np.asarray(cv2.resize(picture, (_WIDTH_PX, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _decoded(remembered: Mapping[str, Any]) -> npt.NDArray[np.uint8]:
    try:
        data = np.frombuffer(base64.b64decode(remembered["png_base64"], validate=True), dtype=np.uint8)
        picture = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
    except (KeyError, TypeError, ValueError, cv2.error):
        picture = None
    if picture is None:
        raise CalibrationError("no scene is remembered for this camera: run `calibrate check --remember` once")
    return np.asarray(picture, dtype=np.uint8)


def _corners(picture: npt.NDArray[np.uint8]) -> Array:
    """Distinct corners [n, 2], spread over the picture."""
    found = cv2.goodFeaturesToTrack(picture, 300, 0.02, 10)
    return np.zeros((0, 2)) if found is None else np.asarray(found, dtype=np.float64).reshape(-1, 2)


def _even(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The picture with local brightness and contrast evened out: morning and evening look alike."""
    values = picture.astype(np.float32)
    mean = cv2.GaussianBlur(values, (0, 0), 12)
    spread = np.sqrt(np.maximum(cv2.GaussianBlur((values - mean) ** 2, (0, 0), 12), 9.0))
    return np.asarray(np.clip(128 + 48 * (values - mean) / spread, 0, 255), dtype=np.uint8)


def _followed(before: npt.NDArray[np.uint8], now: npt.NDArray[np.uint8]) -> tuple[Array, Array]:
    """Corners of `before` and where they are in `now`, both [n, 2]; only those that lead back to where they began."""
    corners = _corners(before)
    if len(corners) == 0:
        return corners, corners
    first, second = _even(before), _even(now)
    start = corners.astype(np.float32).reshape(-1, 1, 2)
    end, found, _ = cv2.calcOpticalFlowPyrLK(first, second, start, None, winSize=(21, 21), maxLevel=4)
    back, found_back, _ = cv2.calcOpticalFlowPyrLK(second, first, end, None, winSize=(21, 21), maxLevel=4)
    good = (found.ravel() > 0) & (found_back.ravel() > 0) & (np.linalg.norm((back - start)[:, 0], axis=1) < 0.7)
    return corners[good], np.asarray(end[good, 0], dtype=np.float64)
