"""Real time on a machine that others use too: a test that failed while the machine stood still is tried again."""

import functools
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

ATTEMPTS = 3
STOOD_STILL_S = 0.3
"""Well below all patience of the tests (0.8 s and more), well above what a machine of one's own ever shows."""


class StandstillProbe:
    """Measures the longest time for which this process did not run, by sleeping ten milliseconds at a time."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "StandstillProbe":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        last = time.monotonic()
        while not self._done.wait(0.01):
            now = time.monotonic()
            self.longest_s = max(self.longest_s, now - last - 0.01)
            last = now


def real_time(test: Callable[..., None]) -> Callable[..., None]:
    """Decorates a test that needs a machine which keeps up. A failure counts only if the machine did.

    Arguments with a method `renew` are made new between attempts, and with an attribute `starved` may say that they
    did not get enough of the machine; `tmp_path` is a folder of its own in each.
    """

    @functools.wraps(test)
    def patiently(**arguments: Any) -> None:
        folder = arguments.get("tmp_path")
        for attempt in range(ATTEMPTS):
            if folder is not None:
                arguments["tmp_path"] = folder / str(attempt)
                arguments["tmp_path"].mkdir()
            if attempt:
                for argument in arguments.values():
                    if hasattr(argument, "renew"):
                        argument.renew()
            with StandstillProbe() as probe:
                try:
                    test(**arguments)
                    return
                except (AssertionError, pytest.fail.Exception):
                    starved = any(getattr(argument, "starved", False) for argument in arguments.values())
                    if probe.longest_s < STOOD_STILL_S and not starved:
                        raise
        pytest.skip(f"in {ATTEMPTS} attempts this machine did not keep up with real time")

    return patiently
