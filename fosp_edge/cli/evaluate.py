"""`fosp-edge eval`: a bundle over seeds and scenario families, with intervals, as table, JSON and plot."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from fosp_edge.bundle.manifest import REACHABILITY, Manifest
from fosp_edge.cli.extras import require
from fosp_edge.cli.failures import interrupted
from fosp_edge.cli.measuring import measure
from fosp_edge.cli.provenance import provenance
from fosp_edge.cli.results import write_results

_ACTORS: dict[tuple[str | None, str, bool], Any] = {}
"""One actor per agent in each worker process: opening a graph takes longer than an episode should."""

Job = tuple[str | None, str, bool, str, int]
"""Bundle, robot, whether the filter is on, scenario and seed."""


def evaluate(
    bundle: Annotated[
        list[Path] | None, typer.Option(help="Bundle to measure; may be given several times. Default: the shipped one.")
    ] = None,
    scenario: Annotated[
        list[str] | None, typer.Option(help="Scenario family; may be given several times. `all` for every one.")
    ] = None,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes per agent and scenario.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first episode; training uses 100000 and above.")] = 0,
    without_filter: Annotated[
        bool, typer.Option("--without-filter", help="Measure each bundle a second time with the filter switched off.")
    ] = False,
    random: Annotated[bool, typer.Option("--random", help="Measure random actions too.")] = False,
    out: Annotated[Path | None, typer.Option(help="Where the results go: OUT.json and OUT.png.")] = None,
    workers: Annotated[int, typer.Option(min=1, max=1024, help="Processes.")] = 2,
) -> None:
    """Measure agents in simulation: success, violations, return, cost, interventions, each with a 95 % interval.

    An arm's are measured on SafeReach, a base's in SafeRoom.

    Episodes run in lockstep with the simulated physics, faster than real time, through the same controller, filter
    and limits that `fosp-edge run` uses. Ctrl-C ends it early, with the seeds that every agent has driven.

    Example: fosp-edge eval --scenario all --episodes 100 --without-filter --random
    """
    require("simulation")
    from fosp_edge.bundle.folder import load_bundle
    from fosp_edge.cli.shipped import shipped_bundle
    from fosp_edge.simulation.evaluation import score
    from fosp_edge.simulation.layout import SCENARIOS

    console = Console() if sys.stdout.isatty() else Console(width=160)
    paths = list(bundle or [shipped_bundle()])
    bundles = [load_bundle(path) for path in paths]
    robots = sorted({opened.manifest.robot for opened in bundles})
    if len(robots) > 1:
        raise ValueError(
            f"bundles for {' and '.join(robots)} have nothing in common to be measured at: one robot at a time"
        )
    wanted = list(SCENARIOS) if scenario and "all" in scenario else (scenario or ["standard"])
    if unknown := [name for name in wanted if name not in SCENARIOS]:
        raise ValueError(f"unknown scenario {unknown[0]!r}; choose one of: {', '.join(SCENARIOS)}, or all")
    agents: list[tuple[str, str | None, bool]] = []
    for path, opened in zip(paths, bundles, strict=True):
        name = opened.manifest.name
        guarded = _has_filter(opened.manifest)
        if guarded:
            agents.append((name, str(path), True))
        if without_filter or not guarded:
            agents.append((f"{name}, no filter", str(path), False))
    if random:
        agents.append(("random", None, False))
    compared = [(agent, name) for agent in agents for name in wanted]

    def jobs(layout: int) -> list[Job]:
        return [(path, robots[0], filtered, name, layout) for (_, path, filtered), name in compared]

    found = measure(_run, jobs, range(seed, seed + episodes), workers, console)
    driven = len(found[0])
    scores = [score(called, results) for ((called, _, _), _), results in zip(compared, found, strict=True)]
    console.print(_table(scores, robots[0]))
    if out is not None:
        report = {
            "provenance": provenance(),
            "bundles": [opened.id for opened in bundles],
            "seeds": [seed, seed + driven - 1],
            "scores": [asdict(item) for item in scores],
            "episodes": [asdict(result) for results in found for result in results],
        }

        def plot() -> bytes:
            from fosp_edge.cli.evaluation_plot import plot_scores

            return plot_scores(scores)

        write_results(console, out, report, plot)
    if driven < episodes:
        raise interrupted()


def _has_filter(manifest: Manifest) -> bool:
    """Whether the agent learnt reachability at all; behaviour cloning, say, does not, which older bundles say only in
    their configuration."""
    learnt = REACHABILITY not in manifest.unknown_scores
    return learnt and bool(manifest.provenance.get("config", {}).get("safety", True))


def _run(job: Job) -> Any:
    from fosp_edge.simulation.evaluation import BundleActor, RandomActor, evaluate_episode

    path, robot, filtered, scenario, seed = job
    if (path, robot, filtered) not in _ACTORS:
        _ACTORS[path, robot, filtered] = (
            RandomActor(robot) if path is None else BundleActor(Path(path), filter_enabled=filtered)
        )
    return evaluate_episode(_ACTORS[path, robot, filtered], scenario, seed)


def _table(scores: list[Any], robot: str) -> Table:
    table = Table(title=f"{robot} in simulation, mean and 95 % interval")
    for name in ("agent", "scenario", "success", "episodes in violation", "return", "cost", "steps", "interventions"):
        table.add_column(name, justify="left" if name in ("agent", "scenario") else "right")
    for item in scores:
        table.add_row(
            item.agent, item.scenario, _percent(item.success), _percent(item.violation), _number(item.total_reward),
            _number(item.cost), f"{item.steps.mean:.0f}", _percent(item.intervention),
        )  # fmt: skip
    return table


def _percent(estimate: Any) -> str:
    return f"{estimate.mean:.0%} ({estimate.low:.0%}-{estimate.high:.0%})"


def _number(estimate: Any) -> str:
    return f"{estimate.mean:.2f} ({estimate.low:.2f}-{estimate.high:.2f})"
