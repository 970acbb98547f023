"""Thousands of random schedules of injected faults: `python -m experiments.fault_campaign --schedules 5000`.

Each schedule is one to four of the named faults of `tests/faults/campaign.py` at random moments of a run. Counted is
how the runs ended, and every command that should not have reached the motors.
"""

import argparse
import json
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np

from tests.faults.campaign import FAULTS, random_schedule, run_schedule


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schedules", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("experiments/results/fault_campaign.json"))
    options = parser.parse_args()
    random, ends, injected = np.random.default_rng(options.seed), Counter[str](), Counter[str]()
    violations: list[dict[str, object]] = []
    ticks = 0
    for _ in range(options.schedules):
        schedule = random_schedule(random)
        summary, wrong = run_schedule(schedule)
        ends[summary.reason.name] += 1
        ticks += summary.ticks
        injected.update(fault.name for _, fault in schedule)
        if wrong:
            violations.append({"schedule": [(tick, fault.name) for tick, fault in schedule], "wrong": wrong})
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    document = {
        "schedules": options.schedules,
        "seed": options.seed,
        "commit": found.stdout.strip(),
        "faults": len(FAULTS),
        "injected": dict(sorted(injected.items())),
        "ticks": ticks,
        "ends": dict(ends.most_common()),
        "violations": violations,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    temporary = options.out.with_suffix(".tmp")
    temporary.write_text(json.dumps(document, indent=1) + "\n")
    temporary.replace(options.out)
    print(
        f"{options.schedules} schedules, {ticks} ticks, {len(violations)} with violations; {dict(ends.most_common())}"
    )


if __name__ == "__main__":
    main()
