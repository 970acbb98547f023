"""How many threads the step graph should have on this machine: measured once, and kept with the machine.

Nobody can say beforehand. Two threads halve a large graph on cores of their own and ruin the tail of a small one; on
two cores they take from the learner what they give to control. So the ways to run are tried on the very graph, turn
and turn about, each tick after a pause in which the caches cool down as they do at 20 Hz. The outcome is kept under
the hash of graph, device, versions, processor and cores: another of any of these is measured anew. It is never
measured while a robot drives.
"""

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from fosp_edge.control.device import CPU, Device
from fosp_edge.control.engines import engine_key, platform_versions
from fosp_edge.control.inference import DEFAULT_EXECUTION, Execution, PolicyBundle, PolicyRuntime, made_up
from fosp_edge.control.look_ahead import open_runtime
from fosp_edge.control.types import Observation
from fosp_edge.files import write_atomically

FOLDER_VARIABLE = "FOSP_EDGE_TUNING"
MOST_THREADS = 4
TICKS, TURN, PAUSE_S = 120, 20, 0.004
"""Ticks of each way, ticks before the next way has its turn, and the pause before each tick."""
GAIN = 0.85
"""More threads are taken only if median and p99 fall to this part of one thread's: they take cores from the rest."""


@dataclass(frozen=True)
class Timing:
    """What one way to run came to."""

    execution: Execution
    median_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Tuning:
    """What was measured, and what was chosen by it."""

    chosen: Execution
    timings: tuple[Timing, ...]
    measured_utc: str


def tuning_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where tunings are kept: FOSP_EDGE_TUNING, else below the user's cache."""
    if named := environment.get(FOLDER_VARIABLE):
        return Path(named)
    return Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fosp-edge" / "tuning"


def ways(cores: Sequence[int]) -> list[Execution]:
    """The ways to run on these cores, one thread first.

    The control thread runs on the last core (`fosp_edge.control.realtime`), its helpers on those before it. Helpers
    that wait busily take their core whole, so one is left for cameras, recorder and learner.
    """
    found = [DEFAULT_EXECUTION]
    for threads in range(2, min(len(cores), MOST_THREADS) + 1):
        helpers = tuple(cores[-threads:-1])
        found += [Execution(threads, helpers, spin) for spin in (False, True) if not spin or threads < len(cores)]
    return found


def measure(bundle: PolicyBundle, device: Device, executions: Sequence[Execution], ticks: int = TICKS) -> list[Timing]:
    """Time each way on made-up pictures, `ticks` times after a pause of `PAUSE_S`.

    Raises:
        BundleError: the graph does not open. NotFinite: it returns what is no number.
    """
    runtimes = [open_runtime(bundle, execution, device=device) for execution in executions]
    observation, action = made_up(bundle.manifest), np.zeros(len(bundle.manifest.actions), np.float32)
    seconds: list[list[float]] = [[] for _ in runtimes]
    for runtime in runtimes:
        runtime.reset(0)
        for _ in range(TURN):
            runtime.step(observation, action)
    while len(seconds[-1]) < ticks:
        for runtime, found in zip(runtimes, seconds, strict=True):
            found += _turn(runtime, observation, action)
    return [
        Timing(execution, *(round(float(value) * 1e3, 4) for value in np.quantile(found, [0.5, 0.99])))
        for execution, found in zip(executions, seconds, strict=True)
    ]


def _turn(runtime: PolicyRuntime, observation: Observation, action: np.ndarray) -> list[float]:
    seconds = []
    for _ in range(TURN):
        time.sleep(PAUSE_S)
        begin_ns = time.perf_counter_ns()
        runtime.step(observation, action)
        seconds.append((time.perf_counter_ns() - begin_ns) * 1e-9)
    return seconds


def choose(timings: Sequence[Timing]) -> Execution:
    """The quickest of those that are worth their threads; the first one, one thread, if none is."""
    plain = timings[0]
    worth = [
        item for item in timings[1:] if item.median_ms <= GAIN * plain.median_ms and item.p99_ms <= GAIN * plain.p99_ms
    ]
    return min(worth, key=lambda item: item.p99_ms, default=plain).execution


def _path(bundle: PolicyBundle, device: Device, cores: Sequence[int], folder: Path | None) -> Path:
    versions = platform_versions() | {"cores": ",".join(map(str, cores))}
    graphs = bundle.graph_bytes
    if bundle.manifest.filter.look_ahead_sha256 is not None:
        graphs += bundle.imagination_bytes or b""
    return (folder or tuning_folder()) / f"{engine_key(graphs, device, versions)}.json"


def find_tuning(bundle: PolicyBundle, device: Device, folder: Path | None = None) -> Tuning | None:
    """What was measured of this graph on this machine; None if nothing was, or what is kept makes no sense."""
    cores = sorted(os.sched_getaffinity(0))
    try:
        kept = json.loads(_path(bundle, device, cores, folder).read_bytes())
        timings = tuple(_timing(item) for item in kept["timings"])
        tuning = Tuning(_execution(kept["chosen"]), timings, str(kept["measured_utc"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return tuning if tuning.chosen in ways(cores) else None


def _execution(item: dict[str, Any]) -> Execution:
    return Execution(int(item["threads"]), tuple(int(core) for core in item["cores"]), bool(item["spin"]))


def _timing(item: dict[str, Any]) -> Timing:
    return Timing(_execution(item["execution"]), float(item["median_ms"]), float(item["p99_ms"]))


def tune(bundle: PolicyBundle, device: Device, folder: Path | None = None) -> Tuning:
    """Measure, choose and keep. Takes about a second for each way; nothing may drive meanwhile.

    Raises:
        BundleError, NotFinite: as `measure`. OSError: it was measured and cannot be kept.
    """
    cores = sorted(os.sched_getaffinity(0))
    timings = measure(bundle, device, ways(cores) if device.provider == CPU else [DEFAULT_EXECUTION])
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    tuning = Tuning(choose(timings), tuple(timings), now)
    path = _path(bundle, device, cores, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {"graph_sha256": hashlib.sha256(bundle.graph_bytes).hexdigest(), "versions": platform_versions()}
    write_atomically(path, (json.dumps(asdict(tuning) | about, indent=1) + "\n").encode())
    return tuning
