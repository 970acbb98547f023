"""A stop outlives its process, and systemd hears only signs of life of what lives."""

import os
import socket
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fosp_edge.control.latch import StopLatch
from fosp_edge.control.systemd import Notifier, Progress


@settings(max_examples=80)
@given(st.lists(st.sampled_from(["armed", "died", "well", "badly", "torn", "released"]), max_size=12))
def test_whatever_happened_only_a_good_end_or_a_person_unlatches(tmp_path_factory, events: list[str]) -> None:
    folder, latched = tmp_path_factory.mktemp("latch"), False
    for event in events:
        latch = StopLatch("/dev/ttyACM0", folder)  # each time another process
        if event == "armed" and not latched:
            latch.armed()
            latched = True
        elif event == "well" and latched:
            latch.ended(None)
            latched = False
        elif event == "badly":
            latch.ended("a camera was lost")
            latched = True
        elif event == "torn" and latched:
            latch.path.write_text(latch.path.read_text()[:7])
        elif event == "released":
            assert latch.release() == latched
            latched = False
        assert (latch.sentence is not None) == latched
        assert StopLatch("/dev/ttyACM1", folder).sentence is None


def test_the_sentence_says_how_it_ended(tmp_path: Path) -> None:
    latch = StopLatch("/dev/serial/by-id/usb-x", tmp_path)
    latch.armed()
    assert "ended without a word" in str(latch.sentence)
    latch.ended("the newest frame is too old")
    assert "the newest frame is too old" in str(latch.sentence)


def test_a_pseudo_terminal_that_is_made_anew_is_not_the_one_that_was_stopped(tmp_path: Path) -> None:
    master, slave = os.openpty()
    port = os.ttyname(slave)
    StopLatch(port, tmp_path).armed()
    assert StopLatch(port, tmp_path).sentence is not None  # another run on the same emulated robot
    os.close(slave)
    os.close(master)
    time.sleep(0.05)
    master, slave = os.openpty()
    try:
        if os.ttyname(slave) != port:
            pytest.skip("somebody else took the number")
        assert StopLatch(port, tmp_path).sentence is None
    finally:
        os.close(slave)
        os.close(master)


@pytest.mark.parametrize("abstract", [False, True])
def test_the_service_manager_hears_of_readiness_and_life(tmp_path: Path, abstract: bool) -> None:
    address = f"@fosp-edge-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind("\0" + address[1:] if abstract else address)
    manager.settimeout(10.0)
    notifier = Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "60000"})
    assert notifier.ready("at work")
    assert manager.recv(100) == b"READY=1\nSTATUS=at work"
    assert notifier.there and notifier.status("  20 Hz\n  learner: busy")
    assert manager.recv(100) == b"STATUS=20 Hz"
    alive = [True]
    notifier.watch(lambda: alive[0])
    assert manager.recv(100) == b"WATCHDOG=1"
    alive[0] = False
    time.sleep(0.2)
    manager.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            manager.recv(100)
    time.sleep(0.1)
    with pytest.raises(BlockingIOError):
        manager.recv(100)
    notifier.close()
    manager.close()


def test_without_a_manager_nothing_is_said() -> None:
    notifier = Notifier({})
    assert not notifier.there and not notifier.ready("x") and notifier.watchdog_s == 0.0
    notifier.watch(lambda: True)
    notifier.close()
    assert not Notifier({"NOTIFY_SOCKET": "/nowhere/at/all"}).ready("x")


def test_a_loop_that_moves_the_robot_and_does_not_tick_is_not_alive() -> None:
    ticks, moves = [0], [False]
    progress = Progress(lambda: ticks[0], lambda: moves[0])
    assert progress() and progress()
    moves[0] = True
    ticks[0] = 5
    assert progress() and not progress()
    ticks[0] = 6
    assert progress()
