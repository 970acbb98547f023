"""The tick: no memory that grows, no garbage in cycles, no import, no file, no network, no process."""

import gc
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from fosp_edge.bundle.manifest import Manifest
from fosp_edge.control.controller import Controller
from fosp_edge.control.flight.recording import ProcessRecorder
from fosp_edge.control.loop import ControlLoop
from fosp_edge.control.machine import Machine
from fosp_edge.control.pacing import Pacer
from fosp_edge.control.telemetry import default_thresholds
from fosp_edge.control.types import Reason
from fosp_edge.robots.base import Judgement
from tests.control.fakes import FakeCamera, FakeClock, FakeRobot, make_graph, make_manifest

WARM_UP, TICKS = 200, 800


@dataclass
class NamedBundle:
    manifest: Manifest = field(default_factory=make_manifest)
    graph_bytes: bytes = field(default_factory=make_graph)
    gate_bytes: bytes | None = None
    id: str = "b" * 64


class EndlessReferee:
    def reset(self, seed: int, scenario: str) -> None:
        pass

    def judge(self) -> Judgement:
        return Judgement(0.0, 0.0, success=False, finished=False)


class ForgetfulRobot(FakeRobot):
    """Keeps no list of what it was told."""

    def command(self, action: np.ndarray) -> None:
        pass


@contextmanager
def ticking(tmp_path: Path) -> Iterator[ControlLoop]:
    """A loop in the middle of an episode, with the real recorder's ring in front of it."""
    clock, bundle = FakeClock(), NamedBundle()
    recorder = ProcessRecorder(tmp_path, bundle.manifest, bundle.id)
    recorder.start()
    loop = ControlLoop(
        ForgetfulRobot(clock),
        [FakeCamera(clock, "fixed"), FakeCamera(clock, "wrist")],
        Controller(bundle),
        Machine(clock),
        referee=EndlessReferee(),
        recorder=recorder,
        pacer=Pacer(0.05, clock, clock.sleep),
        clock=clock,
        sleep=clock.sleep,
    )
    loop.telemetry.thresholds.update(default_thresholds(0.05, 100.0))
    loop.controller.reset(3)
    loop.machine.handle(Reason.CHECKS_PASSED)
    loop.machine.handle(Reason.OPERATOR_START)
    for _ in range(WARM_UP):
        assert loop._run_tick(None) is None
    try:
        yield loop
    finally:
        recorder.close()


def test_memory_does_not_grow_with_the_number_of_ticks(tmp_path: Path) -> None:
    grown = []
    with ticking(tmp_path) as loop:
        tracemalloc.start()
        try:
            for _ in range(4):
                for _ in range(TICKS):
                    loop._run_tick(None)
                gc.collect()
                grown.append(tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()
    # Free lists of numbers and tuples fill up to their bound, more slowly each time; a leak keeps its pace.
    assert min(np.diff(grown)) < 5 * TICKS, f"{np.diff(grown)} bytes in {TICKS} ticks each"


def test_a_tick_leaves_no_garbage_that_only_a_collector_finds(tmp_path: Path) -> None:
    with ticking(tmp_path) as loop:
        gc.collect()
        gc.disable()
        try:
            for _ in range(TICKS // 3):
                loop._run_tick(None)
            assert gc.collect() == 0
        finally:
            gc.enable()


_WATCHED: list[str] | None = None


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if _WATCHED is not None and event.partition(".")[0] in {
        "open", "import", "socket", "subprocess", "os", "shutil", "glob", "tempfile", "fcntl", "exec", "compile",
    }:  # fmt: skip
        _WATCHED.append(f"{event}{arguments!r:.80}")


def test_a_tick_imports_opens_and_starts_nothing(tmp_path: Path) -> None:
    global _WATCHED
    sys.addaudithook(_hook)  # stays for good, so it looks away otherwise
    with ticking(tmp_path) as loop:
        _WATCHED, modules = [], set(sys.modules)
        try:
            for _ in range(300):
                loop._run_tick(None)
        finally:
            seen, _WATCHED = _WATCHED, None
        # The recorder's watching thread may look after its process meanwhile: that is not the tick.
        seen = [event for event in seen if "waitpid" not in event]
    assert seen == [] and set(sys.modules) == modules


@pytest.mark.parametrize("phase", ["inference", "latency"])
def test_what_took_too_long_is_not_acted_upon(tmp_path: Path, phase: str) -> None:
    from fosp_edge.control.failures import StopRun
    from fosp_edge.control.telemetry import Threshold

    with ticking(tmp_path) as loop:
        loop.telemetry.thresholds[phase] = Threshold(-2.0, -1.0)
        sent: list[object] = []
        loop.robot.command = sent.append  # type: ignore[method-assign,assignment]
        with pytest.raises(StopRun, match=f"{phase}: .*nothing was sent") as stop:
            loop._run_tick(None)
        assert stop.value.reason is Reason.DEADLINE and not sent
        loop.telemetry.add(phase, 0.001)
        assert loop.telemetry.counters[f"slow {phase}"] >= 1
