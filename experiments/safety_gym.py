"""The simulation experiment of the FOSP paper on one task: training offline, evaluation, fine-tuning, evaluation.

    python -m experiments.safety_gym SafetyPointGoal1

Collects the offline mixture, trains one world model on it, then per method and seed critics and policy on its latents
(every method sees the same ones), measures, fine-tunes for some episodes (with expansion where the method has it) and
measures again. Written: OUT.json (configuration, commit, versions, every episode), OUT.md (a table beside the published
figures) and two pictures. What is there already is not done again, so an interrupted experiment goes on.

The defaults are what two CPU cores carry in some hours. For the paper's size, on a GPU: --preset small --device cuda
--episodes 4000 --model-updates 100000 --updates 50000 --online 1000, and --jobs for cells side by side.
"""

import argparse
import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.agent_actor import AgentActor, live_in
from experiments.online import Shipped, live_and_learn
from experiments.safety_gym_table import PUBLISHED, markdown_table
from experiments.side_by_side import side_by_side, spread
from fosp_edge.cli.data_plot import draw
from fosp_edge.cli.provenance import provenance
from fosp_edge.experience.store import ExperienceStore
from fosp_edge.files import write_atomically
from fosp_edge.learning.finetuning import begin_fine_tuning, fine_tuning_config
from fosp_edge.learning.metrics import METRICS_FILE, read_metrics
from fosp_edge.simulation.safety_gym.environment import SafetyGym
from fosp_edge.simulation.safety_gym.tasks import CAMERAS, TASKS

METHODS = ("fosp", "fosp-as-released", "safedreamer", "dreamerv3", "bc")
NEVER_ONLINE = ("bc",)
"""Behaviour cloning has nothing to go on learning from."""
EVALUATION_SEED, ONLINE_SEED = 0, 50_000
"""Layouts of evaluation and of learning never meet, nor those of the offline data (100,000 and above)."""


def command(*arguments: str) -> None:
    """`fosp-edge ...` in a process of its own; it goes on where an interrupted one stopped."""
    print("fosp-edge", *arguments, flush=True)
    subprocess.run([sys.executable, "-m", "fosp_edge.cli", *arguments], check=True, stdout=subprocess.DEVNULL)


class Experiment:
    """One task, its data and its world model."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.work = options, options.work / options.task
        self.data = options.dataset or self.work / "data"
        self.model = options.model or self.work / f"{options.preset}-model"

    def prepare(self) -> None:
        """Data and world model, as far as they are missing."""
        options = self.options
        if options.dataset is None:
            amount = ["--episodes", str(options.episodes), "--workers", str(options.workers)]
            command("data", "collect", str(self.data), "--scenario", options.task, *amount)
        if options.model is None:
            updates = str(options.model_updates)
            only = [f"behaviour_from={updates}", f"model_until={updates}", "model_final_rate=0.05"]
            command(*self._train(self.model, "fosp", 0, updates), *_fields(only + options.model_fields))

    def behaviour(self, method: str, seed: int) -> Path:
        """Critics and policy of a method; the folder of its run."""
        run: Path = self.work / f"{self.options.preset}-{method}-s{seed}"
        chosen = ["--world-model", str(self.model), *_fields(self.options.fields)]
        command(*self._train(run, method, seed, str(self.options.updates)), *chosen)
        return run

    def cell(self, method: str, seed: int) -> dict[str, Any]:
        """One agent: offline, evaluation, online, evaluation."""
        options, run = self.options, self.behaviour(method, seed)
        found: dict[str, Any] = {"method": method, "seed": seed, "curves": learning_curves(run)}
        with ExperienceStore(self.data) as store, closing(SafetyGym(options.task)) as environment:
            shipped = Shipped(run, [store], options.scope, options.device)
            found["configuration"] = shipped.agent.config.to_dict()
            kept = run / "offline.json"
            if not kept.exists():
                write_atomically(kept, json.dumps(self._evaluate(shipped.agent, shipped.cameras, environment)).encode())
            found["offline"] = json.loads(kept.read_text())
            if method not in NEVER_ONLINE and options.online:
                config = fine_tuning_config(shipped.agent.config, scope=options.scope, seed=seed)
                learner = begin_fine_tuning(shipped.agent, config, shipped.scalars)
                actor = AgentActor(learner.agent, shipped.cameras, explore=True, there_are=CAMERAS)
                first = ONLINE_SEED + 1000 * seed
                found["while_learning"] = live_and_learn(
                    actor, lambda actor, layout: live_in(environment, actor, layout),
                    range(first, first + options.online), learner, shipped.sampler(learner), options.online_updates,
                )  # fmt: skip
                found["online"] = self._evaluate(learner.agent, shipped.cameras, environment)
        return found

    def _train(self, run: Path, method: str, seed: int, updates: str) -> list[str]:
        chosen = ["--preset", self.options.preset, "--method", method, "--seed", str(seed), "--updates", updates]
        threads = ["--threads", str(self.options.threads)] if self.options.threads else []
        where = ["--dataset", str(self.data), "--run", str(run), "--device", self.options.device]
        return ["train", *where, *chosen, *threads]

    def _evaluate(self, agent: Any, cameras: list[str], environment: SafetyGym) -> dict[str, list[float]]:
        """On the same layouts every time. Actions are drawn, as in the authors' code: these robots' motors saturate at
        a twentieth of an action's range, so that a mean close to zero is full thrust one way or the other."""
        actor = AgentActor(agent, cameras, explore=True, there_are=CAMERAS)
        layouts = range(EVALUATION_SEED, EVALUATION_SEED + self.options.evaluate)
        found = [live_in(environment, actor, layout)[1] for layout in layouts]
        return {name: [float(item[name]) for item in found] for name in ("return", "cost")}


def _fields(fields: list[str]) -> list[str]:
    return [word for field in fields for word in ("--set", field)]


def one_cell(options: argparse.Namespace, method: str, seed: int) -> dict[str, Any]:
    """A cell, wherever it is measured."""
    return Experiment(options).cell(method, seed)


def learning_curves(run: Path, points: int = 20) -> list[dict[str, float]]:
    """Some lines of a run's log."""
    rows = read_metrics(run / METRICS_FILE)
    chosen = np.unique(np.linspace(0, len(rows) - 1, points).round().astype(int))
    return [rows[index] for index in chosen]


def summarise(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per method and phase, all seeds' episodes together; the interval is over the seeds' means if there are
    several, else over episodes."""
    rows = []
    for method in dict.fromkeys(cell["method"] for cell in cells):
        for phase in ("offline", "online"):
            own = [cell[phase] for cell in cells if cell["method"] == method and phase in cell]
            if not own:
                continue
            row: dict[str, Any] = {"method": method, "phase": phase, "seeds": len(own)}
            rows.append(row | {name: spread([item[name] for item in own]) for name in ("return", "cost")})
    return rows


def data_rows(store: Path) -> list[dict[str, Any]]:
    """What the offline data hold, by who acted."""
    with ExperienceStore(store) as opened:
        infos = opened.episodes()
    rows = []
    for source in sorted({info.header.source for info in infos}):
        own = [info.summary for info in infos if info.header.source == source]
        returns, costs = [item.total_reward for item in own], [item.total_cost for item in own]
        rows.append({"source": source, "episodes": len(own), "return": np.mean(returns), "cost": np.mean(costs)})
    return rows


def plot(task: str, rows: list[dict[str, Any]], data: list[dict[str, Any]], path: Path) -> None:
    """Return against cost: ours offline and online, the scripts of the data, and the published figures."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 5.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for item in data:
        axes.plot(item["cost"], item["return"], "x", color="0.5")
        axes.annotate(item["source"], (item["cost"], item["return"]), (5, -10), textcoords="offset points", color="0.5")
    for index, method in enumerate(dict.fromkeys(row["method"] for row in rows)):
        colour = f"C{index}"
        own = {row["phase"]: row for row in rows if row["method"] == method}
        for phase, marker in (("offline", "o"), ("online", "s")):
            if phase in own:
                x, y = own[phase]["cost"], own[phase]["return"]
                errors = [[[item["mean"] - item["low"]], [item["high"] - item["mean"]]] for item in (y, x)]
                axes.errorbar(
                    x["mean"], y["mean"], *errors, fmt=marker, color=colour, capsize=2, lw=1, label=f"{method}, {phase}"
                )
            published = PUBLISHED[task][phase].get(method)
            if published is not None and None not in published:
                axes.plot(*reversed(published), marker, mfc="none", color=colour)
    axes.plot([], [], "o", mfc="none", color="0.4", label="published (hollow)")
    axes.set(xlabel="cost of an episode", ylabel="return of an episode", title=task, xscale="symlog")
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=list(TASKS))
    parser.add_argument("--preset", default="nano")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), help="any of `fosp-edge train --method`")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of critics, policy and fine-tuning")
    parser.add_argument("--episodes", type=int, default=300, help="of the offline data")
    parser.add_argument("--model-updates", type=int, default=6000)
    parser.add_argument("--updates", type=int, default=2500, help="of critics and policy")
    parser.add_argument(
        "--set", dest="fields", action="append", default=[], help="a field of every method's configuration, NAME=VALUE"
    )
    parser.add_argument("--model-set", dest="model_fields", action="append", default=[], help="of the world model's")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--jobs", type=int, default=1, help="cells side by side")
    parser.add_argument("--workers", type=int, default=2, help="processes that collect")
    parser.add_argument("--evaluate", type=int, default=20, help="episodes before and after")
    parser.add_argument("--online", type=int, default=20, help="episodes of fine-tuning; 0 leaves it out")
    parser.add_argument("--online-updates", type=int, default=50, help="after each of them")
    parser.add_argument("--scope", default="heads", help="what of the world model is fine-tuned")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--dataset", type=Path, default=None, help="data that are there already")
    parser.add_argument("--model", type=Path, default=None, help="run folder of a world model that is there already")
    parser.add_argument("--work", type=Path, default=Path("runs/safety-gym"))
    parser.add_argument("--out", type=Path, default=None, help="by default experiments/results/safety-gym-TASK")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    out = options.out or Path("experiments/results") / f"safety-gym-{options.task}"
    out.parent.mkdir(parents=True, exist_ok=True)
    experiment = Experiment(options)
    experiment.prepare()
    kept = experiment.work / f"{options.preset}-measured.json"
    cells: list[dict[str, Any]] = json.loads(kept.read_text()) if kept.exists() else []
    data = data_rows(experiment.data)
    with ExperienceStore(experiment.data) as store:
        write_atomically(out.with_name(out.name + "-data.png"), draw(store.episodes(), options.task))
    said = (
        "preset", "episodes", "model_updates", "model_fields", "updates", "fields", "evaluate", "online",
        "online_updates", "scope", "device",
    )  # fmt: skip
    about = provenance(
        experiment="safety_gym", task=options.task, options={name: getattr(options, name) for name in said}
    )
    about["command"] = f"python -m experiments.safety_gym {options.task}"
    about["options"] |= {  # what is there, where it was given
        "episodes": sum(row["episodes"] for row in data),
        "model_updates": int(learning_curves(experiment.model)[-1]["update"]),
    }
    there = {(cell["method"], cell["seed"]) for cell in cells}
    wanted = [(method, seed) for seed in options.seeds for method in options.methods]
    missing = [(options, *item) for item in wanted if item not in there]
    for cell in side_by_side(options.jobs, one_cell, missing):
        cells.append(cell)
        cells.sort(key=lambda item: (item["seed"], METHODS.index(item["method"]) if item["method"] in METHODS else 99))
        write_atomically(kept, (json.dumps(cells) + "\n").encode())
        rows = summarise(cells)
        report = {"provenance": about, "data": data, "summary": rows, "cells": cells}
        write_atomically(out.with_suffix(".json"), (json.dumps(report) + "\n").encode())
        write_atomically(out.with_suffix(".md"), markdown_table(report).encode())
        plot(options.task, rows, data, out.with_suffix(".png"))
        print(f"{cell['method']} seed {cell['seed']}: {[r for r in rows if r['method'] == cell['method']]}", flush=True)


if __name__ == "__main__":
    main()
