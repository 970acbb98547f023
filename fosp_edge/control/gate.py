"""The out-of-distribution gate: is what the robot sees anything like what its safety filter was calibrated on?

Reachability is learnt. Of a picture unlike those it was learnt from it says something too, and nothing vouches for it.
Three statistics, each of which sees what the others do not (measured: experiments/gate_faults.py):

- `surprise`: the divergence from prior to posterior that the step graph computes anyway, in standard deviations of the
  same tick of normal episodes. Jumps when the world does something that the model did not expect of it, and is used to
  it soon after.
- `picture`: Mahalanobis distance of the picture, averaged over 8x8 cells, from normal pictures (Lee et al. 2018 do so
  with features of a network; plain pixels do not depend on it). Stays high for as long as the picture is strange, also
  where the world model is not surprised at all, as by swapped colours.
- `stillness`: how far the robot has moved since a camera's picture last changed by as much as one bit. A camera whose
  driver repeats an old picture under new time stamps betrays itself by nothing else. (Not to a robot without a state.)

Each is divided by a scale taken from episodes of its own, and the largest by one conformal threshold: with n
exchangeable normal episodes, a further one raises an alarm with probability at most `level`.
"""

import math
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from fosp_edge.bundle.manifest import BundleError, Manifest
from fosp_edge.control.types import Float32Array, Observation

DETECTORS = ("surprise", "picture", "stillness")
CELLS = 8
"""The picture is averaged over so many cells in height and in width."""

ADVICE = {
    "surprise": "something moved that should not: look at the camera's mount and at what happens on the table",
    "picture": "the picture is unlike those of the calibration: look at the lens, the light and the colours",
    "stillness": "the robot moves and a picture does not: the camera repeats an old one; restart it",
}


@dataclass(frozen=True)
class GateParameters:
    """What normal looks like."""

    picture_mean: Float32Array
    """Shape [F], F = 64 * 3 * cameras."""
    picture_whitening: Float32Array
    """Shape [F, F]; the squared length of a whitened deviation is about 1 for normal pictures."""
    surprise_mean: Float32Array
    """Of each of the first ticks of an episode, then of all later ones; shape [K], nats."""
    surprise_deviation: Float32Array
    """Standard deviation of the same, shape [K]."""
    state_deviation: Float32Array
    """Standard deviation of the state's components, shape [S]: the measure of how far the robot has moved."""
    scale: Float32Array
    """By which each statistic is divided, shape [3]."""

    def to_bytes(self) -> bytes:
        """As safetensors."""
        return save({item.name: np.ascontiguousarray(getattr(self, item.name)) for item in fields(self)})

    @staticmethod
    def from_bytes(data: bytes, manifest: Manifest) -> "GateParameters":
        """Read parameters back and compare them with what the manifest promises.

        Raises:
            BundleError: damaged, not finite, or made for other cameras or another state.
        """
        width, state = CELLS * CELLS * 3 * len(manifest.cameras), len(manifest.state)
        try:
            found = load(data)
        except SafetensorError as error:
            raise BundleError(f"the gate's parameters are damaged ({error}); calibrate the bundle again") from error
        ticks = max(found.get("surprise_mean", np.zeros(0)).shape[:1], (1,))  # one at the least
        shapes = {
            "picture_mean": (width,),
            "picture_whitening": (width, width),
            "surprise_mean": ticks,
            "surprise_deviation": ticks,
            "state_deviation": (state,),
            "scale": (len(DETECTORS),),
        }
        for name, shape in shapes.items():
            values = found.get(name)
            if values is None or values.shape != shape or values.dtype != np.float32:
                what = "nothing" if values is None else f"{values.dtype}{list(values.shape)}"
                raise BundleError(
                    f"the gate's {name} should be float32{list(shape)}, found {what}; calibrate the bundle again"
                )
            if not np.all(np.isfinite(values)) or (name not in ("picture_mean", "picture_whitening", "surprise_mean")
                                                   and not np.all(values > 0.0)):  # fmt: skip
                raise BundleError(f"the gate's {name} are not usable numbers; calibrate the bundle again")
        return GateParameters(**{name: found[name] for name in shapes})


class PictureCells:
    """Averages pictures over cells."""

    def __init__(self, height_px: int, width_px: int) -> None:
        self._rows, self._columns = _averaging(height_px), _averaging(width_px)

    def __call__(self, image: npt.NDArray[np.uint8]) -> Float32Array:
        """[H, W, C] -> [CELLS * CELLS * C], in grey levels from 0 to 255."""
        height, width, channels = image.shape
        rows = self._rows @ image.reshape(height, width * channels).astype(np.float32)
        cells: Float32Array = np.matmul(self._columns, rows.reshape(CELLS, width, channels)).ravel()
        return cells


def _averaging(size: int) -> Float32Array:
    """Shape [CELLS, size]: each row averages its share of the pixels."""
    matrix = np.zeros((CELLS, size), np.float32)
    for row, pixels in enumerate(np.array_split(np.arange(size), CELLS)):
        matrix[row, pixels] = 1.0 / max(1, len(pixels))
    return matrix


class Movement:
    """How far each component of the state has moved since a picture last changed."""

    def __init__(self) -> None:
        self._images: list[npt.NDArray[np.uint8]] = []
        self._states: list[Float32Array] = []

    def reset(self) -> None:
        """A new episode."""
        self._images, self._states = [], []

    def __call__(self, observation: Observation) -> Float32Array:
        """Shape [S], in units of the state; of several cameras, the one whose picture has been the same for longest."""
        image, state = observation.image, observation.state
        moved: Float32Array = np.zeros_like(state)
        for index, start in enumerate(range(0, image.shape[-1], 3)):
            picture = image[..., start : start + 3]
            if index == len(self._images):
                self._images.append(picture.copy())
                self._states.append(state.copy())
            elif np.array_equal(picture, self._images[index]):
                np.maximum(moved, np.abs(state - self._states[index]), out=moved)
            else:
                self._images[index], self._states[index] = picture.copy(), state.copy()
        return moved


@dataclass(frozen=True)
class Trace:
    """What the gate looks at along one episode."""

    cells: Float32Array
    """Shape [T, F]."""
    surprise: Float32Array
    """Shape [T], nats."""
    state: Float32Array
    """Shape [T, S]."""
    moved: Float32Array
    """Since a picture last changed, shape [T, S]."""

    def statistics(self, parameters: GateParameters) -> npt.NDArray[np.float64]:
        """Before scale and threshold, shape [T, 3], in the order of `DETECTORS`."""
        tick = np.minimum(np.arange(len(self.surprise)), len(parameters.surprise_mean) - 1)
        standard = (self.surprise - parameters.surprise_mean[tick]) / parameters.surprise_deviation[tick]
        whitened = (self.cells - parameters.picture_mean) @ parameters.picture_whitening
        moved = (self.moved / parameters.state_deviation).max(axis=1, initial=0.0)
        return np.stack([standard, np.sqrt((whitened**2).sum(axis=1)), moved], axis=1, dtype=np.float64)


class Tracer:
    """Takes one tick after another; the same for the robot and for calibration."""

    def __init__(self, height_px: int, width_px: int) -> None:
        self._cells, self._movement = PictureCells(height_px, width_px), Movement()

    def reset(self) -> None:
        """A new episode."""
        self._movement.reset()

    def __call__(self, observation: Observation) -> tuple[Float32Array, Float32Array]:
        """Cells of the picture, [F], and how far the robot has moved since it changed, [S]."""
        return self._cells(observation.image), self._movement(observation)


class OodGate:
    """The statistics of one episode after another, over their threshold: above 1 is an alarm."""

    def __init__(self, manifest: Manifest, data: bytes) -> None:
        """Read the gate of a bundle. Raises BundleError."""
        if manifest.gate is None:
            raise BundleError("the bundle has no out-of-distribution gate; `fosp-edge calibrate-filter` makes one")
        parameters = self._parameters = GateParameters.from_bytes(data, manifest)
        camera = manifest.cameras[0]
        self._tracer = Tracer(camera.height_px, camera.width_px)
        self._divisor = [float(scale) * max(manifest.gate.threshold, 1e-9) for scale in parameters.scale]
        self._tick = 0

    def reset(self) -> None:
        """A new episode."""
        self._tracer.reset()
        self._tick = 0

    def resume(self, tick: int) -> None:
        """Go on at this tick of an episode whose earlier pictures were not seen."""
        self.reset()
        self._tick = tick

    def observe(self, observation: Observation, surprise: float) -> tuple[float, ...]:
        """One tick: each statistic over the threshold, in the order of `DETECTORS`, never below 0."""
        parameters = self._parameters
        cells, moved = self._tracer(observation)
        index = min(self._tick, len(parameters.surprise_mean) - 1)
        self._tick += 1
        standard = (surprise - float(parameters.surprise_mean[index])) / float(parameters.surprise_deviation[index])
        whitened = (cells - parameters.picture_mean) @ parameters.picture_whitening
        stillness = float((moved / parameters.state_deviation).max(initial=0.0))
        found = (standard, math.sqrt(float(whitened @ whitened)), stillness)
        return tuple(max(0.0, value / divisor) for value, divisor in zip(found, self._divisor, strict=True))


def explain(readings: tuple[float, ...]) -> str:
    """Which statistic is highest, by how much, and what to look at."""
    index = int(np.argmax(readings))
    name = DETECTORS[index]
    return f"the statistic `{name}` is at {readings[index]:.1f} times its alarm threshold: {ADVICE[name]}"
