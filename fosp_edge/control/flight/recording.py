"""What the control loop asks of whoever keeps its records, and the one that keeps them in a process of its own."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np

import fosp_edge
from fosp_edge.bundle.manifest import Manifest
from fosp_edge.control.failures import StopRun
from fosp_edge.control.flight.channel import Channel
from fosp_edge.control.flight.log import BEGIN, BUNDLE, CLOSE, END, EVENT, TICK
from fosp_edge.control.flight.row import Names, fill, row_type
from fosp_edge.control.types import Reason, TickRecord
from fosp_edge.experience.episode import Recording as ExperienceRecording

SLOTS = 256
"""Ticks that the process may be behind: 13 s at 20 Hz."""
_START_TIMEOUT_S, _HANG_S, _RESTARTS = 20.0, 10.0, 3


class Recording(Protocol):
    """Keeps records. `record` never waits; the rest is called while the motors stand still."""

    written: int
    dropped: int

    @property
    def failure(self) -> str | None:
        """Why nothing can be kept any more, in a sentence; None while it can."""

    @property
    def backlog(self) -> int:
        """Records that are not on their way to the disk yet."""

    def start(self) -> None:
        """Begin. Raises StopRun: it cannot."""

    def record(self, record: TickRecord) -> bool:
        """Take one record; False if it was dropped."""

    def begin_episode(self, seed: int, scenario: str, timeout_s: float = 2.0) -> None:
        """The records that follow belong to another episode."""

    def end_episode(self, outcome: str, timeout_s: float = 2.0) -> None:
        """The episode is over."""

    def close(self, timeout_s: float = 10.0) -> None:
        """Bring everything to the disk."""


class ProcessRecorder:
    """The recorder's process, started, fed, watched, and started again if it dies. Implements `Recording`.

    The tick writes one slot of shared memory: no lock, no queue, no system call. Whatever the disk does happens to
    another process.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        bundle_id: str,
        *,
        flight: bool = True,
        experience: ExperienceRecording | None = None,
        keep_s: float = 600.0,
        view_port: int | None = None,
        about: dict[str, Any] | None = None,
        bundle_path: Callable[[str], str] = str,
        store: Path | None = None,
        quota_bytes: int | None = None,
    ) -> None:
        """Describe the recording; nothing is started yet.

        Args:
            folder: of the run; `flight/` and `experience/` are made in it.
            manifest: of the bundle that begins; others that follow must have its shapes.
            bundle_id: its id.
            flight: keep every tick of the last `keep_s` seconds.
            experience: what the episodes have in common, if the experience store is to be written.
            keep_s: how far back the flight recording reaches at least.
            view_port: serve the live view for a browser on this loopback port; 0 for any.
            about: what else belongs into the recording's `meta.json`.
            bundle_path: where the bundle of an id lies, kept so that a replay finds it.
            store: where the experience goes, if not into `folder`.
            quota_bytes: what the episodes there may take; before each new one the least telling of the old ones go.
        """
        self.written, self.dropped, self.restarts = 0, 0, 0
        self._bundle_id, self._bundle_path = bundle_id, bundle_path
        self._row = np.zeros(1, row_type(manifest))
        self._bytes = memoryview(self._row.view(np.uint8).reshape(-1).data)
        self._channel = Channel.create(max(8192, self._row.nbytes), SLOTS)
        clocks = {"monotonic_ns": time.monotonic_ns(), "realtime_ns": time.time_ns()}
        names = asdict(Names())
        self._order = {
            "channel": self._channel.descriptor,
            "flight": str(folder / "flight") if flight else None,
            "experience": None if experience is None else str(store or folder / "experience"),
            "quota_bytes": quota_bytes,
            "recording": None if experience is None else asdict(experience),
            "keep_s": keep_s,
            "view_port": view_port,
            "meta": {
                "schema": 1,
                "manifest": json.loads(manifest.to_json()),
                "row": [list(item) for item in np.lib.format.dtype_to_descr(self._row.dtype)],
                "names": names,
                "clocks": clocks,
                **(about or {}),
            },
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: threading.Thread | None = None
        self._closing = threading.Event()
        self._failure: str | None = None
        self._episode, self._bundles = -1, list[str]()
        self.view_url: str | None = None

    @property
    def failure(self) -> str | None:
        """Why nothing can be kept any more, in a sentence; None while it can."""
        return self._failure or self._channel.sentence

    @property
    def backlog(self) -> int:
        """Messages that the process has not taken yet."""
        return self._channel.backlog

    @property
    def pid(self) -> int | None:
        """Number of the recorder's process while there is one."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the process and wait until its files are open. Raises StopRun with its own sentence."""
        self._spawn()
        self._bundle_number(self._bundle_id)
        self._watcher = threading.Thread(target=self._watch, name="recorder", daemon=True)
        self._watcher.start()

    def record(self, record: TickRecord) -> bool:
        """Hand one record over; False if it was dropped."""
        fill(self._row, record, self._episode, self._bundle_number(record.bundle))
        if self.failure is None and self._channel.put(TICK, self._bytes):
            self.written = self._channel.stored
            return True
        self.dropped += 1
        return False

    def begin_episode(self, seed: int, scenario: str, timeout_s: float = 2.0) -> None:
        """The records that follow belong to another episode. Waits for room."""
        self._episode += 1
        self._put(BEGIN, {"episode": self._episode, "seed": seed, "scenario": scenario}, timeout_s)

    def end_episode(self, outcome: str, timeout_s: float = 2.0) -> None:
        """The episode is over. Waits for room."""
        self._put(END, {"episode": self._episode, "outcome": outcome}, timeout_s)

    def event(self, sentence: str) -> None:
        """Keep a sentence about what happened; lost if there is no room for it."""
        with contextlib.suppress(ValueError):
            self._channel.put(EVENT, json.dumps({"time_ns": time.monotonic_ns(), "sentence": sentence}).encode())

    def close(self, timeout_s: float = 10.0) -> None:
        """Have everything written and end the process; what cannot be written in time is a failure, with its count."""
        process = self._process
        if process is None or self._closing.is_set():
            return
        self._put(CLOSE, {}, timeout_s)
        self._closing.set()
        if self._watcher is not None:
            self._watcher.join(timeout_s)
        with contextlib.suppress(OSError):
            assert process.stdin is not None
            process.stdin.close()
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._failure = self._failure or (
                f"the disk did not take {self.backlog} records within {timeout_s:.0f} s; they are lost"
            )
            process.kill()
            process.wait()
        self.written = self._channel.stored
        self.dropped += self._channel.lost

    def _bundle_number(self, identity: str) -> int:
        if self._bundles and self._bundles[-1] == identity:
            return len(self._bundles) - 1
        if not identity:
            return len(self._bundles) - 1
        about = {"number": len(self._bundles), "id": identity, "path": self._bundle_path(identity)}
        if self._channel.put(BUNDLE, json.dumps(about).encode()):
            self._bundles.append(identity)
        return len(self._bundles) - 1

    def _put(self, kind: int, content: dict[str, Any], timeout_s: float) -> None:
        data, deadline = json.dumps(content).encode(), time.monotonic() + timeout_s
        while self.failure is None and not self._channel.put(kind, data):
            if time.monotonic() > deadline:
                self._failure = f"the disk took nothing for {timeout_s:.0f} s; look at it, or run with --no-record"
                return
            time.sleep(0.005)

    # The process.

    def _spawn(self) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "fosp_edge.control.flight.process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is the control loop's affair
            pass_fds=(self._channel.descriptor,),
            env=_environment(),
        )
        assert process.stdin is not None and process.stdout is not None
        self._process = process
        killer = threading.Timer(_START_TIMEOUT_S, process.kill)
        killer.start()
        try:
            process.stdin.write(json.dumps(self._order).encode() + b"\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline() or b"{}")
        except (OSError, ValueError):
            answer = {}
        finally:
            killer.cancel()
        self.view_url = answer.get("view")
        if not answer.get("ready"):
            self.close(1.0)
            raise StopRun(Reason.RECORDER_FAILED, answer.get("error") or "the recorder's process does not start")

    def _watch(self) -> None:
        """Start the process again when it has died or hangs; the control loop goes on meanwhile."""
        while not self._closing.wait(0.2):
            process = self._process
            assert process is not None
            hangs = self._channel.beat_ns and time.monotonic_ns() - self._channel.beat_ns > _HANG_S * 1e9
            if process.poll() is None and not hangs:
                continue
            if self.failure is not None or self._closing.is_set():
                return
            process.kill()
            process.wait()
            if self.restarts >= _RESTARTS:
                self._failure = "the recorder's process ended again and again; look at the disk and at free memory"
                return
            self.restarts += 1
            try:
                self._spawn()
            except StopRun as error:
                self._failure = error.detail
                return


def _environment() -> dict[str, str]:
    """This process' environment, with the very package that runs here, and one thread per numerical library."""
    root = str(Path(fosp_edge.__file__).resolve().parents[1])
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**os.environ, **single, "PYTHONPATH": os.pathsep.join(paths)}
