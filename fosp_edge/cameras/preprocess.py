"""From a sensor's picture to the policy's: crop, area resize, colour order.

One function for data collection, training and control, so that the policy sees on the robot what it saw in training.
Pure numpy on purpose: the result does not depend on which OpenCV a machine has, and no thread pool is woken inside
the control loop.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes the policy's input; travels in the manifest."""

    width_px: int = 64
    height_px: int = 64
    crop: tuple[int, int, int, int] | None = None
    """Left, top, width, height in source pixels; None is the largest centred area of the output's proportions."""
    colour_order: Literal["rgb", "bgr"] = "rgb"
    """Order in which the source delivers its channels; the output is always RGB."""

    def __post_init__(self) -> None:
        if self.width_px < 1 or self.height_px < 1 or self.colour_order not in ("rgb", "bgr"):
            raise ValueError(f"not a picture size and colour order: {self}")


class Preprocessor:
    """`Preprocessing` made ready for one source size; calling it costs about one pass over the picture."""

    def __init__(self, parameters: Preprocessing, source_width_px: int, source_height_px: int) -> None:
        """Prepare the weights.

        Raises:
            ValueError: if the crop does not lie within the source.
        """
        self.parameters = parameters
        self._source_shape = (source_height_px, source_width_px, 3)
        left, top, width, height = parameters.crop or _centred(parameters, source_width_px, source_height_px)
        fits = left >= 0 and top >= 0 and left + width <= source_width_px and top + height <= source_height_px
        if not fits or width < 1 or height < 1:
            raise ValueError(
                f"the crop {left},{top} {width}x{height} does not lie within "
                f"{source_width_px}x{source_height_px} pixels"
            )
        self._crop = (slice(top, top + height), slice(left, left + width))
        self._is_copy = (width, height) == (parameters.width_px, parameters.height_px)
        self._rows = _area_weights(height, parameters.height_px)
        self._columns = _area_weights(width, parameters.width_px)

    def __call__(self, image: Image) -> Image:
        """The policy's picture, shape [height, width, 3], RGB, contiguous, never a view of `image`.

        Each output pixel is the mean over the source area it covers, rounded to nearest (halves up). Where the output
        is larger than the crop, that is nearest-neighbour with blended borders.

        Raises:
            ValueError: for another shape or type than prepared for.
        """
        if image.shape != self._source_shape or image.dtype != np.uint8:
            raise ValueError(f"expected uint8 {self._source_shape}, found {image.dtype} {image.shape}")
        cropped = image[self._crop]
        if self.parameters.colour_order == "bgr":
            cropped = cropped[:, :, ::-1]
        if self._is_copy:
            return np.array(cropped, order="C")
        tall = _resize_rows(cropped.astype(np.float32), *self._rows)
        wide = _resize_rows(tall.transpose(1, 0, 2), *self._columns).transpose(1, 0, 2)
        return np.ascontiguousarray(np.clip(wide + 0.5, 0.0, 255.0).astype(np.uint8))


def preprocess(image: Image, parameters: Preprocessing) -> Image:
    """One picture, shape [height, width, 3], to the policy's input; `Preprocessor` is the same for many.

    Raises:
        ValueError: for something that is not an 8-bit colour picture, or a crop outside of it.
    """
    if image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected a colour picture of shape [height, width, 3], found {image.shape}")
    return Preprocessor(parameters, image.shape[1], image.shape[0])(image)


def _centred(parameters: Preprocessing, width: int, height: int) -> tuple[int, int, int, int]:
    """The largest centred rectangle with the output's proportions."""
    crop_width = min(width, max(1, height * parameters.width_px // parameters.height_px))
    crop_height = min(height, max(1, width * parameters.height_px // parameters.width_px))
    return (width - crop_width) // 2, (height - crop_height) // 2, crop_width, crop_height


def _area_weights(source: int, target: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """For each output row, which input rows it covers and how much of its mean each makes up, both [taps, target]."""
    edges = np.arange(target + 1) * (source / target)
    first = np.floor(edges[:-1]).astype(np.intp)
    taps = int(np.max(np.ceil(edges[1:] - 1e-9).astype(np.intp) - first))
    index = first[None, :] + np.arange(taps)[:, None]
    covered = np.minimum(index + 1, edges[1:]) - np.maximum(index, edges[:-1])
    weight = np.maximum(covered, 0.0)
    return np.minimum(index, source - 1), (weight / weight.sum(axis=0)).astype(np.float32)


def _resize_rows(
    image: npt.NDArray[np.float32], index: npt.NDArray[np.intp], weight: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Weighted means of rows, [source, ...] to [target, ...]."""
    total: npt.NDArray[np.float32] = image[index[0]] * weight[0][:, None, None]
    for rows, share in zip(index[1:], weight[1:], strict=True):
        total += image[rows] * share[:, None, None]
    return total
