"""Does a robot that learns unattended get better on tables it has never seen, and never worse?

    python -m experiments.learn_unattended --dataset data/safereach --episodes 300 --seed 0 --seed 1
        [--scenario obstacle-shape ...] [--arm learns ...] [--afterwards 110] [--bundle B] [--beside R.json]
        [--out R.json] [--folder W]

Per family and seed, three robots begin with the same bundle (the shipped one if left out) and see the same tables:
`learns` is `fosp-edge run --learn` in lockstep (`experiments/unattended.py`), `frozen` does not learn, and `no gate`
swaps to whatever was learnt. Reported: success, episodes in violation and cumulative cost, over all episodes, over the
first and the last third; table by table, what is gained over `frozen`, and without the gate over with it; how long it
takes until the first candidate has taken over; swaps, refusals and what was taken back. With `--afterwards`, what a
robot ended with is driven on so many fresh tables, filter on, beside the first bundle. With `--beside R.json` what is
gained is also told over these robots and those of another report together.

A robot that was interrupted begins anew; finished ones are kept in W and not run again. What is learnt of what was
lived is the same each time, so without the gate a robot lives as with it until the gate would have refused something;
where it refused nothing, that robot is not run again either.
"""

import argparse
import json
import re
import shutil
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.unattended import Lived, UnattendedRobot, rows
from fosp_edge.cli.home import Home
from fosp_edge.cli.learning_process import LearnerProcess, LearnSettings
from fosp_edge.cli.provenance import provenance
from fosp_edge.cli.shipped import shipped_bundle
from fosp_edge.files import write_atomically
from fosp_edge.simulation.evaluation import BundleActor, bootstrap_interval, evaluate_episode, wilson_interval
from fosp_edge.simulation.task import RATE_HZ

FAMILIES = ("obstacle-shape", "goal-shape", "obstacle-count")
ARMS = ("frozen", "learns", "no gate")
BEFORE_LEARNING = 20
SEEDS_APART = 10_000
FRESH_SEED = 1_500_000
"""Of the tables afterwards, every robot's own; robots live on those from 1,000,000 on."""


def live_and_learn(
    home: Home, first: Path, scenario: str, seed: int, arm: str, options: argparse.Namespace
) -> dict[str, Any]:
    """One robot's days, from the first on; JSON values."""
    shutil.rmtree(home.folder, ignore_errors=True)
    robot, began_s = UnattendedRobot(home, first, scenario), time.monotonic()
    first_seed = 1_000_000 + SEEDS_APART * seed

    def live() -> None:
        item = robot.live(first_seed + len(robot.lived))
        if len(robot.lived) % 20 == 0:
            print(f"  {len(robot.lived)} episodes, {_share(robot.lived)}, {item.swaps} swaps", flush=True)

    done = lambda: len(robot.lived) >= options.episodes  # noqa: E731
    try:
        if arm == "frozen":
            while not done():
                live()
        else:
            while len(robot.lived) < BEFORE_LEARNING:
                live()
            begun: list[int] = []

            def before_update(trainer: Any, learner: Any) -> None:
                begun.append(0)
                due = BEFORE_LEARNING + len(begun) // options.updates_per_episode
                while len(robot.lived) < due and not done():
                    live()

            settings = LearnSettings(
                mode=options.mode, updates_per_candidate=options.updates_per_candidate,
                compared_episodes=options.compared, offline_rows=options.offline_rows, gate=arm == "learns", seed=seed,
                cost_emphasis=options.cost_emphasis,
            )  # fmt: skip
            LearnerProcess(
                home, first, options.dataset, settings, stopped=done, before_update=before_update, lived=robot.store,
                say=lambda text: print(f"  {text[:160]}", flush=True),
            ).run()  # fmt: skip
    finally:
        robot.close()
    events = _lines(home.events)
    verdicts = _lines(home.verdicts)
    third = len(robot.lived) // 3
    return {
        "scenario": scenario, "seed": seed, "arm": arm, "minutes": round((time.monotonic() - began_s) / 60.0, 1),
        "all": summary(robot.lived), "first_third": summary(robot.lived[:third]),
        "last_third": summary(robot.lived[-third:]),
        "swaps": robot.swapper.swaps,
        "candidates": sum("checks" in item for item in verdicts),
        "admitted": sum(bool(item.get("admitted")) for item in verdicts),
        "passed": passed([item["event"] for item in events]),
        "taken_back": [item["event"] for item in events if "is taken back" in item["event"]],
        "refused_because": [item["sentence"] for item in verdicts if not item.get("admitted", True)],
        "episodes": rows(robot.lived),
    }  # fmt: skip


def summary(lived: Sequence[Lived]) -> dict[str, Any]:
    """Shares with 95 % intervals."""
    return {
        "episodes": len(lived),
        "success": vars(wilson_interval(sum(item.success for item in lived), len(lived))),
        "violation": vars(wilson_interval(sum(item.violated for item in lived), len(lived))),
        "cumulative_cost": float(np.sum([item.cost for item in lived])),
        "violations": int(np.sum([item.violated for item in lived])),
    }


def against_frozen(robots: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What an arm gains over the robot that does not learn, table by table, with 95 % intervals: a row per family, one
    over all of them, and one over the tables after the first take-over; up to there the two robots are the same.

    `interventions` is the share of an episode's ticks in which the filter stepped in, without learning and with.
    """
    of = {(item["scenario"], item["arm"], item["seed"]): item["episodes"] for item in robots}
    rows = []
    for arm in dict.fromkeys(item["arm"] for item in robots if item["arm"] != "frozen"):
        pairs = {
            (family, seed): list(zip(of[family, "frozen", seed], episodes, strict=True))
            for (family, other, seed), episodes in of.items()
            if other == arm and (family, "frozen", seed) in of
        }
        groups = {
            family: [pair for (name, _), both in pairs.items() if name == family for pair in both]
            for family in dict.fromkeys(family for family, _ in pairs)
        }
        groups["all"] = [pair for both in pairs.values() for pair in both]
        groups["all, after the first take-over"] = [
            pair for both in pairs.values() for pair in both[_lived_before_take_over([after for _, after in both]) :]
        ]
        for name, own in groups.items():
            if not own:
                continue
            row: dict[str, Any] = {"arm": arm, "scenario": name, "tables": len(own)}
            for key in ("success", "violated", "cost"):
                row[key] = vars(bootstrap_interval([float(after[key]) - float(before[key]) for before, after in own]))
            row["violations"] = [sum(bool(item["violated"]) for item in lived) for lived in zip(*own, strict=True)]
            row["interventions"] = _interventions(own)
            rows.append(row)
    return rows


def together(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the robots of several reports gained, told as of one. No robot may be in two of them.

    Raises:
        ValueError: one is.
    """
    robots = [item for report in reports for item in report["robots"] if item["arm"] in ("frozen", "learns")]
    names = [(item["scenario"], item["seed"], item["arm"]) for item in robots]
    if len(set(names)) < len(names):
        raise ValueError("expected reports of different robots, and found the same scenario and seed in two of them")
    learning = sum(item["arm"] == "learns" for item in robots)
    return {"robots": learning, "against_frozen": against_frozen(robots), "ended_with": ended_with(robots)}


def passed(events: Sequence[str]) -> dict[str, int]:
    """Bundles that passed their probation (how their names begin), and after how many episodes."""
    found = (re.match(r"bundle (\w+) passed its probation: .* over (\d+) episodes", event) for event in events)
    return {match[1]: int(match[2]) for match in found if match is not None}


def by_phase(robots: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What robots that learn did beside those that do not: with the first bundle, with others on probation, and with
    those that had passed it. Without learning first, with it second."""
    frozen = {(item["scenario"], item["seed"]): item["episodes"] for item in robots if item["arm"] == "frozen"}
    phases: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]] = {}
    for robot in robots:
        beside = frozen.get((robot["scenario"], robot["seed"]))
        if robot["arm"] != "learns" or beside is None or "passed" not in robot:
            continue
        first, driven = robot["episodes"][0]["bundle"], dict[str, int]()
        for before, after in zip(beside, robot["episodes"], strict=True):
            name = after["bundle"]
            driven[name] = driven.get(name, 0) + 1
            lasted = robot["passed"].get(name[:12], len(beside))
            phase = "first bundle" if name == first else "on probation" if driven[name] <= lasted else "passed"
            phases.setdefault(phase, []).append((before, after))
    rows = []
    for phase, pairs in phases.items():
        row: dict[str, Any] = {"phase": phase, "tables": len(pairs)}
        for key in ("success", "violated"):
            row[key] = vars(bootstrap_interval([float(after[key]) - float(before[key]) for before, after in pairs]))
            row[f"{key}_share"] = [float(np.mean([item[key] for item in arm])) for arm in zip(*pairs, strict=True)]
        row["interventions"] = _interventions(pairs)
        rows.append(row)
    return rows


def _interventions(pairs: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> list[float]:
    """Share of an episode's ticks in which the filter stepped in, of both arms."""
    return [float(np.mean([item["interventions"] / item["steps"] for item in arm])) for arm in zip(*pairs, strict=True)]


def afterwards(home: Home, first: Path, scenario: str, seed: int, episodes: int) -> dict[str, Any]:
    """What a robot ended with, and the bundle that it began with, on the same fresh tables; JSON values."""
    versions = home.versions(first)
    paths = {"first": first, "last": versions.path_of(versions.find("current"))}
    found: dict[str, Any] = {}
    for name, path in paths.items():
        actor = BundleActor(path, filter_enabled=True)
        driven = [
            evaluate_episode(actor, scenario, FRESH_SEED + SEEDS_APART * seed + number) for number in range(episodes)
        ]
        found[name] = {
            "bundle": path.name,
            "success": [item.success for item in driven],
            "violated": [item.cost > 0.0 for item in driven],
            "cost": [item.cost for item in driven],
            "steps": [item.steps for item in driven],
        }
    return found


def ended_with(robots: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What robots ended with beside what they began with, table by table, with 95 % intervals: a row per arm and
    family, and one over all families."""
    rows = []
    tried = [item for item in robots if "afterwards" in item]
    for arm in dict.fromkeys(item["arm"] for item in tried):
        own = [item for item in tried if item["arm"] == arm]
        for family in [*dict.fromkeys(item["scenario"] for item in own), "all"]:
            pairs = [item["afterwards"] for item in own if family in (item["scenario"], "all")]
            row: dict[str, Any] = {"arm": arm, "scenario": family}
            for key in ("success", "violated", "cost", "steps"):
                first, last = (np.concatenate([np.asarray(item[name][key], float) for item in pairs])
                               for name in ("first", "last"))  # fmt: skip
                row["tables"] = len(last)
                row[key] = {"first": float(first.mean()), "last": float(last.mean())}
                row[key]["gained"] = vars(bootstrap_interval((last - first).tolist()))
            rows.append(row)
    return rows


def beside_the_gate(robots: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What swapping to whatever was learnt gained over the gate, while learning and with what both ended with.

    A row for the robots of which the gate refused some candidate, and one for all; of the others, both are the same.
    The intervals, 95 %, are over robots.
    """
    of = {(item["scenario"], item["seed"], item["arm"]): item for item in robots}
    pairs = [(of[family, seed, "learns"], item) for (family, seed, arm), item in of.items()
             if arm == "no gate" and (family, seed, "learns") in of]  # fmt: skip
    groups = {"refused some": [pair for pair in pairs if not _refused_nothing(pair[0])], "all": pairs}
    rows: list[dict[str, Any]] = []
    for name, own in groups.items():
        row: dict[str, Any] = {"of": name, "robots": len(own)}
        for phase, of_robot in (("while_learning", _lived_through), ("ended_with", _tried_afterwards)):
            told = [[of_robot(robot) for robot in pair] for pair in own]
            if not told or any(found is None for pair in told for found in pair):
                continue
            row[phase] = {"tables": sum(len(gate["success"]) for gate, _ in told)}
            for key in ("success", "violated"):
                gained = [float(np.mean(none[key])) - float(np.mean(gate[key])) for gate, none in told]
                row[phase][key] = {
                    "gate": sum(int(np.sum(gate[key])) for gate, _ in told),
                    "no_gate": sum(int(np.sum(none[key])) for _, none in told),
                    "gained": vars(bootstrap_interval(gained)),
                }
        rows.append(row)
    return rows if pairs else []


def _refused_nothing(robot: dict[str, Any]) -> bool:
    return bool(robot["admitted"] == robot["candidates"])


def _lived_through(robot: dict[str, Any]) -> dict[str, Any] | None:
    return {key: [item[key] for item in robot["episodes"]] for key in ("success", "violated")}


def _tried_afterwards(robot: dict[str, Any]) -> dict[str, Any] | None:
    return None if "afterwards" not in robot else dict(robot["afterwards"]["last"])


def _lived_before_take_over(episodes: Sequence[dict[str, Any]]) -> int:
    """How many episodes came before the first one with another bundle than the first."""
    return next((i for i, item in enumerate(episodes) if item["bundle"] != episodes[0]["bundle"]), len(episodes))


def first_take_over(robots: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """From the first experience to the first improvement deployed: medians over robots that learn behind the gate."""
    before = []
    for robot in robots:
        episodes = robot["episodes"]
        count = _lived_before_take_over(episodes)
        if robot["arm"] == "learns" and count < len(episodes):
            before.append((count, sum(item["steps"] for item in episodes[:count]) / RATE_HZ / 60.0))
    learning = sum(robot["arm"] == "learns" for robot in robots)
    found: dict[str, Any] = {"robots": learning, "took_over": len(before)}
    if before:
        episodes_before, minutes = np.median(before, axis=0)
        found |= {"episodes": float(episodes_before), "robot_minutes": round(float(minutes), 1)}
    return found


def _share(lived: Sequence[Lived]) -> str:
    found = summary(lived)
    return f"{found['success']['mean']:.0%} reached, {found['violations']} in violation"


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _kept(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What is in the file; if there is none, it is made and written there first."""
    if not path.exists():
        print(f"{path.stem}:", flush=True)
        write_atomically(path, (json.dumps(make()) + "\n").encode())
    return dict(json.loads(path.read_text()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, action="append", required=True)
    parser.add_argument("--bundle", type=Path, default=None)
    parser.add_argument("--scenario", action="append", choices=FAMILIES)
    parser.add_argument("--arm", action="append", choices=ARMS)
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--episodes", type=int, default=300)
    parser.add_argument("--mode", default="light")
    parser.add_argument("--updates-per-episode", type=int, default=8)
    parser.add_argument("--updates-per-candidate", type=int, default=400)
    parser.add_argument("--compared", type=int, default=40)
    parser.add_argument("--offline-rows", type=int, default=20_000)
    parser.add_argument("--cost-emphasis", type=float, default=LearnSettings.cost_emphasis, help="1: as offline")
    parser.add_argument("--afterwards", type=int, default=0, help="fresh tables for what a robot ended with")
    parser.add_argument("--beside", type=Path, action="append", help="report of other robots, to tell together")
    parser.add_argument("--out", type=Path, default=Path("experiments/results/learn_unattended.json"))
    parser.add_argument("--folder", type=Path, default=Path("runs/learn_unattended"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    first = options.bundle or shipped_bundle()
    about = provenance(
        command="python -m experiments.learn_unattended",
        options={name: str(value) for name, value in vars(options).items()}, bundle=first.name,
    )  # fmt: skip
    results: list[dict[str, Any]] = []
    others = [json.loads(path.read_text()) for path in options.beside or []]
    for scenario in options.scenario or FAMILIES:
        for seed in options.seed or [0]:
            for arm in options.arm or ARMS:
                name, gated = (f"{scenario}-{kind.replace(' ', '-')}-s{seed}" for kind in (arm, "learns"))
                with_gate = options.folder / f"{gated}.json"
                if arm == "no gate" and with_gate.exists() and _refused_nothing(json.loads(with_gate.read_text())):
                    name = gated
                home = Home(options.folder / name)
                found = _kept(
                    options.folder / f"{name}.json",
                    partial(live_and_learn, home, first, scenario, seed, arm, options),
                )
                if options.afterwards and arm != "frozen":
                    found["afterwards"] = _kept(
                        options.folder / f"{name}-afterwards-{options.afterwards}.json",
                        partial(afterwards, home, first, scenario, seed, options.afterwards),
                    )
                results.append(found | {"arm": arm})
                print(f"{name}: {json.dumps(found['all'])}", flush=True)
                report = {
                    "origin": about, "against_frozen": against_frozen(results), "by_phase": by_phase(results),
                    "first_take_over": first_take_over(results), "ended_with": ended_with(results),
                    "beside_the_gate": beside_the_gate(results), "robots": results,
                }  # fmt: skip
                if others:
                    report["together"] = together([*others, report])
                write_atomically(options.out, (json.dumps(report) + "\n").encode())


if __name__ == "__main__":
    main()
