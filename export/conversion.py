"""What fewer bits did to an agent, measured against what its own sampling noise does, and whether that is admitted."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from export.candidates import Candidates
from export.drift import Drift, Follower, Steps, measure_drift, recorded_inputs
from export.reference import Inputs, Outputs, ReferencePolicy
from export.storage import STORAGES, Storage, rounded
from fosp_edge.agent.agent import Agent
from fosp_edge.bundle.manifest import Conversion
from fosp_edge.bundle.processor import this_adds_exactly

SHARE_OF_OWN_NOISE = 0.75
"""A conversion is admitted if it moves actions and reachability, on average, at most three quarters as far as other
sampling noise in the same agent does: less than what cannot matter."""
EXACT = 1e-4
"""A mean drift that is admitted in any case: what rounding alone may do to an agent without noise."""
STORAGE_TICKS = 600
"""Recorded ticks that a storage is judged on."""


class Yardstick:
    """An agent, recorded ticks, and how far the agent strays from itself on them when its latent noise is another."""

    def __init__(self, agent: Agent, episodes: Sequence[Steps], *, seed: int = 0) -> None:
        config = agent.config
        self.agent, self.rows = agent, Candidates.of(agent)
        self._inputs = list(
            recorded_inputs(episodes, config.groups, config.classes, self.rows.samples, config.action_size, seed)
        )
        self.own: Drift = measure_drift(ReferencePolicy(agent), _Renoised(agent), self._inputs)

    def measure(self, kind: str, converted: Follower) -> Conversion:
        """How far the converted agent strays from the original."""
        drift = measure_drift(ReferencePolicy(self.agent), converted, self._inputs)
        return Conversion(
            kind=kind,
            ticks=drift.ticks,
            latent_agreement=drift.latent_agreement,
            action_drift=drift.action_mean,
            action_drift_p99=drift.action_p99,
            reachability_drift=drift.reachability_mean,
            own_action_drift=self.own.action_mean,
            own_reachability_drift=self.own.reachability_mean,
            exact_products=this_adds_exactly(),
        )


def is_admitted(conversion: Conversion) -> bool:
    """Whether a conversion stays within `SHARE_OF_OWN_NOISE`."""
    pairs = (
        (conversion.action_drift, conversion.own_action_drift),
        (conversion.reachability_drift, conversion.own_reachability_drift),
    )
    return all(drift <= max(EXACT, SHARE_OF_OWN_NOISE * own) for drift, own in pairs)


class _Renoised:
    """The same agent with latent noise of its own."""

    def __init__(self, agent: Agent) -> None:
        self._policy, self._random = ReferencePolicy(agent), np.random.default_rng(1)

    def step(self, inputs: Inputs) -> Outputs:
        noise = np.clip(self._random.random(inputs.latent_noise.shape, np.float32), 1e-6, 1.0 - 1e-6)
        return self._policy.step(dataclasses.replace(inputs, latent_noise=noise))


def choose_storage(
    agent: Agent, yardstick: Callable[[], Yardstick], wanted: Storage | None
) -> tuple[Agent, Storage, Conversion | None]:
    """The agent as the bundle holds it.

    Args:
        agent: as trained.
        yardstick: made only if something has to be measured.
        wanted: None takes the smallest storage that is admitted.

    Returns:
        The rounded agent, its storage, and what that did; None for float32, which does nothing.
    """
    for storage in reversed(STORAGES) if wanted is None else (wanted,):
        if storage == "float32":
            break
        small = rounded(agent, storage)
        conversion = yardstick().measure(storage, ReferencePolicy(small))
        if wanted is not None or is_admitted(conversion):
            return small, storage, conversion
    return rounded(agent, "float32"), "float32", None


def enough(episodes: Sequence[Steps], ticks: int = STORAGE_TICKS) -> list[Steps]:
    """The first episodes that hold so many ticks together."""
    taken: list[Steps] = []
    for steps in episodes:
        if sum(len(item["is_first"]) for item in taken) >= ticks:
            break
        taken.append(steps)
    return taken
