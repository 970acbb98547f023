"""`fosp-edge run --learn` as a person types it, on the simulated robot in real time: minutes, so `pytest -m slow`."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fosp_edge.cli.home import Home, read_json
from fosp_edge.cli.shipped import SHIPPED_FOLDER

pytest.importorskip("mujoco")
pytest.importorskip("torch")
pytest.importorskip("onnx")
ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {
    **os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
}  # fmt: skip
LIGHT = ("mode=light", "updates-per-candidate=60", "episodes-per-candidate=6", "offline-rows=4000", "compared=20")


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "fosp_edge.cli", *map(str, arguments)]


def verdicts(home: Home) -> list[dict[str, Any]]:
    lines = home.verdicts.read_text().splitlines() if home.verdicts.exists() else []
    return [item for item in map(json.loads, lines) if "checks" in item]


def events(home: Home) -> str:
    return home.events.read_text() if home.events.exists() else ""


def wait(process: "subprocess.Popen[bytes]", log: Path, minutes: float, done: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 60.0 * minutes
    while not done():
        assert process.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < deadline_s, log.read_text()[-1000:]
        time.sleep(0.5)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not SHIPPED_FOLDER.is_dir(), reason="no agent is shipped in this tree yet")
def test_a_robot_lives_learns_judges_swaps_and_returns(tmp_path: Path) -> None:
    data, home, log = tmp_path / "data", Home(tmp_path / "robot"), tmp_path / "run.log"
    subprocess.run(command("data", "collect", data, "--episodes", 700), check=True, env=ENVIRONMENT, timeout=1500)
    words = ["run", "--learn", "--home", home.folder, "--dataset", data, "--episodes", 100_000, "--headless"]
    words += [word for option in LIGHT for word in ("--learn-option", option)]
    with log.open("wb") as file:
        process = subprocess.Popen(
            command(*words, "--out", tmp_path / "runs"), stdout=file, stderr=file, env=ENVIRONMENT
        )
        try:
            wait(process, log, 30.0, lambda: bool(verdicts(home)))
            verdict = verdicts(home)[0]
            assert len(verdict["checks"]) > 15, verdict["sentence"]
            if not verdict["admitted"]:  # then a person may still want it, and it is watched all the same
                subprocess.run(
                    command("bundles", "use", verdict["candidate"][:12], "--home", home.folder), check=True,
                    env=ENVIRONMENT,
                )  # fmt: skip
            wait(process, log, 3.0, lambda: f"{verdict['candidate'][:12]} took over from" in events(home))
            assert home.versions().state.probation or "its probation" in events(home)
            if home.versions().state.current == verdict["candidate"]:
                subprocess.run(command("bundles", "rollback", "--home", home.folder), check=True, env=ENVIRONMENT)
            wait(process, log, 3.0, lambda: events(home).count("took over from") >= 2)
            assert verdict["candidate"] in home.versions().state.refused
            process.send_signal(signal.SIGINT)
            process.wait(60.0)
        finally:
            process.kill()
            process.wait()
    assert process.returncode in (0, 128 + signal.SIGINT), log.read_text()[-3000:]
    assert read_json(home.status)["state"] == "stopped"
