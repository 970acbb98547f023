"""Is the graph the agent? Both follow the same recorded episodes with the same noise, and are compared tick by tick."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnxruntime

from export.reference import Inputs, ReferencePolicy
from export.step import OUTPUTS, SAMPLES
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
    agent: Agent, graph: bytes, episodes: Sequence[dict[str, npt.NDArray[np.generic]]], seed: int = 0
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
    random = np.random.default_rng(seed)
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    reference, worst = ReferencePolicy(agent), _Worst()
    carried: dict[str, npt.NDArray[np.generic]] = {
        "deterministic": np.zeros((1, config.deterministic), np.float32),
        "stochastic": np.zeros((1, config.groups), np.int64),
    }
    for inputs in _inputs(agent, episodes, random):
        expected = reference.step(inputs)
        feeds = {
            name: np.asarray(getattr(inputs, name))[None]
            for name in ("image", "state", "previous_action", "latent_noise")
        }
        feeds |= {"is_first": np.array([float(inputs.is_first)], np.float32), "action_noise": inputs.action_noise}
        found = dict(zip(OUTPUTS, session.run(None, feeds | carried), strict=True))
        carried = {"deterministic": found["next_deterministic"], "stochastic": expected.stochastic[None]}
        worst.steps += 1
        if not np.array_equal(found["next_stochastic"][0], expected.stochastic):
            worst.flips += 1
            continue
        worst.action = max(worst.action, _gap(found["candidates"], expected.candidates))
        worst.reachability = max(worst.reachability, _gap(found["reachability"], expected.reachability))
        for name in ("reward_value", "cost_value"):
            worst.value = max(worst.value, _gap(found[name], getattr(expected, name)))
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


def _inputs(
    agent: Agent, episodes: Iterable[dict[str, npt.NDArray[np.generic]]], random: np.random.Generator
) -> Iterable[Inputs]:
    config = agent.config
    for steps in episodes:
        previous = np.zeros(config.action_size, np.float32)
        for row in range(len(steps["is_first"])):
            noise = random.random((config.groups, config.classes), np.float32)
            yield Inputs(
                image=steps["image"][row].astype(np.uint8),
                state=steps["state"][row].astype(np.float32),
                previous_action=previous,
                is_first=bool(steps["is_first"][row]),
                latent_noise=np.clip(noise, 1e-6, 1.0 - 1e-6),
                action_noise=random.standard_normal((SAMPLES, config.action_size), np.float32),
            )
            previous = steps["action"][row].astype(np.float32)
