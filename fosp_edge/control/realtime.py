"""What keeps the tick on time beside other work: priority, cores, locked memory, and garbage collected in the slack.

Each measure is tried on its own. What the system refuses is said, together with the command that grants it, and the run
goes on without it: whether that is good enough is measured (`benchmarks/jitter.py`), not assumed.
"""

import ctypes
import gc
import os
import resource
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PRIORITY = 60
"""FIFO priority of the control thread; the process' other threads get one less, kernel threads mostly have 50."""
LIMITS_FILE = "/etc/security/limits.d/fosp-edge.conf"
_GRANT_PRIORITY = f"echo '@dialout - rtprio 80' | sudo tee -a {LIMITS_FILE}, then log out and in again"
_GRANT_MEMORY = f"echo '@dialout - memlock unlimited' | sudo tee -a {LIMITS_FILE}, then log out and in again"
_GRANT_LATENCY = "sudo chgrp dialout /dev/cpu_dma_latency && sudo chmod g+w /dev/cpu_dma_latency"
_MCL_CURRENT_AND_FUTURE = 3


@dataclass(frozen=True)
class Measure:
    """One measure, and what became of it."""

    name: str
    had: bool
    detail: str
    command: str = ""
    """What grants it, if it was refused."""

    def sentence(self) -> str:
        """For the person who starts the run."""
        return f"{self.name}: {self.detail}" + ("" if self.had else f"; to have it: {self.command}")


class Realtime:
    """The measures, taken once everything is started, from the thread that will run the ticks; `release` undoes them.

    Threads and processes that begin later are ordinary ones: the priority is not handed down.
    """

    def __init__(self, helper_cores: tuple[int, ...] = (), root: Path = Path("/proc")) -> None:
        """Take nothing yet. `helper_cores` are those of the step graph's other threads (`inference.Execution`)."""
        self._root, self._helper_cores = root, set(helper_cores)
        self._undo: list[Callable[[], object]] = []
        # Undone from the last one to the first.
        self.measures: list[Measure] = []

    def acquire(self) -> list[Measure]:
        """Take all measures. Raises nothing."""
        self.measures = [self._garbage(), self._cores(), self._priority(), self._memory(), self._idle_states()]
        return self.measures

    def release(self) -> None:
        """Give everything back that can be given back. Raises nothing."""
        while self._undo:
            try:
                self._undo.pop()()
            except OSError:  # a thread that has ended meanwhile
                continue

    def _garbage(self) -> Measure:
        gc.collect()
        gc.freeze()
        gc.disable()
        self._undo += [gc.enable, gc.unfreeze]
        return Measure("garbage collection", True, "between ticks only, in what is left of the period")

    def _cores(self) -> Measure:
        allowed = sorted(os.sched_getaffinity(0))
        if len(allowed) < 2:
            grant = "give this process two cores (taskset, or the container's --cpuset-cpus)"
            return Measure("core of its own", False, "only one core may be used", grant)
        core = _isolated(allowed) or allowed[-1]  # interrupts mostly go to the first one
        own, others = threading.get_native_id(), {core} | self._helper_cores.intersection(allowed)
        self._each_thread(lambda thread: os.sched_setaffinity(thread, {core} if thread == own else others))
        self._undo.append(lambda: self._each_thread(lambda thread: os.sched_setaffinity(thread, allowed)))
        return Measure("core of its own", True, f"control runs on core {core}, what it starts later anywhere")

    def _priority(self) -> Measure:
        own = threading.get_native_id()
        policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK

        def raise_one(thread: int) -> None:
            os.sched_setscheduler(thread, policy, os.sched_param(PRIORITY if thread == own else PRIORITY - 1))

        try:
            raise_one(own)
        except OSError as error:
            return Measure("FIFO priority", False, (error.strerror or str(error)).lower(), _GRANT_PRIORITY)
        # The others too: one that waits behind a learner while it holds the interpreter makes control wait with it.
        self._each_thread(raise_one)
        ordinary = os.sched_param(0)
        self._undo.append(
            lambda: self._each_thread(lambda thread: os.sched_setscheduler(thread, os.SCHED_OTHER, ordinary))
        )
        return Measure("FIFO priority", True, str(PRIORITY))

    def _memory(self) -> Measure:
        soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
        if soft != resource.RLIM_INFINITY and os.geteuid() != 0:
            # Locking what is there and refusing what comes would end the run at its next allocation.
            return Measure("locked memory", False, f"only {soft >> 20} MiB may be locked", _GRANT_MEMORY)
        library = ctypes.CDLL(None, use_errno=True)
        if library.mlockall(_MCL_CURRENT_AND_FUTURE):
            reason = os.strerror(ctypes.get_errno()).lower()
            return Measure("locked memory", False, reason, _GRANT_MEMORY)
        self._undo.append(library.munlockall)
        return Measure("locked memory", True, "all of this process stays in memory")

    def _idle_states(self) -> Measure:
        """Processors that sleep deeply wake up late; this file keeps them from it for as long as it is open."""
        name = "shallow sleep of the processor"
        try:
            descriptor = os.open("/dev/cpu_dma_latency", os.O_WRONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return Measure(name, True, "not set from here (no /dev/cpu_dma_latency)")
        except OSError as error:
            return Measure(name, False, (error.strerror or str(error)).lower(), _GRANT_LATENCY)
        try:
            os.write(descriptor, bytes(4))
        except OSError as error:
            os.close(descriptor)
            return Measure(name, False, (error.strerror or str(error)).lower(), _GRANT_LATENCY)
        self._undo.append(lambda: os.close(descriptor))
        return Measure(name, True, "latency 0 us asked for")

    def _each_thread(self, action: Callable[[int], object]) -> None:
        for path in (self._root / "self/task").iterdir():
            try:
                action(int(path.name))
            except OSError:  # it has ended meanwhile
                continue


def collect_in_slack() -> None:
    """A quick collection, for the end of a tick while the collector is switched off."""
    if not gc.isenabled() and gc.get_count()[0] > 2000:
        gc.collect(0)


def _isolated(allowed: list[int]) -> int | None:
    """A core that the kernel keeps free of other work (`isolcpus`), if there is one."""
    try:
        text = Path("/sys/devices/system/cpu/isolated").read_text().strip()
    except OSError:
        return None
    last = text.rpartition(",")[2].rpartition("-")[2]
    return int(last) if last.isdecimal() and int(last) in allowed else None
