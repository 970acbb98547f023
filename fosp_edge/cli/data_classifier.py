"""`fosp-edge data classifier`: teach a small classifier from labelled episodes to tell success or violation."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from fosp_edge.experience.selection import CameraSelection
from fosp_edge.experience.store import ExperienceStore
from fosp_edge.robots.outcome_classifier import balanced_accuracy, labelled_rows, train

HELD_OUT_EVERY = 4
"""One of so many episodes is only for trying: more than usual, and by turns, because there are few."""


class Outcome(str, Enum):
    """What there is to tell."""

    SUCCESS = "success"
    VIOLATION = "violation"


def classifier(
    store: Annotated[Path, typer.Argument(help="Folder of the store with labelled episodes (`data label`).")],
    outcome: Annotated[Outcome, typer.Option(help="What it is to tell.")] = Outcome.SUCCESS,
    camera: Annotated[
        list[str] | None, typer.Option(help="Camera to look through, as the bundle does; all if left out.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File to write; OUTCOME.safetensors if left out.")] = None,
    at_least: Annotated[
        float,
        typer.Option(min=0.5, max=1.0, help="Balanced accuracy on episodes held back, below which it is refused."),
    ] = 0.8,
) -> None:
    """Train a classifier that tells success or violation from a picture and the robot's state, as a judge for `run`.

    A quarter of the episodes is held back and decides what it is worth: the mean share of the moments with and without
    the outcome that it tells right. Below --at-least nothing is written.

    Example: fosp-edge data classifier data/own --outcome success --camera fixed
    """
    with ExperienceStore(store) as opened:
        if opened.header is None:
            raise ValueError(f"{store} has no episodes yet")
        names = camera or [item.name for item in opened.header.cameras]
        source = CameraSelection(opened, names)
        infos = [info for info in source.episodes() if info.summary.finished]
        tried = [source.read(info.id) for info in infos[::HELD_OUT_EVERY]]
        learnt = [source.read(info.id) for number, info in enumerate(infos) if number % HELD_OUT_EVERY]
    if not learnt or not tried:
        raise ValueError(f"{len(infos)} finished episodes are too few to learn from some and try on others")
    found = train(*labelled_rows(learnt, outcome.value), tuple(names))
    rows, labels = labelled_rows(tried, outcome.value)
    if not labels.any() or labels.all():
        raise ValueError(
            f"none of the {len(tried)} episodes held back shows {outcome.value} and its absence; label more episodes"
        )
    accuracy = balanced_accuracy(found, rows, labels)
    told = (
        f"tells {accuracy:.0%} right of {len(labels)} moments held back, {int(np.sum(labels))} of them {outcome.value}"
    )
    if accuracy < at_least:
        raise ValueError(f"the classifier {told}; {at_least:.0%} are asked for. Label more episodes")
    path = out or Path(f"{outcome.value}.safetensors")
    found.save(path)
    typer.echo(f"{path}: {told}")
