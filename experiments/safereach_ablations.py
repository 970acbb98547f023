"""What each part of the method is worth on SafeReach, offline: one part taken out at a time, everything else the same.

All variants share one trained world model (its latents are computed once per training) and the settings of the shipped
agent (experiments/shipped_agent.sh); critics are learnt anew where the missing part concerns them. Policies act without
the safety filter, on layouts that no training saw. Each (variant, seed) is written once measured; a second start goes
on with those that are missing. World model and critics may be those of a bundle, the shipped one for example.

    python -m experiments.safereach_ablations --world-model fosp_edge/shipped/* --critics fosp_edge/shipped/* \
        --mixture data/mixture --careful data/careful --work runs/ablations --jobs 2 --out OUT
"""

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from experiments.agent_actor import AgentActor, live
from experiments.side_by_side import side_by_side, spread
from experiments.tables import ablated
from fosp_edge.cli.provenance import provenance
from fosp_edge.cli.training import starting_point
from fosp_edge.files import write_atomically

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


def train(
    run: Path, data: list[Path], method: str, model: Path, updates: int, seed: int, device: str, extra: list[str]
) -> None:
    """`fosp-edge train` in a process of its own; goes on where an interrupted one stopped."""
    command = [sys.executable, "-m", "fosp_edge.cli", "train", "--preset", "nano", "--threads", "1", "--method", method]
    command += ["--world-model", str(model), "--run", str(run), "--updates", str(updates)]
    command += ["--seed", str(seed), "--device", device]
    for path in data:
        command += ["--dataset", str(path)]
    subprocess.run([*command, *extra], check=True, stdout=subprocess.DEVNULL)


def settings(values: list[str]) -> list[str]:
    return [part for value in values for part in ("--set", value)]


def own_critics(options: argparse.Namespace, method: str) -> Path:
    """The run of critics that a method learns for itself, trained if it is missing."""
    run: Path = options.work / f"critics-{method}"
    # Imagination, where it is asked for, takes a horizon; the method's own critics take none (data alone).
    train(run, [options.mixture, options.careful], method, options.world_model, options.critic_updates, 0,
          options.device, settings([*CRITICS, "horizon=15"]))  # fmt: skip
    return run


def prepare(variant: Variant, name: str, seed: int, options: argparse.Namespace) -> Path:
    """Train a variant's policy, if it is missing; the folder of its run."""
    places = {"mixture": options.mixture, "careful": options.careful}
    critics = own_critics(options, variant.critics) if variant.critics else options.critics
    run: Path = options.work / f"{name.replace(' ', '-')}-s{seed}"
    train(run, [places[item] for item in variant.data], variant.policy, critics, options.policy_updates, seed,
          options.device, ["--critics", *settings([*POLICY, "horizon=0", *variant.settings])])  # fmt: skip
    return run


def measure(run: Path, episodes: int, first_seed: int) -> dict[str, Any]:
    """Episodes of the policy's mean action."""
    agent, cameras, _, _ = starting_point(run)
    actor = AgentActor(agent, cameras, explore=False)
    found = [live(actor, "standard", first_seed + index)[1] for index in range(episodes)]
    figures = {name: [float(str(item[name])) for item in found] for name in ("cost", "return", "steps")}
    return {"success": [bool(item["success"]) for item in found]} | figures


def one_cell(options: argparse.Namespace, name: str, seed: int) -> dict[str, Any]:
    """One training of one variant, measured."""
    run = prepare(VARIANTS[name], name, seed, options)
    return {"variant": name, "seed": seed} | measure(run, options.episodes, options.first_seed)


def summarise(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per variant, with 95 % intervals over trainings (over episodes while there is one training)."""
    rows = []
    for name in dict.fromkeys(cell["variant"] for cell in cells):
        own = [cell for cell in cells if cell["variant"] == name]
        row: dict[str, Any] = {"variant": name, "seeds": len(own)}
        row["violation"] = spread([[value > 0 for value in cell["cost"]] for cell in own])
        rows.append(row | {key: spread([cell[key] for cell in own]) for key in ("success", "cost", "return")})
    return rows


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
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="of the training")
    parser.add_argument("--jobs", type=int, default=1, help="trainings and measurements side by side")
    parser.add_argument("--out", type=Path, required=True, help="OUT.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    file = options.out.with_suffix(".json")
    cells: list[dict[str, Any]] = json.loads(file.read_text())["cells"] if file.exists() else []
    done = {(cell["variant"], cell["seed"]) for cell in cells}
    names = ("seeds", "episodes", "first_seed", "critic_updates", "policy_updates", "device")
    about = provenance(experiment="safereach_ablations", options={name: getattr(options, name) for name in names})
    wanted = [(name, seed) for seed in range(options.seeds) for name in options.variants if (name, seed) not in done]
    for method in dict.fromkeys(VARIANTS[name].critics for name, _ in wanted):
        if method is not None:
            own_critics(options, method)  # once, before several policies want them at the same time
    for cell in side_by_side(options.jobs, one_cell, [(options, *item) for item in wanted]):
        cells = sorted([*cells, cell], key=lambda item: (list(VARIANTS).index(item["variant"]), item["seed"]))
        rows = summarise(cells)
        write_atomically(file, (json.dumps({"provenance": about, "summary": rows, "cells": cells}) + "\n").encode())
        print(f"{cell['variant']} seed {cell['seed']}", flush=True)
    print(ablated({"summary": summarise(cells)}))


if __name__ == "__main__":
    main()
