"""How long one control tick takes, image in to command out: `python -m benchmarks.control_tick [BUNDLE...]`.

The tick is what the control loop does between two deadlines: newest frames out of shared memory, newest telemetry,
step graph, filter, limits, kinematics, command onto a pseudo-terminal. At its far end is `null_device`, a process of
its own. It is measured back to back (warm caches: how fast it can be) and paced (cold caches: what a robot sees).

`--eager MODULE:FUNCTION` names a function that takes a bundle's folder and returns a callable
`(observation, previous_action) -> None` which does the same step in eager PyTorch; it is timed on the same pictures.
"""

import argparse
import gc
import importlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import onnxruntime
from rich.console import Console
from rich.table import Table

from fosp_edge.bundle.folder import Bundle, load_bundle
from fosp_edge.bundle.manifest import Manifest
from fosp_edge.cameras.ring_camera import RingCamera
from fosp_edge.cli.shipped import shipped_bundle
from fosp_edge.control.controller import Controller
from fosp_edge.control.inference import Execution
from fosp_edge.control.pacing import Pacer
from fosp_edge.control.types import Float32Array, Observation
from fosp_edge.robots.serial_arm import SerialArm

PHASES = ("observe", "inference", "filter and limits", "command", "tick")
MAX_FRAME_AGE_S = 5.0
WARM_UP = 100
TURN = 500
"""Ticks after which ours and eager ones change places."""
EagerStep = Callable[[Observation, Float32Array], object]


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

    def __init__(self, bundle: Bundle, port: str, rings: dict[str, str], threads: int) -> None:
        self.controller = Controller(bundle, execution=Execution(threads))
        self.cameras = [RingCamera(camera.name, rings[camera.name]) for camera in bundle.manifest.cameras]
        self.robot = SerialArm(port, watchdog_s=1.0, telemetry_timeout_s=1.0)
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


def time_eager(step: EagerStep, observation: Observation, actions: int, ticks: int, pacer: Pacer | None) -> np.ndarray:
    """Seconds per eager step, shape [ticks]."""
    previous = np.zeros(actions, np.float32)
    seconds = []
    for _ in range(ticks):
        if pacer is not None:
            pacer.wait()
        begin = time.perf_counter_ns()
        step(observation, previous)
        seconds.append((time.perf_counter_ns() - begin) * 1e-9)
    return np.array(seconds)


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


def measure(path: Path, ticks: int, rates_hz: list[float], threads: int, eager: str | None) -> dict[str, object]:
    """All figures of one bundle: `ticks` of each kind, ours and eager ones in turns of `TURN`."""
    bundle = load_bundle(path)
    step: EagerStep | None = None
    if eager is not None:
        module, _, function = eager.partition(":")
        step = getattr(importlib.import_module(module), function)(path)
    modes: dict[str, object] = {}
    with null_device(bundle.manifest) as (port, rings):
        bench = TickBench(bundle, port, rings, threads)
        gc.collect()
        gc.freeze()
        try:
            for rate_hz in (None, *rates_hz):
                name = "back to back" if rate_hz is None else f"paced {rate_hz:g} Hz"
                modes[name] = _measure_mode(bench, step, ticks, rate_hz)
        finally:
            bench.close()
    return {"name": bundle.manifest.name, "sha256": path.name, "graph_bytes": len(bundle.graph_bytes), "modes": modes}


def _measure_mode(bench: TickBench, step: EagerStep | None, ticks: int, rate_hz: float | None) -> dict[str, object]:
    """Turn and turn about, so that what else runs on the machine meets both alike."""
    ours, eager, missed = [], [], 0
    actions = len(bench.controller.manifest.actions)
    bench.robot.arm()
    bench.run(WARM_UP, None)
    for begin in range(0, ticks, TURN):
        count = min(TURN, ticks - begin)
        pacer = None if rate_hz is None else Pacer(1.0 / rate_hz)
        bench.robot.arm()
        ours.append(bench.run(count, pacer))
        missed += 0 if pacer is None else pacer.missed
        if step is not None:
            assert bench.observation is not None
            bench.robot.stop(1.0)
            time_eager(step, bench.observation, actions, 10, None)
            pacer = None if rate_hz is None else Pacer(1.0 / rate_hz)
            eager.append(time_eager(step, bench.observation, actions, count, pacer))
    seconds = np.concatenate(ours)
    entry: dict[str, object] = {phase: describe(seconds[:, i]) for i, phase in enumerate(PHASES)}
    if eager:
        entry["eager PyTorch step"] = describe(np.concatenate(eager))
    return entry | {"missed deadlines": missed}


def print_table(console: Console, report: list[dict[str, object]]) -> None:
    table = Table("bundle", "threads", "mode", "what", "median ms", "p99 ms", "max ms", "count", "missed")
    for entry in report:
        modes = entry["modes"]
        assert isinstance(modes, dict)
        for mode, figures in modes.items():
            phases = [phase for phase in figures if phase != "missed deadlines"]
            for phase in phases:
                values = figures[phase]
                missed = str(figures["missed deadlines"]) if phase == "tick" else ""
                cells = [f"{values[key]:.3f}" for key in ("median_ms", "p99_ms", "max_ms")]
                table.add_row(
                    str(entry["name"]),
                    str(entry["threads"]),
                    mode,
                    phase,
                    *cells,
                    str(values["ticks"]),
                    missed,
                    end_section=phase == phases[-1],
                )
    console.print(table)


def commit() -> str:
    """The commit that was measured."""
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return found.stdout.strip()


def processor() -> str:
    """What the processor calls itself."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="*", type=Path, help="bundle folders; the shipped one if left out")
    parser.add_argument("--ticks", type=int, default=10_000, help="of each kind and at each rate")
    parser.add_argument("--paced-hz", type=float, nargs="*", default=[20.0, 50.0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1], help="intra-op threads of ONNX Runtime")
    parser.add_argument("--floor", action="store_true", help="measure what no graph of this size can be faster than")
    parser.add_argument("--note", default="", help="what a reader should know of the machine, kept in the results")
    parser.add_argument("--eager", help="MODULE:FUNCTION, see above")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    options = parser.parse_args()
    bundles, load_before = options.bundles or [shipped_bundle()], os.getloadavg()[0]
    report = []
    for path in bundles:
        for threads in options.threads:
            eager = options.eager if threads == 1 else None
            report.append(measure(path, options.ticks, options.paced_hz, threads, eager) | {"threads": threads})
        if options.floor:
            from benchmarks.floor import floor_of

            report[-1]["floor"] = floor_of(load_bundle(path).graph_bytes)
    print_table(Console(width=110), report)
    document = {
        "date_utc": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": {
            "architecture": platform.machine(),
            "processor": processor(),
            "cores": os.cpu_count(),
            "load_before": load_before,
            "load_after": os.getloadavg()[0],
        },
        "versions": {"python": platform.python_version(), "onnxruntime": onnxruntime.__version__},
        "note": options.note,
        "bundles": report,
    }
    text = json.dumps(document, indent=2) + "\n"
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        temporary = options.out.with_suffix(".tmp")
        temporary.write_text(text)
        temporary.replace(options.out)


if __name__ == "__main__":
    main()
