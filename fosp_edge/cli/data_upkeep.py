"""`fosp-edge data label|prune`: what a person does to a store afterwards."""

import re
from pathlib import Path
from typing import Annotated

import typer

from fosp_edge.experience.label import Stretch, labelled
from fosp_edge.experience.quota import enforce
from fosp_edge.experience.store import ExperienceStore

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def label(
    store: Annotated[Path, typer.Argument(help="Folder of the store.")],
    episode: Annotated[str, typer.Argument(help="Id of the episode.")],
    success: Annotated[
        bool | None, typer.Option("--success/--failure", help="Whether the task succeeded at the end.")
    ] = None,
    violation: Annotated[
        list[str] | None, typer.Option(help="A stretch in violation, in seconds: FROM-TO. May be given several times.")
    ] = None,
    no_violation: Annotated[bool, typer.Option("--no-violation", help="Nothing in it was a violation.")] = False,
) -> None:
    """Mark success and violations of an episode afterwards, in place of what was recorded."""
    if no_violation and violation:
        raise ValueError("--violation and --no-violation contradict each other")
    if success is None and not violation and not no_violation:
        raise ValueError("nothing to label: give --success, --failure, --violation FROM-TO or --no-violation")
    with _to_change(store) as opened:
        info = opened.info(episode)
        rate_hz = info.header.recording.rate_hz
        stretches = [_stretch(text, rate_hz) for text in violation or []] if violation or no_violation else None
        steps = labelled(opened.read(episode), success=success, violations=stretches)
        outcome = info.summary.outcome if success is None else "success" if success else "failure"
        summary = opened.replace(episode, steps, outcome)
    typer.echo(f"{episode}: {summary.outcome}, {summary.violations} rows in violation, cost {summary.total_cost:g}")


def prune(
    store: Annotated[Path, typer.Argument(help="Folder of the store.")],
    to: Annotated[str, typer.Option(help="What the episodes may take, such as 500M or 4G.")],
) -> None:
    """Remove episodes until the store keeps to a size: plain ones first, then successes, interventions, violations."""
    limit_bytes = size_of("--to", to)
    with _to_change(store) as opened:
        removed = enforce(opened, limit_bytes)
        left = sum(opened.episode_bytes().values())
    typer.echo(f"{len(removed)} episodes removed; those left take {left / 2**20:.1f} MiB")


def _to_change(path: Path) -> ExperienceStore:
    """A store that is there, to be changed. Raises StoreError if there is none: to append would be to make one."""
    ExperienceStore(path).close()
    return ExperienceStore(path, "a")


def _stretch(text: str, rate_hz: float) -> Stretch:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)", text.strip())
    if match is None:
        raise ValueError(f"--violation {text!r}: expected two times in seconds, such as 1.25-2.5")
    return round(float(match[1]) * rate_hz), round(float(match[2]) * rate_hz)


def size_of(option: str, text: str) -> int:
    """Bytes of a size such as 500M or 4G. Raises ValueError naming the option."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise ValueError(f"{option} {text!r}: expected a size such as 500M or 4G")
    return int(float(match[1]) * _UNITS[match[2].upper()])
