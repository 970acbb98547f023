"""Does a filter that learnt on a robot still warn of what the first bundle runs into?

    python -m experiments.timely_alarms FIRST OTHER [OTHER ...] --scenario goal-shape [--episodes 600] [--out R.json]

The first bundle drives so many tables without its filter, which is what a filter's promise is about. Of the episodes
that run into a violation, each bundle's filter is asked along what was seen and done, with several draws of the latent
noise: the share before which it raises an alarm in time (`export.thresholds`), and its threshold.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from export.companions import horizon_of
from export.reference import redrawn_reachability
from export.restore import agent_of_bundle
from export.thresholds import onset_score
from fosp_edge.bundle.folder import load_bundle
from fosp_edge.cli.provenance import provenance
from fosp_edge.control.types import Observation
from fosp_edge.experience.schema import Steps
from fosp_edge.files import write_atomically
from fosp_edge.simulation.evaluation import BundleActor
from fosp_edge.simulation.layout import SCENARIOS

FIRST_SEED = 1_700_000
"""Of tables on which no robot of `experiments.learn_unattended` lived or was tried."""


def until_violation(actor: BundleActor, scenario: str, seed: int) -> Steps | None:
    """What was seen and done up to the first violation; None if there was none."""
    environment = actor.environment(scenario)
    raw, _ = environment.reset(seed=seed)
    actor.reset(seed)
    images, states, actions = list[np.ndarray](), list[np.ndarray](), list[np.ndarray]()
    over = violated = False
    while not over and not violated:
        images.append(raw["image"][..., actor.channels])
        states.append(raw["state"])
        actions.append(actor.decide(Observation(raw["image"], raw["state"]))[0].action)
        raw, _, success, late, info = environment.step(actions[-1])
        over, violated = success or late, info["cost"] > 0.0
    if not violated:
        return None
    rows = len(images) + 1
    return {
        "image": np.stack([*images, raw["image"][..., actor.channels]]),
        "state": np.stack([*states, raw["state"]]),
        "action": np.stack([*actions, np.zeros_like(actions[0])]),
        "is_first": np.arange(rows) == 0,
        "violation": (np.arange(rows) == rows - 1).astype(np.float32),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", type=Path, nargs="+", metavar="BUNDLE", help="the first one drives")
    parser.add_argument("--scenario", required=True, choices=SCENARIOS)
    parser.add_argument("--episodes", type=int, default=600)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    torch.set_num_threads(1)
    actor = BundleActor(options.bundles[0], filter_enabled=False)
    driven = [until_violation(actor, options.scenario, FIRST_SEED + number) for number in range(options.episodes)]
    violating = [steps for steps in driven if steps is not None]
    filters = []
    for path in options.bundles:
        bundle, generator = load_bundle(path, check_signature=False), torch.Generator().manual_seed(0)
        agent, thresholds, in_time = agent_of_bundle(bundle), bundle.manifest.filter, list[float]()
        for steps in violating:
            drawn = redrawn_reachability(agent, steps, generator, horizon_of(thresholds))
            scores = [onset_score(reachability, steps["violation"]) for reachability in drawn]
            known = [score > thresholds.feasible_reachability for score in scores if score is not None]
            if known:  # there was time before it
                in_time.append(float(np.mean(known)))
        filters.append(
            {"bundle": path.name, "name": bundle.manifest.name, "threshold": thresholds.feasible_reachability,
             "violations": len(in_time), "in_time": float(np.mean(in_time))}
        )  # fmt: skip
        print(json.dumps(filters[-1]), flush=True)
    report = {
        "origin": provenance(command="python -m experiments.timely_alarms"), "scenario": options.scenario,
        "episodes": options.episodes, "filters": filters,
    }  # fmt: skip
    if options.out is not None:
        write_atomically(options.out, (json.dumps(report, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
