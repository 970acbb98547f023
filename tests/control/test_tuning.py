"""Thread settings: measured once per machine and graph, kept, and only taken where they are worth their cores."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from fosp_edge.control import tuning
from fosp_edge.control.device import CPU_DEVICE
from fosp_edge.control.inference import Execution, PolicyRuntime, made_up
from fosp_edge.control.look_ahead import open_runtime
from fosp_edge.control.tuning import Timing, choose, find_tuning, measure, tune, ways
from tests.control.fakes import TinyBundle, make_graph, make_manifest


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "PAUSE_S", 0.0)


def test_one_thread_comes_first_and_busy_helpers_leave_a_core_to_the_others() -> None:
    assert ways([5]) == [Execution()]
    assert ways([0, 1]) == [Execution(), Execution(2, (0,))]
    four = ways([0, 1, 2, 3])
    assert four[0] == Execution() and Execution(2, (2,), True) in four and Execution(4, (0, 1, 2)) in four
    assert not any(way.spin and way.threads == 4 for way in four)
    assert max(way.threads for way in ways(range(64))) == tuning.MOST_THREADS
    for way in ways(range(8)):
        assert len(way.cores) == way.threads - 1 and 7 not in way.cores  # the last one is the control thread's


@pytest.mark.parametrize(
    ("two", "expected"),
    [
        ((1.0, 2.0), 2),  # half of both
        ((1.0, 3.9), 1),  # a quicker median with the same tail
        ((1.9, 2.0), 1),  # a better tail, hardly quicker
    ],
)
def test_more_threads_have_to_be_worth_it_at_median_and_tail(two: tuple[float, float], expected: int) -> None:
    timings = [Timing(Execution(), 2.0, 4.0), Timing(Execution(2, (0,)), *two)]
    assert choose(timings).threads == expected


def test_the_best_tail_of_those_worth_it_is_taken() -> None:
    timings = [
        Timing(Execution(), 2.0, 4.0),
        Timing(Execution(2, (0,)), 1.0, 3.0),
        Timing(Execution(3, (0, 1)), 1.1, 2.0),
    ]
    assert choose(timings).threads == 3


def test_every_way_is_measured_and_computes_the_same() -> None:
    cores = sorted(os.sched_getaffinity(0))
    found = measure(TinyBundle(), CPU_DEVICE, ways(cores), ticks=40)
    assert [item.execution for item in found] == ways(cores)
    assert all(0.0 < item.median_ms <= item.p99_ms for item in found)


def test_what_was_measured_is_found_again_for_the_same_graph_and_cores_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = TinyBundle()
    assert find_tuning(bundle, CPU_DEVICE, tmp_path) is None
    made = tune(bundle, CPU_DEVICE, tmp_path)
    assert find_tuning(bundle, CPU_DEVICE, tmp_path) == made
    monkeypatch.setattr(tuning, "platform_versions", lambda: {"onnxruntime": "another"})
    assert find_tuning(bundle, CPU_DEVICE, tmp_path) is None
    monkeypatch.undo()
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3, 4, 5, 6})
    assert find_tuning(bundle, CPU_DEVICE, tmp_path) is None


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "[]",
        "{}",
        json.dumps({"chosen": {"threads": 900, "cores": [], "spin": True}, "timings": [], "measured_utc": ""}),
        json.dumps({"chosen": {"threads": "x", "cores": 1, "spin": 0}, "timings": [], "measured_utc": ""}),
    ],
)
def test_a_damaged_or_absurd_file_counts_as_none(tmp_path: Path, damage: str) -> None:
    tune(TinyBundle(), CPU_DEVICE, tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_text(damage)
    assert find_tuning(TinyBundle(), CPU_DEVICE, tmp_path) is None


def test_a_runtime_opens_with_every_way() -> None:
    for way in ways(sorted(os.sched_getaffinity(0))):
        runtime = open_runtime(TinyBundle(make_manifest(), make_graph()), way)
        assert isinstance(runtime, PolicyRuntime) and runtime.execution == way
        runtime.reset(0)
        assert np.isfinite(runtime.step(made_up(TinyBundle().manifest), np.zeros(3, np.float32)).surprise)
