"""Corners to a part of a pixel, also where the lens bends the board's edges and a tilt shears its squares.

The search for a corner (W. Förstner and E. Gülch, 1987; OpenCV's cornerSubPix) wants straight edges: each pixel of the
window says that the corner lies on the line through it, across its gradient. Edges that a lens bends pull the answer
outwards, by several hundredths of a pixel all over a fisheye's picture, which no number of views averages out; and in a
sheared square an upright window reaches into the marker next to the corner. So corners are searched twice: by OpenCV in
the picture as it is, and then as they lie on the board, by what all corners together show of it.
"""

import cv2
import numpy as np
import numpy.typing as npt

from .geometry import Array

_STOP = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 60, 1e-3)
_ROUNDS = 5
_ORDERS = ((4, 25), (3, 16), (2, 0))
"""Order of the polynomial from board to picture, and how many corners it takes."""
_EDGE_PX = 1.3
"""How far the blurred edge of the next pattern reaches beyond itself."""


def refine(
    image: npt.NDArray[np.uint8], pixels: Array, places_m: Array, room_m: float
) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Corners [n, 2] moved to where the picture's gradients say, and which of them settled.

    `places_m` [n, 2] are the corners' places on the flat board; no other pattern begins within `room_m` along its axes.
    A corner settles when it stays near its start and a second search from a slightly other place comes back to it: next
    to glare, an edge or another pattern it does not.
    """
    if len(pixels) < 2:
        return pixels, np.zeros(len(pixels), dtype=np.bool_)
    result, again = pixels.copy(), pixels.copy()
    room_px = room_m * _smallest_scale(pixels, places_m)
    windows = _windows(room_px)
    for window in np.unique(windows):
        chosen = windows == window
        for values, shift in ((result, 0.0), (again, 0.6)):
            values[chosen] = _search(image, pixels[chosen] + shift, int(window))
    stayed = np.linalg.norm(result - pixels, axis=1) < np.maximum(0.8 * windows, 2.0)
    enough = room_px > 2.4  # a smaller window would see the next pattern too
    settled = stayed & enough & (np.linalg.norm(result - again, axis=1) < 0.15)
    index = np.flatnonzero(settled)
    again = _searched_on_the_board(image, result[index], places_m[index], room_m)
    near = np.linalg.norm(again - result[index], axis=1) < 1.0
    result[index[near]] = again[near]
    settled[index[~near]] = False
    return result, settled


def _windows(room_px: Array) -> npt.NDArray[np.int64]:
    return np.asarray(np.clip(np.floor(room_px - _EDGE_PX), 2, 8), dtype=np.int64)


def _search(image: npt.NDArray[np.generic], pixels: Array, window: int) -> Array:
    start = np.ascontiguousarray(pixels, dtype=np.float32).reshape(-1, 1, 2)
    found = cv2.cornerSubPix(image, start, (window, window), (-1, -1), _STOP)
    return np.asarray(found.reshape(-1, 2), dtype=np.float64)


def _smallest_scale(pixels: Array, places_m: Array) -> Array:
    """Pixels per metre around every corner, in the direction in which they are fewest."""
    away_px = np.linalg.norm(pixels[:, None] - pixels[None], axis=2)
    away_m = np.linalg.norm(places_m[:, None] - places_m[None], axis=2)
    np.fill_diagonal(away_m, np.inf)
    near = away_m < 1.5 * away_m.min(axis=1, keepdims=True)
    return np.asarray(np.where(near, away_px / away_m, np.inf).min(axis=1))


def _searched_on_the_board(image: npt.NDArray[np.uint8], pixels: Array, places_m: Array, room_m: float) -> Array:
    """The corners once more, windows and gradients as they lie on the board; NaN where the search does not settle.

    A pixel `d` from the corner, at `u` on the board, is moved to where it would be if the lines through the corner were
    straight, and its gradient is turned along; nothing is redrawn, so nothing is blurred on one side only.
    """
    if len(pixels) < 8:
        return pixels  # too few to say how the picture is bent
    linear, bend = _local_maps(pixels, places_m)
    back = np.linalg.inv(linear)
    px_per_m = np.sqrt(np.abs(np.linalg.det(linear)))
    windows_m = _windows(room_m * px_per_m) / px_per_m
    # the window's far corner on the board, seen in the picture
    reach = int(np.ceil(np.max(np.abs(linear).sum(axis=2) * windows_m[:, None]))) + 2
    steps = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 2), axis=-1)
    nearest = np.rint(pixels).astype(int)
    inside = nearest[:, None, None] + steps
    height, width = image.shape
    x, y = np.clip(inside[..., 0], 1, width - 2), np.clip(inside[..., 1], 1, height - 2)
    grey = image.astype(np.float64)
    gradient = np.stack([grey[y, x + 1] - grey[y, x - 1], grey[y + 1, x] - grey[y - 1, x]], axis=-1) / 2
    seen = (x == inside[..., 0]) & (y == inside[..., 1])
    aside, down = bend[:, None, None, 0], bend[:, None, None, 1]
    # blur draws a bent edge to its hollow side, by half its curvature times the blur's variance
    blur_px = min(edge_width_px(image, pixels), 3.0)
    blurred = (blur_px**2 / np.sum(linear**2, axis=1))[:, None, None]
    result, step = pixels.copy(), np.zeros_like(pixels)
    for _ in range(_ROUNDS):
        away = inside - result[:, None, None]
        on_board = np.einsum("nij,nrcj->nrci", back, away)
        u, v = on_board[..., 0], on_board[..., 1]
        shift = np.stack([aside * (v * v + blurred[..., 1]), down * (u * u + blurred[..., 0])], axis=-1)
        straight = away - np.einsum("nij,nrcj->nrci", linear, shift)
        # d picture / d straight = L (1 + bend) L^-1, transposed, takes a gradient to the straight picture
        at_board = np.einsum("nji,nrcj->nrci", linear, gradient)
        turned = at_board + np.stack([2 * down * u * at_board[..., 1], 2 * aside * v * at_board[..., 0]], axis=-1)
        turned = np.einsum("nji,nrcj->nrci", back, turned)
        scaled = on_board / windows_m[:, None, None, None]
        # down to nothing at the window's sides: pixels that come in or fall out as the corner moves must not pull it
        weight = seen * np.prod(np.clip(1.0 - scaled**2, 0.0, None), axis=-1)
        outer = np.einsum("nrc,nrci,nrcj->nij", weight, turned, turned)
        towards = np.einsum("nrc,nrci,nrcj,nrcj->ni", weight, turned, turned, straight)
        step = np.linalg.solve(outer + 1e-9 * np.eye(2), towards[..., None])[..., 0]
        result = result + step
    return np.where(np.linalg.norm(step, axis=1, keepdims=True) < 0.05, result, np.nan)


def _local_maps(pixels: Array, places_m: Array) -> tuple[Array, Array]:
    """From the board to the picture around every corner, by a polynomial through all of them.

    `linear` [n, 2, 2] is d pixel / d place; `bend` [n, 2] how far the board's vertical line through the corner bends
    aside, and the horizontal one down, per square of the way along it. What the picture does to lengths along the lines
    stays in: it bends no line, and taking it out would make the blur on one side of an edge wider than on the other.
    """
    order = next(order for order, least in _ORDERS if len(pixels) >= least)
    low, high = places_m.min(axis=0), places_m.max(axis=0)
    half = (high - low) / 2
    x, y = ((places_m - (low + high) / 2) / half).T
    powers = [(i, j) for i in range(order + 1) for j in range(order + 1 - i)]

    def terms(along_x: int, along_y: int) -> Array:
        """Every term's derivative of that order."""
        return np.stack([_derivative(x, i, along_x) * _derivative(y, j, along_y) for i, j in powers], axis=-1)

    found = np.linalg.lstsq(terms(0, 0), pixels, rcond=1e-6)[0]
    linear = np.stack([terms(1, 0) @ found / half[0], terms(0, 1) @ found / half[1]], axis=-1)
    second = np.stack([terms(2, 0) @ found / half[0] ** 2, terms(0, 2) @ found / half[1] ** 2], axis=-1) / 2
    on_board = np.linalg.solve(linear, second)
    return np.asarray(linear), np.stack([on_board[:, 0, 1], on_board[:, 1, 0]], axis=-1)


def _derivative(values: Array, power: int, order: int) -> Array:
    """Of `values ** power`."""
    factor = np.prod([power - k for k in range(order)]) if order else 1.0
    return np.asarray(factor * values ** max(power - order, 0))


def edge_width_px(image: npt.NDArray[np.uint8], pixels: Array, reach: int = 7) -> float:
    """Median standard deviation of the edges around the given points, from contrast over steepest gradient.

    An edge of contrast C blurred by s has a steepest gradient of C / (s sqrt(2 pi)); the central difference used here
    widens it by a third of a pixel squared, which is taken off again.
    """
    widths = []
    height, width = image.shape
    for x, y in np.rint(pixels).astype(int):
        if not (reach <= x < width - reach and reach <= y < height - reach):
            continue
        patch = image[y - reach : y + reach + 1, x - reach : x + reach + 1].astype(np.float32)
        low, high = np.percentile(patch, [8, 92])
        across = (patch[1:-1, 2:] - patch[1:-1, :-2]) / 2
        down = (patch[2:, 1:-1] - patch[:-2, 1:-1]) / 2
        steepest = np.percentile(np.hypot(across, down), 98)
        if high - low > 10 and steepest > 0:
            measured = (high - low) / (steepest * np.sqrt(2 * np.pi))
            widths.append(np.sqrt(max(measured**2 - 1 / 3, 0.04)))
    return float(np.median(widths)) if widths else float("inf")
