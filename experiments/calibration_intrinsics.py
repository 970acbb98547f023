"""Does the stated uncertainty of the intrinsics cover the truth at its rate?

    python -m experiments.calibration_intrinsics corners   # 200 calibrations per model, noise added to corners
    python -m experiments.calibration_intrinsics pictures  # the same through rendered pictures and the detector
    python -m experiments.calibration_intrinsics loose     # how often a lens that slips during the capture is noticed

Every trial draws its own lens, poses, noise, number of views, and (every second one) a warped board; the whole pipeline
runs, with its rejections and its warp test, the lens model given. "Covered" is the part of trials whose truth lies
within one stated standard deviation: 0.683 if the statement is right. `loose` takes the corners of `corners`, but after
half of the views the lens slips: focal length by half a percent, centre by 1 px each way; `caught` is the part whose
half solves are found not to agree. Writes experiments/results/calibration_intrinsics_*.json.

What a stopped run has done is kept trial by trial in experiments/work/ and is not done again; models may run side by
side, each by `--model`.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from calib.boards import Charuco
from calib.detection import Detection, detect_all
from calib.errors import CalibrationError
from calib.geometry import transform
from calib.intrinsics import Intrinsics, Limits, calibrate, halves_agree
from calib.lens import FISHEYE, LENS_MODELS, RATIONAL, LensModel
from calib.render import Conditions, Renderer, warped_corners_m
from calib.simulate import board_poses, simulated_detections
from calib.uncertainty import Camera, compare, pixel_grid, projection_covariance_px2, projection_difference_px
from experiments.origin import origin

SIZE = (640, 480)
BOARD = Charuco(8, 6, 0.028, 0.017)


def draw_lens(lens: LensModel, rng: np.random.Generator) -> np.ndarray:
    """A plausible camera of that kind."""
    centre = [319.5, 239.5] + rng.normal(size=2) * 6
    tangential = rng.normal(size=2) * 5e-4
    if lens is FISHEYE:
        focal = rng.uniform(180, 260)
        bend = [rng.normal(0, 0.02), rng.normal(0, 0.01), rng.normal(0, 0.003), rng.normal(0, 0.0005)]
        return np.array([focal, focal * rng.normal(1, 0.003), *centre, *bend])
    focal = rng.uniform(450, 750)
    head = [focal, focal * rng.normal(1, 0.003), *centre]
    if lens is RATIONAL:
        return np.array(
            [
                *head,
                rng.normal(0.2, 0.15),
                rng.normal(0.05, 0.03),
                *tangential,
                rng.normal(0, 0.01),
                rng.normal(0.4, 0.2),
                rng.normal(0.1, 0.05),
                rng.normal(0.02, 0.01),
            ]
        )
    return np.array([*head, rng.normal(-0.15, 0.1), rng.normal(0.05, 0.03), *tangential, rng.normal(0, 0.02)])


def corner_trial(lens: LensModel, seed: int) -> tuple[np.ndarray, list[Detection], dict[str, float]]:
    """Truth, detections with Gaussian noise, and the noise drawn."""
    rng = np.random.default_rng(seed)
    truth, noise_px = draw_lens(lens, rng), float(rng.uniform(0.03, 0.3))
    poses = board_poses(BOARD, lens, truth, SIZE, int(rng.integers(20, 41)), rng)
    warp_m = tuple(rng.normal(0, 0.001, 2)) if seed % 2 else (0.0, 0.0)
    return truth, simulated_detections(BOARD, lens, truth, SIZE, poses, noise_px, rng, warp_m), {"noise_px": noise_px}


def loose_trial(lens: LensModel, seed: int) -> tuple[np.ndarray, list[Detection], dict[str, float]]:
    """As `corner_trial`, but the lens slips after half of the views."""
    truth, found, about = corner_trial(lens, seed)
    centre, slip = truth[2:4], np.array([1.0, -1.0])
    later = [replace(each, pixels=(each.pixels - centre) * 1.005 + centre + slip) for each in found[len(found) // 2 :]]
    return truth, found[: len(found) // 2] + later, about


def picture_trial(lens: LensModel, seed: int) -> tuple[np.ndarray, list[Detection], dict[str, float]]:
    """Truth, detections in rendered pictures, and how far the detector is off, by the median."""
    rng = np.random.default_rng(seed)
    truth = draw_lens(lens, rng)
    poses = board_poses(BOARD, lens, truth, SIZE, 20, rng, filling=(0.45, 0.95))
    conditions = Conditions(
        blur_px=rng.uniform(0.5, 1.2),
        read_noise=rng.uniform(0.5, 3),
        exposure=rng.uniform(0.6, 1.1),
        light_gradient=rng.uniform(0, 0.4),
        gamma=rng.uniform(0.6, 1.0),
        warp_m=tuple(rng.normal(0, 0.0007, 2)) if seed % 2 else (0.0, 0.0),
    )
    renderer = Renderer(BOARD, lens, truth, SIZE)
    pictures = [(f"view {i:03d}", renderer.render(pose, conditions, rng)) for i, pose in enumerate(poses)]
    found = detect_all(BOARD, pictures)[0]
    corners = warped_corners_m(BOARD, np.array(conditions.warp_m))
    places = {
        name: lens.project(truth, transform(pose, corners)) for (name, _), pose in zip(pictures, poses, strict=True)
    }
    off = np.concatenate([each.pixels - places[each.name][each.ids] for each in found])
    return truth, found, {"noise_px": float(1.4826 * np.median(np.abs(off)))}


def judge(result: Intrinsics, lens: LensModel, truth: np.ndarray) -> dict[str, object]:
    """Errors in units of their stated standard deviations, and over the picture in pixels."""
    exact = Camera(lens, truth, np.zeros((lens.size, lens.size)), SIZE)
    sigmas = (result.camera.parameters - truth) / np.sqrt(np.diag(result.camera.covariance))
    pixels = pixel_grid(SIZE, 8, 6, margin=0.05).reshape(-1, 2)
    error = projection_difference_px(result.camera, exact, pixels)
    spread = np.sqrt(np.diagonal(projection_covariance_px2(result.camera, pixels), axis1=1, axis2=2))
    agreement = compare(result.camera, exact)
    inside = np.abs(error / spread)
    return {
        "sigmas": sigmas.tolist(),
        "projection_covered": float(np.nanmean(inside < 1)),
        "error_px": agreement.difference_px,
        "stated_px": agreement.expected_px,
        "chi_square_per_degree": agreement.chi_square / agreement.degrees,
        "halves_probability": result.agreement.probability,
        "halves_difference_px": result.agreement.difference_px,
        "halves_agree": halves_agree(result.agreement, Limits()),
        "warp_earned": bool(np.any(result.warp_m)),
        "views": len(result.detections),
        "left_out": len(result.rejected),
        "estimated_noise_px": result.noise_px,
        "passed": not result.failures,
    }


def _part(flags: list[bool]) -> float | None:
    return round(sum(flags) / len(flags), 3) if flags else None


def summary(lens: LensModel, trials: list[dict[str, object]]) -> dict[str, object]:
    """What the page quotes."""
    sigmas = np.array([trial["sigmas"] for trial in trials])
    halves = np.array([trial["halves_probability"] for trial in trials])
    covered = np.array([trial["projection_covered"] for trial in trials])
    return {
        "trials": len(trials),
        "covered_per_parameter": {
            name: round(float(np.mean(np.abs(sigmas[:, i]) < 1)), 3) for i, name in enumerate(lens.parameter_names)
        },
        "covered_all_parameters": round(float(np.mean(np.abs(sigmas) < 1)), 3),
        "projection_covered": round(float(covered.mean()), 3),
        "projection_covered_standard_error": round(float(covered.std() / np.sqrt(len(covered))), 3),
        "median_error_px": round(float(np.median([t["error_px"] for t in trials])), 4),
        "median_stated_px": round(float(np.median([t["stated_px"] for t in trials])), 4),
        "median_chi_square_per_degree": round(float(np.median([t["chi_square_per_degree"] for t in trials])), 3),
        "mean_chi_square_per_degree": round(float(np.mean([t["chi_square_per_degree"] for t in trials])), 3),
        "halves_probability_below_0.05": round(float(np.mean(halves < 0.05)), 3),
        "halves_probability_below_0.001": round(float(np.mean(halves < 0.001)), 3),
        "halves_refuse": _part([not t["halves_agree"] for t in trials]),
        "warp_earned_flat": _part([bool(t["warp_earned"]) for t in trials if not t["bent"]]),
        "warp_earned_bent": _part([bool(t["warp_earned"]) for t in trials if t["bent"]]),
        "corner_noise_estimated_over_true": round(
            float(np.median([t["estimated_noise_px"] / t["noise_px"] for t in trials])), 3
        ),
        "median_seconds": round(float(np.median([t["seconds"] for t in trials])), 2),
    }


def caught(trials: list[dict[str, object]]) -> dict[str, object]:
    """How many of the lenses that slipped were noticed."""
    return {
        "trials": len(trials),
        "caught": _part([not trial["halves_agree"] for trial in trials]),
        "median_seconds": round(float(np.median([t["seconds"] for t in trials])), 2),
    }


LEVELS = {"corners": corner_trial, "pictures": picture_trial, "loose": loose_trial}
GENEROUS = Limits(noise_px=2.0, uncertainty_px=1e3, agreement_probability=0.0)


def run_trial(level: str, lens: LensModel, seed: int) -> dict[str, object]:
    """One row: what came out, or `refused` with the sentence, or `no_room` where the drawn lens fits no 20 views."""
    row: dict[str, object] = {"seed": seed, "bent": bool(seed % 2)}
    try:
        truth, found, about = LEVELS[level](lens, seed)
    except ValueError:
        return row | {"no_room": True}
    started = time.perf_counter()
    try:
        result = calibrate(BOARD, found, models=[lens], limits=GENEROUS)
    except CalibrationError as error:
        return row | {"refused": str(error)}
    seconds = time.perf_counter() - started
    return row | judge(result, lens, truth) | about | {"seconds": seconds}


def write_summary(
    level: str, lens: LensModel, rows: list[dict[str, object]], about: dict[str, object], out: Path
) -> None:
    """Put one model's trials into the level's results file."""
    path = out / f"calibration_intrinsics_{level}.json"
    report: dict[str, object] = json.loads(path.read_text()) if path.exists() else {}
    trials = [row for row in rows if "sigmas" in row]
    summed = caught(trials) if level == "loose" else summary(lens, trials)
    refused = [row["refused"] for row in rows if "refused" in row]
    report |= {"level": level, lens.name: {**summed, "refused": refused, "origin": about}}
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n")


def main() -> None:
    """Run the trials and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("level", choices=sorted(LEVELS))
    parser.add_argument("--trials", type=int, default=200, help="per model")
    parser.add_argument("--first-seed", type=int, default=1, help="others than the default show what was not looked at")
    parser.add_argument("--model", choices=[lens.name for lens in LENS_MODELS], help="only this one; default all")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument(
        "--work", type=Path, default=Path(__file__).parent / "work", help="where a run is taken up again"
    )
    options = parser.parse_args()
    cv2.setNumThreads(1)
    about = origin(vars(options))
    options.work.mkdir(parents=True, exist_ok=True)
    for lens in [each for each in LENS_MODELS if options.model in (None, each.name)]:
        done = options.work / f"intrinsics_{options.level}_{lens.name}.jsonl"
        rows = [json.loads(line) for line in done.read_text().splitlines()] if done.exists() else []
        with done.open("a") as file:
            while sum("no_room" not in row for row in rows) < options.trials:
                rows.append(
                    {**run_trial(options.level, lens, options.first_seed + len(rows)), "commit": about["commit"]}
                )
                file.write(json.dumps(rows[-1]) + "\n")
                file.flush()
        commits = sorted({str(row["commit"]) for row in rows})
        write_summary(options.level, lens, rows, {**about, "commits": commits}, options.out)
        print(lens.name, "done", flush=True)


if __name__ == "__main__":
    main()
