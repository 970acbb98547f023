"""`fosp-edge data record`: keys typed at a terminal move a simulated arm behind its wire, and are kept."""

import os
import pty
import select
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import fosp_edge
from fosp_edge.experience.store import ExperienceStore
from tests.cli.tree import run_verb
from tests.faults.patience import real_time

QUESTION = b"start the motors?"


class Terminal:
    """A person at a terminal of their own."""

    def __init__(self, *arguments: str) -> None:
        root = str(Path(fosp_edge.__file__).parents[1])
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            environment = {**os.environ, "PYTHONPATH": root, "COLUMNS": "200"}
            os.execve(sys.executable, [sys.executable, "-m", "fosp_edge.cli", *arguments], environment)
        self.text, self.answered = b"", 0

    def until_it_ends(self, type_keys: Callable[["Terminal"], bytes], timeout_s: float = 90.0) -> int:
        """Answer every question with Enter, type ten times a second, and return the exit status."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and self._read(0.1):
            if self.text.count(QUESTION) > self.answered:
                self.answered += 1
                os.write(self.descriptor, b"\n")
            elif self.answered:
                os.write(self.descriptor, type_keys(self))
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def _read(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0.0:
            if select.select([self.descriptor], [], [], left)[0]:
                try:
                    data = os.read(self.descriptor, 4096)
                except OSError:  # nobody has the other end any more
                    return False
                self.text += data
        return True


@pytest.fixture(autouse=True)
def needs_the_simulation() -> None:
    pytest.importorskip("mujoco")


def seen(path: Path) -> tuple[list[str], list[dict[str, np.ndarray]]]:
    with ExperienceStore(path) as store:
        infos = store.episodes()
        return [info.header.source for info in infos], [dict(store.read(info.id)) for info in infos]


@real_time
def test_keys_move_the_arm_and_are_kept(tmp_path: Path) -> None:
    out = tmp_path / "mine"
    words = ("data", "record", str(out), "--rate", "10", "--max-steps", "15", "--episodes", "2", "--speed", "0.4")
    terminal = Terminal(*words)
    assert terminal.until_it_ends(lambda at: b"j" if at.answered == 1 else b"l") == 0, terminal.text.decode()
    assert b"episode 2: " in terminal.text and b"the motor controller confirmed the stop" in terminal.text
    sources, (left, right) = seen(out)
    assert sources == ["person", "person"]
    for steps, sign in ((left, 1.0), (right, -1.0)):
        assert len(steps["action"]) == 16 and steps["image"].shape[1:] == (64, 64, 6)
        sideways = np.unique(steps["action"][:-1, 1] * sign)
        assert all(min(abs(value), abs(value - 0.4)) < 1e-6 for value in sideways) and sideways[-1] > 0.0
        assert not np.round(steps["action"][:, [0, 2]], 6).any()
        moved_m = steps["state"][-1, 7] - steps["state"][0, 7]
        assert 0.02 < sign * moved_m < 0.25
    # Gone on with, its tables follow on; another rate is another data set.
    more = Terminal("data", "record", str(out), "--rate", "10", "--max-steps", "2", "--episodes", "1", "--yes")
    more.answered = 1
    assert more.until_it_ends(lambda at: b"k") == 0, more.text.decode()
    with ExperienceStore(out) as store:
        assert [info.header.seed for info in store.episodes()] == [500_000, 500_001, 500_002]
    other = Terminal("data", "record", str(out), "--rate", "20", "--episodes", "1")
    assert other.until_it_ends(lambda at: b"") == 2 and b"rate_hz" in other.text


@real_time
def test_the_space_bar_stops_and_what_was_lived_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "mine"
    terminal = Terminal("data", "record", str(out), "--rate", "10")
    typed: list[bytes] = []

    def keys(at: Terminal) -> bytes:
        typed.append(b"i" if len(typed) < 12 else b" ")
        return typed[-1] if len(typed) <= 13 else b""

    assert terminal.until_it_ends(keys) == 1, terminal.text.decode()
    assert b"emergency stop (key space bar): the motors confirmed it" in terminal.text
    _, [steps] = seen(out)
    assert 2 <= len(steps["action"]) < 40


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ((), "driving by keyboard needs a terminal"),
        (("--hand", "gamepad", "--gamepad", "/nowhere/js0"), "/nowhere/js0"),
        (("--hand", "gamepad", "--robot", "serial", "--port", "/dev/pts/9999"), "name at least one with --camera"),
        (("--hand", "gamepad", "--robot", "crane"), "unknown robot 'crane'"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence(options: tuple[str, ...], sentence: str, tmp_path: Path) -> None:
    result = run_verb("data", "record", str(tmp_path / "mine"), *options, columns=300)
    assert result.exit_code == 2 and sentence in result.output
