"""From a sensor's picture to the policy's: straighten, crop, area resize, colour order.

One function for data collection, training and control, so that the policy sees on the robot what it saw in training.
Pure numpy on purpose: the result does not depend on which OpenCV a machine has, and no thread pool is woken inside
the control loop.
"""

import numpy as np
import numpy.typing as npt

from fosp_edge.bundle.picture import Preprocessing
from fosp_edge.cameras.lens import straightening_taps

Image = npt.NDArray[np.uint8]


class Preprocessor:
    """`Preprocessing` made ready for one source size; calling it costs about one pass over the picture."""

    def __init__(self, parameters: Preprocessing, source_width_px: int, source_height_px: int) -> None:
        """Prepare the weights.

        Raises:
            ValueError: if the source has another size than the parameters name, the crop does not lie within it, or
                the lens was calibrated at another size.
        """
        wanted = parameters.source_px
        if wanted is not None and wanted != (source_width_px, source_height_px):
            raise ValueError(
                f"the policy was trained on a camera of {wanted[0]}x{wanted[1]} pixels, this one gives "
                f"{source_width_px}x{source_height_px}: set the camera to that size"
            )
        self.parameters = parameters
        self._source_shape = (source_height_px, source_width_px, 3)
        left, top, width, height = parameters.crop or _centred(parameters, source_width_px, source_height_px)
        fits = left >= 0 and top >= 0 and left + width <= source_width_px and top + height <= source_height_px
        if not fits or width < 1 or height < 1:
            raise ValueError(
                f"the crop {left},{top} {width}x{height} does not lie within "
                f"{source_width_px}x{source_height_px} pixels"
            )
        lens = parameters.lens
        if lens is not None and (lens.width_px, lens.height_px) != (source_width_px, source_height_px):
            raise ValueError(
                f"the lens was calibrated at {lens.width_px}x{lens.height_px} pixels, the camera gives "
                f"{source_width_px}x{source_height_px}"
            )
        self._crop = (slice(top, top + height), slice(left, left + width))
        self._is_copy = (width, height) == (parameters.width_px, parameters.height_px)
        self._rows = _area_weights(height, parameters.height_px)
        self._columns = _area_weights(width, parameters.width_px)
        taps = None if lens is None else straightening_taps(lens, *self._crop)
        self._straighten = None if taps is None else _SparseMean(*taps, self._rows, self._columns)

    def __call__(self, image: Image) -> Image:
        """The policy's picture, shape [height, width, 3], RGB, contiguous, never a view of `image`.

        Each output pixel is the mean over the source area it covers, rounded to nearest (halves up). Where the output
        is larger than the crop, that is nearest-neighbour with blended borders.

        Raises:
            ValueError: for another shape or type than prepared for.
        """
        if image.shape != self._source_shape or image.dtype != np.uint8:
            raise ValueError(f"expected uint8 {self._source_shape}, found {image.dtype} {image.shape}")
        if self._is_copy and self._straighten is None and self.parameters.colour_order == "rgb":
            return np.array(image[self._crop], dtype=np.uint8)  # what the arithmetic below would give
        if self._straighten is not None:
            small = self._straighten(image)
        elif self._is_copy:
            small = image[self._crop].astype(np.float32)
        else:
            tall = _resize_rows(image[self._crop].astype(np.float32), *self._rows)
            small = _resize_rows(tall.transpose(1, 0, 2), *self._columns).transpose(1, 0, 2)
        if self.parameters.colour_order == "bgr":
            small = small[:, :, ::-1]
        return np.ascontiguousarray(np.clip(small + 0.5, 0.0, 255.0).astype(np.uint8))


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


class _SparseMean:
    """Straightening and area resize in one: each output pixel is a weighted mean of a few source pixels.

    A third of the time that straightening the whole cut-out first would take, and the same result.
    """

    def __init__(
        self,
        tap_index: npt.NDArray[np.intp],
        tap_weight: npt.NDArray[np.float64],
        rows: tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]],
        columns: tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]],
    ) -> None:
        self._shape = rows[0].shape[1], columns[0].shape[1]
        # Axes: output row, output column, row within its area, column within its area.
        row, column = rows[0].T[:, None, :, None], columns[0].T[None, :, None, :]
        area = rows[1].T[:, None, :, None] * columns[1].T[None, :, None, :]
        source = tap_index[:, row, column]
        weight = (tap_weight[:, row, column] * area).ravel()
        output = np.broadcast_to(np.arange(area[..., 0, 0].size).reshape(*self._shape, 1, 1), source.shape)
        pixels = int(tap_index.max()) + 1
        keys, place = np.unique((output * pixels + source).ravel()[weight > 0.0], return_inverse=True)
        self._weight = np.bincount(place, weight[weight > 0.0]).astype(np.float32)
        self._source = keys % pixels
        self._starts = np.searchsorted(keys // pixels, np.arange(output[0, ..., 0, 0].size))

    def __call__(self, image: Image) -> npt.NDArray[np.float32]:
        flat = image.reshape(-1, 3)
        means = [np.add.reduceat(flat[:, c][self._source] * self._weight, self._starts) for c in range(3)]
        stacked: npt.NDArray[np.float32] = np.stack(means, axis=-1)
        return stacked.reshape(*self._shape, 3)
