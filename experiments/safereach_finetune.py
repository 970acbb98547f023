"""Fine-tuning on SafeReach's unseen families: success and violations before, while learning, and after.

Methods: `fosp` (expansion, offline data kept), `by-means` (the same, but it acts by the policies' means while it
learns), `no-expansion` (the policy itself learns), `frozen` (nothing learns), and any further `--agent NAME=RUN`, e.g.
`safedreamer`, which is fine-tuned by its own configuration. Robots that learn draw their actions, but for `by-means`;
one that does not acts by the means, as it was shipped. Cells are (family, method, seed); each is written as soon as it
is done, and a second start goes on with those that are missing. What cells share is done once: latents of the offline
data (per process), and the evaluation before learning, which is of the same agent on the same layouts.

    python -m experiments.safereach_finetune --agent fosp=fosp_edge/shipped/* \
        --agent safedreamer=runs/train/nano-safedreamer-s0 --dataset data/careful --jobs 2 \
        --out experiments/results/safereach-finetune
"""

import argparse
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.agent_actor import AgentActor, live
from experiments.online import Shipped, live_and_learn
from experiments.side_by_side import side_by_side, spread
from experiments.tables import fine_tuned, fine_tuned_against_frozen
from fosp_edge.agent.agent import Agent
from fosp_edge.agent.config import Config
from fosp_edge.cli.provenance import provenance
from fosp_edge.experience.store import ExperienceStore
from fosp_edge.files import write_atomically
from fosp_edge.learning.finetuning import begin_fine_tuning, fine_tuning_config

FAMILIES = ("obstacle-shape", "goal-shape", "obstacle-count", "swapped-colours", "lighting")
GEOMETRIC = FAMILIES[:3]
OF_FOSP = ("frozen", "by-means", "no-expansion")
"""Methods that start from the agent `fosp`."""
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


def place(cell: dict[str, Any]) -> tuple[int, int, str]:
    """Where a cell stands among others."""
    return FAMILIES.index(cell["family"]), cell["seed"], cell["method"]


def changes_of(method: str) -> dict[str, Any]:
    return {"expansion": False} if method == "no-expansion" else {}


@cache
def starting(run: Path, datasets: tuple[Path, ...], scope: str, device: str) -> Shipped:
    """An agent before it learns; once per process."""
    return Shipped(run, [opened(path) for path in datasets], scope, device)


opened = cache(ExperienceStore)
"""Once per process, because an environment cannot be opened twice."""


def agent_of(method: str, agents: dict[str, Path]) -> str:
    """Whose agent a method starts from."""
    return method if method in agents else "fosp"


def before(options: argparse.Namespace, agent: str, family: str) -> dict[str, Any]:
    """How an agent does on a family of tables before it learns."""
    shipped = starting(options.agents[agent], tuple(options.dataset), options.scope, options.device)
    return {"agent": agent, "family": family} | evaluate(shipped.agent, shipped.cameras, family, options.evaluate)


def run_cell(options: argparse.Namespace, family: str, method: str, seed: int) -> dict[str, Any]:
    """One robot's life: it acts and learns episode by episode, and is evaluated if it has learnt."""
    start = options.agents[agent_of(method, options.agents)]
    shipped = starting(start, tuple(options.dataset), options.scope, options.device)
    config: Config = fine_tuning_config(shipped.agent.config, scope=options.scope, seed=seed, **changes_of(method))
    learner = begin_fine_tuning(shipped.agent, config, shipped.scalars)
    learning = method != "frozen"
    sampler = shipped.sampler(learner) if learning else None
    explore = learning and method != "by-means"
    actor = AgentActor(learner.agent if learning else shipped.agent, shipped.cameras, explore=explore)
    first = ONLINE_SEED + 1000 * seed
    lived = live_and_learn(
        actor, lambda actor, layout: live(actor, family, layout), range(first, first + options.episodes),
        learner, sampler, options.updates,
    )  # fmt: skip
    after = evaluate(learner.agent, shipped.cameras, family, options.evaluate) if learning else None
    return {
        "family": family, "method": method, "seed": seed, "online": lived, "after": after,
        "cumulative_cost": np.cumsum([item["cost"] for item in lived]).tolist(),
        "configuration": config.to_dict(),
    }  # fmt: skip


def while_learning(cell: dict[str, Any]) -> dict[str, list[bool]]:
    """Of every episode lived, whether it reached the target and whether it was in violation."""
    return {
        "success": [item["success"] for item in cell["online"]],
        "violation": [item["cost"] > 0.0 for item in cell["online"]],
    }


def summarise(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per family and method. Before: one agent on one set of layouts, 95 % intervals over episodes. While
    learning and after: means over the seeds' robots, intervals over them (over episodes while there is one)."""
    rows = []
    for family, method in dict.fromkeys((cell["family"], cell["method"]) for cell in cells):
        own = [cell for cell in cells if (cell["family"], cell["method"]) == (family, method)]
        row: dict[str, Any] = {"family": family, "method": method, "seeds": len(own)}
        lived = [while_learning(cell) for cell in own]
        for key in ("success", "violation"):
            row[f"{key}_before"] = spread([own[0]["before"][key]])
            row[f"{key}_while_learning"] = spread([item[key] for item in lived])
            row[f"{key}_after"] = spread([cell["after"][key] for cell in own])
        row["cost_per_episode"] = spread([[item["cost"] for item in cell["online"]] for cell in own])
        rows.append(row)
    return rows


def against_frozen(cells: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Per method: shares of the episodes while learning, on the geometric families, less those of the robot that did
    not learn on the same tables; 95 % intervals over the robots that have such a twin."""
    own = [cell for cell in cells if cell["family"] in GEOMETRIC]
    still = {(cell["family"], cell["seed"]): while_learning(cell) for cell in own if cell["method"] == "frozen"}
    found: dict[str, dict[str, Any]] = {}
    for method in dict.fromkeys(cell["method"] for cell in own if cell["method"] != "frozen"):
        pairs = [
            (while_learning(cell), still[cell["family"], cell["seed"]])
            for cell in own
            if cell["method"] == method and (cell["family"], cell["seed"]) in still
        ]
        if pairs:
            gains = {
                key: spread([[np.mean(mine[key]) - np.mean(other[key])] for mine, other in pairs])
                for key in ("success", "violation")
            }
            found[method] = {"robots": len(pairs)} | gains
    return found


def draw(cells: list[dict[str, Any]], path: Path) -> None:
    """Cumulative cost over the episodes, mean over the seeds, one panel per family."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    families = list(dict.fromkeys(cell["family"] for cell in cells))
    size = (3.4 * len(families), 3.3)
    figure, axes = pyplot.subplots(1, len(families), figsize=size, squeeze=False, layout="constrained")
    for panel, family in zip(axes[0], families, strict=True):
        for number, method in enumerate(dict.fromkeys(cell["method"] for cell in cells)):
            curves = [cell["cumulative_cost"] for cell in cells if (cell["family"], cell["method"]) == (family, method)]
            if curves:
                panel.plot(range(1, len(curves[0]) + 1), np.mean(curves, 0), color=f"C{number}", label=method)
        panel.set(title=family, xlabel="episode of learning", yscale="symlog")
    axes[0][0].set_ylabel("cumulative cost")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=9, frameon=False)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--agent", action="append", required=True, metavar="NAME=PATH", help="a run or bundle; one must be `fosp`"
    )
    parser.add_argument("--dataset", type=Path, action="append", required=True, help="offline data")
    parser.add_argument("--families", nargs="+", default=list(FAMILIES))
    parser.add_argument("--methods", nargs="+", default=None, help="default: all, and every agent's name")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--episodes", type=int, default=40, help="online episodes")
    parser.add_argument("--updates", type=int, default=20, help="updates after each episode")
    parser.add_argument("--evaluate", type=int, default=50, help="episodes before and after")
    parser.add_argument("--scope", default="heads")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="of the learners")
    parser.add_argument("--jobs", type=int, default=1, help="cells side by side")
    parser.add_argument("--out", type=Path, required=True, help="OUT.json and OUT.png")
    options = parser.parse_args()
    options.agents = {name: Path(place) for name, _, place in (item.partition("=") for item in options.agent)}
    methods = options.methods or [*OF_FOSP, *options.agents]
    unknown = [method for method in methods if method not in (*options.agents, *OF_FOSP)]
    if "fosp" not in options.agents or unknown:
        parser.error(f"--agent fosp=PATH is needed, and one for each method of its own; without: {unknown or 'fosp'}")
    torch.set_num_threads(1)
    file = options.out.with_suffix(".json")
    report: dict[str, Any] = {"before": [], "cells": []}
    if file.exists():
        report = json.loads(file.read_text())
    said = {name: getattr(options, name) for name in ("seeds", "episodes", "updates", "evaluate", "scope", "device")}
    report["provenance"] = provenance(experiment="safereach_finetune", options=said)

    there = {(item["agent"], item["family"]) for item in report["before"]}
    starts = [(agent, family) for agent in options.agents for family in options.families]
    for found in side_by_side(options.jobs, before, [(options, *item) for item in starts if item not in there]):
        report["before"].append(found)
        write_atomically(file, (json.dumps(report) + "\n").encode())

    done = {(cell["family"], cell["method"], cell["seed"]) for cell in report["cells"]}
    wanted = [
        (family, method, seed) for seed in range(options.seeds) for family in options.families for method in methods
    ]
    for cell in side_by_side(options.jobs, run_cell, [(options, *item) for item in wanted if item not in done]):
        start = agent_of(cell["method"], options.agents)
        cell["before"] = next(
            item for item in report["before"] if (item["agent"], item["family"]) == (start, cell["family"])
        )
        cell["after"] = cell["after"] or cell["before"]
        report["cells"] = sorted([*report["cells"], cell], key=place)
        report["summary"] = summarise(report["cells"])
        report["against_frozen"] = against_frozen(report["cells"])
        write_atomically(file, (json.dumps(report) + "\n").encode())
        cost = cell["cumulative_cost"][-1]
        print(f"{cell['family']} {cell['method']} seed {cell['seed']}: cost while learning {cost:.0f}", flush=True)
    draw(report["cells"], options.out.with_suffix(".png"))
    print(fine_tuned(report), fine_tuned_against_frozen(report), sep="\n")


if __name__ == "__main__":
    main()
