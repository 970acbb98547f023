"""Is the graph the agent? Both follow the same recorded episodes with the same noise, and are compared tick by tick."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from export.candidates import Candidates
from export.drift import Steps, recorded_inputs
from export.graph_policy import GraphPolicy
from export.reference import ReferencePolicy
from fosp_edge.agent.agent import Agent
from fosp_edge.bundle.manifest import Parity

TOLERANCE = 1e-3
"""Largest difference admitted in actions and reachability; rounding alone gives about 1e-5."""


class ParityError(ValueError):
    """The exported graph is not the agent within the tolerance; the message gives the figures."""


@dataclass
class _Worst:
    action: float = 0.0
    value: float = 0.0
    reachability: float = 0.0
    flips: int = 0
    steps: int = 0


def check_parity(
    agent: Agent, graph: bytes, episodes: Sequence[Steps], seed: int = 0, rows: Candidates | None = None
) -> Parity:
    """Run graph and agent through recorded episodes, each carrying its own recurrent state.

    A tick in which rounding flips a near-tie of a categorical is counted and the graph's state is set back to the
    agent's, so that one flip is one flip.

    Raises:
        ParityError: any action or reachability differs by more than `TOLERANCE`, or more than one tick in a hundred
            flips, or there is nothing to compare on.
    """
    if not episodes:
        raise ParityError("the graph cannot be compared with the checkpoint: there is no recorded episode held out")
    config = agent.config
    rows = rows or Candidates.of(agent)
    reference, policy, worst = ReferencePolicy(agent, rows), GraphPolicy(graph, config), _Worst()
    for inputs in recorded_inputs(episodes, config.groups, config.classes, rows.samples, config.action_size, seed):
        expected, found = reference.step(inputs), policy.step(inputs)
        worst.steps += 1
        if not np.array_equal(found.stochastic, expected.stochastic):
            worst.flips += 1
            policy.stochastic = expected.stochastic[None]
            continue
        worst.action = max(worst.action, _gap(found.candidates, expected.candidates))
        worst.reachability = max(worst.reachability, _gap(found.reachability, expected.reachability))
        worst.value = max(
            worst.value,
            _gap(found.reward_value, expected.reward_value),
            _gap(found.cost_value, expected.cost_value),
        )
    parity = Parity(worst.steps, TOLERANCE, worst.action, worst.value, worst.reachability, worst.flips)
    if max(parity.action_error, parity.reachability_error) > TOLERANCE or worst.flips > 0.01 * worst.steps:
        raise ParityError(
            f"the exported graph is not the checkpoint: over {worst.steps} recorded ticks actions differ by up to "
            f"{worst.action:.2g}, reachability by up to {worst.reachability:.2g} (tolerance {TOLERANCE:g}), and "
            f"{worst.flips} latents flipped. No bundle was written"
        )
    return parity


def _gap(found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> float:
    gap = float(np.max(np.abs(found - expected)))
    return gap if np.isfinite(gap) else float("inf")
