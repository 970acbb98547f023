"""Intrinsics: from pictures of a board to a lens and a statement of how wrong it is.

Steps: leave out poor views, fit every lens model, choose by held-out error, let the board's warp in if it earns it,
throw
out outliers, and check the stated uncertainty by two solves from separate halves of the views. Whatever cannot give a
sound calibration raises CalibrationError; a result with `failures` came out, but outside its limits.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from .acceptance import Limits, require_determined, require_tilt, require_views
from .board_fit import Reprojection, Views, fit_lens, fit_poses, views_of
from .boards import Board
from .coverage import Coverage, coverage_of
from .detection import Detection, Rejection
from .errors import CalibrationError
from .geometry import Array
from .least_squares import Solution, inverse_information
from .lens import LENS_MODELS, LensModel
from .uncertainty import Agreement, Camera, compare, uncertainty_map_px, widened
from .views import halves_of_board, same_size, select_views

WARP_CHI_SQUARE = 20.0
"""Of two degrees of freedom: a flat board looks this bent by chance once in twenty thousand calibrations."""


@dataclass(frozen=True)
class HeldOut:
    """Error of one lens model on views it was not fitted to."""

    lens: LensModel
    error_px: float
    """Root mean square per coordinate: half the board gives the view's pose, the other half is predicted."""
    squared_px2: Array
    """Mean squared error of every view."""


@dataclass(frozen=True)
class Intrinsics:
    """The result."""

    camera: Camera
    board: Board
    noise_px: float
    """Standard deviation of a corner's coordinate, from the residuals."""
    poses: Array
    """camera_from_board of every used view, [views, 4, 4]"""
    detections: list[Detection]
    """The used views."""
    errors_px: Array
    """Predicted minus seen, [views, corners, 2], zero where not seen."""
    warp_m: Array
    """The board's sag along x and y; zeros when flat explains the views as well."""
    warp_sigma_m: Array
    held_out: list[HeldOut]
    agreement: Agreement
    """Between two solves from separate halves of the views; of two ways to halve them, the worse."""
    half_cameras: tuple[Camera, Camera]
    coverage: Coverage
    uncertainty_px: Array
    """Over the picture, see uncertainty.uncertainty_map_px."""
    limits: Limits
    rejected: list[Rejection] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    """Sentences; empty when every limit is kept."""

    @property
    def view_errors_px(self) -> Array:
        """Root mean square error per coordinate of every view, [views]."""
        counts = np.array([len(d.ids) for d in self.detections])
        return np.asarray(np.sqrt(np.sum(self.errors_px**2, axis=(1, 2)) / (2 * counts)))


def calibrate(
    board: Board,
    detections: Sequence[Detection],
    models: Sequence[LensModel] = LENS_MODELS,
    limits: Limits | None = None,
    rejected: Sequence[Rejection] = (),
) -> Intrinsics:
    """Intrinsics from detections of one board; `rejected` lists pictures already left out, for the record.

    Raises CalibrationError when views are too few, of mixed sizes, all frontal, or do not fit the board.
    """
    limits = limits or Limits()
    if not detections:
        raise CalibrationError(f"the board {board.text} was found in none of the pictures{_first_reason(rejected)}")
    size_px = same_size(detections)
    kept, poor = select_views(detections)
    all_rejected = [*rejected, *poor]
    require_views(len(kept), limits, all_rejected)
    kept, views, fits, outliers = _without_outliers(board, kept, models, size_px)
    all_rejected += outliers
    require_views(len(kept), limits, all_rejected)
    held_out = [_held_out(model, board, views, size_px, fits[model.name]) for model in models]
    lens = _choose(held_out)
    solution, with_warp = _fit_final(lens, views, size_px, fits[lens.name])
    problem = Reprojection(lens, views, with_warp=with_warp)
    noise_px = _noise_px(problem, solution)
    require_tilt(solution.poses, limits)
    covariance = noise_px**2 * inverse_information(solution.shared_information)
    stated = widened(lens, covariance[: lens.size, : lens.size])
    camera = Camera(lens, solution.shared[: lens.size], stated, size_px)
    require_determined(camera, noise_px, limits)
    agreement, halves = _halves(lens, views, size_px, solution, with_warp, noise_px)
    uncertainty = uncertainty_map_px(camera)
    result = Intrinsics(
        camera=camera,
        board=board,
        noise_px=noise_px,
        poses=solution.poses,
        detections=kept,
        errors_px=problem.errors_px(solution.shared, solution.poses),
        warp_m=problem.warp_m(solution.shared),
        warp_sigma_m=np.sqrt(np.diag(covariance)[-2:]) if with_warp else np.zeros(2),
        held_out=held_out,
        agreement=agreement,
        half_cameras=halves,
        coverage=coverage_of(board, kept, solution.poses, size_px),
        uncertainty_px=uncertainty,
        limits=limits,
        rejected=all_rejected,
    )
    return replace(result, failures=_failures(result))


def _first_reason(rejected: Sequence[Rejection]) -> str:
    return f"; the first: {rejected[0].reason}" if rejected else ""


def _without_outliers(
    board: Board, kept: list[Detection], models: Sequence[LensModel], size_px: tuple[int, int]
) -> tuple[list[Detection], Views, dict[str, Solution], list[Rejection]]:
    """Drop single corners and whole views that not even the most flexible lens explains; robust fits come along."""
    rejected: list[Rejection] = []
    fits: dict[str, Solution] = {}
    views = views_of(board, kept)
    for attempt in range(3):
        errors: dict[str, Array] = {}
        for model in models:
            start = (fits[model.name].shared, fits[model.name].poses) if model.name in fits else None
            fits[model.name] = fit_lens(model, views, size_px, with_warp=True, robust_px=0.5, start=start)
            problem = Reprojection(model, views, with_warp=True)
            pixels = problem.errors_px(fits[model.name].shared, fits[model.name].poses)
            errors[model.name] = np.linalg.norm(pixels, axis=-1)
        if attempt == 2:
            break
        middles = {name: float(np.median(each[views.seen > 0])) for name, each in errors.items()}
        best = min(middles, key=lambda name: middles[name] if np.isfinite(middles[name]) else np.inf)
        remaining, left_out = _judge_views(kept, errors[best], middles[best], views)
        rejected += [Rejection(kept[index].name, reason) for index, reason in left_out.items()]
        unchanged = not left_out and sum(len(d.ids) for d in remaining) == int(views.seen.sum())
        stay = np.array([index for index in range(len(kept)) if index not in left_out], dtype=np.int64)
        kept, views = remaining, views_of(board, remaining)
        fits = {name: replace(each, poses=each.poses[stay]) for name, each in fits.items()}
        if unchanged or len(kept) < 4:
            break
    return kept, views, fits, rejected


def _judge_views(
    kept: list[Detection], errors: Array, middle: float, views: Views
) -> tuple[list[Detection], dict[int, str]]:
    """Views without their wild corners, and the index and reason of views left out. `errors` are distances in
    pixels.
    """
    # for Gaussian coordinates the median distance is 1.18 standard deviations
    sigma = max(middle / 1.18, 0.02)
    view_rms = np.sqrt(np.sum(errors**2, axis=1) / np.maximum(2 * views.seen.sum(axis=1), 1))
    typical = float(np.median(view_rms))
    remaining: list[Detection] = []
    left_out: dict[int, str] = {}
    for index, detection in enumerate(kept):
        good = errors[index, detection.ids] < 5.0 * sigma
        if view_rms[index] > max(4.0 * typical, 3.0 * sigma) and np.mean(good) < 0.8:
            left_out[index] = f"outlier: corners are off by {view_rms[index]:.2f} px, typically {typical:.2f}"
        elif good.sum() >= 8:
            remaining.append(replace(detection, ids=detection.ids[good], pixels=detection.pixels[good]))
        else:
            left_out[index] = "outlier: fewer than 8 of its corners fit the others"
    return remaining, left_out


def _noise_px(problem: Reprojection, solution: Solution) -> float:
    errors = problem.errors_px(solution.shared, solution.poses)
    degrees = 2 * problem.views.seen.sum() - 6 * len(solution.poses) - len(solution.shared)
    return float(np.sqrt(np.sum(errors**2) / max(degrees, 1.0)))


def _fit_final(lens: LensModel, views: Views, size_px: tuple[int, int], rough: Solution) -> tuple[Solution, bool]:
    """The chosen lens on all views; with the board's warp if that earns its place (WARP_CHI_SQUARE)."""
    noise_px = _noise_px(Reprojection(lens, views, with_warp=True), rough)
    # both from the rough fit, which knows the warp: a lens that was bent to fit a flat board does not find back
    start = rough.shared, rough.poses
    flat = fit_lens(lens, views, size_px, start=start, noise_px=noise_px)
    bent = fit_lens(lens, views, size_px, with_warp=True, start=start, noise_px=noise_px)
    bent_noise = _noise_px(Reprojection(lens, views, with_warp=True), bent)
    information = bent.shared_information / bent_noise**2
    covariance = inverse_information(information)[-2:, -2:]
    score = bent.shared[-2:] @ np.linalg.solve(covariance, bent.shared[-2:])
    earned = bool(score > WARP_CHI_SQUARE)
    return (bent, True) if earned else (flat, False)


def _held_out(
    lens: LensModel, board: Board, views: Views, size_px: tuple[int, int], everything: Solution, folds: int = 4
) -> HeldOut:
    """Cross-validated error. The pose of a held-out view comes from one half of the board and predicts the other.

    Fitting the pose to all corners would hide a wrong lens: a pose takes up much of what distortion leaves.
    """
    count = len(views.pixels)
    right = halves_of_board(board)
    squared = np.full(count, np.inf)
    for fold in range(folds):
        out = np.arange(count) % folds == fold
        if not out.any() or count - out.sum() < 4:
            continue
        start = everything.shared, everything.poses[~out]
        fitted = fit_lens(lens, views.some(np.flatnonzero(~out).astype(np.int64)), size_px, with_warp=True, start=start)
        camera, warp_m = fitted.shared[: lens.size], fitted.shared[lens.size :]
        test = views.some(np.flatnonzero(out).astype(np.int64)).bent(warp_m)
        total, corners = np.zeros(len(test.pixels)), np.zeros(len(test.pixels))
        for side in (right, 1.0 - right):
            given = replace(test, seen=test.seen * side)
            asked = replace(test, seen=test.seen * (1.0 - side))
            usable = given.seen.sum(axis=1) >= 6
            if not usable.any():
                continue
            index = np.flatnonzero(usable).astype(np.int64)
            poses = fit_poses(lens, camera, given.some(index)).poses
            problem = Reprojection(lens, asked.some(index), fixed=camera)
            errors = problem.errors_px(np.zeros(0), poses)
            total[index] += np.sum(errors**2, axis=(1, 2))
            corners[index] += 2 * asked.seen[index].sum(axis=1)
        squared[out] = np.where(corners > 0, total / np.maximum(corners, 1), np.nan)
    return HeldOut(lens, float(np.sqrt(np.nanmean(squared))), squared)


def _choose(held_out: Sequence[HeldOut]) -> LensModel:
    """The simplest model whose held-out error is not clearly worse than the best one's (one standard error)."""
    finite = [each for each in held_out if np.isfinite(each.error_px)]
    if not finite:
        raise CalibrationError("no lens model explains the views: check the board's text and take the views again")
    best = min(finite, key=lambda each: each.error_px)
    for each in sorted(finite, key=lambda candidate: LENS_MODELS.index(candidate.lens)):
        excess = each.squared_px2 - best.squared_px2
        excess = excess[np.isfinite(excess)]
        if len(excess) == 0:
            continue
        typical = float(np.median(best.squared_px2[np.isfinite(best.squared_px2)]))
        # medians beside means: one hard view must not decide
        standard_error = float(np.std(excess)) / np.sqrt(len(excess))
        # an advantage of two parts in a hundred is none that a person could use
        if excess.mean() <= max(standard_error, 0.04 * typical) and np.median(excess) <= 0.2 * typical:
            return each.lens
    return best.lens


def _halves(
    lens: LensModel, views: Views, size_px: tuple[int, int], whole: Solution, with_warp: bool, noise_px: float
) -> tuple[Agreement, tuple[Camera, Camera]]:
    """The same lens from two separate halves of the views, and whether they agree; of two ways to halve, the worse.

    Every second view against the rest finds what differs from view to view; the earlier views against the later ones
    find a lens that slipped once on the way, which the first way would spread over both halves.
    """
    count = len(views.pixels)
    order = np.arange(count)
    found = []
    for first in (order % 2 == 0, order < (count + 1) // 2):
        cameras = []
        for index in (order[first], order[~first]):
            part = views.some(index)
            start = whole.shared[: lens.size], whole.poses[index]
            solution = fit_lens(lens, part, size_px, with_warp=with_warp, start=start, noise_px=noise_px)
            noise = _noise_px(Reprojection(lens, part, with_warp=with_warp), solution)
            covariance = noise**2 * inverse_information(solution.shared_information)
            stated = widened(lens, covariance[: lens.size, : lens.size])
            cameras.append(Camera(lens, solution.shared[: lens.size], stated, size_px))
        found.append((compare(cameras[0], cameras[1]), (cameras[0], cameras[1])))
    agreement, halves = min(found, key=lambda each: each[0].probability)
    # the worse of two looks: its chance is up to twice as large
    return replace(agreement, probability=min(1.0, len(found) * agreement.probability)), halves


def halves_agree(agreement: Agreement, limits: Limits) -> bool:
    """Whether two half solves differ by no more than chance, or than matters."""
    return agreement.probability >= limits.agreement_probability or agreement.difference_px <= limits.agreement_px


def middle_uncertainty_px(result: Intrinsics) -> float:
    """The largest standard deviation of a projected point within the middle 90 % of the picture's sides."""
    rows, columns = result.uncertainty_px.shape
    row, column = max(1, round(0.05 * rows)), max(1, round(0.05 * columns))
    return float(np.nanmax(result.uncertainty_px[row:-row, column:-column]))


def _failures(result: Intrinsics) -> list[str]:
    limits, found = result.limits, []
    if result.noise_px > limits.noise_px:
        found.append(
            f"corners are off by {result.noise_px:.2f} px, at most {limits.noise_px:g} px is allowed: sharper "
            f"pictures, a "
            "flatter board, or another lens model"
        )
    uncertainty = middle_uncertainty_px(result)
    if not uncertainty <= limits.uncertainty_px:
        found.append(
            f"a projected point is uncertain by {uncertainty:.2f} px somewhere in the picture, at most "
            f"{limits.uncertainty_px:g} px is allowed: add views where the map is bright"
        )
    if not halves_agree(result.agreement, limits):
        found.append(
            f"two solves from separate halves of the views differ by {result.agreement.difference_px:.2f} px where "
            f"{result.agreement.expected_px:.2f} px is expected: something else than noise is at work (a loose lens, a "
            "bent or curling board, motion)"
        )
    return found
