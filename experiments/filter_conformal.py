"""Does the promised miss rate hold? Calibrate and test on random splits, thousands of times.

    python -m experiments.filter_conformal --bundle B --own D1 --scripted D2 --filtered D3

D1: episodes of B's own policy with its filter off; D2: scripted episodes; D3: episodes of a bundle calibrated on D1,
its filter on. For each promised rate, calibrate on some violations and count the misses among the others. The same with
thresholds from scripts, asked about the policy's own violations: what happens where episodes are not exchangeable. And
the gate's false alarms in the same way.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from export.thresholds import beta_quantile, calibrate, onset_score, upper_threshold
from fosp_edge.bundle.folder import Bundle, load_bundle
from fosp_edge.cli.calibrate_filter import OwnEpisode, own_episodes
from fosp_edge.cli.provenance import provenance
from fosp_edge.cli.shipped import shipped_bundle
from fosp_edge.control.gate_fit import episode_score, fit_parameters
from fosp_edge.control.types import Reason
from fosp_edge.experience.selection import CameraSelection
from fosp_edge.experience.store import ExperienceStore
from fosp_edge.files import write_atomically

Array = npt.NDArray[np.float64]
LEVELS = (0.05, 0.1, 0.2, 0.3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=None)
    parser.add_argument("--own", type=Path, required=True)
    parser.add_argument("--scripted", type=Path, default=None)
    parser.add_argument("--filtered", type=Path, default=None)
    parser.add_argument("--resamples", type=int, default=4000)
    parser.add_argument("--out", type=Path, default=Path("experiments/results/filter_conformal"))
    options = parser.parse_args()
    bundle = load_bundle(options.bundle or shipped_bundle())
    with ExperienceStore(options.own) as store:
        episodes = [episode for episode in own_episodes(bundle, store) if episode.unfiltered]
    own, quiet = scores_of(episodes)
    print(f"{len(episodes)} own episodes, {len(own)} of them run into a violation", flush=True)
    random = np.random.default_rng(0)
    report: dict[str, Any] = {
        "provenance": provenance(resamples=options.resamples) | {"command": "python -m experiments.filter_conformal"},
        "bundle": bundle.id,
        "episodes": len(episodes),
        "violations": len(own),
        "violation_rate": len(own) / len(episodes),
        "closed_loop": [
            miss_rates(own, quiet, level, count, options.resamples, random)
            for count in sorted({min(40, len(own) // 2), len(own) // 2})
            for level in LEVELS
        ],
        "gate": [gate_rates(episodes, level, options.resamples, random) for level in LEVELS],
    }
    if options.scripted is not None:
        scripted = scripted_scores(bundle, options.scripted)
        report["scripted"] = [transferred(scripted, own, level, options.resamples, random) for level in LEVELS]
    if options.filtered is not None:
        report["in_the_loop"] = in_the_loop(options.filtered, report["violation_rate"])
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(options.out.with_suffix(".json"), (json.dumps(report, indent=1) + "\n").encode())
    plot(report, options.out.with_suffix(".png"))
    show(report)


def scores_of(episodes: list[OwnEpisode]) -> tuple[Array, list[Array]]:
    """Onset scores of the episodes that run into a violation; reachability along the quiet ones."""
    onsets = [onset_score(episode.reachability, episode.violation) for episode in episodes]
    quiet = [e.reachability[:-1].astype(np.float64) for e in episodes if not np.any(e.violation > 0.5)]
    return np.array([score for score in onsets if score is not None]), quiet


def scripted_scores(bundle: Bundle, folder: Path) -> Array:
    """Onset scores of scripted episodes: the reachability of what the script did."""
    import torch

    from export.reference import recorded_reachability
    from export.restore import agent_of_bundle

    agent, generator = agent_of_bundle(bundle), torch.Generator().manual_seed(0)
    found = []
    with ExperienceStore(folder) as store:
        source = CameraSelection(store, [camera.name for camera in bundle.manifest.cameras])
        for info in source.episodes():
            steps = source.read(info.id)
            reachability = recorded_reachability(agent, steps, generator)
            found.append(onset_score(reachability, steps["violation"].astype(np.float32)))
    return np.array([score for score in found if score is not None])


def threshold_of(scores: Array, level: float) -> float:
    """By the same function that `fosp-edge calibrate-filter` uses."""
    episodes = []
    for score in scores:
        violation = np.zeros(20, np.float32)
        violation[-1] = 1.0
        episodes.append((np.full(20, score, np.float32), violation))
    return calibrate(episodes, level).feasible_reachability


def miss_rates(
    scores: Array, quiet: list[Array], level: float, count: int, resamples: int, random: np.random.Generator
) -> dict[str, float]:
    """Calibrate on `count` of the violations, test on the others, many times."""
    scores32 = scores.astype(np.float32)
    rank = int(np.floor(level * (count + 1)))
    if rank < 1:
        return {"level": level, "calibration": count, "refused": 1.0}
    assert threshold_of(scores[:count], level) == np.nextafter(np.sort(scores32[:count])[rank - 1], np.float32(0))
    missed, alarms, ticks = [], [], np.concatenate(quiet) if quiet else np.zeros(1)
    for _ in range(resamples):
        order = random.permutation(len(scores32))
        threshold = np.nextafter(np.sort(scores32[order[:count]])[rank - 1], np.float32(0))
        missed.append(np.mean(scores32[order[count:]] <= threshold))
        if len(alarms) < 200:
            alarms.append(np.mean(ticks > threshold))
    return {
        "level": level,
        "calibration": count,
        "test": len(scores) - count,
        "expected": rank / (count + 1),
        "mean": float(np.mean(missed)),
        "p05": float(np.quantile(missed, 0.05)),
        "p95": float(np.quantile(missed, 0.95)),
        "one_threshold_with_95_percent": beta_quantile(rank, count + 1 - rank, 0.95),
        "quiet_ticks_in_alarm": float(np.mean(alarms)),
    }


def transferred(
    source: Array, target: Array, level: float, resamples: int, random: np.random.Generator
) -> dict[str, float]:
    """Thresholds from scripts, misses among scripts and among the policy's own violations."""
    source32, target32, count = source.astype(np.float32), target.astype(np.float32), len(source) // 2
    rank = int(np.floor(level * (count + 1)))
    if rank < 1:
        return {"level": level, "calibration": count, "refused": 1.0}
    same, other = [], []
    for _ in range(resamples):
        order = random.permutation(len(source32))
        threshold = np.nextafter(np.sort(source32[order[:count]])[rank - 1], np.float32(0))
        same.append(np.mean(source32[order[count:]] <= threshold))
        other.append(np.mean(random.choice(target32, len(target32)) <= threshold))
    return {
        "level": level,
        "calibration": count,
        "mean_on_scripts": float(np.mean(same)),
        "mean_on_the_policy": float(np.mean(other)),
        "p05_on_the_policy": float(np.quantile(other, 0.05)),
        "p95_on_the_policy": float(np.quantile(other, 0.95)),
    }


def gate_rates(
    episodes: list[OwnEpisode], level: float, resamples: int, random: np.random.Generator
) -> dict[str, float]:
    """Fit the gate anew on a few random parts, and calibrate it on many random halves of what is left of each."""
    alarms = []
    fits = 6
    for _ in range(fits):
        order = random.permutation(len(episodes))
        first, second = int(0.3 * len(order)), int(0.5 * len(order))
        parameters = fit_parameters(
            [episodes[i].trace for i in order[:first]], [episodes[i].trace for i in order[first:second]]
        )
        scores = np.array([episode_score(episodes[i].trace, parameters) for i in order[second:]])
        for _ in range(resamples // fits):
            mixed = random.permutation(scores)
            half = len(mixed) // 2
            alarms.append(np.mean(mixed[half:] > upper_threshold(mixed[:half].tolist(), level)))
    return {
        "level": level,
        "mean": float(np.mean(alarms)),
        "p05": float(np.quantile(alarms, 0.05)),
        "p95": float(np.quantile(alarms, 0.95)),
    }


def in_the_loop(folder: Path, unfiltered_rate: float) -> dict[str, float]:
    """Filtered episodes: how many run into a violation with no intervention at all before it, of all that would."""
    silent = violated = count = 0
    with ExperienceStore(folder) as store:
        for info in store.episodes():
            steps = store.read(info.id)
            count += 1
            onset = np.flatnonzero(steps["violation"] > 0.5)
            if len(onset) == 0:
                continue
            violated += 1
            reasons = [info.header.reasons[int(index)] for index in steps["reason"][: onset[0]]]
            silent += all(reason == Reason.POLICY.name for reason in reasons)
    return {
        "episodes": count,
        "violation_rate": violated / count,
        "violation_without_any_alarm_before": silent / count,
        "as_share_of_the_unfiltered_rate": silent / count / unfiltered_rate,
    }


def show(report: dict[str, Any]) -> None:
    for row in report["closed_loop"]:
        if "refused" not in row:
            print(
                f"promised {row['level']:.0%} from {row['calibration']} violations: missed {row['mean']:.1%} "
                f"({row['p05']:.1%} to {row['p95']:.1%}), ticks in alarm {row['quiet_ticks_in_alarm']:.1%}"
            )
    for row in report.get("scripted", []):
        if "refused" not in row:
            print(
                f"promised {row['level']:.0%} from scripts: missed {row['mean_on_scripts']:.1%} of scripted, "
                f"{row['mean_on_the_policy']:.1%} of the policy's violations"
            )
    for row in report["gate"]:
        print(f"gate, promised {row['level']:.0%}: {row['mean']:.1%} ({row['p05']:.1%} to {row['p95']:.1%})")
    print(report.get("in_the_loop", ""))


def plot(report: dict[str, Any], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 4.4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    most = 100 * max(LEVELS)
    for axes, title in ((left, "filter: violations without a timely alarm"), (right, "gate: normal episodes in alarm")):
        axes.plot([0, 1.25 * most], [0, 1.25 * most], color="0.3", lw=1, ls="--", label="what was promised")
        axes.set_xlabel("promised, %")
        axes.set_ylabel("measured on fresh episodes, %")
        axes.set_title(title, fontsize=10, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        axes.set_xlim(0, 1.15 * most)
    sizes = sorted({row["calibration"] for row in report["closed_loop"] if "refused" not in row})
    for index, size in enumerate(sizes):
        rows = [r for r in report["closed_loop"] if "refused" not in r and r["calibration"] == size]
        _series(left, rows, "mean", "p05", "p95", f"own episodes, {size} violations", index - 0.5, f"C{index}")
    if rows := [r for r in report.get("scripted", []) if "refused" not in r]:
        names = ("mean_on_the_policy", "p05_on_the_policy", "p95_on_the_policy")
        _series(left, rows, *names, "thresholds from scripts", 1.5, "C3")
    _series(right, report["gate"], "mean", "p05", "p95", "own episodes", 0.0, "C0")
    for axes in (left, right):
        axes.legend(frameon=False, fontsize=8, loc="upper left")
        axes.set_ylim(bottom=0)
    figure.savefig(path)


def _series(
    axes: Any, rows: list[dict[str, float]], middle: str, low: str, high: str, label: str, shift: float, colour: str
) -> None:
    x = [100 * row["level"] + 0.5 * shift for row in rows]
    y = [100 * row[middle] for row in rows]
    below = [100 * (row[middle] - row[low]) for row in rows]
    above = [100 * (row[high] - row[middle]) for row in rows]
    axes.errorbar(x, y, [below, above], fmt="o", ms=4, capsize=3, lw=1.2, color=colour, label=label)


if __name__ == "__main__":
    main()
