"""Does looking ahead earn its time? `python -m experiments.filter_lookahead --bundle B --own D [--episodes 200]`

D are episodes of B's own policy with its filter off. At every tick the policy's choice is scored three ways: by the
reachability of the step graph; by the largest reachability over five imagined steps (the imagination graph of
`fosp-edge export --look-ahead`), which is an average over a few imagined futures; and by the larger of the two. Each
way is calibrated for the same miss rate; what differs is how many quiet ticks it disturbs for that. Time is measured
with ONNX Runtime on one thread, step and imagination in turn.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from export.companions import HORIZON, ImaginationModule, export_companion
from export.restore import agent_of_bundle
from export.thresholds import calibrate
from fosp_edge.bundle.folder import Bundle, load_bundle
from fosp_edge.cli.provenance import provenance
from fosp_edge.cli.shipped import shipped_bundle
from fosp_edge.control.follow import follow
from fosp_edge.control.inference import PolicyRuntime
from fosp_edge.control.types import Reason
from fosp_edge.experience.selection import CameraSelection
from fosp_edge.experience.store import ExperienceStore
from fosp_edge.files import write_atomically
from fosp_edge.simulation.filter_evaluation import AHEAD_TICKS, roc_area

Array = npt.NDArray[np.float32]
LEVELS = (0.05, 0.1, 0.2)
FUTURES = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=None)
    parser.add_argument("--own", type=Path, required=True)
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("experiments/results/filter_lookahead.json"))
    options = parser.parse_args()
    bundle = load_bundle(options.bundle or shipped_bundle())
    options_ort = ort.SessionOptions()
    options_ort.intra_op_num_threads = 1
    imagination = ort.InferenceSession(
        export_companion(ImaginationModule(agent_of_bundle(bundle))), options_ort, providers=["CPUExecutionProvider"]
    )
    courses, step_us, ahead_us = _measure(bundle, imagination, options.own, options.episodes)
    ways = {name: [(course[name], course["violation"]) for course in courses] for name in ("step", "ahead", "both")}
    report: dict[str, Any] = {
        "provenance": provenance() | {"command": "python -m experiments.filter_lookahead"},
        "bundle": bundle.id,
        "episodes": len(courses),
        "imagined_steps": HORIZON,
        "futures": FUTURES,
        "step_us": step_us,
        "look_ahead_us_per_future": ahead_us,
        "ways": {},
    }
    for name, episodes in ways.items():
        area = _area(episodes)
        row: dict[str, Any] = {"auc_next_half_second": area, "quiet_ticks_in_alarm": {}}
        for level in LEVELS:
            row["quiet_ticks_in_alarm"][f"{level:g}"] = calibrate(episodes, level).false_alarm_rate
        report["ways"][name] = row
        print(name, json.dumps(row), flush=True)
    print(f"step {step_us:.0f} us, looking ahead {ahead_us:.0f} us per future")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(options.out, (json.dumps(report, indent=1) + "\n").encode())


def _measure(
    bundle: Bundle, imagination: ort.InferenceSession, folder: Path, most: int
) -> tuple[list[dict[str, Array]], float, float]:
    """Scores of the policy's choice along each episode, the last row repeated, and the median times."""
    runtime, random = PolicyRuntime(bundle), np.random.default_rng(0)
    latent_shape = bundle.manifest.latent
    shape = (HORIZON, len(bundle.manifest.candidates), latent_shape.groups, latent_shape.classes)
    courses, step_us, ahead_us = [], [], []
    with ExperienceStore(folder) as store:
        source = CameraSelection(store, [camera.name for camera in bundle.manifest.cameras])
        for info in source.episodes()[:most]:
            steps = source.read(info.id)
            reasons = {info.header.reasons[int(index)] for index in np.unique(steps["reason"][:-1])}
            if reasons != {Reason.FILTER_OFF.name}:
                continue
            step, ahead = [], []
            begin = time.perf_counter_ns()
            for _, scores in follow(runtime, steps, info.header.seed):
                step_us.append((time.perf_counter_ns() - begin) * 1e-3)
                latent = runtime.latent
                feeds = {
                    "deterministic": latent.deterministic[None],
                    "stochastic": latent.stochastic[None],
                    "candidates": scores.candidates,
                }
                found = []
                for _ in range(FUTURES):
                    noise = np.clip(random.random(shape, np.float32), 2.0**-25, 1.0 - 2.0**-24)
                    begin = time.perf_counter_ns()
                    (largest,) = imagination.run(["max_reachability"], feeds | {"latent_noise": noise})
                    ahead_us.append((time.perf_counter_ns() - begin) * 1e-3)
                    found.append(largest[0])
                step.append(scores.reachability[0])
                ahead.append(np.mean(found))
                begin = time.perf_counter_ns()
            course = {"step": np.asarray([*step, step[-1]], np.float32), "ahead": np.asarray([*ahead, ahead[-1]])}
            course["ahead"] = course["ahead"].astype(np.float32)
            course["both"] = np.maximum(course["step"], course["ahead"])
            courses.append(course | {"violation": steps["violation"].astype(np.float32)})
    return courses, float(np.median(step_us)), float(np.median(ahead_us))


def _area(episodes: list[tuple[Array, Array]]) -> float:
    """Area under the ROC curve for a violation within the next half second, over ticks before the first one."""
    positive, negative = [], []
    for scores, violation in episodes:
        onset = np.flatnonzero(violation > 0.5)
        end = int(onset[0]) if len(onset) else len(violation) - 1
        for tick in range(end):
            soon = len(onset) > 0 and end - tick <= AHEAD_TICKS
            (positive if soon else negative).append(scores[tick])
    return roc_area(np.asarray(positive, np.float32), np.asarray(negative, np.float32))


if __name__ == "__main__":
    main()
