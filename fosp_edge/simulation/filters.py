"""The filters that are compared: ours, and what the literature does, on the same agent and with the same fallback."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fosp_edge.bundle.folder import Bundle
from fosp_edge.bundle.manifest import GATE_FILE, FilterThresholds, Manifest
from fosp_edge.control.controller import Controller
from fosp_edge.control.inference import PolicyRuntime
from fosp_edge.control.safety_filter import FilterSettings
from fosp_edge.control.types import Float32Array, Observation, StepScores
from fosp_edge.simulation.ensemble import Disagreement

Arrays = Mapping[str, npt.NDArray[np.float32]]

NO_FILTER = "no filter"
FIXED = "fixed threshold"
"""Reachability above one half: the latent safety filter of Nakamura et al. 2025, which is not calibrated."""
ENSEMBLE = "ensemble"
"""Disagreement of an ensemble of predictors above its 95 % quantile."""
FIXED_ENSEMBLE = "fixed threshold + ensemble"
"""Either of the two: the unknown counts as unsafe, as in UNISafe (Seo et al. 2025)."""
CONFORMAL = "conformal"
"""Ours, without the gate."""
CONFORMAL_GATE = "conformal + gate"
"""Ours, as it is shipped."""

PLAIN = FilterSettings(release_ticks=1, release_ratio=1.0, patience_ticks=10**9, value_margin=0.0)
"""Neither hysteresis nor patience: the safest candidate whenever the score is too high."""


@dataclass(frozen=True)
class _Altered:
    """A bundle with another manifest."""

    manifest: Manifest
    graph_bytes: bytes
    gate_bytes: bytes | None
    imagination_bytes: bytes | None = None


class EnsembleRuntime(PolicyRuntime):
    """The step graph with its reachability replaced by, or joined with, the ensemble's disagreement.

    Disagreement is scaled so that its threshold comes to lie at one half.
    """

    def __init__(self, bundle: _Altered, arrays: Arrays, *, join: bool) -> None:
        super().__init__(bundle)
        self._disagreement = Disagreement(arrays, bundle.manifest.latent.classes)
        self._join = join

    def step(self, observation: Observation, previous_action: Float32Array) -> StepScores:
        """As `PolicyRuntime.step`."""
        scores = super().step(observation, previous_action)
        spread = self._disagreement(self.latent, scores.candidates)
        unsure = np.minimum(0.5 * spread / self._disagreement.threshold, 1.0).astype(np.float32)
        return replace(scores, reachability=np.maximum(unsure, scores.reachability) if self._join else unsure)


def make_controller(bundle: Bundle, name: str, *, enabled: bool, ensemble: Arrays | None = None) -> Controller:
    """The controller of a named filter.

    Raises:
        BundleError: as `Controller`.
        ValueError: an unknown name, or an ensemble's filter without an ensemble.
    """
    if name == NO_FILTER:
        return Controller(bundle, filter_enabled=False)
    if name in (CONFORMAL, CONFORMAL_GATE):
        return Controller(bundle, filter_enabled=enabled, gate_enabled=name == CONFORMAL_GATE)
    if name not in (FIXED, ENSEMBLE, FIXED_ENSEMBLE):
        raise ValueError(f"unknown filter {name!r}")
    half = FilterThresholds(0.5, 1.0, 0.5, 1, "", "")
    files = {file: digest for file, digest in bundle.manifest.files.items() if file != GATE_FILE}
    altered = _Altered(replace(bundle.manifest, filter=half, gate=None, files=files), bundle.graph_bytes, None)
    runtime = None
    if name != FIXED:
        if ensemble is None:
            raise ValueError(f"the filter {name!r} needs an ensemble: give --ensemble-dataset")
        runtime = EnsembleRuntime(altered, ensemble, join=name == FIXED_ENSEMBLE)
    return Controller(altered, filter_enabled=enabled, settings=PLAIN, runtime=runtime)
