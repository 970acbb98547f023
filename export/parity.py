"""Is the graph the agent? Both follow the same recorded episodes with the same noise, and are compared tick by tick."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from export.candidates import Candidates
from export.drift import Steps, recorded_inputs
from export.graph_policy import GraphPolicy
from export.reference import Outputs, ReferencePolicy
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

    A tick in which rounding flips a near-tie is counted. Of a categorical: the graph's state is set back to the
    agent's, so that one flip is one flip. Of the choice between two policies: all but the chosen row is compared.

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
        tied = _other_choice(found, expected, len(rows.policies), config.expansion_cost_weight)
        worst.flips += tied
        action, reachability, value, cost = (
            _gap(getattr(found, name)[int(tied) :], getattr(expected, name)[int(tied) :])
            for name in ("candidates", "reachability", "reward_value", "cost_value")
        )
        worst.action = max(worst.action, action)
        worst.reachability = max(worst.reachability, reachability)
        worst.value = max(worst.value, value, cost)
    parity = Parity(worst.steps, TOLERANCE, worst.action, worst.value, worst.reachability, worst.flips)
    if max(parity.action_error, parity.reachability_error) > TOLERANCE or worst.flips > 0.01 * worst.steps:
        raise ParityError(
            f"the exported graph is not the checkpoint: over {worst.steps} recorded ticks actions differ by up to "
            f"{worst.action:.2g}, reachability by up to {worst.reachability:.2g} (tolerance {TOLERANCE:g}), and "
            f"{worst.flips} ticks fell the other way by rounding. No bundle was written"
        )
    return parity


def _other_choice(found: Outputs, expected: Outputs, policies: int, cost_weight: float) -> bool:
    """Whether the graph took another policy's action for row 0, where to the agent both were worth the same; no matter
    where both policies want the same."""
    if policies < 2 or _gap(found.candidates[0], expected.candidates[0]) <= TOLERANCE:
        return False
    ours, theirs = (
        int(np.abs(item.candidates[1 : 1 + policies] - item.candidates[0]).max(1).argmin())
        for item in (found, expected)
    )
    merit = (expected.reward_value - cost_weight * expected.cost_value)[1 : 1 + policies]
    return ours != theirs and bool(merit[theirs] - merit[ours] <= TOLERANCE * max(1.0, abs(float(merit[theirs]))))


def _gap(found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> float:
    gap = float(np.max(np.abs(found - expected)))
    return gap if np.isfinite(gap) else float("inf")
