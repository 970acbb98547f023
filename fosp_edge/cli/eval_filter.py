"""`fosp-edge eval-filter`: what the safety filter prevents, what it costs, and how it compares."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from fosp_edge.bundle.folder import Bundle, load_bundle
from fosp_edge.cli.extras import require
from fosp_edge.cli.failures import interrupted
from fosp_edge.cli.files import write_atomically
from fosp_edge.cli.measuring import measure
from fosp_edge.cli.provenance import provenance
from fosp_edge.cli.results import write_results
from fosp_edge.cli.shipped import shipped_bundle

_ACTORS: dict[tuple[str, str, bool], Any] = {}
"""One actor per filter in each worker process: opening a graph takes longer than an episode should."""

TOGETHER = "usual pictures"
"""What the sum over families is called whose pictures are such as the agent learnt from."""

Job = tuple[str, str | None, tuple[str, ...], str, str | None, int]
"""Bundle, file of the ensemble, all filters, scenario, the filter in charge (None: judge them all), seed."""


def eval_filter(
    bundle: Annotated[
        Path | None, typer.Option(help="Bundle whose filter is measured. Default: the shipped one.")
    ] = None,
    scenario: Annotated[
        list[str] | None, typer.Option(help="Scenario family; may be given several times. Default: every one.")
    ] = None,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes per filter and scenario.")] = 30,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first episode; training uses 100000 and above.")] = 0,
    ensemble_dataset: Annotated[
        Path | None,
        typer.Option(help="Data to train the ensemble on that we compare with; without it, it is left out."),
    ] = None,
    ensemble_episodes: Annotated[int, typer.Option(min=6, help="At most so many episodes of it.")] = 300,
    out: Annotated[Path | None, typer.Option(help="Where the results go: OUT.json and OUT.png.")] = None,
    workers: Annotated[int, typer.Option(min=1, max=1024, help="Processes.")] = 2,
) -> None:
    """Measure the safety filter on SafeReach or SafeRoom: failures, interventions, false alarms and success together.

    Balanced accuracy is measured against what can be tried in simulation: from the state after the policy's choice,
    braking, backing off, rising, turning away, going back; if each ends in a violation, stepping in was due. Beside
    it: whether the unfiltered policy goes on to violate within ten ticks. Compared with no filter, a fixed
    threshold, and (given data) an ensemble's disagreement, all on the same agent and the same seeds. The last rows are
    the families together whose pictures are as usual. Ctrl-C ends it early, with the seeds that every filter has
    driven.

    Example: fosp-edge eval-filter --episodes 30 --ensemble-dataset data/safereach --out runs/filter
    """
    require("simulation")
    from fosp_edge.simulation import filters
    from fosp_edge.simulation.evaluation import environment_of
    from fosp_edge.simulation.filter_evaluation import filter_score
    from fosp_edge.simulation.layout import SCENARIOS, USUAL_PICTURES

    console = Console() if sys.stdout.isatty() else Console(width=210)
    path = bundle or shipped_bundle()
    opened = load_bundle(path)
    played = environment_of(opened.manifest).__name__
    wanted = list(SCENARIOS) if not scenario or "all" in scenario else scenario
    if unknown := [name for name in wanted if name not in SCENARIOS]:
        raise ValueError(f"unknown scenario {unknown[0]!r}; choose one of: {', '.join(SCENARIOS)}, or all")
    ensemble = None
    if ensemble_dataset is not None:
        ensemble = str(_ensemble(opened, ensemble_dataset, ensemble_episodes, out, console))
    names = [filters.NO_FILTER, filters.FIXED]
    names += [filters.ENSEMBLE, filters.FIXED_ENSEMBLE] if ensemble else []
    names += [filters.CONFORMAL] + ([filters.CONFORMAL_GATE] if opened.manifest.gate is not None else [])
    cells = [(family, name) for family in wanted for name in names]

    def jobs(layout: int) -> list[Job]:
        # Who has no filter is judged by all of them.
        return [
            (str(path), ensemble, tuple(names), family, None if name == filters.NO_FILTER else name, layout)
            for family, name in cells
        ]

    found = measure(_run, jobs, range(seed, seed + episodes), workers, console)
    driven = len(found[0])
    rides: dict[tuple[str, str], list[Any]] = dict(zip(cells, found, strict=True))
    judged = {family: rides[family, filters.NO_FILTER] for family in wanted}
    rides |= {(family, filters.NO_FILTER): [item.ride for item in judged[family]] for family in wanted}

    def summed(families: list[str], called: str) -> list[Any]:
        free = [item for family in families for item in judged[family]]
        return [
            filter_score(
                name, [ride for family in families for ride in rides[family, name]], free,
                judges=name != filters.NO_FILTER, scenario=called,
            )
            for name in names
        ]  # fmt: skip

    scores = [score for family in wanted for score in summed([family], family)]
    usual = [family for family in wanted if family in USUAL_PICTURES]
    together = summed(usual, TOGETHER) if len(usual) > 1 else []
    console.print(_table(played, scores + together))
    if out is not None:
        report = {
            "provenance": provenance(),
            "bundle": opened.id,
            "seeds": [seed, seed + driven - 1],
            "scores": [asdict(item) for item in scores],
            "together": {"families": usual, "scores": [asdict(item) for item in together]},
        }

        def plot() -> bytes:
            from fosp_edge.cli.filter_plot import plot_filters

            return plot_filters(scores)

        write_results(console, out, report, plot)
    if driven < episodes:
        raise interrupted()


def _ensemble(bundle: Bundle, dataset: Path, most: int, out: Path | None, console: Console) -> Path:
    """Train the ensemble, or take the one trained on the same data for the same bundle; returns its file."""
    from fosp_edge.experience.selection import CameraSelection
    from fosp_edge.experience.store import ExperienceStore

    require("export")
    with ExperienceStore(dataset) as store:
        target = (out.parent if out is not None else Path("runs")) / (
            f"ensemble-{bundle.id[:12]}-{store.fingerprint()[:12]}-{most}.safetensors"
        )
        if target.exists():
            return target
        from safetensors.numpy import save

        from export.ensemble import fit_ensemble
        from export.restore import agent_of_bundle

        source = CameraSelection(store, [camera.name for camera in bundle.manifest.cameras])
        with console.status("training the ensemble"):
            episodes = [source.read(info.id) for info in source.episodes()[:most] if info.summary.rows > 1]
            arrays = fit_ensemble(agent_of_bundle(bundle), episodes)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, save(dict(arrays)))
    return target


def _run(job: Job) -> Any:
    from fosp_edge.simulation.filter_evaluation import judge_episode, ride_episode

    path, ensemble, names, scenario, in_charge, seed = job
    if in_charge is not None:
        return ride_episode(_actor(path, ensemble, in_charge, enabled=True), scenario, seed)
    actors = {name: _actor(path, ensemble, name, enabled=False) for name in names}
    return judge_episode(actors, scenario, seed)


def _actor(path: str, ensemble: str | None, name: str, *, enabled: bool) -> Any:
    from safetensors.numpy import load_file

    from fosp_edge.simulation.evaluation import BundleActor
    from fosp_edge.simulation.filters import make_controller

    if (path, name, enabled) not in _ACTORS:
        arrays = None if ensemble is None else load_file(ensemble)
        _ACTORS[path, name, enabled] = BundleActor(
            Path(path),
            filter_enabled=enabled,
            make=lambda opened: make_controller(opened, name, enabled=enabled, ensemble=arrays),
        )
    return _ACTORS[path, name, enabled]


def _table(played: str, scores: list[Any]) -> Table:
    table = Table(
        title=f"The filter on {played}; rates with 95 % intervals. BA: balanced accuracy, FA: ticks of false alarm; "
        "avoid: against what can still be avoided, ahead: against the next ten ticks of the unfiltered policy; "
        "averted: violations without filter less those with it, on the same tables, in points"
    )
    for name in ("filter", "scenario"):
        table.add_column(name, no_wrap=True)
    for name in (
        "failure",
        "averted",
        "success",
        "safe success",
        "intervened",
        "missed",
        "BA avoid",
        "FA",
        "AUC",
        "BA ahead",
        "AUC",
    ):
        table.add_column(name, justify="right")
    for item in scores:
        avoid, ahead = item.avoidance, item.prediction
        table.add_row(
            item.filter, item.scenario, _percent(item.failure),
            "-" if item.averted is None else _tenths(item.averted), _percent(item.success),
            _percent(item.safe_success), f"{item.intervention.mean:.0%}",
            "-" if item.missed is None else _percent(item.missed),
            "-" if avoid is None else _interval(avoid.balanced_accuracy),
            "-" if avoid is None else f"{avoid.false_alarm_rate:.0%}", "-" if avoid is None else f"{avoid.area:.2f}",
            "-" if ahead is None else _interval(ahead.balanced_accuracy), "-" if ahead is None else f"{ahead.area:.2f}",
        )  # fmt: skip
    return table


def _percent(estimate: Any) -> str:
    return f"{estimate.mean:.0%} ({estimate.low:.0%}-{estimate.high:.0%})"


def _tenths(estimate: Any) -> str:
    return f"{100 * estimate.mean:+.1f} ({100 * estimate.low:+.1f} to {100 * estimate.high:+.1f})"


def _interval(estimate: Any) -> str:
    return f"{estimate.mean:.2f} ({estimate.low:.2f}-{estimate.high:.2f})"
