"""Hand-eye error in millimetres and degrees against the robot's noise: ours, and the closed forms alone.

    python -m experiments.calibration_hand_eye --trials 30

Sixteen views, 0.1 px of corner noise, a lens that is itself only known to its calibration's uncertainty. The closed
forms get what they would get in practice: board poses fitted view by view through the calibrated lens. Where this
OpenCV has `calibrateHandEye` its own solvers are run too, else the same seven as written in calib/hand_eye_solvers.py;
five of those are compared with OpenCV 4.12 in tests/calib/test_hand_eye_solvers.py (within 3 mm on noisy data). Writes
experiments/results/calibration_hand_eye.json.
"""

import argparse
import json
import time
from pathlib import Path

import cv2
import numpy as np

from calib.board_fit import fit_poses, views_of
from calib.boards import Charuco
from calib.errors import CalibrationError
from calib.geometry import Array, difference, inverse, pose_from_vectors
from calib.hand_eye import calibrate_hand_eye, simulated_robot_noise
from calib.lens import PINHOLE
from calib.simulate import board_poses, simulated_detections
from calib.uncertainty import Camera
from experiments.origin import origin

SIZE = (640, 480)
BOARD = Charuco(8, 6, 0.028, 0.017)
LENS = np.array([600.0, 602.0, 322.0, 238.0, -0.2, 0.05, 0.001, -0.0005, 0.0])
SPREAD = np.diag([0.3, 0.3, 0.4, 0.4, 2e-3, 1e-2, 1e-4, 1e-4, 1e-2]) ** 2
NOISES = ((0.0, 0.0), (2e-4, 1e-4), (1e-3, 5e-4), (3e-3, 1.5e-3), (8e-3, 4e-3))
"""Robot noise per axis: rad and m."""


def opencv_solvers(carrier: Array, board: Array) -> dict[str, Array]:
    """OpenCV's own five AX = XB solvers, where its Python module has them."""
    if not hasattr(cv2, "calibrateHandEye"):
        return {}
    found = {}
    for name in ("TSAI", "PARK", "HORAUD", "ANDREFF", "DANIILIDIS"):
        rotation, shift = cv2.calibrateHandEye(
            carrier[:, :3, :3],
            carrier[:, :3, 3],
            board[:, :3, :3],
            board[:, :3, 3],
            method=getattr(cv2, f"CALIB_HAND_EYE_{name}"),
        )
        found[f"OpenCV {name.capitalize()}"] = np.vstack([np.hstack([rotation, shift]), [0, 0, 0, 1]])
    return found


def main() -> None:
    """Run the trials and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=30, help="per noise")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    about = origin(vars(options))
    report: list[dict[str, object]] = []
    for sigma_rad, sigma_m in NOISES:
        errors: dict[str, list[Array]] = {}
        chi_squares, seconds, refused = [], [], 0
        for seed in range(options.trials):
            rng = np.random.default_rng(seed)
            poses = board_poses(BOARD, PINHOLE, LENS, SIZE, 16, rng)
            hand = pose_from_vectors(rng.normal(size=3), rng.normal(size=3) * 0.05)
            reference = pose_from_vectors(rng.normal(size=3), rng.normal(size=3) * 0.4)
            exact = reference @ inverse(hand @ poses)
            calibrated = LENS + np.linalg.cholesky(SPREAD) @ rng.normal(size=9)
            camera = Camera(PINHOLE, calibrated, SPREAD, SIZE)
            found = simulated_detections(BOARD, PINHOLE, LENS, SIZE, poses, 0.1, rng)
            reported = simulated_robot_noise(exact, sigma_rad, sigma_m, rng)
            started = time.perf_counter()
            try:
                result = calibrate_hand_eye(BOARD, found, reported, camera, leave_one_out=False)
            except CalibrationError:
                refused += 1
                continue
            seconds.append(time.perf_counter() - started)
            seen = fit_poses(PINHOLE, calibrated, views_of(BOARD, found)).poses
            answers = {"ours": result.hand_from_camera, **result.closed_forms, **opencv_solvers(reported, seen)}
            for name, value in answers.items():
                errors.setdefault(name, []).append(difference(value, hand))
            error = errors["ours"][-1]
            chi_squares.append(float(error @ np.linalg.solve(result.covariance, error)))
        row: dict[str, object] = {
            "robot_noise_deg": round(float(np.degrees(sigma_rad)), 4),
            "robot_noise_mm": 1e3 * sigma_m,
            "trials": len(chi_squares),
            "refused": refused,
            "covered_at_68_percent": round(float(np.mean(np.array(chi_squares) < 7.038)), 3),
            "chi_square_per_degree": round(float(np.mean(chi_squares)) / 6, 3),
            "median_seconds": round(float(np.median(seconds)), 2),
            "error_mm": {},
            "error_deg": {},
        }
        for name, values in errors.items():
            square = np.mean(np.square(values), axis=0)
            row["error_mm"][name] = round(float(1e3 * np.sqrt(square[3:].sum())), 3)  # type: ignore[index]
            row["error_deg"][name] = round(float(np.degrees(np.sqrt(square[:3].sum()))), 4)  # type: ignore[index]
        report.append(row)
        print(json.dumps(row), flush=True)
        options.out.mkdir(parents=True, exist_ok=True)
        document = {"origin": about, "rows": report}
        (options.out / "calibration_hand_eye.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
