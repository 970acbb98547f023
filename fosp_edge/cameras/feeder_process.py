"""One run of a camera driver in a process of its own, seen from the host."""

import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import IO, Any

import fosp_edge
from fosp_edge.cameras.address import CameraAddress
from fosp_edge.cameras.base import CameraError
from fosp_edge.cameras.ring import remove_abandoned_rings
from fosp_edge.cameras.ring_camera import RingCamera
from fosp_edge.cameras.source import Intrinsics

_END_TIMEOUT_S, _POLL_S = 4.0, 0.1


class FeederProcess:
    """A started driver: its rings, and its last words. It ends with `close`, or with this process."""

    def __init__(
        self, name: str, address: CameraAddress, *, reset: bool, timeout_s: float, abandoned: threading.Event
    ) -> None:
        """Start the driver and wait until it has introduced itself, at most until `abandoned` is set.

        Raises:
            CameraError: it ended instead, with its own sentence, or did not come up in time and was killed.
        """
        self._abandoned = abandoned
        deadline = time.monotonic() + timeout_s
        command = [sys.executable, "-m", "fosp_edge.cameras.feeder", str(address)] + ["--reset"] * reset
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is the control loop's affair
            env=_environment(),
        )
        assert self._process.stdout is not None and self._process.stderr is not None
        self._log: deque[str] = deque(maxlen=20)
        self._listener = threading.Thread(target=_listen, args=(self._process.stderr, self._log), daemon=True)
        self._listener.start()
        try:
            introduction = self._introduction(deadline)
            self.colour = RingCamera(name, str(introduction["colour"]), start_timeout_s=deadline - time.monotonic())
            self.colour.start()
        except BaseException:
            self.close(kill=True)
            raise
        raw = introduction["intrinsics"]
        self.intrinsics = Intrinsics(**{**raw, "coefficients": tuple(raw["coefficients"])}) if raw else None

    @property
    def pid(self) -> int:
        """Process number of the driver."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    @property
    def published(self) -> int:
        """How many pictures it has put into its ring."""
        return self.colour.published

    @property
    def last_words(self) -> str:
        """The last line it wrote to its standard error, or what is known otherwise."""
        if not self.alive:
            self._listener.join(1.0)
        return self._log[-1] if self._log else "its driver ended without a word"

    def close(self, *, kill: bool = False) -> None:
        """End it, at once or by asking first. Never raises; may be called twice."""
        process = self._process
        if kill:
            process.kill()
        with contextlib.suppress(OSError, AssertionError):
            assert process.stdin is not None
            process.stdin.close()
        try:
            process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._listener.join(2.0)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        if hasattr(self, "colour"):
            self.colour.close()
        remove_abandoned_rings()

    def _introduction(self, deadline: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        while not select.select([self._process.stdout], [], [], _POLL_S)[0]:
            if self._abandoned.is_set():
                raise CameraError("the camera was closed while its driver was starting")
            if time.monotonic() > deadline:
                raise CameraError("the camera's driver hangs while starting: unplug the camera and plug it in again")
        try:
            message = json.loads(self._process.stdout.readline())
        except ValueError:
            self._process.wait(_END_TIMEOUT_S)
            raise CameraError(self.last_words) from None
        assert isinstance(message, dict), "the feeder's first line is an object"
        return message


def _environment() -> dict[str, str]:
    """This process' environment, with the very package that runs here."""
    root = str(Path(fosp_edge.__file__).resolve().parents[1])
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _listen(stream: IO[bytes], log: "deque[str]") -> None:
    for line in stream:
        if line.strip():
            log.append(line.decode(errors="replace").strip())
