"""Whether it was we who were late, or the machine that stood still: a witness that nothing of ours can hold up.

One process per core wakes every millisecond at the highest FIFO priority, with its memory locked, and notes when it
woke late. Whatever keeps it from its core (the host of a virtual machine, the kernel, interrupts) keeps everything else
from it too, and no measure within a program helps against that.

`python -m benchmarks.witness CORE` prints a line per late waking until its standard input ends.
"""

import ctypes
import gc
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fosp_edge.control.pacing import Pacer, Release
from fosp_edge.control.rehearsal import Rehearsal

PERIOD_S = 0.001
LATE_S = 0.0005
_PRIORITY = 99
_MCL_CURRENT_AND_FUTURE = 3


@dataclass(frozen=True)
class Stop:
    """A core that did nothing for anybody."""

    core: int
    begin_ns: int
    """Monotonic."""
    end_ns: int


class Witness:
    """One watcher on each of these cores for as long as it is entered; `stops` are known afterwards.

    Where the system grants no FIFO priority, `watches` is False and nothing is known: a witness without it would blame
    the machine for what we did.
    """

    def __init__(self, cores: Iterable[int]) -> None:
        self.cores, self.stops, self.watches = tuple(cores), list[Stop](), True
        self._watchers: list[subprocess.Popen[str]] = []

    def __enter__(self) -> "Witness":
        for core in self.cores:
            watcher = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.witness", str(core)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).resolve().parents[1],
            )  # fmt: skip
            self._watchers.append(watcher)
            assert watcher.stdout is not None
            self.watches &= watcher.stdout.readline() == "watches\n"
        return self

    def __exit__(self, *_: object) -> None:
        for core, watcher in zip(self.cores, self._watchers, strict=True):
            out, _ = watcher.communicate()
            self.stops += [Stop(core, *map(int, line.split())) for line in out.splitlines()]

    def stopped_s(self, core: int, begin_ns: int, end_ns: int) -> float:
        """How long a core stood still between two moments, seconds."""
        overlaps = (min(item.end_ns, end_ns) - max(item.begin_ns, begin_ns) for item in self.stops if item.core == core)
        return sum(overlap for overlap in overlaps if overlap > 0) * 1e-9

    def summary(self) -> dict[str, float] | None:
        """Over all cores: how often for how long, seconds and milliseconds; JSON values."""
        lengths_ms = [(item.end_ns - item.begin_ns) * 1e-6 for item in self.stops] or [0.0]
        found = {
            "times": len(self.stops),
            "s": round(sum(lengths_ms) * 1e-3, 3),
            "longest_ms": round(max(lengths_ms), 2),
        }
        return found if self.watches else None


class WatchedPacer(Pacer):
    """A pacer that remembers when ticks began and were over, and on which core."""

    def __init__(self, period_s: float) -> None:
        super().__init__(period_s)
        self._core = ctypes.CDLL(None).sched_getcpu
        self._scheduled_ns: int | None = None
        self._overran = list[tuple[int, int, int, int]]()

    def wait(self, rehearsal: Rehearsal | None = None) -> Release:
        core, end_ns, begin_ns = self._core(), time.monotonic_ns(), self._scheduled_ns
        release = super().wait(rehearsal)
        self._scheduled_ns = release.scheduled_ns
        if release.skipped and begin_ns is not None:
            self._overran.append((core, begin_ns, end_ns, release.skipped))
        return release

    def restart(self) -> None:
        super().restart()
        self._scheduled_ns = None

    def missed_while_stopped(self, witness: Witness) -> int | None:
        """Deadlines missed by ticks that would have been over in time had their core not stood still meanwhile."""
        if not witness.watches:
            return None
        return sum(
            skipped
            for core, begin_ns, end_ns, skipped in self._overran
            if witness.stopped_s(core, begin_ns, end_ns) >= (end_ns - begin_ns - self.period_ns) * 1e-9
        )


def main() -> None:
    os.sched_setaffinity(0, {int(sys.argv[1])})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
    ctypes.CDLL(None).mlockall(_MCL_CURRENT_AND_FUTURE)
    gc.disable()
    stops = list[tuple[int, int]]()
    print("watches", flush=True)
    period_ns, late_ns = round(PERIOD_S * 1e9), round(LATE_S * 1e9)
    due_ns = time.monotonic_ns() + period_ns
    while not select.select([sys.stdin], [], [], max(0, due_ns - time.monotonic_ns()) * 1e-9)[0]:
        now_ns = time.monotonic_ns()
        if now_ns - due_ns > late_ns:
            stops.append((due_ns, now_ns))
        due_ns = now_ns + period_ns
    for begin_ns, end_ns in stops:
        print(begin_ns, end_ns)


if __name__ == "__main__":
    main()
