"""The control loop's tick with a stopwatch in it, on a robot without physics (`null_device`)."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from fosp_edge.bundle.folder import Bundle
from fosp_edge.bundle.manifest import Manifest
from fosp_edge.cameras.ring_camera import RingCamera
from fosp_edge.control.controller import Controller
from fosp_edge.control.inference import Execution
from fosp_edge.control.pacing import Pacer
from fosp_edge.control.types import Observation
from fosp_edge.robots.fingertip_drive import FingertipDrive
from fosp_edge.robots.serial_robot import SerialRobot

PHASES = ("observe", "inference", "filter and limits", "command", "tick")
MAX_FRAME_AGE_S = 5.0


@contextmanager
def null_device(manifest: Manifest) -> Iterator[tuple[str, dict[str, str]]]:
    """The port and the rings of a null device that lives as long as the block."""
    first = manifest.cameras[0]
    names = [camera.name for camera in manifest.cameras]
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.null_device", str(first.width_px), str(first.height_px), *names],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[1],
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise SystemExit("the null device did not start; its own message stands above")
        where = json.loads(line)
        yield where["port"], where["rings"]
    finally:
        process.stdin.close()
        process.wait(10.0)


class TickBench:
    """One bundle on a null device: the control loop's tick with a stopwatch in it."""

    def __init__(self, bundle: Bundle, port: str, rings: dict[str, str], execution: Execution) -> None:
        self.controller = Controller(bundle, execution=execution)
        self.cameras = [RingCamera(camera.name, rings[camera.name]) for camera in bundle.manifest.cameras]
        self.robot = SerialRobot(port, FingertipDrive(), watchdog_s=1.0, telemetry_timeout_s=1.0)
        self.robot.connect(5.0)
        for camera in self.cameras:
            camera.start()
        self.controller.reset(0)
        self.robot.arm()
        self.observation: Observation | None = None

    def tick(self) -> tuple[float, ...]:
        """One tick; seconds per phase, in the order of PHASES."""
        clock = time.perf_counter_ns
        begin = clock()
        image = np.concatenate([camera.latest(MAX_FRAME_AGE_S).image for camera in self.cameras], axis=-1)
        self.observation = Observation(image, self.robot.read().state)
        observed = clock()
        self.controller.decide(self.observation)
        decided = clock()
        self.robot.command(self.controller.physical_action)
        end = clock()
        insight = self.controller.insight
        spans = (observed - begin, end - decided, end - begin)
        return spans[0] * 1e-9, insight.inference_s, insight.filter_s, spans[1] * 1e-9, spans[2] * 1e-9

    def run(self, ticks: int, pacer: Pacer | None) -> np.ndarray:
        """Seconds, shape [ticks, phases]: one tick straight after the other, or when the pacer says so."""
        rows = []
        for _ in range(ticks):
            if pacer is not None:
                pacer.wait()
            rows.append(self.tick())
        return np.array(rows)

    def close(self) -> None:
        self.robot.stop(1.0)
        self.robot.close()
        for camera in self.cameras:
            camera.close()


def describe(seconds: np.ndarray) -> dict[str, float]:
    """Count, median, p99, p99.9 and maximum in milliseconds."""
    median, p99, p999 = np.quantile(seconds, [0.5, 0.99, 0.999]) * 1e3
    return {
        "ticks": len(seconds),
        "median_ms": round(float(median), 4),
        "p99_ms": round(float(p99), 4),
        "p99.9_ms": round(float(p999), 4),
        "max_ms": round(float(seconds.max()) * 1e3, 4),
    }
