"""Fit a camera to views of one board: the reprojection problem, its first guess, and poses for a known camera."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from .boards import Board
from .detection import Detection
from .geometry import Array, cross_matrix, pose_from_vectors, transform
from .least_squares import Linearisation, Solution, solve
from .lens import PINHOLE, LensModel

DENOMINATOR_SPREAD = 1.0
"""Standard deviation that the rational model's k4, k5, k6 are given beforehand."""


@dataclass(frozen=True)
class Views:
    """Corners of several pictures side by side, padded to the board's full set."""

    corners_m: Array
    """[corners, 3]"""
    pixels: Array
    """[views, corners, 2], zero where not seen"""
    seen: Array
    """[views, corners], 1.0 or 0.0"""
    warp_shape: Array
    """[corners, 2]: height of each corner per metre of the board's two sags, see `render.warp_height_m`"""

    def some(self, chosen: npt.NDArray[np.int64] | Sequence[int]) -> "Views":
        """The chosen views only."""
        index = np.asarray(chosen)
        return replace(self, pixels=self.pixels[index], seen=self.seen[index])

    def bent(self, warp_m: Array) -> "Views":
        """The same views of a board that sags by two known numbers."""
        corners = self.corners_m.copy()
        corners[:, 2] = self.warp_shape @ np.asarray(warp_m)
        return replace(self, corners_m=corners)


def views_of(board: Board, detections: Sequence[Detection], warp_m: Array | None = None) -> Views:
    """Detections of `board` as padded arrays; `warp_m`, the board's two sags, bends its corners where it is known."""
    corners = board.corners_m
    pixels = np.zeros((len(detections), len(corners), 2))
    seen = np.zeros((len(detections), len(corners)))
    for index, detection in enumerate(detections):
        pixels[index, detection.ids] = detection.pixels
        seen[index, detection.ids] = 1.0
    half = np.array(board.size_m) / 2
    flat = Views(corners, pixels, seen, 1.0 - ((corners[:, :2] - half) / half) ** 2)
    return flat if warp_m is None else flat.bent(warp_m)


@dataclass(frozen=True)
class Reprojection:
    """Pixels predicted minus seen. Shared unknowns: lens parameters, then the board's two sags if `with_warp`.

    `fixed` holds a lens that is not estimated (then only the warp, or nothing, is shared). `robust_px` above 0 weighs
    corners by Cauchy's function of that width.
    """

    lens: LensModel
    views: Views
    with_warp: bool = False
    fixed: Array | None = None
    robust_px: float = 0.0
    prior_information: Array | None = None

    def camera(self, shared: Array) -> Array:
        """The lens parameters."""
        return shared[: self.lens.size] if self.fixed is None else self.fixed

    def warp_m(self, shared: Array) -> Array:
        """The board's two sags."""
        return shared[-2:] if self.with_warp else np.zeros(2)

    def errors_px(self, shared: Array, poses: Array) -> Array:
        """Predicted minus seen [views, corners, 2], zero where not seen."""
        points = self._before_camera(transform(poses, self._board(shared)))
        return (self.lens.project(self.camera(shared), points) - self.views.pixels) * self.views.seen[..., None]

    def _before_camera(self, points: Array) -> Array:
        """Corners that were not seen moved onto the axis: outside the picture the lens may have no value at all."""
        return np.where(self.views.seen[..., None] > 0, points, np.array([0.0, 0.0, 1.0]))

    def _board(self, shared: Array) -> Array:
        corners = self.views.corners_m
        if self.with_warp:
            corners = corners.copy()
            corners[:, 2] = self.views.warp_shape @ self.warp_m(shared)
        return corners

    def linearise(self, shared: Array, poses: Array) -> Linearisation:
        """See least_squares.Problem."""
        board = self._board(shared)
        turned = board @ np.swapaxes(poses[:, :3, :3], 1, 2)
        points = self._before_camera(turned + poses[:, None, :3, 3])
        pixels, by_point, by_lens = self.lens.project_with_derivatives(self.camera(shared), points)
        seen = self.views.seen[..., None]
        error = np.where(seen > 0, pixels - self.views.pixels, 0.0)
        weight = seen
        square = np.sum(error**2, axis=-1)
        if self.robust_px > 0:
            weight = seen * np.sqrt(1 / (1 + square / self.robust_px**2))[..., None]
            cost = 0.5 * self.robust_px**2 * np.sum(np.log1p(square / self.robust_px**2))
        else:
            cost = 0.5 * np.sum(square)
        if not np.all(points[self.views.seen > 0, 2] > -10.0) or not np.isfinite(cost):
            cost = np.inf
            by_point, by_lens, error = (np.nan_to_num(each) for each in (by_point, by_lens, error))
        by_pose = np.concatenate([-by_point @ cross_matrix(turned), by_point], axis=-1) * weight[..., None]
        parts = [by_lens] if self.fixed is None else []
        if self.with_warp:
            lifted = np.einsum("vnij,vj->vni", by_point, poses[:, :3, 2])
            parts.append(lifted[..., None] * self.views.warp_shape[:, None, :])
        by_shared = np.concatenate(parts, axis=-1) if parts else np.zeros((*error.shape, 0))
        by_shared = by_shared * weight[..., None]
        count = len(poses)
        return Linearisation(
            (error * weight).reshape(count, -1),
            by_shared.reshape(count, 2 * error.shape[1], by_shared.shape[-1]),
            by_pose.reshape(count, -1, 6),
            float(cost),
        )

    def move_shared(self, shared: Array, change: Array) -> Array:
        """See least_squares.Problem."""
        return shared + change

    def prior(self, shared: Array) -> tuple[float, Array, Array]:
        """See least_squares.Problem; a prior pulls towards zero."""
        if self.prior_information is None:
            return 0.0, np.zeros(len(shared)), np.zeros((len(shared), len(shared)))
        gradient = self.prior_information * shared
        return float(0.5 * gradient @ shared), gradient, np.diag(self.prior_information)


def board_poses_from_rays(corners_m: Array, views: Views, rays: Array) -> tuple[Array, Array]:
    """Both planar solutions of every view's pose from directions [views, corners, 3]: two arrays [views, 4, 4].

    T. Collins and A. Bartoli's IPPE (2014), through OpenCV. A view without four usable directions gets a pose far away.
    """
    first, second = np.zeros((2, len(rays), 2, 3))
    first[:, 1, 2] = second[:, 1, 2] = 100.0
    for index, (seen, directions) in enumerate(zip(views.seen > 0, rays, strict=True)):
        # a direction near or beyond 90 degrees has no place on the normalised plane; the others do to begin with
        usable = seen & np.all(np.isfinite(directions), axis=-1) & (directions[:, 2] > 0.15)
        if usable.sum() < 4:
            continue
        plane = directions[usable, :2] / directions[usable, 2:]
        count, turns, shifts, _ = cv2.solvePnPGeneric(
            corners_m[usable] * [1.0, 1.0, 0.0],
            np.ascontiguousarray(plane[:, None]),
            np.eye(3),
            None,
            flags=cv2.SOLVEPNP_IPPE,
        )
        if count:
            first[index] = turns[0].ravel(), shifts[0].ravel()
            second[index] = turns[count - 1].ravel(), shifts[count - 1].ravel()
    return pose_from_vectors(first[:, 0], first[:, 1]), pose_from_vectors(second[:, 0], second[:, 1])


def fit_poses(lens: LensModel, parameters: Array, views: Views, robust_px: float = 0.0) -> Solution:
    """Poses of the board [views, 4, 4] before a known camera: both planar solutions tried, then refined."""
    problem = Reprojection(lens, views, fixed=parameters, robust_px=robust_px)
    nothing = np.zeros(0)
    rays = lens.unproject(parameters, views.pixels)
    candidates = board_poses_from_rays(views.corners_m, views, rays)
    errors = [np.sum(problem.errors_px(nothing, each) ** 2, axis=(1, 2)) for each in candidates]
    best = np.where((errors[0] <= errors[1])[:, None, None], *candidates)
    return solve(problem, nothing, best, max_iterations=25)


def first_guess(lens: LensModel, views: Views, size_px: tuple[int, int]) -> tuple[Array, Array]:
    """Lens parameters without distortion, and poses: of a series of focal lengths the one that explains views best."""
    width, height = size_px
    some = views.some(np.unique(np.linspace(0, len(views.pixels) - 1, 12).astype(np.int64)))
    chosen: tuple[float, Array] | None = None
    for factor in np.geomspace(0.25, 4.0, 11):
        parameters = np.zeros(lens.size)
        parameters[:4] = width * factor, width * factor, (width - 1) / 2, (height - 1) / 2
        rays = lens.unproject(parameters, some.pixels)
        problem = Reprojection(lens, some, fixed=parameters)
        poses = board_poses_from_rays(some.corners_m, some, rays)[0]
        square = np.sum(problem.errors_px(np.zeros(0), poses) ** 2, axis=-1)
        score = float(np.median(np.sqrt(square[some.seen > 0])))
        if np.isfinite(score) and (chosen is None or score < chosen[0]):
            chosen = score, parameters
    assert chosen is not None, "a view has corners, checked by the caller"
    rays = lens.unproject(chosen[1], views.pixels)
    return chosen[1], board_poses_from_rays(views.corners_m, views, rays)[0]


def fit_lens(
    lens: LensModel,
    views: Views,
    size_px: tuple[int, int],
    with_warp: bool = False,
    start: tuple[Array, Array] | None = None,
    noise_px: float = 0.1,
    robust_px: float = 0.0,
) -> Solution:
    """Lens, poses and perhaps warp from views.

    `start` (lens parameters and perhaps warp, poses) saves the search for a first guess; `noise_px` is how far a
    corner is off, and only
    says how much the rational model's weak prior weighs; `robust_px` above 0 gives wild corners little weight.
    """
    information = _prior_information(lens, with_warp, noise_px)
    if start is None and lens.name == "rational":
        # from nowhere, numerator and denominator chase one another; from the plain model they part only where it pays
        simpler = fit_lens(PINHOLE, views, size_px, noise_px=noise_px)
        start = _with_common_factor(simpler.shared, 0.7), simpler.poses
    if start is None:
        parameters, poses = first_guess(lens, views, size_px)
        plain = replace(
            Reprojection(lens, views, prior_information=_prior_information(lens, False, noise_px)), robust_px=2.0
        )
        rough = solve(plain, parameters, poses, max_iterations=30, tolerance=1e-4)
        # a nearly frontal view can start on the wrong side of the planar ambiguity: offer the other side again
        poses = fit_poses(lens, rough.shared, views, robust_px=2.0).poses
        parameters = rough.shared
    else:
        parameters, poses = start
    shared = parameters[: lens.size]
    if with_warp:
        shared = np.concatenate([shared, parameters[-2:] if len(parameters) > lens.size else np.zeros(2)])
    problem = Reprojection(lens, views, with_warp=with_warp, prior_information=information)
    if start is None:
        robust = solve(replace(problem, robust_px=1.0), shared, poses, tolerance=1e-6)
        shared, poses = robust.shared, robust.poses
    return solve(replace(problem, robust_px=robust_px), shared, poses)


def _with_common_factor(pinhole: Array, factor: float) -> Array:
    """The same lens as a rational one, both polynomials multiplied by `1 + factor r^2`: a start away from zero.

    From a denominator of 1 the fit sometimes runs into a pole just outside the picture, which a pole-free start avoids.
    """
    k1, k2, p1, p2, k3 = pinhole[4:9]
    numerator = [k1 + factor, k2 + factor * k1, p1, p2, k3 + factor * k2]
    return np.concatenate([pinhole[:4], numerator, [factor, 0.0, 0.0]])


def _prior_information(lens: LensModel, with_warp: bool, noise_px: float) -> Array:
    """Weak knowledge about the rational model, in units of the noise: its denominator's coefficients are about 1.

    Without it a common factor of numerator and denominator may wander off along a curved valley of equally good lenses.
    """
    information = np.zeros(lens.size + (2 if with_warp else 0))
    if lens.name == "rational":
        information[9:12] = noise_px**2 / DENOMINATOR_SPREAD**2
    return information
