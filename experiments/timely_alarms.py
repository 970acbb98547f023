"""Does a filter that learnt on a robot still warn of what the first bundle runs into?

    python -m experiments.timely_alarms FIRST OTHER [OTHER ...] --scenario goal-shape [--episodes 600] [--out R.json]

The first bundle drives so many tables without its filter, which is what a filter's promise is about. Of the episodes
that run into a violation, each bundle's filter is asked along what was seen and done, with several draws of the latent
noise: the share before which it raises an alarm in time (`export.thresholds`), and its threshold.
"""

import argparse
import json
from pathlib import Path

import torch

from export.restore import agent_of_bundle
from fosp_edge.bundle.folder import load_bundle
from fosp_edge.cli.admission import missed_violations
from fosp_edge.cli.provenance import provenance
from fosp_edge.files import write_atomically
from fosp_edge.simulation.collect_policy import collect_policy_episode
from fosp_edge.simulation.evaluation import BundleActor
from fosp_edge.simulation.layout import SCENARIOS

FIRST_SEED = 1_700_000
"""Of tables on which no robot of `experiments.learn_unattended` lived or was tried."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", type=Path, nargs="+", metavar="BUNDLE", help="the first one drives")
    parser.add_argument("--scenario", required=True, choices=SCENARIOS)
    parser.add_argument("--episodes", type=int, default=600)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    torch.set_num_threads(1)
    bundles = [load_bundle(path, check_signature=False) for path in options.bundles]
    actor, violating = BundleActor(bundles[0], filter_enabled=False), []
    for number in range(options.episodes):
        steps, _ = collect_policy_episode(actor, options.scenario, FIRST_SEED + number)
        if steps["violation"].any():
            violating.append(steps | {"image": steps["image"][..., actor.channels]})
    judges = [(agent_of_bundle(bundle), bundle.manifest.filter) for bundle in bundles]
    missed, count = missed_violations(judges, violating, lambda: None)
    filters = [
        {"bundle": bundle.id, "name": bundle.manifest.name, "threshold": thresholds.feasible_reachability,
         "violations": count, "in_time": 1.0 - share / max(1, count)}
        for bundle, (_, thresholds), share in zip(bundles, judges, missed, strict=True)
    ]  # fmt: skip
    report = {
        "origin": provenance(command="python -m experiments.timely_alarms"), "scenario": options.scenario,
        "episodes": options.episodes, "filters": filters,
    }  # fmt: skip
    print(json.dumps(filters, indent=1))
    if options.out is not None:
        write_atomically(options.out, (json.dumps(report, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
