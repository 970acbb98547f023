"""Our intrinsics beside mrcal's, from the same corners: are they the same within the uncertainty, and how long do they
take?

    sudo apt-get install mrcal
    python -m experiments.calibration_mrcal --trials 5

Corners are simulated (noise 0.1 px, the truth is known). mrcal runs as its own command, start-up included; ours runs in
this process, once per trial, after one warm-up. Writes experiments/results/calibration_mrcal.json.
"""

import argparse
import json
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from calib.boards import Charuco
from calib.detection import Detection
from calib.intrinsics import Limits, calibrate
from calib.lens import PINHOLE, RATIONAL, LensModel
from calib.simulate import board_poses, simulated_detections
from calib.uncertainty import Camera, compare, pixel_grid, projection_difference_px
from experiments.origin import origin

SIZE = (640, 480)
BOARD = Charuco(8, 6, 0.028, 0.017)
MODELS = {"LENSMODEL_OPENCV5": PINHOLE, "LENSMODEL_OPENCV8": RATIONAL}
TRUTH = {
    "pinhole": np.array([600.0, 602.0, 322.0, 238.0, -0.2, 0.05, 0.001, -0.0005, 0.0]),
    "rational": np.array([480.0, 481, 322, 238, 0.3, 0.05, 0.001, -0.0005, 0.01, 0.6, 0.1, 0.02]),
}


def corners_vnl(detections: list[Detection]) -> str:
    """mrcal's corner table: every corner of the grid in order, `- -` where it was not seen."""
    lines = ["# filename x y level"]
    for index, detection in enumerate(detections):
        seen = dict(zip(detection.ids.tolist(), detection.pixels.tolist(), strict=True))
        for corner in range(len(BOARD.corners_m)):
            place = f"{seen[corner][0]:.6f} {seen[corner][1]:.6f} 0" if corner in seen else "- - -"
            lines.append(f"view{index:03d}.png {place}")
    return "\n".join(lines) + "\n"


def run_mrcal(lens: LensModel, detections: list[Detection]) -> tuple[Camera, float, float]:
    """mrcal's camera, the seconds its command took, and the root mean square residual it reports."""
    name = next(key for key, value in MODELS.items() if value is lens)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "corners.vnl").write_text(corners_vnl(detections))
        started = time.perf_counter()
        done = subprocess.run(
            [
                "mrcal-calibrate-cameras", "--corners-cache", "corners.vnl", "--lensmodel", name, "--focal", "500",
                "--object-spacing", str(BOARD.square_m), "--object-width-n", str(BOARD.columns - 1),
                "--object-height-n", str(BOARD.rows - 1), "--imagersize", str(SIZE[0]), str(SIZE[1]), "--outdir", ".",
                "*.png",
            ],
            cwd=folder, capture_output=True, text=True, check=False, timeout=600,
        )  # fmt: skip
        seconds = time.perf_counter() - started
        models = sorted(Path(folder).glob("*.cameramodel"))
        if done.returncode or not models:
            raise RuntimeError(f"mrcal failed: {(done.stdout + done.stderr)[-1500:]}")
        text = models[0].read_text()
    model = re.search(r"'lensmodel':\s*'(\w+)'", text)
    numbers = re.search(r"'intrinsics':\s*\[([^\]]*)\]", text)
    if model is None or numbers is None or model.group(1) != name:
        raise RuntimeError(f"mrcal wrote no {name}")
    parameters = np.array([float(value) for value in numbers.group(1).split(",") if value.strip()])
    error = re.search(r"RMS (?:reprojection )?error:? ([\d.]+)", done.stdout + done.stderr)
    camera = Camera(lens, parameters, np.zeros((lens.size, lens.size)), SIZE)
    return camera, seconds, float(error.group(1)) if error else float("nan")


def main() -> None:
    """Run the trials and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    if shutil.which("mrcal-calibrate-cameras") is None:
        raise SystemExit("mrcal is not installed: apt-get install mrcal")
    cv2.setNumThreads(1)
    report: dict[str, object] = {"origin": origin(vars(options))}
    grid = pixel_grid(SIZE, 8, 6, margin=0.05).reshape(-1, 2)
    limits = Limits(uncertainty_px=1e3, agreement_probability=0.0)
    for lens in MODELS.values():
        rows = []
        for seed in range(options.trials + 1):
            rng = np.random.default_rng(seed)
            truth = TRUTH[lens.name]
            poses = board_poses(BOARD, lens, truth, SIZE, 30, rng)
            found = simulated_detections(BOARD, lens, truth, SIZE, poses, 0.1, rng)
            started = time.perf_counter()
            ours = calibrate(BOARD, found, [lens], limits)
            seconds = time.perf_counter() - started
            if seed == 0:
                continue  # the first run pays for imports
            theirs, their_seconds, their_rms = run_mrcal(lens, found)
            exact = Camera(lens, truth, np.zeros((lens.size, lens.size)), SIZE)
            between = projection_difference_px(ours.camera, theirs, grid)
            rows.append(
                {
                    "between_px": float(np.sqrt(np.nanmean(np.sum(between**2, axis=1)))),
                    "our_stated_px": compare(ours.camera, exact).expected_px,
                    "our_error_px": compare(ours.camera, exact).difference_px,
                    "their_error_px": compare(theirs, exact).difference_px,
                    "probability_of_the_difference": compare(ours.camera, theirs).probability,
                    "our_seconds": seconds,
                    "their_seconds": their_seconds,
                    "their_rms_px": their_rms,
                }
            )
            print(lens.name, json.dumps(rows[-1]), flush=True)
        report[lens.name] = {key: round(float(np.median([row[key] for row in rows])), 4) for key in rows[0]}
        report[lens.name]["trials"] = len(rows)  # type: ignore[index]
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "calibration_mrcal.json").write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
