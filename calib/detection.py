"""Find a board's corners in a picture, or say what is there instead."""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from .boards import AprilGrid, Board, Charuco, Chessboard, dictionary
from .corner_refinement import edge_width_px, refine
from .errors import BoardNotFoundError, CalibrationError
from .geometry import Array

Picture = npt.NDArray[np.uint8]
_LEAST_CORNERS = 8
_COMMON_DICTIONARIES = ("4X4_1000", "5X5_1000", "6X6_1000", "7X7_1000", "ARUCO_ORIGINAL", "APRILTAG_36H11")


@dataclass(frozen=True)
class Rejection:
    """A view or a picture that was left out."""

    name: str
    reason: str


@dataclass(frozen=True)
class Detection:
    """The corners seen in one picture."""

    name: str
    """Where the picture came from, for messages."""
    size_px: tuple[int, int]
    """Width and height of the picture."""
    ids: npt.NDArray[np.int64]
    """Number of every corner seen, shape [corners]."""
    pixels: Array
    """Where it was seen, shape [corners, 2]."""
    blur_px: float
    """Width (standard deviation) of the edges at the corners; about 0.5 to 1 for a sharp picture."""


def grey(image: npt.NDArray[np.generic]) -> Picture:
    """Any 8- or 16-bit picture, grey or RGB -> grey uint8. Raises CalibrationError for anything else."""
    if image.dtype == np.uint16:
        image = (image // 257).astype(np.uint8)
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or min(image.shape[:2], default=0) < 32:
        raise CalibrationError(
            f"expected a picture of 8 or 16 bits and at least 32 x 32 pixels, found {image.dtype} of shape "
            f"{image.shape}"
        )
    if image.ndim == 2:
        return np.asarray(image, dtype=np.uint8)
    if image.shape[2] == 1:
        return np.ascontiguousarray(image[..., 0])
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(image[..., :3]), cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def detect(board: Board, image: npt.NDArray[np.generic], name: str = "the picture") -> Detection:
    """Corners of `board` in `image` [height, width] or [height, width, 3] RGB, to a part of a pixel.

    Raises BoardNotFoundError: no board, another board, two boards, or a mirrored picture, each in its own words.
    """
    picture = grey(image)
    if isinstance(board, Charuco):
        ids, pixels = _charuco(board, picture, name)
    elif isinstance(board, AprilGrid):
        ids, pixels = _april_grid(board, picture, name)
    elif isinstance(board, Chessboard):
        ids, pixels = _chessboard(board, picture, name)
    else:
        raise CalibrationError(f"no detector for a board of type {type(board).__name__}")
    height, width = picture.shape
    inside = np.all((pixels > 2) & (pixels < np.array([width, height]) - 3), axis=1)
    ids, pixels = ids[inside], pixels[inside]
    if len(ids) < _LEAST_CORNERS or _on_a_line(pixels):
        raise BoardNotFoundError(
            f"{name}: only {len(ids)} corners of {board.text} are visible, at least {_LEAST_CORNERS} not on one line "
            "are needed: show more of the board"
        )
    return Detection(name, (width, height), ids, pixels, edge_width_px(picture, pixels))


def detect_all(
    board: Board, pictures: Iterable[tuple[str, npt.NDArray[np.generic]]]
) -> tuple[list[Detection], list[Rejection]]:
    """Detections in named pictures, and the pictures without one, each with its reason."""
    found: list[Detection] = []
    rejected: list[Rejection] = []
    for name, image in pictures:
        try:
            found.append(detect(board, image, name))
        except CalibrationError as error:
            rejected.append(Rejection(name, str(error).removeprefix(f"{name}: ")))
    return found, rejected


def _on_a_line(pixels: Array) -> bool:
    spread = np.linalg.svd(pixels - pixels.mean(axis=0), compute_uv=False)
    return bool(spread[1] < 0.02 * spread[0])


def _marker_detector(markers: cv2.aruco.Dictionary, border: int = 1) -> cv2.aruco.ArucoDetector:
    parameters = cv2.aruco.DetectorParameters()
    parameters.markerBorderBits = border
    parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX if border == 1 else cv2.aruco.CORNER_REFINE_NONE
    parameters.adaptiveThreshWinSizeMax = 53
    return cv2.aruco.ArucoDetector(markers, parameters)


def _find_markers(detector: cv2.aruco.ArucoDetector, image: Picture) -> tuple[npt.NDArray[np.int64], Array]:
    """Numbers [markers] and corners [markers, 4, 2]."""
    corners, ids, _ = detector.detectMarkers(image)
    if ids is None or len(ids) == 0:
        return np.zeros(0, dtype=np.int64), np.zeros((0, 4, 2))
    return np.asarray(ids, dtype=np.int64).ravel(), np.array(corners, dtype=np.float64).reshape(-1, 4, 2)


def _own_markers(
    board: Charuco | AprilGrid, detector: cv2.aruco.ArucoDetector, image: Picture, name: str
) -> tuple[npt.NDArray[np.int64], Array]:
    """The markers of this board; raises when they are absent, repeated, or arranged as on another board."""
    ids, corners = _find_markers(detector, image)
    layout = board.marker_corners_m if isinstance(board, Charuco) else board.tag_corners_m
    if len(ids) == 0:
        raise BoardNotFoundError(_what_is_there(board, image, name))
    foreign = sorted(set(ids[ids >= len(layout)].tolist()))
    if len(foreign) >= 2 or (foreign and len(ids) < 4):
        raise BoardNotFoundError(
            f"{name}: markers {', '.join(map(str, foreign[:5]))} are not on {board.text}, which ends at "
            f"{len(layout) - 1}: this is another board, give the text printed under it"
        )
    own = ids < len(layout)
    ids, corners = ids[own], corners[own]
    repeated = sorted({int(i) for i in ids if np.sum(ids == i) > 1})
    if repeated:
        raise BoardNotFoundError(
            f"{name}: marker {repeated[0]} is seen {int(np.sum(ids == repeated[0]))} times, so more than one board (or "
            "a reflection) is in view: leave one"
        )
    centres_m = layout[ids].mean(axis=1)
    if len(ids) >= 6 and not _on_a_line(corners.mean(axis=1)):
        tolerance_m = 0.6 * board.square_m
        fit, inlier = cv2.findHomography(corners.mean(axis=1), centres_m, cv2.RANSAC, tolerance_m, maxIters=2000)
        if fit is None or np.mean(inlier) < 0.6:
            raise BoardNotFoundError(
                f"{name}: the markers are numbered as on {board.text} but arranged differently: this is another board, "
                "give the text printed under it"
            )
    return ids, corners


def _what_is_there(board: Charuco | AprilGrid, image: Picture, name: str) -> str:
    """Why no marker of the board was found: mirrored, another dictionary, or nothing at all."""
    if isinstance(board, Charuco):
        own, border = dictionary(board.dictionary_name), 1
    else:
        own, border = dictionary("APRILTAG_36H11"), board.border_bits
    if len(_find_markers(_marker_detector(own, border), np.ascontiguousarray(image[:, ::-1]))[0]) >= 3:
        return f"{name}: the picture is mirrored: switch off mirroring in the camera and take it again"
    for other in _COMMON_DICTIONARIES:
        for bits in (1, 2) if other.startswith("APRILTAG") else (1,):
            if len(_find_markers(_marker_detector(dictionary(other), bits), image)[0]) >= 3:
                return (
                    f"{name}: expected {board.text}, found markers of {other} with a border of {bits}: this is another "
                    "board, give the text printed under it"
                )
    return f"{name}: no marker of {board.text} is visible: show the board, in focus and in enough light"


def _charuco(board: Charuco, image: Picture, name: str) -> tuple[npt.NDArray[np.int64], Array]:
    ids, corners = _own_markers(board, _marker_detector(dictionary(board.dictionary_name)), image, name)
    detector = cv2.aruco.CharucoDetector(board.opencv)
    marker_corners = tuple(corners[:, None].astype(np.float32))
    pixels, found, _, _ = detector.detectBoard(
        image, markerCorners=marker_corners, markerIds=ids.astype(np.int32)[:, None]
    )
    if found is None or len(found) == 0:
        raise BoardNotFoundError(
            f"{name}: markers of {board.text} but no corners between them are visible: come closer"
        )
    gap_m = (board.square_m - board.marker_m) / 2
    points = np.asarray(pixels, dtype=np.float64).reshape(-1, 2)
    numbers = np.asarray(found, dtype=np.int64).ravel()
    refined, settled = refine(image, points, board.corners_m[numbers, :2], gap_m)
    return numbers[settled], refined[settled]


def _chessboard(board: Chessboard, image: Picture, name: str) -> tuple[npt.NDArray[np.int64], Array]:
    size = (board.columns - 1, board.rows - 1)
    flags = cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_EXHAUSTIVE | cv2.CALIB_CB_ACCURACY
    found, pixels = cv2.findChessboardCornersSB(image, size, flags=flags)
    if not found:
        raise BoardNotFoundError(
            f"{name}: no whole {board.text} is visible: show all of its squares, with white around them, in focus"
        )
    points = np.asarray(pixels, dtype=np.float64).reshape(-1, 2)
    outline = cv2.convexHull(points.astype(np.float32)).reshape(-1, 2)
    covered = image.copy()
    grown = (outline - outline.mean(axis=0)) * (1 + 1.6 / min(size)) + outline.mean(axis=0)
    cv2.fillConvexPoly(covered, np.rint(grown).astype(np.int32), int(image.mean()))
    if cv2.findChessboardCornersSB(covered, size, flags=cv2.CALIB_CB_NORMALIZE_IMAGE)[0]:
        raise BoardNotFoundError(f"{name}: more than one {board.text} is in view: leave one")
    grid = points.reshape(size[1], size[0], 2)
    # The detector reads from the board's top left or bottom right: the first square must be the dark one.
    if not _first_square_is_dark(image, grid):
        grid = grid[::-1, ::-1]
    # ... and read in the sense of the board, not of its mirror image.
    across, down = grid[0, -1] - grid[0, 0], grid[-1, 0] - grid[0, 0]
    if across[0] * down[1] - across[1] * down[0] < 0:
        grid = grid[:, ::-1] if size[0] % 2 == 0 else grid[::-1]
    points = grid.reshape(-1, 2)
    refined, settled = refine(image, points, board.corners_m[:, :2], 0.4 * board.square_m)
    return np.arange(size[0] * size[1])[settled], refined[settled]


def _first_square_is_dark(image: Picture, grid: Array) -> bool:
    """Compare the square right and below of the first corner (dark on our boards) with its neighbour."""
    values = []
    for column in (0, 1):
        centre = grid[0:2, column : column + 2].reshape(-1, 2).mean(axis=0)
        values.append(cv2.getRectSubPix(image, (3, 3), (float(centre[0]), float(centre[1]))).mean())
    return bool(values[0] < values[1])


def _april_grid(board: AprilGrid, image: Picture, name: str) -> tuple[npt.NDArray[np.int64], Array]:
    markers = dictionary("APRILTAG_36H11")
    ids, corners = _own_markers(board, _marker_detector(markers, board.border_bits), image, name)
    turn = _common_turn(board.tag_corners_m[ids], corners)
    corners = np.roll(corners, -turn, axis=1)
    numbers = (ids[:, None] * 4 + np.arange(4)).ravel()
    room_m = board.tag_m * min(board.gap, 0.1 * board.border_bits)
    refined, settled = refine(image, corners.reshape(-1, 2), board.corners_m[numbers, :2], room_m)
    return numbers[settled], refined[settled]


def _common_turn(layout_m: Array, corners: Array) -> int:
    """By how many quarter turns the printed tags are turned against our drawing: other tools print them turned."""
    if len(layout_m) < 2:
        return 0
    errors = []
    for turn in range(4):
        turned = np.roll(corners, -turn, axis=1).reshape(-1, 2)
        fit, _ = cv2.findHomography(layout_m.reshape(-1, 2), turned, 0)
        if fit is None:
            errors.append(np.inf)
            continue
        ahead = cv2.perspectiveTransform(layout_m.reshape(-1, 1, 2), fit).reshape(-1, 2)
        errors.append(float(np.median(np.linalg.norm(ahead - turned, axis=1))))
    return int(np.argmin(errors))
