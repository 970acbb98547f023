"""What the gate judges by, measured: a candidate beside the running bundle, on held-out episodes and the newest ticks.

The candidate's own critics are never asked how good it is: who poisons the reward poisons them. Its actions are
weighed by the running bundle's critics, in the running bundle's latent states.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from export.parity import ParityError, check_parity
from export.reference import recorded_reachability
from export.restore import agent_of_bundle
from export.thresholds import onset_score
from fosp_edge.agent.agent import Agent
from fosp_edge.agent.distributions import two_hot_mean
from fosp_edge.bundle.admission import Evidence, Paired, Shadow, one_sided, paired
from fosp_edge.bundle.folder import Bundle, load_bundle
from fosp_edge.bundle.manifest import BundleError
from fosp_edge.cli.familiarity import alertness
from fosp_edge.control.controller import Controller
from fosp_edge.control.follow import follow
from fosp_edge.control.inference import NotFinite, PolicyRuntime
from fosp_edge.control.swap import alarmed, contract_differences
from fosp_edge.control.types import Float32Array, Observation, StepScores
from fosp_edge.experience.episode import EpisodeInfo
from fosp_edge.experience.schema import Steps
from fosp_edge.learning.batch import Batch
from fosp_edge.learning.learner import Learner

_TIMED_TICKS = 200
_KNOWN_AFTER = 20
"""Episodes from which on a bundle's own rates count."""
_LOSSES = {
    "pictures": ("image", "state", "kl_dynamics", "kl_representation"),
    "outcomes": ("reward", "cost", "proceed"),
}
"""Two sums, because pictures weigh a hundred times as much as rewards: in one a poisoned reward would drown."""
Episodes = Sequence[tuple[EpisodeInfo, Steps]]


@dataclass(frozen=True)
class HeldOut:
    """Episodes that neither bundle learnt from, with the bundles' cameras."""

    own: Episodes
    offline: Episodes
    violated: Episodes = ()
    """Further offline ones that run into a violation: a filter's threshold takes many to be steady."""

    @property
    def everything(self) -> Episodes:
        """All of them."""
        return (*self.own, *self.offline, *self.violated)

    @property
    def by_origin(self) -> dict[str, Episodes]:
        """Those origins that have any; own ones come with the first days on the robot."""
        return {name: item for name, item in (("own", self.own), ("offline", self.offline)) if item}


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
        agent, running_agent = agent_of_bundle(bundle), agent_of_bundle(running)
        runtime, running_runtime = PolicyRuntime(bundle), PolicyRuntime(running)
        before = [running] if chosen is None or chosen.id == running.id else [running, chosen]
        alerts = [alertness(bundle, item, held_out.own) for item in before]
    except BundleError as error:
        return Evidence(integrity=str(error)), {}
    if differences := contract_differences(bundle.manifest, running.manifest):
        return Evidence(contract=tuple(differences)), {}
    episodes = [steps for _, steps in held_out.everything]
    evidence = Evidence(
        period_s=1.0 / running.manifest.rate_hz,
        level=bundle.manifest.filter.level,
        running_level=running.manifest.filter.level,
        gated=alerts[0] is not None,
    )
    if (alert := alerts[0]) is not None:
        evidence = replace(
            evidence, disturbed=alert.disturbed, noticed=alert.noticed,
            noticed_before=max(item.running_noticed for item in alerts if item is not None),
            gate_level=alert.level, running_gate_level=alert.running_level,
        )  # fmt: skip
    try:
        parity = check_parity(agent, bundle.graph_bytes, episodes[:3])
        evidence = replace(evidence, parity_action=parity.action_error, parity_reachability=parity.reachability_error)
    except ParityError:
        pass  # stays infinite: the check says by how much it is allowed to differ
    breathe()
    latency_s, running_latency_s = _latencies(runtime, running_runtime, episodes[0])
    evidence = replace(evidence, latency_s=latency_s, running_latency_s=running_latency_s)
    filters = [(agent, bundle), (running_agent, running), *((agent_of_bundle(item), item) for item in before[1:])]
    (missed, *missed_before), count = _missed(filters, episodes, breathe)
    evidence = replace(evidence, missed=missed, missed_before=min(missed_before), known_violations=count)
    model, value, cost = dict[str, Paired](), dict[str, Paired](), dict[str, Paired]()
    squared, squared_before = list[float](), [list[float]() for _ in before]
    aside = dict[str, float]()
    runtimes = [running_runtime, *(PolicyRuntime(item) for item in before[1:])]
    for origin, items in held_out.by_origin.items():
        for part, found in _model(agent, running_agent, [steps for _, steps in items], breathe).items():
            model[f"{origin} {part}"] = found
        worse_value, worse_cost, spread_value, spread_cost = [], [], [], []
        apart = list[Float32Array]()
        for info, steps in items:
            breathe()
            try:
                ours = _wishes(runtime, steps)
            except NotFinite:
                ours = np.full((len(steps["reward"]) - 1, steps["action"].shape[1]), np.nan, np.float32)
            wished = [_wishes(item, steps) for item in runtimes]
            theirs, chosen_ones = wished[0], wished[-1]
            apart.append(ours - chosen_ones)
            values = _valued(running_agent, steps, ours, theirs)
            worse_value.append(float(np.mean(values[1] - values[0])))
            worse_cost.append(float(np.mean(values[2] - values[3])))
            spread_value.append(float(np.std(values[1])))
            spread_cost.append(float(np.std(values[3])))
            if info.summary.success and not info.summary.violations:
                done = steps["action"][:-1].astype(np.float32)
                squared.append(float(np.mean((ours - done) ** 2)))
                for kept, wishes in zip(squared_before, wished, strict=True):
                    kept.append(float(np.mean((wishes - done) ** 2)))
        aside[origin] = one_sided(apart)
        value[origin] = paired(worse_value, float(np.mean(spread_value)))
        cost[origin] = paired(worse_cost, max(float(np.mean(spread_cost)), 0.05))
    shadow, expected = shadow_run(bundle, running, newest, breathe, history)
    evidence = replace(
        evidence, model=model, value=value, cost=cost,
        imitation=float(np.nan_to_num(np.mean(squared), nan=np.inf)) if squared else float("inf"),
        imitation_before=min(float(np.mean(item)) for item in squared_before) if squared else 0.0,
        proven_episodes=len(squared), one_sided=aside, shadow=shadow,
    )  # fmt: skip
    return evidence, expected


def shadow_run(
    candidate: Bundle,
    running: Bundle,
    newest: Episodes,
    breathe: Callable[[], None] = lambda: None,
    history: Sequence[EpisodeInfo] = (),
) -> tuple[Shadow, dict[str, float]]:
    """Both bundles decide over the same ticks, neither moves anything; also what probation may expect."""
    ours, theirs = Controller(candidate), Controller(running)
    ticks = stepped = running_stepped = 0
    change, running_change, surprise, running_surprise, apart = 0.0, 0.0, 0.0, 0.0, 0.0
    shares, surprises = list[float](), list[float]()
    for info, steps in newest:
        breathe()
        for controller in (ours, theirs):
            controller.reset(info.header.seed)
        before = np.zeros(steps["action"].shape[1], np.float32)
        last = running_last = before
        episode_stepped, episode_surprise, rows = 0, 0.0, len(steps["reward"]) - 1
        for row in range(rows):
            observation = Observation(steps["image"][row].astype(np.uint8), steps["state"][row].astype(np.float32))
            try:
                decided, scores = _decide(ours, observation, before)
                running_decided, running_scores = _decide(theirs, observation, before)
            except (NotFinite, ValueError) as error:
                return Shadow(ticks, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, broken=str(error)), {}
            ticks += 1
            stepped += ours.insight.advice.intervened
            running_stepped += theirs.insight.advice.intervened
            episode_stepped += alarmed(scores, candidate.manifest.filter, ours.insight.judged.gate)
            surprise += scores.surprise
            episode_surprise += scores.surprise
            running_surprise += running_scores.surprise
            change += float(np.mean(np.abs(decided - last))) if row else 0.0
            running_change += float(np.mean(np.abs(running_decided - running_last))) if row else 0.0
            apart += float(np.mean(np.abs(decided - running_decided))) / 2.0
            last, running_last = decided, running_decided
            before = steps["action"][row].astype(np.float32)
        if rows:
            shares.append(episode_stepped / rows)
            surprises.append(episode_surprise / rows)
    n = max(1, ticks)
    shadow = Shadow(
        ticks, stepped / n, running_stepped / n, change / n, running_change / n, surprise / n, running_surprise / n,
        apart / n,
    )  # fmt: skip
    if not shares:
        return shadow, {}
    expected = best_rates(history or [info for info, _ in newest]) | {
        # Where it drives itself it comes into other states than those it was compared on.
        "intervention_limit": min(1.0, _exceeded_by_a_tenth(shares) + 0.10),
        "surprise_limit": 1.1 * _exceeded_by_a_tenth(surprises),
    }
    return shadow, expected


def best_rates(infos: Sequence[EpisodeInfo]) -> dict[str, float]:
    """Shares of episodes in violation and failed that a new bundle is held against: those of the best bundle so far.

    Not those of the one that it replaces: each may be worse by what a probation cannot see, and after ten of them the
    robot would be worse by ten times as much without any having been worse than its predecessor.
    """
    by_bundle: dict[str | None, list[EpisodeInfo]] = {}
    for info in infos:
        by_bundle.setdefault(info.header.bundle, []).append(info)
    known = [group for group in by_bundle.values() if len(group) >= _KNOWN_AFTER] or [list(infos)]

    def best(bad: Callable[[EpisodeInfo], bool]) -> float:
        # Laplace's rule: of few episodes none in violation does not mean never.
        return min((sum(map(bad, group)) + 1) / (len(group) + 2) for group in known)

    return {
        "violation": best(lambda info: info.summary.total_cost > 0),
        "failure": best(lambda info: not info.summary.success),
    }


def _exceeded_by_a_tenth(values: Sequence[float]) -> float:
    """What a further value exceeds with probability at most a tenth: the ceil(0.9 (n + 1))-th smallest of n, which of
    twelve is the largest. The 90 % quantile of so few is exceeded twice as often."""
    return sorted(values)[min(len(values), math.ceil(0.9 * (len(values) + 1))) - 1]


def _decide(
    controller: Controller, observation: Observation, executed: Float32Array
) -> tuple[Float32Array, StepScores]:
    """What a controller wants when the robot did `executed` before, and its scores."""
    controller.told(executed)
    decision, scores = controller.decide(observation)
    return decision.nominal, scores


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


def _wishes(runtime: PolicyRuntime, steps: Steps) -> Float32Array:
    """What the policy wants along a recorded episode, [T - 1, A]."""
    return np.stack([scores.candidates[0] for _, scores in follow(runtime, steps, seed=0)])


@torch.no_grad()
def _valued(agent: Agent, steps: Steps, ours: Float32Array, theirs: Float32Array) -> list[npt.NDArray[np.float32]]:
    """Q_r of both, then Q_c of both, by the critics and in the latents of one agent, each [T - 1]."""
    learner = Learner(agent)
    learner.generator.manual_seed(0)
    latents, _, _ = learner.observe(_batch(agent, steps))
    features = latents.features()[0, :-1]
    result = []
    for critic in (agent.critics.reward_action, agent.critics.cost_action):
        for action in (ours, theirs):
            pair = torch.cat([features, torch.from_numpy(np.ascontiguousarray(action))], -1)
            result.append(two_hot_mean(critic(pair)).numpy())
    return result


@torch.no_grad()
def _model(ours: Agent, theirs: Agent, episodes: Sequence[Steps], breathe: Callable[[], None]) -> dict[str, Paired]:
    """Loss of the world model per episode, in the parts of `_LOSSES`."""
    losses: dict[str, tuple[list[float], list[float]]] = {part: ([], []) for part in _LOSSES}
    for steps in episodes:
        breathe()
        for place, agent in enumerate((ours, theirs)):
            learner, batch = Learner(agent), _batch(agent, steps)
            learner.generator.manual_seed(0)
            terms = learner.model_losses(batch, *learner.observe(batch))
            for part, names in _LOSSES.items():
                losses[part][place].append(sum(float(terms[name]) for name in names))
    return {
        part: paired([mine - other for mine, other in zip(*both, strict=True)], float(np.mean(both[1])))
        for part, both in losses.items()
    }


def _missed(
    filters: Sequence[tuple[Agent, Bundle]], episodes: Sequence[Steps], breathe: Callable[[], None]
) -> tuple[list[int], int]:
    """Known violations without a timely alarm of each filter, and how many there are."""
    missed, count = [0] * len(filters), 0
    for steps in episodes:
        violation = steps["violation"].astype(np.float32)
        if not violation.any():
            continue
        breathe()
        scores = []
        for agent, _ in filters:
            generator = torch.Generator().manual_seed(0)
            scores.append(onset_score(recorded_reachability(agent, steps, generator), violation))
        if any(score is None for score in scores):
            continue
        count += 1
        for place, (score, (_, bundle)) in enumerate(zip(scores, filters, strict=True)):
            missed[place] += not (score is not None and score > bundle.manifest.filter.feasible_reachability)
    return missed, count


def _batch(agent: Agent, steps: Steps) -> Batch:
    names = ("image", "state", "action", "reward", "cost", "violation", "is_first", "is_terminal")
    return Batch.from_numpy({name: steps[name][None] for name in names}, next(agent.parameters()).device)
