"""Start the simulated robot as a process of its own, and never leave it behind.

Needs neither MuJoCo nor torch itself: the process that controls motors starts the simulation, it does not contain it.
"""

import contextlib
import itertools
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

import fosp_edge
from fosp_edge.cameras.ring import remove_abandoned_rings
from fosp_edge.cameras.ring_camera import RingCamera
from fosp_edge.robots.arm import DESKTOP_ARM
from fosp_edge.robots.base import Judgement, RobotError, RobotLost
from fosp_edge.robots.wires import CONTROLLER
from fosp_edge.simulation.referee_protocol import Request, Value

_LOG_LINES = 50


class DeviceReferee:
    """Implements `Referee` over the device's standard input and output. One caller at a time."""

    def __init__(self, process: "subprocess.Popen[bytes]", answers: "queue.Queue[dict[str, object] | None]") -> None:
        self._process, self._answers = process, answers
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def reset(self, seed: int, scenario: str) -> None:
        """Lay out a new table with the arm at its start, and wait until telemetry and pictures of it are on their way.

        The cameras' newest frames then show it. A busy host may have older telemetry still to read; after `arm`, whose
        acknowledgement comes behind it on the line, it has read it.

        This is a person re-arranging the table by hand: the motors must be stopped or disarmed, else it is refused;
        the arm afterwards stands somewhere else without having been commanded there.

        Raises:
            RobotError: the motors are armed, or the scenario is unknown.
            RobotLost: the device is gone.
        """
        self.ask("reset", timeout_s=30.0, seed=seed, scenario=scenario)

    def judge(self) -> Judgement:
        """What happened since the last call or the reset; each call counts as one step of the episode.

        Raises:
            RobotLost: the device is gone, or does not answer within a second.
        """
        answer = self.ask("judge", timeout_s=1.0)
        reward, cost = answer.get("reward"), answer.get("cost")
        if not isinstance(reward, int | float) or not isinstance(cost, int | float):
            raise RobotError(f"the referee's judgement lacks reward or cost: {answer}")
        return Judgement(float(reward), float(cost), bool(answer.get("success")), bool(answer.get("finished")))

    def ask(self, verb: str, *, timeout_s: float = 5.0, **arguments: Value) -> dict[str, object]:
        """Any verb of the device (`machine.py`), faults included; returns its answer.

        Raises:
            RobotError: the device refuses; the message is its sentence.
            RobotLost: it is gone or silent.
        """
        with self._lock:
            request = Request(next(self._numbers), verb, arguments)
            deadline = time.monotonic() + timeout_s
            try:
                assert self._process.stdin is not None
                self._process.stdin.write(request.to_line())
                self._process.stdin.flush()
                while True:
                    answer = self._answers.get(timeout=max(0.0, deadline - time.monotonic()))
                    if answer is None:
                        self._answers.put(None)
                        raise RobotLost("the simulated robot has ended")
                    if answer.get("id") == request.id:
                        break
            except queue.Empty:
                raise RobotLost(f"the simulated robot did not answer {verb!r} within {timeout_s:g} s") from None
            except (OSError, ValueError) as error:
                raise RobotLost(f"the simulated robot has ended: {error}") from error
        if not answer.get("ok"):
            raise RobotError(str(answer.get("error", "the simulated robot refused without a reason")))
        return answer


class SimulatedRobot:
    """Context manager around the device process: `.port`, `.cameras`, `.referee` while it lives.

    The device runs in a session of its own, so that Ctrl-C at the terminal reaches only the control loop, which then
    stops the motors first. It ends when its standard input closes, which happens even if this process is killed.
    """

    def __init__(
        self,
        scenario: str = "standard",
        seed: int = 0,
        *,
        wire: str = CONTROLLER,
        arm: str = DESKTOP_ARM.name,
        motor_ids: Sequence[int] = (),
        camera_hz: float = 40.0,
        start_timeout_s: float = 30.0,
    ) -> None:
        """Describe the robot; nothing is started yet.

        Args:
            scenario: family of the first table.
            seed: its seed.
            wire: what the motors hang on: a controller board, or servos of a family (`robots.wires.WIRES`).
            arm: which arm or base, as `robots.catalogue.mechanism` takes it.
            motor_ids: ids of the servos from base to tool; counted from 1 if left out.
            camera_hz: pictures per second.
            start_timeout_s: how long the device may take to come up.
        """
        self._arguments = ["--scenario", scenario, "--seed", str(seed), "--camera-hz", str(camera_hz)]
        self._arguments += ["--wire", wire, "--arm", arm, "--ids", *map(str, motor_ids)]
        self._start_timeout_s = start_timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self.log: deque[str] = deque(maxlen=_LOG_LINES)
        """The newest lines that the device wrote to its standard error."""

    def __enter__(self) -> "SimulatedRobot":
        """Start the device and wait until it is ready.

        Raises:
            RobotError: it did not come up; the message is its own.
        """
        process = subprocess.Popen(
            [sys.executable, "-m", "fosp_edge.simulation.device", *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env=_environment(),
        )
        self._process = process
        answers: queue.Queue[dict[str, object] | None] = queue.Queue()
        assert process.stdout is not None and process.stderr is not None
        self._threads = [
            threading.Thread(target=_read_answers, args=(process.stdout, answers), daemon=True),
            threading.Thread(target=_read_log, args=(process.stderr, self.log), daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        try:
            self._introduce(answers)
        except BaseException:
            self.close()
            raise
        self.referee = DeviceReferee(process, answers)
        return self

    def _introduce(self, answers: "queue.Queue[dict[str, object] | None]") -> None:
        try:
            ready = answers.get(timeout=self._start_timeout_s)
        except queue.Empty:
            raise RobotError(f"the simulated robot was not ready within {self._start_timeout_s:g} s") from None
        if ready is None:
            self._threads[1].join(2.0)
            raise RobotError(self.log[-1] if self.log else "the simulated robot ended while starting")
        cameras = ready.get("cameras")
        if ready.get("event") != "ready" or not isinstance(cameras, dict):
            raise RobotError(f"the simulated robot introduced itself with {ready!r}")
        self.port = str(ready.get("port"))
        self.cameras = {str(name): RingCamera(str(name), str(about["ring"])) for name, about in cameras.items()}

    @property
    def pid(self) -> int:
        """Process number of the device."""
        assert self._process is not None, "the device was not started"
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the device's process is there."""
        return self._process is not None and self._process.poll() is None

    def close(self) -> None:
        """End the device; it is killed if it does not end by itself. May be called twice."""
        process, self._process = self._process, None
        if process is None:
            return
        for camera in getattr(self, "cameras", {}).values():
            camera.close()
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            process.wait(3.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for thread in self._threads:
            thread.join(2.0)
        process.stdout.close()
        process.stderr.close()
        remove_abandoned_rings()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _environment() -> dict[str, str]:
    """This process' environment, with the very package that runs here, and one thread per numerical library."""
    root = str(Path(fosp_edge.__file__).resolve().parents[1])
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**os.environ, **single, "PYTHONPATH": os.pathsep.join(paths)}


def _read_answers(stream: IO[bytes], answers: "queue.Queue[dict[str, object] | None]") -> None:
    for line in stream:
        with contextlib.suppress(ValueError):
            message = json.loads(line)
            if isinstance(message, dict):
                answers.put(message)
    answers.put(None)


def _read_log(stream: IO[bytes], log: "deque[str]") -> None:
    for line in stream:
        log.append(line.decode(errors="replace").rstrip())
