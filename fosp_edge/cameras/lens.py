"""How a lens bends the picture, and the map that straightens it; the formulas are OpenCV's camera models."""

import numpy as np
import numpy.typing as npt

from fosp_edge.bundle.picture import Lens

FloatArray = npt.NDArray[np.float64]


def distort(lens: Lens, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Where the ray (x, y, 1) of an ideal camera falls in the picture: column and row in pixels, shapes kept."""
    bend = _fisheye if lens.model == "fisheye" else _brown_conrady
    bent_x, bent_y = bend(lens.coefficients, x, y)
    return lens.focal_x_px * bent_x + lens.centre_x_px, lens.focal_y_px * bent_y + lens.centre_y_px


def undistortion_map(lens: Lens) -> tuple[FloatArray, FloatArray]:
    """For each pixel of the straightened picture, the column and row to look up, both [height, width]."""
    rows, columns = np.mgrid[0 : lens.height_px, 0 : lens.width_px].astype(np.float64)
    return distort(lens, (columns - lens.centre_x_px) / lens.focal_x_px, (rows - lens.centre_y_px) / lens.focal_y_px)


def straightening_taps(lens: Lens, rows: slice, columns: slice) -> tuple[npt.NDArray[np.intp], FloatArray]:
    """Which pixels of the bent picture make up a cut-out of the straightened one, and their bilinear weights.

    Returns:
        Flat pixel indices and weights, both [4, rows, columns]; beyond the border the border repeats.
    """
    map_x, map_y = (part[rows, columns] for part in undistortion_map(lens))
    x, y = np.clip(map_x, 0, lens.width_px - 1), np.clip(map_y, 0, lens.height_px - 1)
    left, top = np.floor(x).astype(np.intp), np.floor(y).astype(np.intp)
    right, bottom = np.minimum(left + 1, lens.width_px - 1), np.minimum(top + 1, lens.height_px - 1)
    part_x, part_y = x - left, y - top
    index = np.stack([row * lens.width_px + column for row in (top, bottom) for column in (left, right)])
    weight = np.stack([in_y * in_x for in_y in (1 - part_y, part_y) for in_x in (1 - part_x, part_x)])
    return index, weight


def _brown_conrady(coefficients: tuple[float, ...], x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    k1, k2, p1, p2, k3, k4, k5, k6 = (*coefficients, *(0.0,) * (8 - len(coefficients)))
    r2 = x * x + y * y
    radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    return (
        x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
        y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
    )


def _fisheye(coefficients: tuple[float, ...], x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    k1, k2, k3, k4 = coefficients or (0.0,) * 4
    r = np.hypot(x, y)
    angle = np.arctan(r)
    a2 = angle * angle
    bent = angle * (1 + a2 * (k1 + a2 * (k2 + a2 * (k3 + a2 * k4))))
    scale = np.divide(bent, r, out=np.ones_like(r), where=r > 1e-9)
    return x * scale, y * scale
