"""`fosp-edge data ls|show|verify`: what a store holds, episode by episode."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from fosp_edge.cli.files import write_atomically
from fosp_edge.experience.episode import EpisodeInfo, StoreError
from fosp_edge.experience.schema import Steps
from fosp_edge.experience.store import ExperienceStore

Store = Annotated[Path, typer.Argument(help="Folder of the store.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class Kind(str, Enum):
    """Which episodes are wanted."""

    VIOLATION = "violation"
    SUCCESS = "success"
    INTERVENTION = "intervention"
    UNFINISHED = "unfinished"


KINDS: dict[Kind, Callable[[EpisodeInfo], bool]] = {
    Kind.VIOLATION: lambda info: info.summary.violations > 0,
    Kind.SUCCESS: lambda info: info.summary.success,
    Kind.INTERVENTION: lambda info: info.summary.interventions > 0,
    Kind.UNFINISHED: lambda info: not info.summary.finished,
}
"""How an episode of each kind is told."""


def ls(
    store: Store,
    only: Annotated[Kind | None, typer.Option(help="Only episodes with this in them.")] = None,
    last: Annotated[int | None, typer.Option(min=1, help="Only so many of the newest.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the episodes of a store, oldest first, with how they went."""
    with ExperienceStore(store) as opened:
        infos = [info for info in opened.episodes() if only is None or KINDS[only](info)]
        size_bytes = opened.size_bytes()
    shown = infos[-last:] if last else infos
    if as_json:
        typer.echo(json.dumps([_as_json(info) for info in shown], indent=2))
        return
    console = Console()
    console.print(_table(shown))
    console.print(_totals(infos, size_bytes), highlight=False, soft_wrap=True)


def show(
    store: Store,
    episode: Annotated[str, typer.Argument(help="Id of the episode, or `last`.")] = "last",
    sheet: Annotated[
        Path | None, typer.Option(help="Write a contact sheet with curves here, as PNG (extra `visualisation`).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show one episode: who drove, how it went, and a course of it in words; with --sheet also in pictures."""
    with ExperienceStore(store) as opened:
        info = _find(opened, episode)
        steps = opened.read(info.id)
    if sheet is not None:
        from fosp_edge.cli.extras import require

        require("visualisation")
        from fosp_edge.cli.contact_sheet import contact_sheet

        write_atomically(sheet, contact_sheet(info, steps))
    if as_json:
        typer.echo(json.dumps(_as_json(info), indent=2))
        return
    _print_episode(Console(highlight=False, soft_wrap=True), info, steps)
    if sheet is not None:
        typer.echo(f"contact sheet written to {sheet}")


def verify(store: Store) -> None:
    """Read every episode back and compare it with its header and summary; the exit status is 1 if any is damaged."""
    console = Console(highlight=False, soft_wrap=True)
    damaged = 0
    progress = Progress(TextColumn("verifying"), BarColumn(), MofNCompleteColumn(), console=console, transient=True)
    with ExperienceStore(store) as opened, progress:
        count = len(opened.episodes())
        task = progress.add_task("", total=count)
        for episode_id, problem in opened.verify():
            progress.advance(task)
            if problem is not None:
                damaged += 1
                console.print(f"[red]damaged[/] {episode_id}: {escape(problem)}")
    if damaged:
        console.print(f"{damaged} of {count} episodes are damaged; the others are whole")
        raise typer.Exit(1)
    console.print(f"{count} episodes, all whole")


def _find(store: ExperienceStore, episode: str) -> EpisodeInfo:
    if episode != "last":
        return store.info(episode)
    infos = store.episodes()
    if not infos:
        raise StoreError(f"{store.path} holds no episodes yet")
    return infos[-1]


def _as_json(info: EpisodeInfo) -> dict[str, object]:
    header = json.loads(info.header.to_json())
    return {"id": info.id, "header": header, "summary": asdict(info.summary)}


def _table(infos: Sequence[EpisodeInfo]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("id", "scenario", "seed", "source", "s", "reward", "cost", "held back", "outcome"):
        table.add_column(name, justify="right" if name in ("seed", "s", "reward", "cost", "held back") else "left")
    for info in infos:
        header, summary = info.header, info.summary
        source = header.source if header.bundle is None else f"{header.source} {header.bundle[:8]}"
        style = "red" if summary.violations else "green" if summary.success else ""
        table.add_row(
            info.id,
            escape(header.scenario),
            str(header.seed),
            escape(source),
            f"{summary.rows / header.recording.rate_hz:.1f}",
            f"{summary.total_reward:.2f}",
            f"{summary.total_cost:.0f}",
            str(summary.interventions),
            escape(summary.outcome),
            style=style,
        )
    return table


def _totals(infos: Sequence[EpisodeInfo], size_bytes: int) -> str:
    if not infos:
        return "no episodes"
    rows = sum(info.summary.rows for info in infos)
    seconds = sum(info.summary.rows / info.header.recording.rate_hz for info in infos)
    violated = sum(info.summary.violations > 0 for info in infos)
    succeeded = sum(info.summary.success for info in infos)
    return (
        f"{len(infos)} episodes, {rows} rows, {seconds / 3600:.2f} h; {succeeded} succeeded, {violated} in violation; "
        f"the store takes {size_bytes / 2**20:.1f} MiB"
    )


def _print_episode(console: Console, info: EpisodeInfo, steps: Steps) -> None:
    header, summary = info.header, info.summary
    recording = header.recording
    cameras = ", ".join(f"{camera.name} {camera.width_px}x{camera.height_px}" for camera in recording.cameras)
    actions = ", ".join(f"{item.name} ({item.low:g} to {item.high:g} {item.unit})" for item in recording.action)
    lines = {
        "episode": info.id,
        "robot": f"{recording.robot} at {recording.rate_hz:g} Hz; cameras {cameras}",
        "driven by": header.source + (f", bundle {header.bundle}" if header.bundle else ""),
        "scenario": f"{header.scenario or '-'}, seed {header.seed}",
        "begun": header.created_utc or "-",
        "actions": actions,
        "length": f"{summary.rows} rows, {summary.rows / recording.rate_hz:.2f} s",
        "reward": f"{summary.total_reward:.3f}",
        "cost": f"{summary.total_cost:g}; {summary.violations} rows in violation",
        "held back": f"{summary.interventions} rows in which the filter chose otherwise",
        "outcome": summary.outcome + (", success" if summary.success and summary.outcome != "success" else ""),
    }
    for name, text in lines.items():
        console.print(f"[bold]{name:<10}[/] {escape(text)}")
    for first, last, text in course(info, steps):
        console.print(f"  {first / recording.rate_hz:6.2f} s - {last / recording.rate_hz:6.2f} s  {escape(text)}")


def course(info: EpisodeInfo, steps: Steps) -> list[tuple[int, int, str]]:
    """An episode in words: stretches of rows alike in filter reason and violation, as first row, last row, text."""
    stretches: list[tuple[int, int, str]] = []
    for row in range(len(steps["reward"])):
        index = int(steps["reason"][row])
        reason = info.header.reasons[index] if index < len(info.header.reasons) else f"reason {index}"
        text = reason or "no filter"
        if steps["violation"][row]:
            text += ", in violation"
        if steps["is_terminal"][row]:
            text += ", the task ends"
        if stretches and stretches[-1][2] == text:
            stretches[-1] = (stretches[-1][0], row, text)
        else:
            stretches.append((row, row, text))
    return stretches
