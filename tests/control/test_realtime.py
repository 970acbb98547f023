"""Measures are taken and given back, and what is refused names the command that grants it."""

import gc
import os
import resource
import subprocess
import sys
import threading

import pytest

from fosp_edge.control.realtime import Realtime, collect_in_slack


def test_measures_are_had_or_explained_and_all_are_given_back() -> None:
    before = os.sched_getaffinity(0), os.sched_getscheduler(0)
    waiting = threading.Event()
    other = threading.Thread(target=waiting.wait)
    other.start()
    realtime = Realtime()
    try:
        measures = {item.name: item for item in realtime.acquire()}
        assert set(measures) == {
            "garbage collection", "core of its own", "FIFO priority", "locked memory", "shallow sleep of the processor",
        }  # fmt: skip
        for item in measures.values():
            assert item.detail and (item.had or (item.command and item.command in item.sentence()))
        assert not gc.isenabled()
        if measures["core of its own"].had:
            assert len(os.sched_getaffinity(0)) == 1
        if measures["FIFO priority"].had:
            assert os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO
            # A process that is started now is an ordinary one.
            child = subprocess.run(
                [sys.executable, "-c", "import os; print(os.sched_getscheduler(0))"], capture_output=True, check=True
            )
            assert int(child.stdout) == os.SCHED_OTHER
    finally:
        realtime.release()
        waiting.set()
        other.join()
    assert gc.isenabled()
    assert (os.sched_getaffinity(0), os.sched_getscheduler(0)) == before


def test_what_the_system_refuses_is_said_with_the_command_that_grants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (8 << 20, 8 << 20))
    realtime = Realtime()
    try:
        measures = {item.name: item for item in realtime.acquire()}
    finally:
        realtime.release()
    assert "rtprio 80" in measures["FIFO priority"].sentence()
    assert "memlock unlimited" in measures["locked memory"].sentence() and "8 MiB" in measures["locked memory"].detail
    assert "two cores" in measures["core of its own"].sentence()


def test_garbage_is_collected_in_the_slack_while_the_collector_is_off() -> None:
    gc.disable()
    try:
        for _ in range(3000):
            cycle: list[object] = []
            cycle.append(cycle)
        assert gc.get_count()[0] > 2000
        collect_in_slack()
        assert gc.get_count()[0] < 2000
    finally:
        gc.enable()
