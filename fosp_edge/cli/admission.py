"""What the gate judges by, measured: a candidate beside the running bundle, on held-out episodes and the newest ticks.

The candidate's own critics are never asked how good it is: who poisons the reward poisons them. Its actions are
weighed by the running bundle's critics, in the running bundle's latent states. Where that one was learnt on the robot
itself, the bundle that a person chose last is a second judge, which no learner has touched since.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from export.companions import horizon_of
from export.parity import ParityError, check_parity
from export.reference import redrawn_reachability
from export.restore import agent_of_bundle
from export.thresholds import onset_score
from fosp_edge.agent.agent import Agent
from fosp_edge.agent.distributions import two_hot_mean
from fosp_edge.agent.features import beside
from fosp_edge.bundle.admission import SINCE_CHOSEN, Evidence, Paired, one_sided, paired
from fosp_edge.bundle.folder import Bundle, load_bundle
from fosp_edge.bundle.manifest import BundleError, FilterThresholds
from fosp_edge.cli.familiarity import Episodes, alertness
from fosp_edge.cli.luck import luck_of
from fosp_edge.cli.recall import Recollection, batch_of, same_weights
from fosp_edge.cli.shadow import shadow_run
from fosp_edge.control.follow import follow
from fosp_edge.control.inference import NotFinite, PolicyRuntime
from fosp_edge.control.look_ahead import open_runtime
from fosp_edge.control.swap import contract_differences
from fosp_edge.control.types import Float32Array, Observation
from fosp_edge.experience.episode import EpisodeInfo
from fosp_edge.experience.schema import Steps
from fosp_edge.learning.learner import Learner

_TIMED_TICKS = 200
_LOSSES = {
    "pictures": ("image", "state", "kl_dynamics", "kl_representation"),
    "outcomes": ("reward", "cost", "proceed"),
}
"""Two sums, because pictures weigh a hundred times as much as rewards: in one a poisoned reward would drown."""


@dataclass(frozen=True)
class HeldOut:
    """Episodes that neither bundle learnt from, with the bundles' cameras."""

    own: Episodes
    offline: Episodes
    violated: Episodes = ()
    """Further offline ones that run into a violation: a filter's threshold takes many to be steady."""
    quiet: Episodes = ()
    """Further offline ones that do not: they and the violated ones help to tell a gain from luck."""

    @property
    def everything(self) -> Episodes:
        """All of them."""
        return (*self.own, *self.offline, *self.violated, *self.quiet)

    @property
    def unprejudiced(self) -> Episodes:
        """Those to calibrate a filter on: no own ones that ran into a violation. What the filter on duty foresaw it
        averted, and only what it did not see was recorded: two such episodes of thirty would bring the threshold down
        to where the next filter steps in everywhere."""
        return (*(item for item in self.own if not item[0].summary.violations), *self.offline, *self.violated)

    @property
    def by_origin(self) -> dict[str, Episodes]:
        """Those origins that have any; own ones come with the first days on the robot."""
        return {name: item for name, item in (("own", self.own), ("offline", self.offline)) if item}


@dataclass(frozen=True)
class _Opened:
    """A bundle in both of its forms."""

    bundle: Bundle
    agent: Agent
    runtime: PolicyRuntime
    """For what it wants; a filter that looks ahead asks for no other action, only later."""

    @classmethod
    def of(cls, bundle: Bundle) -> "_Opened":
        return cls(bundle, agent_of_bundle(bundle), PolicyRuntime(bundle))

    @property
    def filter(self) -> tuple[Agent, FilterThresholds]:
        """What alarms, and where."""
        return self.agent, self.bundle.manifest.filter


def measure(
    candidate: Path,
    running: Bundle,
    held_out: HeldOut,
    newest: Episodes,
    *,
    chosen: Bundle | None = None,
    history: Sequence[EpisodeInfo] = (),
    refused: Callable[[Bundle], str | None] = lambda bundle: None,
    breathe: Callable[[], None] = lambda: None,
) -> tuple[Evidence, dict[str, float]]:
    """Evidence for `fosp_edge.bundle.admission.judge`, and what probation may expect of the candidate.

    Args:
        candidate: its folder.
        running: the bundle it wants to replace.
        held_out: for comparisons.
        newest: the robot's newest episodes, for the shadow run.
        chosen: the bundle that a person chose last, of the running one's contract; that one if left out.
        history: its newest episodes as far back as they tell how it does; those of the shadow run if left out.
        refused: why a bundle must not be tried again; None if it may.
        breathe: called often; gives way to the control loop.
    """
    try:
        bundle = load_bundle(candidate)
        if (reason := refused(bundle)) is not None:
            raise BundleError(f"it was refused before: {reason}")
        ours, before = _Opened.of(bundle), [_Opened.of(running)]
        if chosen is not None and chosen.id != running.id:
            before.append(_Opened.of(chosen))
        alert = alertness(bundle, [other.bundle for other in before], held_out.own)
    except BundleError as error:
        return Evidence(integrity=str(error)), {}
    if differences := contract_differences(bundle.manifest, running.manifest):
        return Evidence(contract=tuple(differences)), {}
    episodes = [steps for _, steps in held_out.everything]
    evidence = Evidence(
        period_s=1.0 / running.manifest.rate_hz,
        level=bundle.manifest.filter.level,
        running_level=running.manifest.filter.level,
        gated=alert is not None,
    )
    if alert is not None:
        evidence = replace(
            evidence, disturbed=alert.disturbed, noticed=alert.noticed, noticed_before=alert.noticed_before,
            gate_level=alert.level, running_gate_level=alert.running_level,
        )  # fmt: skip
    try:
        parity = check_parity(ours.agent, bundle.graph_bytes, episodes[:3])
        evidence = replace(evidence, parity_action=parity.action_error, parity_reachability=parity.reachability_error)
    except ParityError:
        pass  # stays infinite: the check says by how much it is allowed to differ
    breathe()
    latency_s, running_latency_s = _latencies(open_runtime(bundle), open_runtime(running), episodes[0])
    evidence = replace(evidence, latency_s=latency_s, running_latency_s=running_latency_s)
    (missed, *missed_before), count = missed_violations([item.filter for item in (ours, *before)], episodes, breathe)
    evidence = replace(evidence, missed=missed, missed_before=min(missed_before), known_violations=count)
    model, value, cost, aside = dict[str, Paired](), dict[str, Paired](), dict[str, Paired](), dict[str, float]()
    squared, squared_before = list[float](), [list[float]() for _ in before]
    recalled = [Recollection(item.agent) for item in before]
    for origin, items in held_out.by_origin.items():
        wishes = [_wishes(ours.runtime, steps, breathe) for _, steps in items]
        proven = [info.summary.success and not info.summary.violations for info, _ in items]
        squared += _squared(wishes, items, proven)
        for other, judge, since, kept in zip(before, recalled, ("", SINCE_CHOSEN), squared_before, strict=False):
            theirs = [_wishes(other.runtime, steps, breathe) for _, steps in items]
            kept += _squared(theirs, items, proven)
            value[origin + since], cost[origin + since] = _worth(judge, items, wishes, theirs, breathe)
            for part, found in _model(ours.agent, other.agent, [steps for _, steps in items], breathe).items():
                model[f"{origin} {part}{since}"] = found
            # Of the two the chosen one comes last, and is what counts: the running one may lie to the other side.
            aside[origin] = one_sided([mine - their for mine, their in zip(wishes, theirs, strict=True)])
    every = held_out.everything
    luck = luck_of(
        ours.agent, recalled[0], [steps for _, steps in every], [info.header.source for info, _ in every], breathe
    )
    shadow, expected = shadow_run(bundle, [other.bundle for other in before], newest, breathe, history)
    evidence = replace(
        evidence, model=model, value=value, cost=cost,
        imitation=float(np.nan_to_num(np.mean(squared), nan=np.inf)) if squared else float("inf"),
        imitation_before=min(float(np.mean(item)) for item in squared_before) if squared else 0.0,
        proven_episodes=len(squared), one_sided=aside, luck=luck, shadow=shadow,
    )  # fmt: skip
    return evidence, expected


def _latencies(ours: PolicyRuntime, theirs: PolicyRuntime, steps: Steps) -> tuple[float, float]:
    """p99 of a step of each, seconds of computing, in turns: what else the computer does hits both alike.

    Not of the clock on the wall: the learner gives way to everything, and would measure how long it was made to wait.
    """
    observation = Observation(steps["image"][0].astype(np.uint8), steps["state"][0].astype(np.float32))
    nothing = np.zeros(steps["action"].shape[1], np.float32)
    durations: tuple[list[float], list[float]] = ([], [])
    for runtime in (ours, theirs):
        runtime.reset(0)
    for tick in range(_TIMED_TICKS + 10):
        for runtime, kept in zip((ours, theirs), durations, strict=True):
            begin = time.process_time()
            try:
                runtime.step(observation, nothing)
            except NotFinite:
                return float("inf"), 0.0
            if tick >= 10:
                kept.append(time.process_time() - begin)
    return float(np.quantile(durations[0], 0.99)), float(np.quantile(durations[1], 0.99))


def _wishes(runtime: PolicyRuntime, steps: Steps, breathe: Callable[[], None] = lambda: None) -> Float32Array:
    """What the policy wants along a recorded episode, [T - 1, A]; NaN if something in it is not finite."""
    breathe()
    try:
        return np.stack([scores.candidates[0] for _, scores in follow(runtime, steps, seed=0)])
    except NotFinite:
        return np.full((len(steps["reward"]) - 1, steps["action"].shape[1]), np.nan, np.float32)


def _squared(wishes: Sequence[Float32Array], items: Episodes, proven: Sequence[bool]) -> list[float]:
    """Mean squared distance from what was done, per proven episode."""
    return [
        float(np.mean((wished - steps["action"][:-1].astype(np.float32)) ** 2))
        for wished, (_, steps), counts in zip(wishes, items, proven, strict=True)
        if counts
    ]


def _worth(
    judge: Recollection,
    items: Episodes,
    ours: Sequence[Float32Array],
    theirs: Sequence[Float32Array],
    breathe: Callable[[], None],
) -> tuple[Paired, Paired]:
    """By how much our wishes are worse than theirs in value and in expected cost, by the critics of one agent."""
    worse_value, worse_cost, spread_value, spread_cost = [], [], [], []
    for (_, steps), mine, other in zip(items, ours, theirs, strict=True):
        breathe()
        values = _valued(judge, steps, mine, other)
        worse_value.append(float(np.mean(values[1] - values[0])))
        worse_cost.append(float(np.mean(values[2] - values[3])))
        spread_value.append(float(np.std(values[1])))
        spread_cost.append(float(np.std(values[3])))
    value = paired(worse_value, float(np.mean(spread_value)))
    return value, paired(worse_cost, max(float(np.mean(spread_cost)), 0.05))


@torch.no_grad()
def _valued(
    judge: Recollection, steps: Steps, ours: Float32Array, theirs: Float32Array
) -> list[npt.NDArray[np.float32]]:
    """Q_r of both, then Q_c of both, by the critics and in the latents of one agent, each [T - 1]."""
    features, critics, result = judge.of(steps).read(), judge.agent.critics, []
    for critic in (critics.reward_action, critics.cost_action):
        for action in (ours, theirs):
            pair = beside(features, torch.from_numpy(np.ascontiguousarray(action)))
            result.append(two_hot_mean(critic(pair)).numpy())
    return result


@torch.no_grad()
def _model(ours: Agent, theirs: Agent, episodes: Sequence[Steps], breathe: Callable[[], None]) -> dict[str, Paired]:
    """Loss of the world model per episode, in the parts of `_LOSSES`."""
    agents = [ours] if same_weights(ours.world_model, theirs.world_model) else [ours, theirs]
    losses = {part: [list[float]() for _ in agents] for part in _LOSSES}
    for steps in episodes:
        breathe()
        for place, agent in enumerate(agents):
            learner, batch = Learner(agent), batch_of(agent, steps)
            learner.generator.manual_seed(0)
            terms = learner.model_losses(batch, *learner.observe(batch))
            for part, names in _LOSSES.items():
                losses[part][place].append(sum(float(terms[name]) for name in names))
    return {
        part: paired([mine - other for mine, other in zip(both[0], both[-1], strict=True)], float(np.mean(both[-1])))
        for part, both in losses.items()
    }


def missed_violations(
    filters: Sequence[tuple[Agent, FilterThresholds]], episodes: Sequence[Steps], breathe: Callable[[], None]
) -> tuple[list[float], int]:
    """Known violations without a timely alarm of each filter, an agent with its thresholds, and how many there are.

    A filter's alarm depends on the draw of the latent states' noise: with a single one, of a candidate that was
    calibrated to miss none of 28 two could be counted as missed. So it is the mean over several.
    """
    missed, count = [0.0] * len(filters), 0
    generators = [torch.Generator().manual_seed(1) for _ in filters]
    for steps in episodes:
        violation = steps["violation"].astype(np.float32)
        if not violation.any():
            continue
        breathe()
        if onset_score(violation, violation) is None:
            continue  # there was no time before it
        count += 1
        for place, ((agent, thresholds), generator) in enumerate(zip(filters, generators, strict=True)):
            drawn = redrawn_reachability(agent, steps, generator, horizon_of(thresholds))
            scores = np.asarray([onset_score(reachability, violation) for reachability in drawn], np.float32)
            missed[place] += float(np.mean(~(scores > thresholds.feasible_reachability)))  # NaN is a miss
    return missed, count
