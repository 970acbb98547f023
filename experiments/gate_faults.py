"""What the out-of-distribution gate notices, how soon, and which of its statistics it takes.

    python -m experiments.gate_faults --bundle B --own D [--episodes 20]

B has a gate (`fosp-edge calibrate-filter`), D are the episodes it was calibrated on. Episodes run in lockstep with B's
filter in charge and its gate measuring without acting; in each, one camera fault sets in at a random tick (the families
`swapped-colours` and `lighting` from the first). For the gate and for each statistic alone, calibrated at the same
level: share of episodes in which the fault is noticed within 10 ticks, median and 90th percentile of the delay. And the
share of normal fresh episodes with any alarm, and what the gate costs in microseconds.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from export.thresholds import upper_threshold
from fosp_edge.bundle.folder import Bundle, load_bundle
from fosp_edge.cli.calibrate_filter import calibrate_gate, own_episodes
from fosp_edge.cli.provenance import provenance
from fosp_edge.control.controller import Controller
from fosp_edge.control.gate import DETECTORS, OodGate, Trace, Tracer
from fosp_edge.control.types import Observation
from fosp_edge.experience.store import ExperienceStore
from fosp_edge.files import write_atomically
from fosp_edge.simulation.environment import SafeReach
from fosp_edge.simulation.evaluation import BundleActor

Image = npt.NDArray[np.uint8]
WITHIN_TICKS = 10
NEVER = 10_000


def _shift(pixels: int) -> Callable[[Image, Image], Image]:
    def shifted(image: Image, _: Image) -> Image:
        return np.concatenate([np.repeat(image[:, :1], pixels, axis=1), image[:, :-pixels]], axis=1)

    return shifted


def _scaled(*factors: float) -> Callable[[Image, Image], Image]:
    def scaled(image: Image, _: Image) -> Image:
        wide = np.tile(np.array(factors), image.shape[-1] // len(factors))
        return np.clip(image * wide, 0, 255).astype(np.uint8)

    return scaled


def _half(image: Image, _: Image) -> Image:
    covered = image.copy()
    covered[:, : image.shape[1] // 3] = 25
    return covered


def _channels(image: Image, _: Image) -> Image:
    order = [3 * camera + channel for camera in range(image.shape[-1] // 3) for channel in (1, 0, 2)]
    return image[..., order]


def _blur(image: Image, _: Image) -> Image:
    padded = np.pad(image.astype(np.float32), ((2, 2), (2, 2), (0, 0)), mode="edge")
    rows = sum(padded[k : k + image.shape[0]] for k in range(5)) / 5
    return (sum(rows[:, k : k + image.shape[1]] for k in range(5)) / 5).astype(np.uint8)


FAULTS: dict[str, Callable[[Image, Image], Image]] = {
    "lens covered": lambda image, _: np.full_like(image, 12),
    "a third of the lens covered": _half,
    "red and green swapped": _channels,
    "light dimmed to 60 %": _scaled(0.6, 0.6, 0.6),
    "light raised to 125 %": _scaled(1.25, 1.25, 1.25),
    "warm light": _scaled(1.0, 0.78, 0.55),
    "picture frozen": lambda image, at_onset: at_onset,
    "camera shifted by 2 pixels": _shift(2),
    "camera shifted by 4 pixels": _shift(4),
    "out of focus": _blur,
}
"""From the present picture and that at the onset to what the camera delivers."""
FAMILIES = ("swapped-colours", "lighting")
"""These are so from the first tick."""


@dataclass(frozen=True)
class Course:
    """One episode as the gate saw it."""

    trace: Trace
    onset: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--own", type=Path, required=True)
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--normal-episodes", type=int, default=100)
    parser.add_argument("--seed", type=int, default=700_000)
    parser.add_argument("--out", type=Path, default=Path("experiments/results/gate_faults.json"))
    options = parser.parse_args()
    bundle = load_bundle(options.bundle)
    if bundle.manifest.gate is None:
        parser.error("the bundle has no gate; `fosp-edge calibrate-filter` makes one")
    level = bundle.manifest.gate.level
    with ExperienceStore(options.own) as store:
        traces = [(episode.id, episode.trace) for episode in own_episodes(bundle, store)]
    calibration = calibrate_gate(traces, level)
    statistics = _calibrated(traces, calibration.parameters, level) | {"gate": None}
    print(f"calibrated on {len(traces)} episodes", flush=True)
    actor = BundleActor(options.bundle, filter_enabled=True, make=lambda b: Controller(b, gate_enabled=False))

    def alarms(course: Course, name: str) -> npt.NDArray[np.bool_]:
        over = course.trace.statistics(calibration.parameters) / calibration.parameters.scale
        alone = statistics[name]
        if alone is None:
            return over.max(axis=1) > calibration.threshold
        return over[:, DETECTORS.index(name)] > alone

    seeds = range(options.seed, options.seed + options.normal_episodes)
    normal = [_drive(actor, bundle, "standard", seed, None) for seed in seeds]
    report: dict[str, Any] = {
        "provenance": provenance() | {"command": "python -m experiments.gate_faults"},
        "bundle": bundle.id,
        "level": level,
        "within_ticks": WITHIN_TICKS,
        "normal": {
            name: {
                "episodes": len(normal),
                "episodes_in_alarm": float(np.mean([alarms(course, name).any() for course in normal])),
                "ticks_in_alarm": float(np.mean(np.concatenate([alarms(course, name) for course in normal]))),
            }
            for name in statistics
        },
        "gate_us": _microseconds(bundle),
        "faults": {},
    }
    print(json.dumps(report["normal"]), report["gate_us"], flush=True)
    for fault in [*FAULTS, *(f"family {name}" for name in FAMILIES)]:
        family = fault.removeprefix("family ") if fault.startswith("family ") else "standard"
        courses = [
            _drive(actor, bundle, family, options.seed + 10_000 + index, FAULTS.get(fault))
            for index in range(options.episodes)
        ]
        row = {}
        for name in statistics:
            delays = [_delay(alarms(course, name), course.onset) for course in courses]
            row[name] = {
                "noticed": float(np.mean(np.array(delays) < WITHIN_TICKS)),
                "median_ticks": _ticks(np.median(delays)),
                "p90_ticks": _ticks(np.quantile(delays, 0.9, method="higher")),
            }
        report["faults"][fault] = row
        words = "  ".join(
            f"{name} {value['noticed']:.0%}/{value['median_ticks']}/{value['p90_ticks']}" for name, value in row.items()
        )
        print(f"{fault:<30} {words}", flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(options.out, (json.dumps(report, indent=1) + "\n").encode())


def _calibrated(traces: list[tuple[str, Trace]], parameters: Any, level: float) -> dict[str, float | None]:
    """Each statistic's own threshold at the same level, over the episodes that `calibrate_gate` keeps for it."""
    import zlib

    kept = [trace for name, trace in traces if zlib.crc32(name.encode()) % 10 >= 5]
    largest = np.stack([(trace.statistics(parameters) / parameters.scale).max(axis=0) for trace in kept])
    # A statistic that is zero in every normal episode gets its scale for a threshold, as it has within the gate.
    return {name: max(1.0, upper_threshold(largest[:, index].tolist(), level)) for index, name in enumerate(DETECTORS)}


def _drive(
    actor: BundleActor, bundle: Bundle, family: str, seed: int, fault: Callable[[Image, Image], Image] | None
) -> Course:
    """One episode; the fault sets in at a tick that the seed decides, and lasts."""
    environment = SafeReach(family)
    raw, _ = environment.reset(seed=seed)
    actor.reset(seed)
    camera = bundle.manifest.cameras[0]
    tracer = Tracer(camera.height_px, camera.width_px)
    channels = actor.channels
    onset = int(np.random.default_rng([seed, 41]).integers(8, 25)) if fault is not None else 0
    cells, moved, states, surprise = [], [], [], []
    at_onset = raw["image"]
    tick = 0
    while True:
        if tick == onset:
            at_onset = raw["image"]
        image = fault(raw["image"], at_onset) if fault is not None and tick >= onset else raw["image"]
        decision, scores = actor.decide(Observation(image, raw["state"]))
        picture, movement = tracer(Observation(np.ascontiguousarray(image[..., channels]), raw["state"]))
        cells.append(picture)
        moved.append(movement)
        states.append(raw["state"])
        surprise.append(scores.surprise)
        raw, _, terminated, truncated, _ = environment.step(decision.action)
        tick += 1
        # After the fault has set in there is a full window to notice it in, reached target or not.
        if truncated or (terminated and (fault is None or tick > onset + WITHIN_TICKS)) or tick > 110:
            break
    return Course(Trace(np.stack(cells), np.asarray(surprise, np.float32), np.stack(states), np.stack(moved)), onset)


def _delay(alarm: npt.NDArray[np.bool_], onset: int) -> int:
    """Ticks from the first faulty picture to the first alarm; 0 is the same tick."""
    found = np.flatnonzero(alarm[onset:])
    return int(found[0]) if len(found) else NEVER


def _ticks(value: float) -> int | None:
    return None if value >= NEVER else int(value)


def _microseconds(bundle: Bundle) -> float:
    """Median time of one tick of the gate on this machine."""
    gate = OodGate(bundle.manifest, bundle.gate_bytes or b"")
    camera, random = bundle.manifest.cameras[0], np.random.default_rng(0)
    shape = (camera.height_px, camera.width_px, 3 * len(bundle.manifest.cameras))
    seen = [
        Observation(random.integers(0, 256, shape).astype(np.uint8), np.zeros(len(bundle.manifest.state), np.float32))
        for _ in range(8)
    ]
    times = []
    for index in range(2000):
        begin = time.perf_counter_ns()
        gate.observe(seen[index % 8], 10.0)
        times.append(time.perf_counter_ns() - begin)
    return float(np.median(times)) * 1e-3


if __name__ == "__main__":
    main()
