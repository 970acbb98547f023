"""What the step graph itself says of recorded actions, tick by tick: for thresholds of the graph that will drive.

A graph scores its own candidates only, but a sample of the policy is mean + deviation * noise, and the noise is an
input: once the mean and the deviation are known, noise can be chosen that makes a sample any action there is.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from export.candidates import Candidates
from export.drift import Steps, recorded_inputs
from export.graph_policy import GraphPolicy
from export.reference import Inputs

FloatArray = npt.NDArray[np.float32]
_PROBE = 0.05
"""Noise small enough to stay inside the action's range, and large enough to divide by."""


def graph_reachability(
    policy: GraphPolicy, rows: Candidates, episodes: Sequence[Steps], groups: int, classes: int, actions: int
) -> list[FloatArray]:
    """Reachability of the recorded actions along each episode, [T] each."""
    found: list[FloatArray] = []
    inputs = iter(recorded_inputs(episodes, groups, classes, rows.samples, actions, seed=2))
    for steps in episodes:
        taken = steps["action"].astype(np.float32)
        values = [_of_action(policy, rows, next(inputs), action) for action in taken]
        found.append(np.asarray(values, np.float32))
    return found


def _of_action(policy: GraphPolicy, rows: Candidates, inputs: Inputs, action: FloatArray) -> float:
    before = policy.deterministic, policy.stochastic
    mean_row, sample_row = (0, 1) if len(rows.policies) == 1 else (1, 1 + len(rows.policies))
    noise = np.zeros_like(inputs.action_noise)
    # Towards zero, where there is room; which way is not known before the mean is, so try both in two samples.
    noise[0], noise[1] = _PROBE, -_PROBE
    probed = policy.step(replace(inputs, action_noise=noise)).candidates
    mean = probed[mean_row]
    deviation = np.maximum(probed[sample_row] - mean, mean - probed[sample_row + 1]) / np.float32(_PROBE)
    noise[:] = ((action - mean) / deviation)[None]
    policy.deterministic, policy.stochastic = before
    scored = policy.step(replace(inputs, action_noise=noise))
    return float(scored.reachability[sample_row])
