"""Worker processes for simulation: one thread each, and deaf to Ctrl-C, which is the parent's to handle."""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def map_in_processes(function: Callable[[Job], Result], jobs: Iterable[Job], workers: int) -> Generator[Result]:
    """Results in the order of the jobs, computed by `workers` fresh processes, a few jobs ahead of the consumer.

    Each worker is confined to one thread: small matrix products shared among the threads of several workers spend
    their time waiting for each other (ten times slower on two cores). Closing the iterator ends the workers; what was
    under way is lost.

    Raises:
        BrokenProcessPool: a worker died. Whatever `function` raises is passed on.
    """
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), signal.signal, (signal.SIGINT, signal.SIG_IGN)
    )
    pending: deque[Future[Result]] = deque()
    try:
        for job in jobs:
            pending.append(pool.submit(function, job))
            if len(pending) >= 4 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
