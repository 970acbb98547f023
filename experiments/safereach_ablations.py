"""What each part of the method is worth on SafeReach, offline: one part taken out at a time, everything else the same.

All variants share one trained world model (its latents are computed once per training) and the settings of the shipped
agent (experiments/shipped_agent.sh); critics are learnt anew where the missing part concerns them. Policies act without
the safety filter, on layouts that no training saw. Each (variant, seed) is written once measured; a second start goes
on with those that are missing.

    python -m experiments.safereach_ablations --world-model runs/train/world-model --critics runs/train/critics \
        --mixture data/mixture --careful data/careful --work runs/ablations --out OUT
"""

import argparse
import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from experiments.agent_actor import AgentActor, live
from fosp_edge.cli.provenance import provenance
from fosp_edge.files import write_atomically
from fosp_edge.learning.checkpoint import load_agent
from fosp_edge.simulation.evaluation import Estimate, bootstrap_interval, wilson_interval

CRITICS = ["batch_size=16", "slow_rate=0.05", "slow_regulariser=0.2", "discount=0.94", "feasible_cost_weight=1.0",
           "feasible_reachability=0.15"]  # fmt: skip
POLICY = ["batch_size=24", "discount=0.94", "inverse_temperature=12", "feasible_cost_weight=3",
          "feasible_reachability=0.1"]  # fmt: skip


@dataclass(frozen=True)
class Variant:
    """One way to learn, told by what differs from the method."""

    policy: str
    """Method of the policy's training, a name of `fosp-edge train --method`."""
    critics: str | None = None
    """Method of the critics' training; None: those of the method itself."""
    data: tuple[str, ...] = ("careful",)
    """What the policy imitates."""
    settings: tuple[str, ...] = ()
    """Further changes of the policy's training."""


VARIANTS = {
    "fosp": Variant("fosp"),
    "minus reachability": Variant("fosp-minus-reachability"),
    "minus Lagrangian": Variant("fosp-minus-lagrangian"),
    "minus in-sample": Variant("fosp", critics="fosp-minus-in-sample"),
    "minus weighting (imitation)": Variant("bc"),
    "policy over all data": Variant("fosp", data=("mixture", "careful")),
    "policy over proven data": Variant("fosp", data=("mixture", "careful"), settings=("imitates=proven",)),
}


def train(run: Path, data: list[Path], method: str, model: Path, updates: int, seed: int, extra: list[str]) -> None:
    """`fosp-edge train` in a process of its own; goes on where an interrupted one stopped."""
    command = [sys.executable, "-m", "fosp_edge.cli", "train", "--preset", "nano", "--threads", "1", "--method", method]
    command += ["--world-model", str(model), "--run", str(run), "--updates", str(updates), "--seed", str(seed)]
    for path in data:
        command += ["--dataset", str(path)]
    subprocess.run([*command, *extra], check=True, stdout=subprocess.DEVNULL)


def settings(values: list[str]) -> list[str]:
    return [part for value in values for part in ("--set", value)]


def prepare(variant: Variant, name: str, seed: int, options: argparse.Namespace) -> Path:
    """Train what is missing of a variant; the folder of its policy's run."""
    places = {"mixture": options.mixture, "careful": options.careful}
    critics = options.critics
    if variant.critics is not None:
        # Imagination, where it is asked for, takes a horizon; the method's own critics take none (data alone).
        critics = options.work / f"critics-{variant.critics}"
        train(critics, list(places.values()), variant.critics, options.world_model, options.critic_updates, 0,
              settings([*CRITICS, "horizon=15"]))  # fmt: skip
    run: Path = options.work / f"{name.replace(' ', '-')}-s{seed}"
    train(run, [places[item] for item in variant.data], variant.policy, critics, options.policy_updates, seed,
          ["--critics", *settings([*POLICY, "horizon=0", *variant.settings])])  # fmt: skip
    return run


def measure(run: Path, episodes: int, first_seed: int) -> dict[str, Any]:
    """Episodes of the policy's mean action."""
    agent, header = load_agent(run, torch.device("cpu"))
    actor = AgentActor(agent, header["notes"]["cameras"], explore=False)
    found = [live(actor, "standard", first_seed + index)[1] for index in range(episodes)]
    figures = {name: [float(str(item[name])) for item in found] for name in ("cost", "return", "steps")}
    return {"success": [bool(item["success"]) for item in found]} | figures


def summarise(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per variant, all seeds of the training together, with 95 % intervals over episodes."""
    rows = []
    for name in dict.fromkeys(cell["variant"] for cell in cells):
        own = [cell for cell in cells if cell["variant"] == name]
        success = [value for cell in own for value in cell["success"]]
        violation = [value > 0 for cell in own for value in cell["cost"]]
        estimates: dict[str, Estimate] = {
            "success": wilson_interval(sum(success), len(success)),
            "violation": wilson_interval(sum(violation), len(violation)),
            "cost": bootstrap_interval([value for cell in own for value in cell["cost"]]),
            "return": bootstrap_interval([value for cell in own for value in cell["return"]]),
        }
        rows.append({"variant": name, "seeds": len(own)} | {key: asdict(value) for key, value in estimates.items()})
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The same as Markdown."""
    lines = [
        "| what is learnt | training seeds | reaches the target | episodes in violation | mean cost | return |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        rates = [
            f"{100 * row[key]['mean']:.0f} % ({100 * row[key]['low']:.0f}-{100 * row[key]['high']:.0f})"
            for key in ("success", "violation")
        ]
        means = [f"{row[key]['mean']:.1f} ({row[key]['low']:.1f}-{row[key]['high']:.1f})" for key in ("cost", "return")]
        lines.append(f"| {row['variant']} | {row['seeds']} | {' | '.join(rates + means)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("world-model", "critics", "mixture", "careful", "work"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each policy")
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--first-seed", type=int, default=400, help="layout of the first episode")
    parser.add_argument("--critic-updates", type=int, default=2500)
    parser.add_argument("--policy-updates", type=int, default=3000)
    parser.add_argument("--out", type=Path, required=True, help="OUT.json and OUT.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    file = options.out.with_suffix(".json")
    cells: list[dict[str, Any]] = json.loads(file.read_text())["cells"] if file.exists() else []
    done = {(cell["variant"], cell["seed"]) for cell in cells}
    names = ("seeds", "episodes", "first_seed", "critic_updates", "policy_updates")
    about = provenance(experiment="safereach_ablations", options={name: getattr(options, name) for name in names})
    for seed in range(options.seeds):
        for name in options.variants:
            if (name, seed) in done:
                continue
            run = prepare(VARIANTS[name], name, seed, options)
            cells.append({"variant": name, "seed": seed} | measure(run, options.episodes, options.first_seed))
            rows = summarise(cells)
            write_atomically(file, (json.dumps({"provenance": about, "summary": rows, "cells": cells}) + "\n").encode())
            write_atomically(options.out.with_suffix(".md"), (table(rows) + "\n").encode())
            print(table(rows[-1:]).splitlines()[-1], flush=True)


if __name__ == "__main__":
    main()
