"""What limits the filter, that it does not warn or what it answers? `python -m experiments.filter_answers [--bundle B]`

The filter in charge, on tables with other shapes of obstacles, of goals, and more obstacles. It alarms when it always
does; what is done while it intervenes differs:

- `two fifths`: what the filter chooses (`fosp_edge/control/safety_filter.py`), recovery at two fifths of its speed;
- `full speed`: the same with recovery at full speed (`fosp-edge run --recovery-speed 1`), as it once was;
- `holds`: it stands still, unless some candidate is at most half as unsafe as that;
- `imagines`: each candidate, and the policy's choice at a half and a quarter of its speed, is kept up for three
  imagined steps, after which the policy goes on for three; the nearest to the policy's choice is taken whose largest
  reachability on the way, a mean over four futures, is at most 0.02, or else the least unsafe;
- `knows`: the same with the truth. Each is kept up for three steps in the simulator, then held, and the nearest is
  taken that keeps two millimetres more than the margin; besides these candidates, moves along the axes. No robot can do
  this: it is what an answer to these alarms could come to.

Told table by table beside `full speed`, with 95 % intervals. Two processes if `--jobs 2`.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional

from experiments.learn_unattended import FAMILIES
from experiments.side_by_side import side_by_side
from export.restore import agent_of_bundle
from fosp_edge.agent.agent import Agent, reachability
from fosp_edge.agent.distributions import open_uniform
from fosp_edge.agent.rssm import Latent
from fosp_edge.bundle.folder import Bundle, load_bundle
from fosp_edge.cli.provenance import provenance
from fosp_edge.cli.shipped import shipped_bundle
from fosp_edge.control.controller import Controller
from fosp_edge.control.inference import Latent as RecurrentState
from fosp_edge.control.safety_filter import DEFAULT_SETTINGS, FilterSettings
from fosp_edge.control.types import Decision, Float32Array, Observation, Reason, StepScores
from fosp_edge.files import write_atomically
from fosp_edge.simulation.avoidance import trial_of
from fosp_edge.simulation.environment import Environment
from fosp_edge.simulation.evaluation import BundleActor, bootstrap_interval
from fosp_edge.simulation.filter_evaluation import Ride, ride_episode
from fosp_edge.simulation.layout import MARGIN_M

FIRST_SEED = 3_500_000
"""Of tables that nothing else drives on."""
KEPT_UP, STEPS, FUTURES, IMAGINED_LIMIT = 3, 6, 4, 0.02
HELD, CLEAR_M = 4, MARGIN_M + 0.002
HALF_AS_UNSAFE = 0.5
_AXES = np.concatenate([scale * sign * np.eye(3) for scale in (0.4, 1.0) for sign in (1.0, -1.0)]).astype(np.float32)
_ANSWERED = (Reason.POLICY, Reason.SAFER_CANDIDATE, Reason.RECOVERY, Reason.HOLD)

Answer = Callable[[Environment, BundleActor, Decision, StepScores], Float32Array]
"""What is done in a tick in which the filter intervenes; normalised, [A]."""


def holds(environment: Environment, actor: BundleActor, decision: Decision, scores: StepScores) -> Float32Array:
    """Nothing, where moving is hardly safer."""
    still = actor.controller.manifest.candidates.index("hold")
    safer = scores.reachability.min() <= HALF_AS_UNSAFE * scores.reachability[still]
    taken: Float32Array = scores.candidates[actor.controller.insight.judged.chosen if safer else still]
    return taken


class Imagines:
    """What the world model says comes of it."""

    def __init__(self, agent: Agent) -> None:
        self._agent, self._generator = agent.eval(), torch.Generator().manual_seed(0)

    def __call__(
        self, environment: Environment, actor: BundleActor, decision: Decision, scores: StepScores
    ) -> Float32Array:
        """The nearest to the policy's choice that is imagined to be safe, or the least unsafe."""
        candidates = _with_slower(scores)
        unsafe = self._unsafe(actor.controller.runtime.latent, candidates)
        return _nearest(candidates, unsafe, IMAGINED_LIMIT)

    @torch.no_grad()
    def _unsafe(self, state: RecurrentState, candidates: Float32Array) -> Float32Array:
        """Largest reachability behind each candidate, [N] -> [N], a mean over futures that are the same for all."""
        agent, count = self._agent, len(candidates)
        index = torch.from_numpy(state.stochastic)[None]
        stochastic = functional.one_hot(index, agent.config.classes).float().expand(count * FUTURES, -1, -1)
        here = Latent(torch.from_numpy(state.deterministic)[None].expand(count * FUTURES, -1), stochastic)
        kept_up = torch.from_numpy(candidates).repeat_interleave(FUTURES, 0)
        largest, action = torch.zeros(count * FUTURES), kept_up
        for step in range(STEPS):
            one = open_uniform((FUTURES, *stochastic.shape[1:]), torch.device("cpu"), self._generator)
            noise = one.repeat(count, 1, 1)
            here = Latent(*agent.world_model.rssm.imagine_step(here.deterministic, here.stochastic, action, noise))
            features = here.features()
            largest = torch.maximum(largest, reachability(agent.critics.reach_state(features), agent.config))
            action = kept_up if step + 1 < KEPT_UP else agent.learning_policy(features)[0]
        mean: Float32Array = largest.reshape(count, FUTURES).mean(1).numpy()
        return mean


def knows(environment: Environment, actor: BundleActor, decision: Decision, scores: StepScores) -> Float32Array:
    """The nearest to the policy's choice that keeps clear, tried in the simulator, which is as it was afterwards."""
    trial = trial_of(environment)
    candidates = np.concatenate([_with_slower(scores), _AXES])
    before, unsafe = trial.plant.snapshot(), []
    for candidate in candidates:
        trial.plant.restore(before)
        clearances = []
        for step in range(KEPT_UP + HELD):
            wanted = trial.action_space.physical(np.clip(candidate, -1.0, 1.0))
            trial.move(wanted if step < KEPT_UP else np.zeros_like(wanted))
            clearances.append(trial.plant.judge().clearance_m)
        unsafe.append(-min(clearances))
    trial.plant.restore(before)
    return _nearest(candidates, np.asarray(unsafe, np.float32), -CLEAR_M)


def _with_slower(scores: StepScores) -> Float32Array:
    """The policy's choice stays the first row."""
    wanted = scores.candidates[:1]
    return np.concatenate([scores.candidates, np.float32(0.5) * wanted, np.float32(0.25) * wanted])


def _nearest(candidates: Float32Array, unsafe: Float32Array, limit: float) -> Float32Array:
    """Of those no more unsafe than the limit the one nearest to the first; the least unsafe if there is none."""
    far = np.sum((candidates - candidates[0]) ** 2, axis=1)
    nearest: Float32Array = candidates[
        np.argmin(np.where(unsafe <= limit, far, np.inf)) if (unsafe <= limit).any() else np.argmin(unsafe)
    ]
    return nearest


class AnsweringActor(BundleActor):
    """Answers differently while its filter intervenes; an intervention is then whatever the policy did not want."""

    def __init__(self, bundle: Bundle, answer: Answer) -> None:
        super().__init__(bundle, filter_enabled=True)
        self._answer = answer

    def ride(self, scenario: str, seed: int) -> Ride:
        """One episode, in an environment that the answer may look into."""
        self._environment: Environment = self.environment(scenario)
        return ride_episode(self, scenario, seed, self._environment)

    def reset(self, seed: int) -> None:
        """Begin anew, from rest."""
        super().reset(seed)
        self._moving = self.controller.limits.rest

    def decide(self, observation: Observation) -> tuple[Decision, StepScores]:
        """The controller's decision, or the answer in its place, behind the same limits."""
        decision, scores = super().decide(observation)
        controller = self.controller
        if not (controller.memory().filter.intervening and decision.reason in _ANSWERED):
            self._moving = controller.physical_action
            return decision, scores
        wanted = self._answer(self._environment, self, decision, scores)
        controller.limits.restore(self._moving)
        limited = controller.limits.apply(wanted)
        self._moving = limited.physical
        controller.correct_executed(limited.normalised)
        stepped_in = not np.array_equal(wanted, scores.candidates[0])
        return replace(decision, action=limited.normalised, intervened=stepped_in), scores


ANSWERS = ("full speed", "two fifths", "holds", "imagines", "knows")


def drive(bundle: Path, name: str, first: int, count: int) -> tuple[str, list[dict[str, Any]]]:
    """So many tables with one answer; JSON values."""
    opened = load_bundle(bundle)
    answers: dict[str, Callable[[], Answer]] = {
        "holds": lambda: holds, "imagines": lambda: Imagines(agent_of_bundle(opened)), "knows": lambda: knows,
    }  # fmt: skip
    settings = FilterSettings(recovery_speed=1.0) if name == "full speed" else DEFAULT_SETTINGS
    ride: Callable[[str, int], Ride]
    if name in answers:
        ride = AnsweringActor(opened, answers[name]()).ride
    else:
        usual = BundleActor(opened, filter_enabled=True, make=partial(Controller, settings=settings))
        ride = partial(ride_episode, usual)
    return name, [asdict(ride(FAMILIES[seed % len(FAMILIES)], seed)) for seed in range(first, first + count)]


def beside(own: Sequence[dict[str, Any]], usual: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What an answer came to, and what it gains over the usual one, with 95 % intervals."""
    found: dict[str, Any] = {
        "tables": len(own),
        "reached": sum(item["success"] for item in own),
        "violations": sum(item["violated"] for item in own),
        "cost": float(np.mean([item["cost"] for item in own])),
        "interventions": float(np.mean([item["interventions"] / item["steps"] for item in own])),
    }
    for key in ("success", "violated", "cost"):
        gained = [float(mine[key]) - float(other[key]) for mine, other in zip(own, usual, strict=True)]
        found[f"{key}_gained"] = vars(bootstrap_interval(gained))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=None)
    parser.add_argument("--tables", type=int, default=750)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--answer", action="append", choices=ANSWERS)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("experiments/results/filter_answers.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    bundle = options.bundle or shipped_bundle()
    wanted = ["full speed", *(name for name in options.answer or ANSWERS if name != "full speed")]
    step = -(-options.tables // (2 * options.jobs))
    pieces = [
        (name, options.first_seed + begin, min(step, options.tables - begin))
        for name in wanted
        for begin in range(0, options.tables, step)
    ]
    rides: dict[str, list[dict[str, Any]]] = {name: [] for name in wanted}
    for name, found in side_by_side(options.jobs, partial(drive, bundle), pieces):
        rides[name] += found
        print(
            f"{name}: {len(rides[name])} tables, {sum(item['violated'] for item in rides[name])} in violation",
            flush=True,
        )
    ordered = {name: sorted(items, key=lambda item: item["seed"]) for name, items in rides.items()}
    answers = {name: beside(items, ordered["full speed"]) for name, items in ordered.items()}
    for name, told in answers.items():
        print(name, json.dumps(told))
    origin = provenance(command="python -m experiments.filter_answers", bundle=bundle.name)
    report = {"origin": origin, "first_seed": options.first_seed, "answers": answers}
    write_atomically(options.out, (json.dumps(report, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
