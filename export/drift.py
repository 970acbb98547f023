"""How far one form of an agent strays from another over whole recorded episodes, each carrying its own state.

Parity with the state set right after every tick says whether a graph computes the same function. What a robot lives
through is drift: a rounding that flips a latent is carried on. Both see the same pictures, actions and noise.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from export.reference import Inputs, Outputs

Steps = dict[str, npt.NDArray[np.generic]]


class Follower(Protocol):
    """Anything that follows an episode tick by tick; the first tick of an episode resets it."""

    def step(self, inputs: Inputs) -> Outputs:
        """One tick."""


@dataclass(frozen=True)
class Drift:
    """Differences over recorded episodes. Actions are normalised: the whole range is 2."""

    ticks: int
    latent_agreement: float
    """Share of the categoricals, over all ticks, in which both are in the same class."""
    action_mean: float
    """Of the largest component's difference between the policies' own choices (row 0)."""
    action_p99: float
    reachability_mean: float
    """Of the difference for row 0."""
    reachability_p99: float
    reward_value_mean: float
    cost_value_mean: float
    verdicts: float | None
    """Share of the ticks in which the policy's choice is feasible for one and not for the other; None: no threshold."""


def measure_drift(
    left: Follower, right: Follower, inputs: Iterable[Inputs], feasible_reachability: float | None = None
) -> Drift:
    """Follow the same inputs with both. Raises ValueError if there are none."""
    rows: list[tuple[float, ...]] = []
    for item in inputs:
        one, other = left.step(item), right.step(item)
        verdict = 0.0
        if feasible_reachability is not None:
            feasible = [value.reachability[0] <= np.float32(feasible_reachability) for value in (one, other)]
            verdict = float(feasible[0] != feasible[1])
        rows.append(
            (
                float(np.mean(one.stochastic == other.stochastic)),
                float(np.max(np.abs(one.candidates[0] - other.candidates[0]))),
                float(abs(one.reachability[0] - other.reachability[0])),
                float(abs(one.reward_value[0] - other.reward_value[0])),
                float(abs(one.cost_value[0] - other.cost_value[0])),
                verdict,
            )
        )
    if not rows:
        raise ValueError("drift needs at least one recorded tick; hold an episode out")
    # A NaN anywhere makes a figure infinite, which no bound admits.
    table = np.nan_to_num(np.asarray(rows), nan=np.inf)
    mean = [float(value) for value in table.mean(0)]
    p99 = [float(value) for value in np.quantile(table, 0.99, axis=0, method="higher")]
    return Drift(
        ticks=len(rows),
        latent_agreement=mean[0],
        action_mean=mean[1],
        action_p99=p99[1],
        reachability_mean=mean[2],
        reachability_p99=p99[2],
        reward_value_mean=mean[3],
        cost_value_mean=mean[4],
        verdicts=None if feasible_reachability is None else mean[5],
    )


def recorded_inputs(
    episodes: Sequence[Steps], groups: int, classes: int, samples: int, actions: int, seed: int = 0
) -> Iterable[Inputs]:
    """The ticks of recorded episodes, with noise that the seed decides."""
    random = np.random.default_rng(seed)
    for steps in episodes:
        previous = np.zeros(actions, np.float32)
        for row in range(len(steps["is_first"])):
            noise = random.random((groups, classes), np.float32)
            yield Inputs(
                image=steps["image"][row].astype(np.uint8),
                state=steps["state"][row].astype(np.float32),
                previous_action=previous,
                is_first=bool(steps["is_first"][row]),
                latent_noise=np.clip(noise, 1e-6, 1.0 - 1e-6),
                action_noise=random.standard_normal((samples, actions), np.float32),
            )
            previous = steps["action"][row].astype(np.float32)
