"""Episodes of an evaluation, with time left; Ctrl-C ends it with what everybody who is compared has driven."""

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from fosp_edge.cli.workers import Job, map_in_processes


def measure(
    function: Callable[[Job], Any],
    of_seed: Callable[[int], Sequence[Job]],
    seeds: range,
    workers: int,
    console: Console,
) -> list[list[Any]]:
    """Do the jobs of one seed after those of the other, so that whatever is there of all of them can be compared.

    Returns:
        Of each job of a seed, what it found on each seed; on the first ones alone where somebody interrupted it.

    Raises:
        KeyboardInterrupt: before the first seed was done.
    """
    each = len(of_seed(seeds[0]))
    arriving = map_in_processes(function, (job for seed in seeds for job in of_seed(seed)), workers)
    shown = (
        TextColumn("measuring"), BarColumn(), MofNCompleteColumn(), TextColumn("episodes"), TimeElapsedColumn(),
        TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    found: list[Any] = []
    try:
        with Progress(*shown, console=console) as progress, closing(arriving):
            task = progress.add_task("", total=each * len(seeds))
            for result in arriving:
                found.append(result)
                progress.advance(task)
    except KeyboardInterrupt:
        if len(found) < each:
            raise
        console.print(f"interrupted after {len(found) // each} of {len(seeds)} seeds; what follows is of those")
    whole = len(found) - len(found) % each
    return [found[job:whole:each] for job in range(each)]
