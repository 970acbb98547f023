"""Recorded episodes followed again by the step graph: the scores that were there, or would have been, tick by tick."""

from collections.abc import Iterator

import numpy as np

from fosp_edge.control.inference import PolicyRuntime
from fosp_edge.control.types import Observation, StepScores
from fosp_edge.experience.schema import Steps


def follow(runtime: PolicyRuntime, steps: Steps, seed: int) -> Iterator[tuple[Observation, StepScores]]:
    """What was seen and what the graph says of it, for every row upon which something was decided (all but the last).

    With the seed of the episode's header and the bundle that drove, these are the scores of the run itself.

    Args:
        runtime: reset here.
        steps: rows of one episode, with the bundle's cameras.
        seed: decides all noise.

    Raises:
        NotFinite: as `PolicyRuntime.step`.
    """
    runtime.reset(seed)
    executed = np.zeros(steps["action"].shape[1], np.float32)
    for row in range(len(steps["reward"]) - 1):
        observation = Observation(steps["image"][row].astype(np.uint8), steps["state"][row].astype(np.float32))
        yield observation, runtime.step(observation, executed)
        executed = steps["action"][row].astype(np.float32)
