"""Worker processes for simulation: one thread each, and deaf to Ctrl-C, which is the parent's to handle."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.pool import Pool

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@contextmanager
def worker_pool(workers: int) -> Iterator[Pool]:
    """A pool of fresh processes; stopped at once when the block is left by an exception.

    Each worker is confined to one thread: small matrix products shared among the threads of several workers spend
    their time waiting for each other (ten times slower on two cores).
    """
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    try:
        pool = multiprocessing.get_context("spawn").Pool(workers, signal.signal, (signal.SIGINT, signal.SIG_IGN))
        try:
            yield pool
        finally:  # what was under way is made again next time
            pool.terminate()
            pool.join()
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
