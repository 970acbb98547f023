"""Other projects' policy steps, each in a process and an interpreter of its own, timed when they are asked to.

A peer's program takes a checkout of the project, builds its agent at the size that `small` has here (random weights:
only time is compared), and then answers lines of JSON on its standard input, one answer each.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fosp_edge.control.pacing import Pacer

_ROOT = Path(__file__).resolve().parents[2]
_MARK = "peer: "


@dataclass(frozen=True)
class PeerProgram:
    """How a peer is started."""

    name: str
    interpreter: str
    module: str
    arguments: tuple[str, ...]
    by_path: bool = False
    """`module` is a file."""


class Peer:
    """A running peer. Its process has one core, one thread, and waits on its input between orders."""

    def __init__(self, program: PeerProgram) -> None:
        """Start it and wait until its step is compiled. Raises SystemExit: it did not start; its output says why."""
        self.name = program.name
        one = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        environment = os.environ | one | {"PYTHONPATH": str(_ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        self._process = subprocess.Popen(
            [program.interpreter, *([] if program.by_path else ["-m"]), program.module, *program.arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_ROOT,
            env=environment,
        )
        self.about: dict[str, object] = self._answer()

    def time(self, ticks: int, rate_hz: float | None) -> list[float]:
        """Seconds of each of so many steps, one straight after the other or at a rate."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"ticks": ticks, "rate_hz": rate_hz}) + "\n")
        self._process.stdin.flush()
        seconds = self._answer()["seconds"]
        assert isinstance(seconds, list)
        return seconds

    def _answer(self) -> dict[str, object]:
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            if line.startswith(_MARK):  # the rest is what the project prints
                answer: dict[str, object] = json.loads(line.removeprefix(_MARK))
                return answer
        raise SystemExit(f"the peer {self.name} ended; its own message stands above")

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10.0)


def serve(step: Callable[[], object], about: dict[str, object]) -> None:
    """The other end: answer orders until there are no more."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    for _ in range(20):
        step()
    print(_MARK + json.dumps(about), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        pacer = Pacer(1.0 / order["rate_hz"]) if order["rate_hz"] else None
        seconds = []
        for _ in range(order["ticks"]):
            if pacer is not None:
                pacer.wait()
            begin_ns = time.perf_counter_ns()
            step()
            seconds.append((time.perf_counter_ns() - begin_ns) * 1e-9)
        print(_MARK + json.dumps({"seconds": seconds}), flush=True)
