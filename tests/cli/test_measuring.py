"""An evaluation that is interrupted keeps what everybody who is compared has driven."""

import io
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from fosp_edge.cli.measuring import measure

Drive = tuple[int, str, str]


def drive(job: Drive) -> str:
    """Stands for an episode: leaves a mark, so that the test knows how far it is."""
    seed, agent, folder = job
    (Path(folder) / f"{seed}-{agent}").touch()
    time.sleep(0.02)
    return f"{agent} on {seed}"


def test_every_job_of_every_seed_is_done_and_told_by_job(tmp_path: Path) -> None:
    found = measure(
        drive, lambda seed: [(seed, "a", str(tmp_path)), (seed, "b", str(tmp_path))], range(7, 10), 2, Console()
    )
    assert found == [[f"{agent} on {seed}" for seed in (7, 8, 9)] for agent in "ab"]


def test_ctrl_c_ends_with_the_seeds_that_are_whole(tmp_path: Path) -> None:
    _interrupt_when(tmp_path / "20-b")
    said = io.StringIO()
    found = measure(
        drive, lambda seed: [(seed, agent, str(tmp_path)) for agent in "abc"], range(500), 2, Console(file=said)
    )
    seeds = len(found[0])
    assert 0 < seeds < 500
    assert found == [[f"{agent} on {seed}" for seed in range(seeds)] for agent in "abc"]
    assert f"interrupted after {seeds} of 500 seeds" in said.getvalue()


def test_ctrl_c_before_the_first_seed_leaves_nothing_to_tell(tmp_path: Path) -> None:
    _interrupt_when(tmp_path / "0-0")
    with pytest.raises(KeyboardInterrupt):
        measure(drive, lambda seed: [(seed, str(n), str(tmp_path)) for n in range(500)], range(1), 2, Console())


@pytest.fixture(autouse=True)
def _ctrl_c_is_heard() -> Iterator[None]:
    """Also where the tests were started in the background of a shell, which has its children ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def _interrupt_when(mark: Path) -> None:
    """Ctrl-C, once that job has begun."""

    def wait() -> None:
        end = time.monotonic() + 60.0
        while not mark.exists() and time.monotonic() < end:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=wait, daemon=True).start()
