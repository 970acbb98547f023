"""A candidate's filter objects at least as often as the running bundle's does, to the same wishes in the same places.

Its threshold is calibrated on recorded episodes, scripts' for the most part, and of a policy's own violations such a
threshold misses more than its level (docs/filter.md: 22 % for 10 %), while the running bundle's comes from closed loop,
or was kept by this rule. Without it, robots that learnt were stopped by their filters a third less often, and had more
violations (docs/keep-learning.md).
"""

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from export.reference import recorded_reachability
from export.restore import agent_of_bundle
from fosp_edge.bundle.folder import Bundle
from fosp_edge.experience.schema import Steps

FloatArray = npt.NDArray[np.float32]


def wished_reachability(bundle: Bundle, episodes: list[Steps]) -> FloatArray:
    """What a bundle thinks of everything that was wished for, before a filter changed it, [ticks]."""
    agent, found = agent_of_bundle(bundle), [np.zeros(0, np.float32)]
    for steps in episodes:
        generator = torch.Generator().manual_seed(0)
        found.append(recorded_reachability(agent, steps, generator, judged="nominal")[:-1])
    return np.concatenate(found)


def objections(bundle: Bundle, episodes: list[Steps]) -> int:
    """In how many ticks a bundle's filter would not let the wish stand."""
    return int(np.sum(wished_reachability(bundle, episodes) > bundle.manifest.filter.feasible_reachability))


def threshold_for(objections: int, reachability: FloatArray) -> float:
    """The largest threshold that so many of these values exceed; infinite if none has to."""
    if objections <= 0 or not len(reachability):
        return math.inf
    kth = np.sort(reachability)[-min(objections, len(reachability))]
    return float(np.nextafter(kth, np.float32(0.0)))


def as_watchful(candidate: Bundle, running: Bundle, own: list[Steps]) -> Bundle:
    """The candidate with a threshold at which it objects as often as the running bundle; with its own if that is lower.

    Args:
        candidate: calibrated; not yet written where others look for it.
        running: whose objections are the measure.
        own: episodes of this robot that neither learnt from.
    """
    limit = threshold_for(objections(running, own), wished_reachability(candidate, own))
    manifest, before = candidate.manifest, candidate.manifest.filter
    if limit >= before.feasible_reachability:
        return candidate
    note = {
        "filter": f"as watchful as the running bundle's: {limit:.4g}, calibrated {before.feasible_reachability:.4g}"
    }
    return replace(
        candidate,
        manifest=replace(
            manifest, filter=replace(before, feasible_reachability=limit), provenance=manifest.provenance | note
        ),
    )
