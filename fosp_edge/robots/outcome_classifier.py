"""A small classifier that tells success or violation from a picture, trained from episodes that a person labelled.

Logistic regression on the picture averaged over 8x8 cells and the state vector: trained in a second, asked in
microseconds, and its mistakes are those of a ruler, not of an oracle. Success that one frame shows (a light on, a bin
full) suits it; what takes understanding does not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from fosp_edge.files import write_atomically
from fosp_edge.robots.judging import Finding, Sample

FloatArray = npt.NDArray[np.float64]
CELLS = 8
_RIDGE = 1e-2
_NEWTON_STEPS = 25
_PARTS = ("mean", "deviation", "weight", "bias")


def features(image: npt.NDArray[np.uint8], state: npt.NDArray[np.float32]) -> FloatArray:
    """[H, W, C] and [S] -> [CELLS * CELLS * C + S], grey levels from 0 to 1."""
    height, width, channels = image.shape
    rows, columns = np.arange(CELLS + 1) * height // CELLS, np.arange(CELLS + 1) * width // CELLS
    sums = np.add.reduceat(np.add.reduceat(image.astype(np.float64), rows[:-1], axis=0), columns[:-1], axis=1)
    areas = np.diff(rows)[:, None, None] * np.diff(columns)[None, :, None]
    cells: FloatArray = (sums / areas / 255.0).reshape(CELLS * CELLS * channels)
    return np.concatenate([cells, state.astype(np.float64)])


@dataclass(frozen=True)
class Classifier:
    """Weights of a logistic regression on standardised features."""

    mean: FloatArray
    deviation: FloatArray
    weight: FloatArray
    bias: float
    cameras: tuple[str, ...] = ()
    """Whose pictures it looks at, side by side on the channels."""

    def probability(self, image: npt.NDArray[np.uint8], state: npt.NDArray[np.float32]) -> float:
        """That this moment is one of those labelled."""
        standard = (features(image, state) - self.mean) / self.deviation
        return float(1.0 / (1.0 + np.exp(-np.clip(standard @ self.weight + self.bias, -30.0, 30.0))))

    def save(self, path: Path) -> None:
        """Write as safetensors."""
        values = dict(zip(_PARTS, (self.mean, self.deviation, self.weight, np.array([self.bias])), strict=True))
        write_atomically(path, save(values, {"cameras": ",".join(self.cameras)}))

    @staticmethod
    def load(path: Path) -> "Classifier":
        """Read back. Raises ValueError if the file is not one of these."""
        try:
            with safe_open(path, "numpy") as file:
                mean, deviation, weight, bias = (file.get_tensor(name) for name in _PARTS)
                cameras = (file.metadata() or {}).get("cameras", "")
            found = Classifier(mean, deviation, weight, float(bias[0]), tuple(filter(None, cameras.split(","))))
        except FileNotFoundError as error:
            raise ValueError(
                f"there is no outcome classifier at {path}; `fosp-edge data classifier` makes one"
            ) from error
        except (SafetensorError, KeyError, IndexError) as error:
            raise ValueError(f"{path} is not an outcome classifier ({error}); train it again") from error
        if not (found.mean.shape == found.deviation.shape == found.weight.shape):
            raise ValueError(f"{path}: the classifier's parts do not fit together; train it again")
        return found


def train(rows: FloatArray, labels: npt.NDArray[np.bool_], cameras: tuple[str, ...] = ()) -> Classifier:
    """Fit by Newton's method with a ridge, both classes weighing alike.

    Args:
        rows: features, [N, F].
        labels: [N].
        cameras: whose pictures the features are of.

    Raises:
        ValueError: fewer than ten rows of either class.
    """
    positive, negative = int(labels.sum()), int((~labels).sum())
    if positive < 10 or negative < 10:
        raise ValueError(
            f"a classifier needs at least ten rows with and without the outcome, found {positive} and {negative}; "
            "label more episodes (`fosp-edge data label`)"
        )
    mean, deviation = rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-3)
    design = np.concatenate([(rows - mean) / deviation, np.ones((len(rows), 1))], axis=1)
    weights = np.where(labels, 0.5 / positive, 0.5 / negative)
    solution = np.zeros(design.shape[1])
    ridge = np.append(np.full(design.shape[1] - 1, _RIDGE), 1e-6)
    for _ in range(_NEWTON_STEPS):
        probability = 1.0 / (1.0 + np.exp(-np.clip(design @ solution, -30.0, 30.0)))
        gradient = design.T @ (weights * (probability - labels)) + ridge * solution
        curvature = weights * probability * (1.0 - probability)
        step = np.linalg.solve(design.T @ (curvature[:, None] * design) + np.diag(ridge), gradient)
        solution -= step
        if np.max(np.abs(step)) < 1e-8:
            break
    return Classifier(mean, deviation, solution[:-1], float(solution[-1]), cameras)


def balanced_accuracy(classifier: Classifier, rows: FloatArray, labels: npt.NDArray[np.bool_]) -> float:
    """Mean of the shares of both classes that are told right, on rows it did not learn from."""
    told = ((rows - classifier.mean) / classifier.deviation) @ classifier.weight + classifier.bias > 0.0
    return float(0.5 * (np.mean(told[labels]) + np.mean(~told[~labels])))


class LearntOutcome:
    """A source that asks a classifier: success or violation once it was sure for a few ticks in a row."""

    def __init__(self, classifier: Classifier, finding: Finding, *, sure: float = 0.9, ticks: int = 3) -> None:
        self._classifier, self._finding, self._sure, self._ticks = classifier, finding, sure, ticks
        self._count = 0
        self.cameras = classifier.cameras

    def judge(self, sample: Sample) -> Finding:
        """The finding while the classifier has been sure for long enough."""
        if sample.image is None:
            raise ValueError("an outcome classifier needs pictures; give the referee `look`")
        probability = self._classifier.probability(sample.image, sample.robot.state)
        self._count = self._count + 1 if probability >= self._sure else 0
        return self._finding if self._count >= self._ticks else Finding()

    def reset(self) -> None:
        """A new episode begins."""
        self._count = 0

    def close(self) -> None:
        """Nothing to let go of."""


def labelled_rows(
    episodes: Sequence[dict[str, npt.NDArray[np.generic]]], outcome: str
) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Features and labels out of labelled episodes: `violation` per row, `success` in the last rows of a success."""
    rows, labels = [], []
    for steps in episodes:
        count = len(steps["reward"])
        label = steps["violation"].astype(np.float32) > 0.5 if outcome == "violation" else np.zeros(count, np.bool_)
        if outcome == "success" and bool(np.any(steps["is_terminal"])):
            label = np.arange(count) >= count - 2
        pairs = zip(steps["image"].astype(np.uint8), steps["state"].astype(np.float32), strict=True)
        rows += [features(image, state) for image, state in pairs]
        labels.append(label)
    return np.stack(rows), np.concatenate(labels).astype(np.bool_)
