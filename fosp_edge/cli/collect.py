"""`fosp-edge data collect`: a data set from scripted behaviours, or from a bundle's own policy, in simulation.

The simulation is SafeReach, SafeRoom for a base, or a task of Safety-Gymnasium.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from fosp_edge.bundle.folder import load_bundle
from fosp_edge.cli.extras import require
from fosp_edge.cli.workers import map_in_processes
from fosp_edge.control.recorder import REASONS
from fosp_edge.experience.episode import EpisodeHeader, Recording
from fosp_edge.experience.schema import Steps
from fosp_edge.experience.store import ExperienceStore
from fosp_edge.files import locked
from fosp_edge.robots.arm import DESKTOP_ARM
from fosp_edge.robots.catalogue import SIMULATED_TASKS
from fosp_edge.simulation.safety_gym.tasks import TASKS

_EPISODES_PER_WRITE = 20
"""Each write waits for the disk; at most so many episodes are made again after a power cut."""

_Job = tuple[str, str, int, str | None, str | None, bool]
"""Robot, scenario, seed, scripted behaviour, bundle, and whether its filter is on."""

_ACTORS: dict[tuple[str, bool], Any] = {}
"""One actor per bundle in each worker process: opening a graph takes longer than an episode should."""


def collect(
    out: Annotated[Path, typer.Argument(help="Folder of the data set; made, or gone on with, as needed.")],
    episodes: Annotated[int, typer.Option(min=1, help="How many episodes the data set shall hold.")] = 1500,
    scenario: Annotated[
        str,
        typer.Option(help="Scenario family, or a task of Safety-Gymnasium such as SafetyPointGoal1."),
    ] = "standard",
    robot: Annotated[
        str,
        typer.Option(help=f"Who acts: {', '.join(SIMULATED_TASKS)}; a bundle says it by itself."),
    ] = DESKTOP_ARM.name,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first episode; the others follow it.")] = 100_000,
    behaviour: Annotated[
        str | None,
        typer.Option(
            help="`safe`, `careful` (not in Safety-Gymnasium), `unsafe` or `random`; by default all but careful, mixed."
        ),
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Let this bundle's policy act in place of the scripts, with its filter off.")
    ] = None,
    with_filter: Annotated[bool, typer.Option("--with-filter", help="With --bundle: leave its filter on.")] = False,
    workers: Annotated[int, typer.Option(min=1, max=1024, help="Processes that simulate.")] = 2,
) -> None:
    """Collect an offline data set with scripted safe, unsafe and random behaviour in simulation.

    With --bundle its policy acts instead, unfiltered: the episodes that `fosp-edge calibrate-filter` needs. Interrupted
    at any moment, the same command goes on where it stopped.

    Example: fosp-edge data collect data/safereach --episodes 1500 --workers 2

    Example: fosp-edge data collect data/own --bundle bundles/... --seed 300000 --episodes 400

    Example: fosp-edge data collect data/room --robot two-wheels

    Example: fosp-edge data collect data/goal1 --scenario SafetyPointGoal1 --episodes 300
    """
    require("simulation")
    if bundle is not None and scenario in TASKS:
        raise ValueError(f"a bundle does not act in Safety-Gymnasium; leave out --bundle, or --scenario {scenario}")
    opened = None if bundle is None else load_bundle(bundle)
    if opened is not None and opened.manifest.robot in SIMULATED_TASKS:
        robot = opened.manifest.robot
    recording, behaviours = _world(scenario, robot)
    if behaviour is not None and behaviour not in behaviours:
        raise ValueError(f"unknown behaviour {behaviour!r}; choose one of: {', '.join(behaviours)}")
    if bundle is not None and behaviour is not None:
        raise ValueError("a bundle's policy and a scripted behaviour cannot act at once: give --bundle or --behaviour")
    if with_filter and bundle is None:
        raise ValueError("--with-filter says how a bundle acts: give --bundle as well")
    bundle_id = None if opened is None else opened.id
    console = Console()
    with ExperienceStore(out, "a") as store, _only_collector(out):
        store.check_fits(recording)
        present = {
            info.header.seed
            for info in store.episodes()
            if info.header.scenario == scenario and info.header.bundle == bundle_id
        }
        wanted: list[_Job] = [
            (robot, scenario, item, behaviour, None if bundle is None else str(bundle), with_filter)
            for item in range(seed, seed + episodes)
            if item not in present
        ]
        columns = (
            TextColumn("collecting"), BarColumn(), MofNCompleteColumn(), TextColumn("episodes"),
            TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
        )  # fmt: skip
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("", total=episodes, completed=episodes - len(wanted))
            pending: list[tuple[EpisodeHeader, Steps, str]] = []
            try:
                for steps, summary in map_in_processes(_collect, wanted, workers):
                    header = EpisodeHeader(
                        recording=recording,
                        source=str(summary["behaviour"]),
                        scenario=scenario,
                        seed=int(summary["seed"]),
                        bundle=bundle_id,
                        reasons=("",) if bundle is None else tuple(reason.name for reason in REASONS),
                    )
                    pending.append((header, steps, "success" if summary["success"] else "timeout"))
                    progress.advance(task)
                    if len(pending) >= _EPISODES_PER_WRITE:
                        store.add_all(pending)
                        pending = []
            finally:  # on Ctrl-C too: what is finished is kept
                store.add_all(pending)
        _report(console, store, out)


@contextmanager
def _only_collector(out: Path) -> Iterator[None]:
    """Two that count what is there and add the rest would add it twice."""
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(out / "collect.lock", wait=False))
        except BlockingIOError:
            raise ValueError(
                f"another `fosp-edge data collect` is adding to {out}: wait for it (--workers makes one faster)"
            ) from None
        yield


def _world(scenario: str, robot: str) -> tuple[Recording, Iterable[str]]:
    """How a robot is recorded in a scenario, and which behaviours there are."""
    if scenario in TASKS:
        from fosp_edge.simulation.safety_gym.behaviours import BEHAVIOURS as DRIVERS
        from fosp_edge.simulation.safety_gym.loading import package_folder
        from fosp_edge.simulation.safety_gym.tasks import recording, task_named

        package_folder()  # before any work is begun: whether it is installed
        return recording(task_named(scenario)), DRIVERS
    from fosp_edge.simulation.behaviours import BEHAVIOURS
    from fosp_edge.simulation.environment import ENVIRONMENTS
    from fosp_edge.simulation.layout import SCENARIOS

    if scenario not in SCENARIOS:
        raise ValueError(f"unknown scenario {scenario!r}; choose one of: {', '.join([*SCENARIOS, *TASKS])}")
    if robot not in SIMULATED_TASKS:
        raise ValueError(f"no task in simulation for {robot!r}; choose one of: {', '.join(SIMULATED_TASKS)}")
    return ENVIRONMENTS[robot].recording, BEHAVIOURS


def _collect(job: _Job) -> tuple[Steps, dict[str, Any]]:
    from fosp_edge.simulation.collect import collect_episode
    from fosp_edge.simulation.collect_policy import collect_policy_episode
    from fosp_edge.simulation.evaluation import BundleActor

    robot, scenario, seed, behaviour, bundle, with_filter = job
    if scenario in TASKS:
        from fosp_edge.simulation.safety_gym.collect import collect_episode as collect_task_episode

        return collect_task_episode(scenario, seed, behaviour)
    if bundle is None:
        return collect_episode(scenario, seed, behaviour, robot)
    if (bundle, with_filter) not in _ACTORS:
        _ACTORS[bundle, with_filter] = BundleActor(Path(bundle), filter_enabled=with_filter)
    return collect_policy_episode(_ACTORS[bundle, with_filter], scenario, seed)


def _report(console: Console, store: ExperienceStore, out: Path) -> None:
    from rich.table import Table

    table = Table(title=f"{out}: how the behaviours did")
    for name in ("behaviour", "episodes", "steps", "success", "episodes in violation", "mean return", "mean cost"):
        table.add_column(name, justify="left" if name == "behaviour" else "right")
    infos = store.episodes()
    for source in sorted({info.header.source for info in infos}):
        group = [info.summary for info in infos if info.header.source == source]
        count = len(group)
        table.add_row(
            source,
            str(count),
            str(sum(item.rows - 1 for item in group)),
            f"{sum(item.outcome == 'success' for item in group) / count:.0%}",
            f"{sum(item.total_cost > 0 for item in group) / count:.0%}",
            f"{sum(item.total_reward for item in group) / count:.2f}",
            f"{sum(item.total_cost for item in group) / count:.1f}",
        )
    console.print(table)
