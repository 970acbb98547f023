"""What a change of the bundle costs the control loop: 200 swaps at 50 Hz beside a learner that is at work.

    python -m benchmarks.swap --dataset data/safereach --own robot/experience [--swaps 200] [--realtime] [--out R.json]

The loop is `fosp-edge run`'s own (control loop, swapper, real serial line, cameras in shared memory; at the far end a
null device), with three bundles of one agent that take turns: the one before the last is gone by then, so each swap
opens one, warms it up, and closes another. The learner is `fosp-edge learn` on a copy of the robot's experience, and
learns without a pause between candidates. The swapper's conditions for a safe moment are off: a null device shows no
arm that could be slow.

Reported: missed deadlines, and how many of them would have been kept had the machine not stood still
(`benchmarks/witness.py`); latency from image to command of all ticks, of the tick in which a bundle takes over and of
the ten around it; the same before the first swap; from the order to the take-over; resident memory after each tenth.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.control_tick import null_device
from benchmarks.witness import WatchedPacer, Witness
from fosp_edge.bundle.folder import Bundle, load_bundle, read_files, write_bundle
from fosp_edge.cameras.policy_camera import PolicyCamera
from fosp_edge.cameras.ring_camera import RingCamera
from fosp_edge.cli.home import Home, read_json, write_json
from fosp_edge.cli.provenance import provenance
from fosp_edge.cli.shipped import shipped_bundle
from fosp_edge.control.controller import Controller, Insight
from fosp_edge.control.loop import ControlLoop, LoopSettings
from fosp_edge.control.machine import Machine
from fosp_edge.control.pulse import Pulse
from fosp_edge.control.realtime import Realtime
from fosp_edge.control.session import AutomaticOperator, Plan, Session
from fosp_edge.control.swap import Swapper, SwapSettings
from fosp_edge.control.types import TickRecord
from fosp_edge.files import write_atomically
from fosp_edge.learning.pace import resident_bytes
from fosp_edge.robots.fingertip_drive import FingertipDrive
from fosp_edge.robots.serial_robot import SerialRobot

AROUND = 5
ALWAYS = SwapSettings(margin_ratio=float("inf"), slow_ratio=float("inf"))


def at_rate(bundle: Bundle, rate_hz: float, name: str, folder: Path) -> Path:
    """The same agent for another control rate, as a bundle of its own; to its filter, everything is feasible."""
    anything = replace(bundle.manifest.filter, feasible_reachability=1.0, stop_reachability=1.0)
    return write_bundle(
        replace(bundle.manifest, rate_hz=rate_hz, name=name, filter=anything), read_files(bundle), folder
    )


def unheld(bundle: Bundle) -> Controller:
    """A controller whose gate computes everything and holds nothing back: a null device shows noise."""
    return Controller(bundle, gate_enabled=False)


class Bench:
    """The loop with a swapper, and a record of every tick."""

    def __init__(
        self, home: Home, bundles: list[Path], rate_hz: float, port: str, rings: dict[str, str], rehearse: bool
    ) -> None:
        self.home, self.names = home, [path.name for path in bundles]
        self.versions = home.versions(bundles[0])
        for path in bundles:
            shutil.copytree(path, self.versions.folder / path.name)
        bundle, _ = self.versions.start()
        controller = unheld(bundle)
        self.swapper = Swapper(self.versions, bundle.id, controller, unheld, settings=ALWAYS, judged=False)
        self.latency_s, self.driver = list[float](), list[str]()
        cameras = [
            PolicyCamera(RingCamera(item.name, rings[item.name]), item.picture) for item in bundle.manifest.cameras
        ]
        self.pacer = WatchedPacer(1.0 / rate_hz)
        self.loop = ControlLoop(
            SerialRobot(port, FingertipDrive(period_s=1.0 / rate_hz), watchdog_s=1.0, telemetry_timeout_s=5.0),
            cameras, controller, Machine(), observer=self._see, relay=self.swapper, pacer=self.pacer,
            settings=LoopSettings(max_frame_age_s=5.0, max_missed_in_a_row=1_000_000, rehearse=rehearse),
        )  # fmt: skip

    def _see(self, record: TickRecord, insight: Insight | None) -> None:
        if insight is not None:
            self.latency_s.append(record.latency_s)
            self.driver.append(record.bundle)
        self.swapper.record(record, insight)

    def order(self, swaps: int, quiet_s: float) -> dict[str, Any]:
        """Ask for one swap after the other; then end the run."""
        waited, memory = list[float](), list[dict[str, float]]()
        time.sleep(quiet_s)
        before = len(self.latency_s), self.loop.pacer.missed
        for number in range(swaps):
            wanted = self.names[(number + 1) % len(self.names)]
            ordered_s = time.monotonic()
            self.versions.use(wanted)
            while self.swapper.bundle_id != wanted and time.monotonic() - ordered_s < 30.0:
                time.sleep(0.002)
            waited.append(time.monotonic() - ordered_s)
            if number % max(1, swaps // 10) == 0 or number == swaps - 1:
                memory.append({"swaps": number + 1, "resident_mib": round(resident_bytes() / 2**20, 1)})
        self.loop.request_stop("all swaps are done")
        return {
            "ticks_before": before[0], "missed_before": before[1], "memory": memory,
            "order_to_take_over_s": quantiles(waited),
        }  # fmt: skip


def quantiles(values: Any, scale: float = 1.0) -> dict[str, float]:
    """Median, p99, largest."""
    array = np.asarray(values, np.float64) * scale
    return {
        "count": len(array), "p50": round(float(np.quantile(array, 0.5)), 3),
        "p99": round(float(np.quantile(array, 0.99)), 3), "max": round(float(array.max()), 3),
    }  # fmt: skip


def learner(home: Home, first: Path, dataset: list[Path], mode: str) -> subprocess.Popen[bytes]:
    """`fosp-edge learn` on the home, as `run --learn` starts it."""
    command = [
        sys.executable, "-m", "fosp_edge.cli", "learn", "--home", str(home.folder), "--bundle", str(first),
        "--with-parent", "--mode", mode, "--updates-per-candidate", "1000000", "--offline-rows", "2000",
    ]  # fmt: skip
    for path in dataset:
        command += ["--dataset", str(path)]
    log = (home.folder / "learner.log").open("ab")
    return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Everything once; JSON values."""
    shipped = load_bundle(options.bundle or shipped_bundle())
    bundles = [at_rate(shipped, options.rate, f"{shipped.manifest.name}-{mark}", folder / mark) for mark in "abc"]
    home, beside = Home(folder / "robot"), Home(folder / "beside")
    home.make()
    beside.make()
    shutil.copytree(options.own, beside.experience)
    with ExitStack() as stack:
        port, rings = stack.enter_context(null_device(shipped.manifest))
        witness = stack.enter_context(Witness(os.sched_getaffinity(0)))
        process = learner(beside, shipped.path, options.dataset, options.mode)
        stack.callback(process.wait, 30.0)
        stack.callback(process.terminate)
        deadline_s = time.monotonic() + options.patience
        while read_json(beside.status).get("state") != "learns":
            if process.poll() is not None or time.monotonic() > deadline_s:
                raise SystemExit(f"the learner does not learn: {(beside.folder / 'learner.log').read_text()[-500:]}")
            time.sleep(0.2)
        bench = Bench(home, bundles, options.rate, port, rings, options.realtime)
        pulse = Pulse(bench.loop.telemetry, 1.0 / options.rate)
        updates = int(read_json(beside.status)["update"])
        bench.swapper.start()
        ordered: dict[str, Any] = {}
        done = threading.Event()

        def watch() -> None:  # as `run --learn` tells its learner
            while not done.wait(1.0):
                write_json(beside.pulse, pulse.look())

        threads = [
            threading.Thread(target=lambda: ordered.update(bench.order(options.swaps, options.quiet)), daemon=True),
            threading.Thread(target=watch, daemon=True),
        ]
        for thread in threads:
            thread.start()
        session, measures = Session(bench.loop, AutomaticOperator()), Realtime()
        if options.realtime:
            session.on_ready = measures.acquire
        summary = session.run(Plan("null", episodes=1))
        measures.release()
        done.set()
        threads[0].join(30.0)
        if not ordered:
            raise SystemExit(f"the run ended before its time: {summary.detail}")
        bench.swapper.close()
        status = read_json(beside.status)
    return figures(bench, ordered, summary, witness, options) | {
        "learner": {
            "mode": options.mode, "updates": int(status["update"]) - updates, "memory_mib": status.get("memory_mib"),
            "pause_s_at_the_end": status.get("pause_s"),
        },
        "realtime": {item.name: item.had for item in measures.measures},
    }  # fmt: skip


def figures(
    bench: Bench, ordered: dict[str, Any], summary: Any, witness: Witness, options: argparse.Namespace
) -> dict[str, Any]:
    """What the ticks say."""
    latency, driver = np.array(bench.latency_s), np.array(bench.driver)
    taken = 1 + np.flatnonzero(driver[1:] != driver[:-1])
    start = ordered["ticks_before"]
    near = np.zeros(len(latency), bool)
    for tick in taken:
        near[max(0, tick - AROUND) : tick + AROUND + 1] = True
    at = np.zeros(len(latency), bool)
    at[taken] = True
    return {
        "rate_hz": options.rate, "swaps": len(taken), "ticks": len(latency), "ended": summary.detail,
        "missed_deadlines": {
            "before_the_first": ordered["missed_before"], "in_all": summary.missed_deadlines,
            "while_the_machine_stood_still": bench.pacer.missed_while_stopped(witness),
        },
        "machine_stood_still": witness.summary(),
        "latency_ms": {
            "before_the_first": quantiles(latency[:start], 1e3),
            "from_then_on": quantiles(latency[start:], 1e3),
            "taking_over": quantiles(latency[at], 1e3),
            "ten_ticks_around": quantiles(latency[near & ~at], 1e3),
            "far_from_any": quantiles(latency[start:][~near[start:]], 1e3) if np.any(~near[start:]) else None,
        },
        "order_to_take_over_s": ordered["order_to_take_over_s"],
        "memory": ordered["memory"],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, action="append", required=True)
    parser.add_argument("--own", type=Path, required=True, help="store of the robot's own episodes; it is copied")
    parser.add_argument("--bundle", type=Path, default=None)
    parser.add_argument("--swaps", type=int, default=200)
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--mode", default="heads")
    parser.add_argument("--quiet", type=float, default=15.0, help="seconds before the first swap")
    parser.add_argument("--patience", type=float, default=120.0, help="seconds until the learner has to learn")
    parser.add_argument("--realtime", action="store_true", help="with the measures of `fosp-edge run --realtime`")
    parser.add_argument("--one-core", action="store_true", help="keep everything on one core")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/swap.json"))
    options = parser.parse_args()
    if options.one_core:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    about = provenance(cores=len(os.sched_getaffinity(0)), processor=platform.processor() or platform.machine())
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options, Path(folder))
    results = json.loads(options.out.read_text()) if options.out.exists() else {}
    where = ("one core" if options.one_core else "all cores") + (", --realtime" if options.realtime else "")
    results[where] = {"origin": about} | found
    write_atomically(options.out, (json.dumps(results, indent=1) + "\n").encode())
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
