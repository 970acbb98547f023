"""`fosp-edge bundles use|rollback|pin|versions`: which bundle a robot runs, and a person's word on it."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fosp_edge.bundle.manifest import BundleError
from fosp_edge.cli.home import DEFAULT_HOME, Home

HomePath = Annotated[Path, typer.Option("--home", help="Folder of the robot.")]
Name = Annotated[str, typer.Argument(help="Beginning of the bundle's id, or `current`, `previous`, `shipped`.")]


def use(bundle: Name, home: HomePath = DEFAULT_HOME) -> None:
    """Run this bundle from now on, on probation; a run that is under way takes it over at a safe moment.

    From then on the gate also holds candidates against this bundle. `use current` chooses the one that runs already.
    """
    versions = _existing(home).versions()
    name, running = versions.find(bundle), versions.find("current")
    versions.use(name)
    if name == running:
        typer.echo(f"{name[:12]} is the current bundle already; what is learnt from now on is held against it")
        return
    typer.echo(
        f"{name[:12]} is the current bundle, on probation; before it was {(versions.state.previous or '-')[:12]}"
    )


def rollback(
    home: HomePath = DEFAULT_HOME,
    reason: Annotated[str, typer.Option(help="Kept with the bundle that is given up.")] = "taken back by a person",
    keep: Annotated[bool, typer.Option("--keep", help="Do not refuse it from now on.")] = False,
) -> None:
    """Return to the previous bundle; the present one is not proposed again. A run under way returns at once."""
    versions = _existing(home).versions()
    before = versions.state.current or ""
    name = versions.roll_back(reason, refuse=not keep)
    typer.echo(f"{name[:12]} is the current bundle again, in place of {before[:12]}")


def pin(
    bundle: Annotated[str | None, typer.Argument(help="Beginning of the id; the current one if left out.")] = None,
    home: HomePath = DEFAULT_HOME,
    off: Annotated[bool, typer.Option("--off", help="Let the learner propose again.")] = False,
) -> None:
    """Keep to one bundle, whatever the learner proposes."""
    versions = _existing(home).versions()
    if off:
        versions.pin(None)
        typer.echo("no bundle is pinned; the learner may propose again")
        return
    name = versions.find(bundle or "current")
    versions.pin(name)
    typer.echo(f"{name[:12]} is pinned; `fosp-edge bundles pin --off` lets go of it")


def versions(home: HomePath = DEFAULT_HOME) -> None:
    """Show the bundles of a robot: which is current, previous, proposed, pinned, and which were refused and why."""
    kept = _existing(home).versions()
    state = kept.state
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("id", "name", "made", "role"):
        table.add_column(name, overflow="fold")
    current = kept.find("current")
    for name in kept.ids():
        roles = [
            role for role, holder in (("current", current), ("previous", state.previous),
                                      ("proposed", state.proposed), ("pinned", state.pinned),
                                      ("chosen", state.chosen)) if holder == name
        ]  # fmt: skip
        if name == current and state.probation:
            roles.append("on probation")
        if name in state.refused:
            roles.append("refused")
        if name == kept.fallback.name:
            roles.append("shipped")
        try:
            manifest = kept.load(name).manifest
            table.add_row(name[:12], escape(manifest.name), manifest.created_utc[:16], ", ".join(roles) or "-")
        except BundleError:
            table.add_row(name[:12], "", "", "damaged")
    console = Console()
    console.print(table)
    for name, refusal in state.refused.items():
        console.print(f"[red]{name[:12]}[/] refused {refusal.date_utc}: {escape(refusal.reason)}", soft_wrap=True,
                      highlight=False)  # fmt: skip


def _existing(folder: Path) -> Home:
    if not (folder / "bundles").is_dir():
        raise ValueError(f"{folder} is no robot's folder; `fosp-edge run --learn --home {folder}` makes one")
    return Home(folder)
