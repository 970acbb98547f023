"""Many independent pieces of an experiment: in as many processes as there is room for, and what they say together."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from fosp_edge.simulation.evaluation import bootstrap_interval, wilson_interval


def side_by_side(jobs: int, work: Callable[..., Any], pieces: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
    """What `work(*piece)` returns for every piece, in the order in which they get ready; each process has one thread.

    With one job everything happens in this process, in the order given.
    """
    if jobs == 1:
        yield from (work(*piece) for piece in pieces)
        return
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, spawned, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        yield from (ready.result() for ready in as_completed([pool.submit(work, *piece) for piece in pieces]))


def spread(pieces: Sequence[Sequence[float]]) -> dict[str, float]:
    """Mean with its 95 % interval: over the pieces' means where there are several, else over the values of the one.

    Args:
        pieces: the values that each piece measured, e.g. of every training the episodes' returns; booleans are rates.
    """
    if len(pieces) > 1:
        return asdict(bootstrap_interval([float(np.mean(values)) for values in pieces]))
    values = pieces[0]
    if all(isinstance(value, bool) for value in values):
        return asdict(wilson_interval(sum(map(int, values)), len(values)))
    return asdict(bootstrap_interval(list(values)))
