"""What normal looks like to the out-of-distribution gate, read off normal episodes."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fosp_edge.control.gate import DETECTORS, GateParameters, Trace
from fosp_edge.control.types import Float32Array

_EARLY_TICKS = 10
"""Surprise is larger while the model finds out what the scene is; these ticks have statistics of their own."""
_FEWEST = 5
_CELL_NOISE = 1.0
"""Grey levels squared that are added to every direction of the pictures' covariance: noise of a camera, averaged over a
cell, and what keeps directions that the data do not show from counting infinitely much."""
_LEAST_SCALE = (1.0, 0.1, 0.05)
"""Of each detector. A robot that has moved by a twentieth of what it usually does may still look the same."""


def fit_parameters(episodes: Sequence[Trace], for_scale: Sequence[Trace]) -> GateParameters:
    """Mean and spread from the first episodes; scales (95 % quantile of an episode's largest value) from the second.

    Two disjoint sets: among the episodes it was fitted to, a picture looks more familiar than it is.

    Raises:
        ValueError: one of them is empty.
    """
    if not episodes or not for_scale:
        raise ValueError("the gate is fitted to normal episodes; found none")
    cells = np.concatenate([episode.cells for episode in episodes]).astype(np.float64)
    mean = cells.mean(axis=0)
    variances, directions = np.linalg.eigh(np.cov(cells - mean, rowvar=False, bias=True))
    # Divided by the root of their number, so that a normal picture lies at about 1.
    whitening = directions / np.sqrt((np.maximum(variances, 0.0) + _CELL_NOISE) * len(mean))
    surprise_mean, surprise_deviation = _surprise(episodes)
    states = np.concatenate([episode.state for episode in episodes])
    parameters = GateParameters(
        picture_mean=mean.astype(np.float32),
        picture_whitening=np.ascontiguousarray(whitening, np.float32),
        surprise_mean=surprise_mean,
        surprise_deviation=surprise_deviation,
        state_deviation=np.maximum(states.std(axis=0), 1e-3).astype(np.float32),
        scale=np.ones(len(DETECTORS), np.float32),
    )
    largest = np.stack([episode.statistics(parameters).max(axis=0) for episode in for_scale])
    scale = np.maximum(np.quantile(largest, 0.95, axis=0), _LEAST_SCALE)
    return replace(parameters, scale=scale.astype(np.float32))


def _surprise(episodes: Sequence[Trace]) -> tuple[Float32Array, Float32Array]:
    """Mean and standard deviation of each early tick, then of all later ones, each [K]."""
    groups = [
        np.array([episode.surprise[tick] for episode in episodes if len(episode.surprise) > tick])
        for tick in range(_EARLY_TICKS)
    ]
    everything = np.concatenate([episode.surprise for episode in episodes])
    later = np.concatenate([episode.surprise[_EARLY_TICKS:] for episode in episodes])
    groups.append(later)
    # A tick that too few episodes reach borrows from all of them.
    groups = [group if len(group) >= _FEWEST else everything for group in groups]
    mean = np.array([group.mean() for group in groups], np.float32)
    return mean, np.array([max(group.std(), 0.1) for group in groups], np.float32)


def episode_score(episode: Trace, parameters: GateParameters) -> float:
    """The largest statistic of an episode over its scale: what the conformal threshold is compared with."""
    return float((episode.statistics(parameters) / parameters.scale).max())
