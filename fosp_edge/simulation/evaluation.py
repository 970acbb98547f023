"""How good is it: episodes in lockstep, with the controller that also runs on the robot."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fosp_edge.bundle.contract import check_contract
from fosp_edge.bundle.folder import Bundle, load_bundle
from fosp_edge.bundle.manifest import BundleError, Manifest
from fosp_edge.control.controller import Controller
from fosp_edge.control.types import Decision, Observation, StepScores
from fosp_edge.robots.arm import DESKTOP_ARM
from fosp_edge.simulation.environment import ENVIRONMENTS, Environment, SafeReach, SafeRoom

Action = npt.NDArray[np.float32]


@dataclass(frozen=True)
class EpisodeResult:
    """What came of one episode."""

    scenario: str
    seed: int
    success: bool
    total_reward: float
    cost: float
    """Steps in violation."""
    steps: int
    interventions: int
    """Steps in which the filter did not let the policy's own choice through."""
    advised: int
    """The same, had the filter been switched on."""


class Actor(Protocol):
    """Acts in an episode."""

    environment: type[SafeReach] | type[SafeRoom]
    """Where."""

    def reset(self, seed: int) -> None:
        """A new episode begins."""

    def act(self, observation: Observation) -> tuple[Action, bool, bool]:
        """The action [A], whether the filter intervened, and whether it would have."""


class RandomActor:
    """Uniform random actions: the floor that every agent has to leave behind."""

    def __init__(self, robot: str = DESKTOP_ARM.name) -> None:
        self.environment = ENVIRONMENTS[robot]
        self._count = len(self.environment.recording.action)

    def reset(self, seed: int) -> None:
        """Seed the noise."""
        self._random = np.random.default_rng([seed, 23])

    def act(self, observation: Observation) -> tuple[Action, bool, bool]:
        """Ignore the observation."""
        del observation
        return self._random.uniform(-1.0, 1.0, self._count).astype(np.float32), False, False


class BundleActor:
    """A bundle behind filter and limits."""

    def __init__(
        self, source: Path | Bundle, *, filter_enabled: bool, make: Callable[[Bundle], Controller] | None = None
    ) -> None:
        """Open a bundle; `make` builds another controller for it than the usual one. Raises BundleError."""
        bundle = source if isinstance(source, Bundle) else load_bundle(source)
        self.environment = environment_of(bundle.manifest)
        self.controller = make(bundle) if make is not None else Controller(bundle, filter_enabled=filter_enabled)
        known = {camera.name: index for index, camera in enumerate(self.environment.recording.cameras)}
        if missing := [camera.name for camera in bundle.manifest.cameras if camera.name not in known]:
            raise BundleError(f"the bundle needs a camera {missing[0]!r}; the simulation has: {', '.join(known)}")
        self.channels = np.concatenate([3 * known[camera.name] + np.arange(3) for camera in bundle.manifest.cameras])

    def reset(self, seed: int) -> None:
        """Begin anew; the seed decides all noise."""
        self.controller.reset(seed)

    def act(self, observation: Observation) -> tuple[Action, bool, bool]:
        """One decision of the controller."""
        decision, _ = self.decide(observation)
        return decision.action, decision.intervened, self.controller.insight.advice.intervened

    def decide(self, observation: Observation) -> tuple[Decision, StepScores]:
        """The same with its reasons. `observation` holds all cameras there are. Raises as `Controller.decide`."""
        image = np.ascontiguousarray(observation.image[..., self.channels])
        return self.controller.decide(Observation(image, observation.state))


def environment_of(manifest: Manifest) -> type[SafeReach] | type[SafeRoom]:
    """Where a bundle can be measured. Raises BundleError where there is no simulation of the robot it is made for."""
    environment = ENVIRONMENTS.get(manifest.robot, SafeReach)
    recording = environment.recording
    differences = check_contract(
        manifest, robot=recording.robot, rate_hz=manifest.rate_hz, cameras=manifest.cameras, state=recording.state,
        actions=recording.action,
    )  # fmt: skip
    if differences:
        raise BundleError(
            f"{environment.__name__} cannot be played with this bundle: {'; '.join(differences)}; measure it on its "
            "own robot, with fosp-edge run"
        )
    return environment


def evaluate_episode(actor: Actor, scenario: str, seed: int) -> EpisodeResult:
    """One episode of a scenario; layout and noise are decided by the seed."""
    environment: Environment = actor.environment(scenario)
    raw, _ = environment.reset(seed=seed)
    actor.reset(seed)
    total = cost = 0.0
    steps = interventions = advised = 0
    while True:
        action, intervened, would_intervene = actor.act(Observation(raw["image"], raw["state"]))
        interventions += intervened
        advised += would_intervene
        raw, reward, terminated, truncated, info = environment.step(action)
        total, cost, steps = total + reward, cost + info["cost"], steps + 1
        if terminated or truncated:
            return EpisodeResult(scenario, seed, bool(terminated), total, cost, steps, interventions, advised)


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Score:
    """An agent on one scenario."""

    agent: str
    scenario: str
    episodes: int
    success: Estimate
    violation: Estimate
    """Share of episodes with any violation."""
    total_reward: Estimate
    cost: Estimate
    steps: Estimate
    intervention: Estimate
    """Share of an episode's steps with an intervention."""


def wilson_interval(successes: int, count: int) -> Estimate:
    """A rate with its 95 % score interval (Wilson 1927)."""
    z, rate = 1.959964, successes / count
    centre = (rate + z * z / (2 * count)) / (1 + z * z / count)
    spread = z / (1 + z * z / count) * np.sqrt(rate * (1 - rate) / count + z * z / (4 * count * count))
    # Rounding must not put a rate of 0 or 1 outside its own interval.
    return Estimate(rate, min(rate, max(0.0, float(centre - spread))), max(rate, min(1.0, float(centre + spread))))


def bootstrap_interval(values: Sequence[float], *, seed: int = 0, resamples: int = 2000) -> Estimate:
    """A mean with its 95 % percentile interval over bootstrap resamples (Efron 1979)."""
    array = np.asarray(values, np.float64)
    draws = np.random.default_rng(seed).integers(0, len(array), (resamples, len(array)))
    low, high = np.quantile(array[draws].mean(axis=1), [0.025, 0.975])
    return Estimate(float(array.mean()), float(low), float(high))


def score(agent: str, results: Sequence[EpisodeResult]) -> Score:
    """Sum up the episodes of one agent on one scenario. Raises ValueError if they are of several."""
    scenarios = {result.scenario for result in results}
    if len(scenarios) != 1:
        raise ValueError(f"expected the episodes of one scenario, found {sorted(scenarios) or 'none'}")

    def mean(value: Callable[[EpisodeResult], float]) -> Estimate:
        return bootstrap_interval([value(result) for result in results])

    return Score(
        agent=agent,
        scenario=scenarios.pop(),
        episodes=len(results),
        success=wilson_interval(sum(result.success for result in results), len(results)),
        violation=wilson_interval(sum(result.cost > 0 for result in results), len(results)),
        total_reward=mean(lambda result: result.total_reward),
        cost=mean(lambda result: result.cost),
        steps=mean(lambda result: result.steps),
        intervention=mean(lambda result: result.interventions / result.steps),
    )
