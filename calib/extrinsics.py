"""Several cameras that see one board at the same moments: where each stands relative to the first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .board_fit import Views, fit_poses, views_of
from .boards import Board
from .detection import Detection
from .errors import CalibrationError
from .geometry import Array, cross_matrix, difference, inverse, moved, nearest_rotation, pose
from .least_squares import Linearisation, Solution, inverse_information, solve
from .uncertainty import Camera

LEAST_SHARED = 5
"""Moments in which a camera must share the board with the cameras already placed."""


@dataclass(frozen=True)
class Extrinsics:
    """The result; the first camera is the reference."""

    names: tuple[str, ...]
    camera_from_reference: Array
    """[cameras, 4, 4], the first the identity"""
    covariance: Array
    """Of each camera's small change (rad, m), lenses included, [cameras, 6, 6]; zeros for the first"""
    noise_px: dict[str, float]
    moments: int

    def sigma_mm(self, index: int) -> float:
        """Standard deviation of a camera's position: root of the summed variances."""
        return float(1e3 * np.sqrt(np.trace(self.covariance[index, 3:, 3:])))

    def sigma_deg(self, index: int) -> float:
        """Standard deviation of its orientation: root of the summed variances."""
        return float(np.degrees(np.sqrt(np.trace(self.covariance[index, :3, :3]))))


@dataclass(frozen=True)
class _RigProblem:
    """Shared: each further camera's place (6 each), as a change from `start`. Per view: reference_from_board."""

    cameras: Sequence[Camera]
    views: Sequence[Views]
    start: Array
    weight: Array
    """One over the pixel noise of each camera."""

    def places(self, shared: Array) -> Array:
        """camera_from_reference of all cameras."""
        changes = np.concatenate([np.zeros(6), shared]).reshape(-1, 6)
        return moved(self.start, changes)

    def linearise(self, shared: Array, poses: Array) -> Linearisation:
        """See least_squares.Problem."""
        residuals, by_shared, by_pose = [], [], []
        count, unknown = len(poses), len(shared)
        for index, place in enumerate(self.places(shared)):
            views, camera = self.views[index], self.cameras[index]
            seen = views.seen[..., None]
            turned = views.corners_m @ np.swapaxes(poses[:, :3, :3], 1, 2)
            at_reference = turned + poses[:, None, :3, 3]
            rotated = at_reference @ place[:3, :3].T
            points = np.where(seen > 0, rotated + place[:3, 3], np.array([0.0, 0.0, 1.0]))
            pixels, by_point, _ = camera.lens.project_with_derivatives(camera.parameters, points)
            weight = seen * self.weight[index]
            residuals.append(((pixels - views.pixels) * weight).reshape(count, -1))
            by_reference = by_point @ place[:3, :3]
            by_board = np.concatenate([-by_reference @ cross_matrix(turned), by_reference], axis=-1)
            by_pose.append((by_board * weight[..., None]).reshape(count, -1, 6))
            block = np.zeros((*by_board.shape[:-1], unknown))
            if index > 0:
                by_place = np.concatenate([-by_point @ cross_matrix(rotated), by_point], axis=-1)
                block[..., 6 * index - 6 : 6 * index] = by_place * weight[..., None]
            by_shared.append(block.reshape(count, -1, unknown))
        stacked = np.concatenate(residuals, axis=1)
        cost = float(0.5 * np.sum(stacked**2))
        return Linearisation(
            stacked,
            np.concatenate(by_shared, axis=1),
            np.concatenate(by_pose, axis=1),
            cost if np.isfinite(cost) else np.inf,
        )

    def move_shared(self, shared: Array, change: Array) -> Array:
        """See least_squares.Problem."""
        now = moved(self.places(shared)[1:], change.reshape(-1, 6))
        return difference(now, self.start[1:]).ravel()

    def prior(self, shared: Array) -> tuple[float, Array, Array]:
        """Nothing is known beforehand."""
        return 0.0, np.zeros(len(shared)), np.zeros((len(shared), len(shared)))


def calibrate_extrinsics(
    board: Board, cameras: Mapping[str, Camera], moments: Sequence[Mapping[str, Detection]]
) -> Extrinsics:
    """Places of all `cameras` relative to the first; `moments` hold what the cameras saw at the same time.

    Raises CalibrationError for fewer than two cameras, or a camera that shares too few moments with the others.
    """
    names = tuple(cameras)
    if len(names) < 2:
        raise CalibrationError(f"extrinsics need at least two cameras, found {len(names)}")
    useful = [moment for moment in moments if sum(name in moment for name in names) >= 2]
    if len(useful) < LEAST_SHARED:
        raise CalibrationError(
            f"at least {LEAST_SHARED} moments in which two cameras see the board are needed, found {len(useful)}: hold "
            "the board where both see it"
        )
    seen: list[dict[str, Array]] = [{} for _ in useful]
    noise: dict[str, float] = {}
    for name in names:
        index = [i for i, moment in enumerate(useful) if name in moment]
        if not index:
            raise CalibrationError(f"camera {name} shares no view of the board with another camera")
        views = views_of(board, [useful[i][name] for i in index])
        solution = fit_poses(cameras[name].lens, cameras[name].parameters, views)
        degrees = 2 * views.seen.sum() - 6 * len(index)
        noise[name] = float(max(np.sqrt(2 * solution.cost / max(degrees, 1.0)), 1e-3))
        for i, each in zip(index, solution.poses, strict=True):
            seen[i][name] = each
    start = _chain_start(names, seen)
    boards = np.array([inverse(start[names.index(name)]) @ found[name] for found in seen for name in list(found)[:1]])
    views_per_camera = [_padded(board, [moment.get(name) for moment in useful]) for name in names]
    problem = _RigProblem(
        [cameras[name] for name in names],
        views_per_camera,
        start,
        np.array([1 / noise[name] for name in names]),
    )
    solution = solve(problem, np.zeros(6 * len(names) - 6), boards)
    covariance = np.zeros((len(names), 6, 6))
    full = inverse_information(solution.shared_information)
    lenses = _from_lenses(problem, solution)
    for place in range(1, len(names)):
        covariance[place] = full[6 * place - 6 : 6 * place, 6 * place - 6 : 6 * place]
    # residuals of the joint fit above the cameras' own noise mean that the rig moved or the clocks differ
    degrees = 2 * sum(v.seen.sum() for v in views_per_camera) - 6 * len(useful) - 6 * (len(names) - 1)
    excess = 2 * solution.cost / max(degrees, 1.0)
    if excess > 25.0:
        raise CalibrationError(
            f"the cameras' views of the board disagree ({np.sqrt(excess):.0f} times the corner noise): check that the "
            "pictures of one moment belong together and that board and cameras stood still"
        )
    covariance *= max(excess, 1.0)
    for place in range(1, len(names)):
        covariance[place] += lenses[6 * place - 6 : 6 * place, 6 * place - 6 : 6 * place]
    return Extrinsics(names, problem.places(solution.shared), covariance, noise, len(useful))


def _from_lenses(problem: _RigProblem, solution: Solution) -> Array:
    """Covariance of the places [6 (cameras - 1)] squared that the lenses' own uncertainties bring.

    Each lens is moved by one standard deviation along each direction of its covariance, and the rig solved again: the
    views of one rig share the lens's error, so no number of views averages it out.
    """
    places = problem.places(solution.shared)
    total = np.zeros((len(solution.shared), len(solution.shared)))
    for index, camera in enumerate(problem.cameras):
        values, vectors = np.linalg.eigh(camera.covariance)
        for value, direction in zip(values, vectors.T, strict=True):
            if value <= 0.0:
                continue
            cameras = list(problem.cameras)
            cameras[index] = replace(camera, parameters=camera.parameters + np.sqrt(value) * direction)
            other = replace(problem, cameras=cameras)
            moved_rig = solve(other, solution.shared, solution.poses, max_iterations=4, tolerance=1e-6, damping=1e-9)
            change = difference(other.places(moved_rig.shared)[1:], places[1:]).ravel()
            total += np.outer(change, change)
    return total


def _chain_start(names: tuple[str, ...], seen: Sequence[Mapping[str, Array]]) -> Array:
    """camera_from_reference by averaging over shared moments, each camera from one that is already placed."""
    placed: dict[str, Array] = {names[0]: np.eye(4)}
    while len(placed) < len(names):
        best: tuple[int, str, Array] | None = None
        for name in names:
            if name in placed:
                continue
            candidates = [
                found[name] @ inverse(found[other]) @ placed[other]
                for found in seen
                for other in placed
                if name in found and other in found
            ]
            if len(candidates) >= LEAST_SHARED and (best is None or len(candidates) > best[0]):
                stacked = np.array(candidates)
                rotation = nearest_rotation(stacked[:, :3, :3].mean(axis=0))
                best = len(candidates), name, pose(rotation, np.median(stacked[:, :3, 3], axis=0))
        if best is None:
            open_names = ", ".join(name for name in names if name not in placed)
            raise CalibrationError(
                f"camera {open_names} shares fewer than {LEAST_SHARED} moments with the other cameras: hold the board "
                "where both see it"
            )
        placed[best[1]] = best[2]
    return np.array([placed[name] for name in names])


def _padded(board: Board, detections: Sequence[Detection | None]) -> Views:
    """Views with empty ones where a camera did not see the board."""
    nothing = Detection("nothing", (1, 1), np.zeros(0, dtype=np.int64), np.zeros((0, 2)), 0.0)
    return views_of(board, [each if each is not None else nothing for each in detections])
