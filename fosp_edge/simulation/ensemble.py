"""Disagreement of the ensemble of `export.ensemble`, without torch: the score of the filters we compare with."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from fosp_edge.control.inference import Latent

FloatArray = npt.NDArray[np.float32]


class Disagreement:
    """Scores candidates by how much the members of an ensemble disagree about what they lead to."""

    def __init__(self, arrays: Mapping[str, FloatArray], classes: int) -> None:
        self._first, self._first_bias = arrays["first"], arrays["first_bias"]
        self._second, self._second_bias = arrays["second"], arrays["second_bias"]
        self.threshold = float(arrays["threshold"][0])
        self._classes = classes

    def __call__(self, latent: Latent, candidates: FloatArray) -> FloatArray:
        """Mean variance over the predicted features, for candidates [N, A] -> [N]."""
        width, groups = len(latent.deterministic), len(latent.stochastic)
        rows = width + np.arange(groups) * self._classes + latent.stochastic
        actions = self._first[:, width + groups * self._classes :]
        shared = latent.deterministic @ self._first[:, :width] + self._first[:, rows].sum(axis=1)
        hidden = shared[:, None] + candidates @ actions + self._first_bias
        hidden = hidden / (1.0 + np.exp(-hidden))
        predicted = hidden @ self._second + self._second_bias
        spread: FloatArray = predicted.var(axis=0, ddof=1).mean(axis=-1)
        return spread
