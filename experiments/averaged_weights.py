"""Candidates of one learner, update by update: the weights themselves beside their moving average.

    python -m experiments.averaged_weights --home runs/learn_unattended/goal-shape-learns-s0 --scenario goal-shape \
        --dataset data/safereach [--home ... --scenario ...] [--seed 1] [--updates 2000] [--every 400] [--episodes 200]

A robot's experience (of `experiments.learn_unattended`) is learnt from as `fosp-edge run --learn` does it in mode
`light`, all of it from the first update on. Every so many updates the agent is put before the same fresh tables of the
robot's family, without filter, and so is the average of its weights; beside them the shipped agent.
"""

import argparse
import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.agent_actor import AgentActor, live
from experiments.learn_unattended import FAMILIES
from fosp_edge.agent.agent import Agent
from fosp_edge.bundle.folder import load_bundle
from fosp_edge.cli.learner_data import is_learnt_from
from fosp_edge.cli.learning_process import LearnSettings, config_of
from fosp_edge.cli.provenance import provenance
from fosp_edge.cli.shipped import shipped_bundle
from fosp_edge.cli.training import starting_point
from fosp_edge.experience.selection import CameraSelection
from fosp_edge.experience.store import ExperienceStore
from fosp_edge.files import write_atomically
from fosp_edge.learning.average import MovingAverage
from fosp_edge.learning.finetuning import begin_fine_tuning, fine_tuning_sampler
from fosp_edge.learning.trainer import Trainer
from fosp_edge.simulation.evaluation import bootstrap_interval

FIRST_SEED = 2_000_000
"""Of the tables; robots live on those from 1,000,000 on."""


def candidates(home: Path, options: argparse.Namespace) -> tuple[list[str], Agent, dict[tuple[int, str], Agent]]:
    """Cameras, the shipped agent, and what is learnt: by update, `weights` and `average`."""
    shipped, cameras, scalars, _ = starting_point(shipped_bundle())
    settings, feasible = LearnSettings(seed=options.seed), load_bundle(shipped_bundle()).manifest.filter
    config = config_of(shipped.config, "light", settings, feasible.feasible_reachability)
    learner = begin_fine_tuning(shipped, config, scalars)
    with ExperienceStore(home / "experience") as lived, ExperienceStore(options.dataset) as data:
        offline = CameraSelection(data, cameras)
        share = min(1.0, settings.offline_rows / sum(info.summary.rows for info in offline.episodes()))
        sampler = fine_tuning_sampler(
            learner, [offline], CameraSelection(lived, cameras), choose=lambda info: is_learnt_from(info, share)
        )
        sampler.own.refresh()
        print(f"{home.name}: {sampler.own.episodes} own episodes", flush=True)
        trainer = Trainer(learner, sampler, home, notes={})
        average = MovingAverage(learner.agent, settings.average_rate, home)
        found: dict[tuple[int, str], Agent] = {}
        while trainer.update < options.updates:
            trainer.step()
            average.update()
            if trainer.update % options.every == 0:
                found[trainer.update, "weights"] = copy.deepcopy(learner.agent)
                found[trainer.update, "average"] = copy.deepcopy(average.agent)
    return cameras, shipped, found


def driven(agent: Agent, cameras: list[str], scenario: str, episodes: int) -> dict[str, list[bool]]:
    """Which tables are reached, and which are in violation, by the policies' means and without filter."""
    actor = AgentActor(agent, cameras, explore=False)
    lived = [live(actor, scenario, FIRST_SEED + index)[1] for index in range(episodes)]
    return {
        "reached": [bool(item["success"]) for item in lived],
        "violated": [item["cost"] > 0.0 for item in lived],
    }


def gained(pairs: list[tuple[dict[str, list[bool]], dict[str, list[bool]]]]) -> dict[str, Any]:
    """After beside before, means over the pairs, 95 % intervals over the tables."""
    found = {}
    for name in ("reached", "violated"):
        apart = [np.asarray(after[name], float) - np.asarray(before[name], float) for after, before in pairs]
        found[name] = vars(bootstrap_interval(np.mean(apart, axis=0).tolist()))
    return found


def compared(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Average, weights and shipped agent against each other: means over the updates, 95 % intervals over the tables."""
    found = []
    for scenario in dict.fromkeys(row["scenario"] for row in rows):
        of: dict[str, dict[int, dict[str, list[bool]]]] = {}
        for row in rows:
            if row["scenario"] == scenario:
                of.setdefault(row["of"], {})[row["update"]] = row["tables"]
        for ours, theirs in (("average", "weights"), ("average", "shipped"), ("weights", "shipped")):
            updates = sorted(of.get(ours, {}))
            if theirs == "weights":
                updates = [update for update in updates if update in of.get(theirs, {})]
            if not updates:
                continue
            pairs = [(of[ours][update], of[theirs][update if theirs == "weights" else 0]) for update in updates]
            found.append({"scenario": scenario, "of": ours, "beside": theirs, "updates": updates} | gained(pairs))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, action="append", required=True)
    parser.add_argument("--scenario", choices=FAMILIES, action="append", required=True, help="one per --home")
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--updates", type=int, default=2000)
    parser.add_argument("--every", type=int, default=400)
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("experiments/results/averaged_weights.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    about = provenance(
        command="python -m experiments.averaged_weights",
        options={name: str(value) for name, value in vars(options).items()}, bundle=shipped_bundle().name,
    )  # fmt: skip
    rows: list[dict[str, Any]] = []
    for home, scenario in zip(options.home, options.scenario, strict=True):
        cameras, shipped, found = candidates(home, options)
        before = driven(shipped, cameras, scenario, options.episodes)
        rows.append({"scenario": scenario, "update": 0, "of": "shipped", "tables": before})
        for (update, kind), agent in reversed(found.items()):
            tables = driven(agent, cameras, scenario, options.episodes)
            rows.append(
                {
                    "scenario": scenario,
                    "update": update,
                    "of": kind,
                    "gained": gained([(tables, before)]),
                    "tables": tables,
                }
            )
            shares = {name: f"{np.mean(item):.1%}" for name, item in tables.items()}
            print(f"{scenario} {update} {kind}: {shares}", flush=True)
            report = {"origin": about, "compared": compared(rows), "rows": rows}
            write_atomically(options.out, (json.dumps(report) + "\n").encode())


if __name__ == "__main__":
    main()
