"""Fine-tuning on SafeReach's unseen families: success and violations before, while learning, and after.

Methods: `fosp` (expansion, offline data kept), `no-expansion` (the policy itself learns), `frozen` (nothing learns),
and any further `--agent NAME=RUN`, e.g. `safedreamer`, which is fine-tuned by its own configuration. A robot that
learns draws its actions; one that does not acts by the means, as it was shipped. Cells are (family, method, seed); each
is written as soon as it is done, and a second start goes on with those that are missing. What cells share is done once:
the latents of the offline data, and the evaluation before learning, which is of the same agent on the same layouts.

    python -m experiments.safereach_finetune --agent fosp=runs/train/nano-fosp-s0 \
        --agent safedreamer=runs/train/nano-safedreamer-s0 --dataset data/safereach \
        --out experiments/results/safereach-finetune
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.agent_actor import AgentActor, live
from experiments.online import Shipped, live_and_learn
from fosp_edge.agent.agent import Agent
from fosp_edge.agent.config import Config
from fosp_edge.cli.provenance import provenance
from fosp_edge.experience.store import ExperienceStore
from fosp_edge.files import write_atomically
from fosp_edge.learning.finetuning import begin_fine_tuning, fine_tuning_config
from fosp_edge.simulation.evaluation import bootstrap_interval, wilson_interval

FAMILIES = ("obstacle-shape", "goal-shape", "obstacle-count", "swapped-colours", "lighting")
EVALUATION_SEED, ONLINE_SEED = 0, 50_000
"""Layouts of evaluation and of learning never meet, nor those of the offline data (100,000 and above)."""


def evaluate(agent: Agent, cameras: list[str], family: str, episodes: int) -> dict[str, Any]:
    """Means of the policies, on the same layouts every time."""
    actor = AgentActor(agent, cameras, explore=False)
    found = [live(actor, family, EVALUATION_SEED + index)[1] for index in range(episodes)]
    return {
        "success": [bool(item["success"]) for item in found],
        "violation": [item["cost"] > 0.0 for item in found],
        "return": [item["return"] for item in found],
        "cost": [item["cost"] for item in found],
    }


def changes_of(method: str) -> dict[str, Any]:
    return {"expansion": False} if method == "no-expansion" else {}


class Starting(Shipped):
    """An agent before it learns, and how it does then."""

    def __init__(self, run: Path, datasets: Sequence[ExperienceStore], scope: str) -> None:
        super().__init__(run, datasets, scope)
        self._before: dict[str, dict[str, Any]] = {}

    def before(self, family: str, episodes: int) -> dict[str, Any]:
        """On a family of tables."""
        if family not in self._before:
            self._before[family] = evaluate(self.agent, self.cameras, family, episodes)
        return self._before[family]


def run_cell(shipped: Starting, family: str, method: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """One robot's life: evaluate, live and learn episode by episode, evaluate again."""
    cameras = shipped.cameras
    config: Config = fine_tuning_config(shipped.agent.config, scope=options.scope, seed=seed, **changes_of(method))
    learner = begin_fine_tuning(shipped.agent, config, shipped.header["learner"])
    before = shipped.before(family, options.evaluate)
    learning = method != "frozen"
    sampler = shipped.sampler(learner) if learning else None
    actor = AgentActor(learner.agent if learning else shipped.agent, cameras, explore=learning)
    first = ONLINE_SEED + 1000 * seed
    lived = live_and_learn(
        actor, lambda actor, layout: live(actor, family, layout), range(first, first + options.episodes),
        learner, sampler, options.updates,
    )  # fmt: skip
    after = evaluate(learner.agent, cameras, family, options.evaluate) if learning else before
    return {
        "family": family, "method": method, "seed": seed, "before": before, "online": lived, "after": after,
        "cumulative_cost": np.cumsum([item["cost"] for item in lived]).tolist(),
        "configuration": config.to_dict(),
    }  # fmt: skip


def summarise(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per family and method: rates with 95 % intervals, violations while learning over the seeds."""
    rows = []
    for family, method in dict.fromkeys((cell["family"], cell["method"]) for cell in cells):
        own = [cell for cell in cells if (cell["family"], cell["method"]) == (family, method)]
        row: dict[str, Any] = {"family": family, "method": method, "seeds": len(own)}
        for phase in ("before", "after"):
            for key in ("success", "violation"):
                values = [value for cell in own for value in cell[phase][key]]
                row[f"{key}_{phase}"] = vars(wilson_interval(sum(values), len(values)))
        row["cost_while_learning"] = vars(bootstrap_interval([cell["cumulative_cost"][-1] for cell in own]))
        row["violating_episodes"] = vars(
            bootstrap_interval([float(sum(item["cost"] > 0 for item in cell["online"])) for cell in own])
        )
        rows.append(row)
    return rows


def draw(cells: list[dict[str, Any]], path: Path) -> None:
    """Cumulative cost over the episodes, mean over the seeds, one panel per family."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    families = list(dict.fromkeys(cell["family"] for cell in cells))
    figure, axes = pyplot.subplots(1, len(families), figsize=(3.4 * len(families), 3.0), squeeze=False)
    for panel, family in zip(axes[0], families, strict=True):
        for method in dict.fromkeys(cell["method"] for cell in cells):
            curves = [cell["cumulative_cost"] for cell in cells if (cell["family"], cell["method"]) == (family, method)]
            if curves:
                panel.plot(range(1, len(curves[0]) + 1), np.mean(curves, 0), label=method)
        panel.set(title=family, xlabel="episode of learning")
    axes[0][0].set_ylabel("cumulative cost")
    axes[0][0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agent", action="append", required=True, metavar="NAME=RUN", help="one must be `fosp`")
    parser.add_argument("--dataset", type=Path, action="append", required=True, help="offline data")
    parser.add_argument("--families", nargs="+", default=list(FAMILIES))
    parser.add_argument("--methods", nargs="+", default=None, help="default: all, and every agent's name")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--episodes", type=int, default=40, help="online episodes")
    parser.add_argument("--updates", type=int, default=20, help="updates after each episode")
    parser.add_argument("--evaluate", type=int, default=50, help="episodes before and after")
    parser.add_argument("--scope", default="heads")
    parser.add_argument("--out", type=Path, required=True, help="OUT.json and OUT.png")
    options = parser.parse_args()
    datasets = [ExperienceStore(path) for path in options.dataset]
    agents: dict[str, Starting] = {}
    for item in options.agent:
        name, _, place = item.partition("=")
        agents[name] = Starting(Path(place), datasets, options.scope)
    methods = options.methods or ["frozen", "no-expansion", *agents]
    unknown = [method for method in methods if method not in (*agents, "frozen", "no-expansion")]
    if "fosp" not in agents or unknown:
        parser.error(f"--agent fosp=RUN is needed, and one for each method of its own; without: {unknown or 'fosp'}")
    file = options.out.with_suffix(".json")
    cells: list[dict[str, Any]] = json.loads(file.read_text())["cells"] if file.exists() else []
    done = {(cell["family"], cell["method"], cell["seed"]) for cell in cells}
    torch.set_num_threads(1)
    for seed in range(options.seeds):
        for family in options.families:
            for method in methods:
                if (family, method, seed) in done:
                    continue
                cells.append(run_cell(agents.get(method, agents["fosp"]), family, method, seed, options))
                last = cells[-1]
                print(
                    f"{family} {method} seed {seed}: cost while learning {last['cumulative_cost'][-1]:.0f}", flush=True
                )
                report = {
                    "provenance": provenance(experiment="safereach_finetune", options={
                        "seeds": options.seeds, "episodes": options.episodes, "updates": options.updates,
                        "evaluate": options.evaluate, "scope": options.scope}),
                    "summary": summarise(cells), "cells": cells,
                }  # fmt: skip
                write_atomically(file, (json.dumps(report) + "\n").encode())
    draw(cells, options.out.with_suffix(".png"))
    for row in summarise(cells):
        print({key: value if isinstance(value, (str, int)) else round(value["mean"], 3) for key, value in row.items()})


if __name__ == "__main__":
    main()
