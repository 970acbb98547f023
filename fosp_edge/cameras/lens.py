"""How a lens bends the picture, and the map that straightens it; the formulas are OpenCV's camera models."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Lens:
    """Intrinsic parameters of a camera, as calibration gives them, for one picture size."""

    width_px: int
    height_px: int
    focal_x_px: float
    focal_y_px: float
    centre_x_px: float
    centre_y_px: float
    model: Literal["brown-conrady", "fisheye"] = "brown-conrady"
    coefficients: tuple[float, ...] = ()
    """Brown-Conrady: k1 k2 p1 p2 [k3 [k4 k5 k6]], with six radial terms the rational model; fisheye: k1 k2 k3 k4."""

    def __post_init__(self) -> None:
        lengths = (0, 4, 5, 8) if self.model == "brown-conrady" else (0, 4)
        numbers = (self.focal_x_px, self.focal_y_px, self.centre_x_px, self.centre_y_px, *self.coefficients)
        if self.model not in ("brown-conrady", "fisheye") or len(self.coefficients) not in lengths:
            raise ValueError(f"lens model {self.model} with {len(self.coefficients)} coefficients is not known")
        if not np.all(np.isfinite(numbers)) or min(self.focal_x_px, self.focal_y_px) <= 0.0:
            raise ValueError("lens parameters must be finite numbers, the focal lengths above zero")

    def distort(self, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Where the ray (x, y, 1) of an ideal camera falls in the picture: column and row in pixels, shapes kept."""
        bent_x, bent_y = self._fisheye(x, y) if self.model == "fisheye" else self._brown_conrady(x, y)
        return self.focal_x_px * bent_x + self.centre_x_px, self.focal_y_px * bent_y + self.centre_y_px

    def undistortion_map(self) -> tuple[FloatArray, FloatArray]:
        """For each pixel of the straightened picture, the column and row to look up, both [height, width]."""
        rows, columns = np.mgrid[0 : self.height_px, 0 : self.width_px].astype(np.float64)
        return self.distort((columns - self.centre_x_px) / self.focal_x_px, (rows - self.centre_y_px) / self.focal_y_px)

    def _brown_conrady(self, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
        k1, k2, p1, p2, k3, k4, k5, k6 = (*self.coefficients, *(0.0,) * (8 - len(self.coefficients)))
        r2 = x * x + y * y
        radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
        return (
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
        )

    def _fisheye(self, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
        k1, k2, k3, k4 = self.coefficients or (0.0,) * 4
        r = np.hypot(x, y)
        angle = np.arctan(r)
        a2 = angle * angle
        bent = angle * (1 + a2 * (k1 + a2 * (k2 + a2 * (k3 + a2 * k4))))
        scale = np.divide(bent, r, out=np.ones_like(r), where=r > 1e-9)
        return x * scale, y * scale


def straightening_taps(lens: Lens, rows: slice, columns: slice) -> tuple[npt.NDArray[np.intp], FloatArray]:
    """Which pixels of the bent picture make up a cut-out of the straightened one, and their bilinear weights.

    Returns:
        Flat pixel indices and weights, both [4, rows, columns]; beyond the border the border repeats.
    """
    map_x, map_y = (part[rows, columns] for part in lens.undistortion_map())
    x, y = np.clip(map_x, 0, lens.width_px - 1), np.clip(map_y, 0, lens.height_px - 1)
    left, top = np.floor(x).astype(np.intp), np.floor(y).astype(np.intp)
    right, bottom = np.minimum(left + 1, lens.width_px - 1), np.minimum(top + 1, lens.height_px - 1)
    part_x, part_y = x - left, y - top
    index = np.stack([row * lens.width_px + column for row in (top, bottom) for column in (left, right)])
    weight = np.stack([in_y * in_x for in_y in (1 - part_y, part_y) for in_x in (1 - part_x, part_x)])
    return index, weight
