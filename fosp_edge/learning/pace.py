"""How much a learner may take of a computer that also controls a robot: which work, which cores, which pauses."""

import os
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MODES: dict[str, str] = {"light": "behaviour", "heads": "heads", "full": "full"}
"""Mode to the scope of `fosp_edge.agent.config`: critics and policy; reward, cost and end heads too; everything."""

AUTOMATIC = ("light", "heads")
"""What a clock may choose. `full` is a person's choice however fast the machine is: the latent states change, so that
reachability, the filter's judge, has to learn from what the filter let happen (docs/keep-learning.md)."""
HEADS_BELOW_S = 1.5
"""Where an update of everything takes longer, too few are made for the heads to learn beside behaviour."""


def choose_mode(full_update_s: float) -> str:
    """The mode for a machine on which one update of everything takes so long."""
    return "heads" if full_update_s <= HEADS_BELOW_S else "light"


def resident_bytes() -> int:
    """Resident memory of this process (proc(5), statm); pages are 64 KiB on some aarch64 kernels."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def yield_to_control(cores: int | None = None) -> tuple[str, int]:
    """Put this process where it disturbs a control loop least; returns what was had, in words, and the threads to use.

    SCHED_IDLE runs when nobody else wants the core, and is pre-empted at once: next to a learner in it a control loop's
    99th percentile stays what it is alone (measured: docs/keep-learning.md). With four cores or more the learner keeps
    to the upper half. Threads equal the cores that it owns: more would wait for each other.
    """
    available = sorted(os.sched_getaffinity(0))
    own = available[len(available) // 2 :] if len(available) >= 4 else available
    if cores is not None:
        own = own[-cores:]
    words = []
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        words.append("idle scheduling class")
    except (OSError, AttributeError):
        os.nice(19)
        words.append("nice 19")
    if len(own) < len(available):
        os.sched_setaffinity(0, own)
        words.append(f"cores {own[0]}-{own[-1]}")
    # On two cores one is left to whoever drives: a learner with one thread keeps three quarters of its speed.
    threads = len(own) if len(own) < len(available) else max(1, len(own) - 1)
    return ", ".join(words), threads


@dataclass
class Throttle:
    """Pauses between updates that grow while the control loop suffers from the learner, and shrink while it does not.

    Multiplicative up, slow down: a deadline missed costs the learner at once, a quiet second gives a little back. On a
    computer that is busy with other things the loop suffers anyway. The learner's own pauses tell the two apart: where
    the loop suffers as often in seconds that the learner slept through, more sleep would help nobody.
    """

    read: Callable[[], Mapping[str, Any]]
    """The control loop's newest figures (`fosp_edge.control.pulse`); empty while no robot runs."""
    latency_share: float = 0.5
    """p99 latency above this share of the period counts as suffering, before any deadline is missed."""
    more_often: float = 0.1
    """The learner is to blame if the share of seconds with suffering is larger by this while it works than while it
    sleeps."""
    longest_s: float = 5.0
    pause_s: float = 0.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    _seen: float = -1.0
    _looked_s: float | None = None
    _slept_s: float = 0.0
    _suffering: dict[bool, float] = field(default_factory=dict)
    """Share of the last seconds with suffering: of those that the learner slept through (True), and worked in."""

    def breathe(self) -> None:
        """Give way. Call it before every update."""
        pulse = self.read()
        written = float(pulse.get("unix_s", -1.0))
        if written != self._seen and pulse:
            self._seen = written
            suffers = pulse.get("missed", 0) > 0 or (
                pulse.get("p99_latency_s", 0.0) > self.latency_share * pulse.get("period_s", 1.0)
            )
            self._take_in(suffers)
            if suffers and self._to_blame:
                self.pause_s = min(self.longest_s, max(0.05, 2.0 * self.pause_s))
            else:
                self.pause_s = 0.8 * self.pause_s if self.pause_s > 0.0125 else 0.0
        if self.pause_s:
            self.sleep(self.pause_s)
            self._slept_s += self.pause_s

    def _take_in(self, suffers: bool) -> None:
        now_s = self.clock()
        if self._looked_s is not None:
            slept = self._slept_s > 0.7 * (now_s - self._looked_s)
            before = self._suffering.get(slept, float(suffers))
            self._suffering[slept] = before + 0.2 * (suffers - before)
        self._looked_s, self._slept_s = now_s, 0.0

    @property
    def _to_blame(self) -> bool:
        """Whether the loop suffers more often while the learner works; assumed while there is nothing to compare."""
        working, sleeping = self._suffering.get(False), self._suffering.get(True)
        return working is None or sleeping is None or working > sleeping + self.more_often
