"""The end of every export and conversion: choose a precision, set the filter by the graph that will drive, write."""

import hashlib
import json
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import onnxruntime

from export.conversion import Yardstick
from export.drift import Steps
from export.precision import Precision
from export.thresholds import Calibration
from export.trial import Trial, Trials
from fosp_edge.bundle.folder import write_bundle
from fosp_edge.bundle.manifest import GRAPH_FILE, Manifest

TRIALS_FILE = "precisions.json"
Driver = Callable[[Manifest, dict[str, bytes]], Sequence[tuple[float, float]]]
"""Drives a bundle of this manifest and these files; return and cost of each episode."""


@dataclass(frozen=True)
class Exported:
    """The bundle's folder and what was measured on the way."""

    path: Path
    manifest: Manifest
    calibration: Calibration
    trials: tuple[Trial, ...] = ()
    """The precisions that were compared, if any were."""


def with_precision(
    manifest: Manifest,
    files: dict[str, bytes],
    plain: bytes,
    yardstick: Yardstick,
    held_out: Sequence[Steps],
    precision: Precision | None,
    closed_loop: Driver | None,
    parent_folder: Path,
) -> Exported:
    """Choose a precision and write the bundle with it, with thresholds from the graph that will drive."""

    def complete(graph: bytes, calibration: Calibration) -> tuple[Manifest, dict[str, bytes]]:
        thresholds = replace(
            manifest.filter,
            feasible_reachability=calibration.feasible_reachability,
            stop_reachability=calibration.stop_reachability,
            sample_size=calibration.sample_size,
            graph_sha256=hashlib.sha256(graph).hexdigest(),
        )
        provenance = manifest.provenance | {"false_alarm_rate": calibration.false_alarm_rate}
        return replace(manifest, filter=thresholds, provenance=provenance), files | {GRAPH_FILE: graph}

    drive = None if closed_loop is None else lambda graph, calibration: closed_loop(*complete(graph, calibration))
    trials = Trials(yardstick, plain, held_out, manifest.filter.level, drive)
    chosen, tried = trials.choose(precision)
    assert chosen.calibration is not None
    manifest, files = complete(chosen.graph, chosen.calibration)
    manifest = replace(manifest, precision=None if chosen.precision == "float32" else chosen.conversion)
    report = {"device": device(), "trials": [trial.to_json() for trial in tried]}
    files[TRIALS_FILE] = (json.dumps(report, indent=1) + "\n").encode()
    path = write_bundle(manifest, files, parent_folder)
    return Exported(path, manifest, chosen.calibration, tuple(tried))


def device() -> dict[str, str | int | None]:
    """What a latency was measured on."""
    return {
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "onnxruntime": onnxruntime.__version__,
        "providers": ", ".join(onnxruntime.get_available_providers()),
    }


def now() -> str:
    """The date, UTC, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
