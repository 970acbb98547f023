"""Hand-eye: where the camera sits on the gripper, or beside the robot, from views of a board and robot poses.

All closed forms give starting points; then one fit over all corners of all views, in which everything that is not exact
is unknown with its own weight: the camera's and the board's place, the robot's true pose in every view (near the one it
reports), and the lens (near its calibration, by its covariance). How exact robot and corners are is estimated along.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .board_fit import Views, fit_poses, views_of
from .boards import Board
from .detection import Detection
from .errors import CalibrationError
from .geometry import Array, cross_matrix, difference, inverse, moved, pose, rotation_from_vector
from .hand_eye_solvers import SOLVERS
from .least_squares import Linearisation, Solution, inverse_information, solve
from .robot_motion import Motion, require_enough
from .uncertainty import Camera

SCALE_TOLERANCE = 0.005
"""The robot may find the board this much larger or smaller than stated before the board's size is called wrong."""


@dataclass(frozen=True)
class HandEye:
    """The result; `hand` is the gripper for a camera on it, the base for a fixed camera."""

    on_gripper: bool
    hand_from_camera: Array
    covariance: Array
    """Of hand_from_camera's small change (rotation rad, translation m; from the left, see geometry), [6, 6]."""
    reference_from_board: Array
    """base_from_board for a camera on the gripper, gripper_from_board for a fixed one."""
    robot_sigma_rad: float
    """How far the robot's reported orientation is off, per axis, as estimated."""
    robot_sigma_m: float
    """How far its reported position is off, per axis, as estimated."""
    noise_px: float
    view_errors: Array
    """base_from_gripper that the views ask for, minus the reported one, [views, 6] (rad, m)."""
    closed_forms: dict[str, Array]
    """hand_from_camera by every closed form, before refinement."""
    leave_one_out: Array
    """Change of hand_from_camera when one view is left out, [views, 6] (rad, m)."""
    board_scale: float
    """Size of the board by the robot's measure, as a part of the stated size; 1 unless estimated."""
    board_scale_sigma: float
    motion: Motion

    @property
    def sigma_deg(self) -> float:
        """Standard deviation of the orientation: root of the summed variances."""
        return float(np.degrees(np.sqrt(np.trace(self.covariance[:3, :3]))))

    @property
    def sigma_mm(self) -> float:
        """Standard deviation of the position: root of the summed variances."""
        return float(1e3 * np.sqrt(np.trace(self.covariance[3:, 3:])))


@dataclass(frozen=True)
class _JointProblem:
    """Shared: hand_from_camera (6), reference_from_board (6), board scale (1), lens. Per view: the robot's true pose.

    Rigid poses do not fit in a vector of shared unknowns, so the vector holds changes from `hand` and `reference`.
    """

    views: Views
    camera: Camera
    base_from_gripper: Array
    """As the robot reports it, [views, 4, 4]."""
    on_gripper: bool
    hand: Array
    reference: Array
    noise_px: float
    robot_sigma_rad: float
    robot_sigma_m: float
    scale_information: float
    lens_information: Array

    @property
    def _pull(self) -> Array:
        return np.repeat([1 / self.robot_sigma_rad, 1 / self.robot_sigma_m], 3)

    def robot_errors(self, poses: Array) -> tuple[Array, Array]:
        """True minus reported base_from_gripper [views, 6], and its derivative by the views' poses [views, 6, 6].

        The robot errs in base_from_gripper; for a fixed camera the views' poses are the inverse of that.
        """
        if self.on_gripper:
            return difference(poses, self.base_from_gripper), np.broadcast_to(np.eye(6), (len(poses), 6, 6))
        back = np.swapaxes(poses[:, :3, :3], 1, 2)
        by_pose = np.zeros((len(poses), 6, 6))
        by_pose[:, :3, :3] = by_pose[:, 3:, 3:] = -back
        by_pose[:, 3:, :3] = -back @ cross_matrix(poses[:, :3, 3])
        return difference(inverse(poses), self.base_from_gripper), by_pose

    def places(self, shared: Array) -> tuple[Array, Array]:
        """hand_from_camera and reference_from_board."""
        return moved(self.hand, shared[:6]), moved(self.reference, shared[6:12])

    def linearise(self, shared: Array, poses: Array) -> Linearisation:
        """See least_squares.Problem."""
        hand, reference = self.places(shared)
        scale, lens = 1.0 + shared[12], self.camera.parameters + shared[13:]
        turned = self.views.corners_m @ reference[:3, :3].T
        at_reference = scale * turned + reference[:3, 3]
        arm = at_reference[None] - poses[:, None, :3, 3]
        at_hand = arm @ poses[:, :3, :3]
        offset = at_hand - hand[:3, 3]
        points = offset @ hand[:3, :3]
        seen = self.views.seen[..., None]
        points = np.where(seen > 0, points, np.array([0.0, 0.0, 1.0]))
        pixels, by_point, by_lens = self.camera.lens.project_with_derivatives(lens, points)
        weight = seen / self.noise_px
        error = (pixels - self.views.pixels) * weight
        count, size = len(poses), error.shape[1] * 2
        by_hand_point = by_point @ hand[:3, :3].T
        by_reference_point = by_hand_point @ np.swapaxes(poses[:, :3, :3], 1, 2)[:, None]
        by_hand = np.concatenate([by_hand_point @ cross_matrix(offset), -by_hand_point], axis=-1)
        by_reference = np.concatenate([-by_reference_point @ cross_matrix(scale * turned), by_reference_point], axis=-1)
        by_scale = by_reference_point @ turned[None, :, :, None]
        by_pose = np.concatenate([by_reference_point @ cross_matrix(arm), -by_reference_point], axis=-1)
        by_shared = np.concatenate([by_hand, by_reference, by_scale, by_lens], axis=-1) * weight[..., None]
        off, off_by_pose = self.robot_errors(poses)
        residuals = np.concatenate([error.reshape(count, size), off * self._pull], axis=1)
        no_pull = np.zeros((count, 6, by_shared.shape[-1]))
        cost = float(0.5 * np.sum(residuals**2))
        return Linearisation(
            residuals,
            np.concatenate([by_shared.reshape(count, size, -1), no_pull], axis=1),
            np.concatenate(
                [
                    (by_pose * weight[..., None]).reshape(count, size, 6),
                    off_by_pose * self._pull[:, None],
                ],
                axis=1,
            ),
            cost if np.isfinite(cost) else np.inf,
        )

    def move_shared(self, shared: Array, change: Array) -> Array:
        """See least_squares.Problem; rotations compose, everything else adds."""
        result = shared + change
        for start, place in ((0, self.hand), (6, self.reference)):
            now = moved(moved(place, shared[start : start + 6]), change[start : start + 6])
            result[start : start + 6] = difference(now, place)
        return result

    def prior(self, shared: Array) -> tuple[float, Array, Array]:
        """See least_squares.Problem."""
        information = np.zeros((len(shared), len(shared)))
        information[12, 12] = self.scale_information
        information[13:, 13:] = self.lens_information
        gradient = information @ shared
        return float(0.5 * gradient @ shared), gradient, information


def calibrate_hand_eye(
    board: Board,
    detections: Sequence[Detection],
    base_from_gripper: Array,
    camera: Camera,
    on_gripper: bool = True,
    warp_m: Array | None = None,
    check_scale: bool = True,
    leave_one_out: bool = True,
) -> HandEye:
    """Hand-eye from detections and the robot poses [views, 4, 4] of the same moments.

    `warp_m` is the board's two sags where the intrinsics found the same board bent.

    Raises CalibrationError for too few or degenerate motions, poses that do not belong to the pictures, or a board
    whose
    size the robot contradicts.
    """
    if len(detections) != len(base_from_gripper):
        raise CalibrationError(
            f"every view needs its robot pose: found {len(detections)} views and {len(base_from_gripper)} poses"
        )
    motion = require_enough(base_from_gripper)
    for detection in detections:
        if detection.size_px != camera.size_px:
            raise CalibrationError(
                f"{detection.name} has {detection.size_px[0]}x{detection.size_px[1]} pixels, the camera was calibrated "
                f"with {camera.size_px[0]}x{camera.size_px[1]}: use the same resolution"
            )
    views = views_of(board, detections, warp_m)
    carrier = base_from_gripper if on_gripper else inverse(base_from_gripper)
    seen = fit_poses(camera.lens, camera.parameters, views)
    noise_px = _pixel_noise(camera, views, seen)
    closed_forms = {name: solver(carrier, seen.poses) for name, solver in SOLVERS.items()}
    start = _best_start(closed_forms, carrier, seen.poses)
    problem, solution = _estimate(views, camera, base_from_gripper, on_gripper, noise_px, start, free_scale=False)
    board_scale, scale_sigma = 1.0, 0.0
    if check_scale:
        places = problem.places(solution.shared)
        _, scaled = _estimate(views, camera, base_from_gripper, on_gripper, noise_px, places, free_scale=True)
        board_scale = 1.0 + float(scaled.shared[12])
        scale_sigma = float(np.sqrt(inverse_information(scaled.shared_information)[12, 12]))
        _require_scale(board, board_scale, scale_sigma)
    hand, reference = problem.places(solution.shared)
    errors = problem.robot_errors(solution.poses)[0]
    _require_plausible(problem, errors)
    return HandEye(
        on_gripper=on_gripper,
        hand_from_camera=hand,
        covariance=inverse_information(solution.shared_information)[:6, :6],
        reference_from_board=reference,
        robot_sigma_rad=problem.robot_sigma_rad,
        robot_sigma_m=problem.robot_sigma_m,
        noise_px=noise_px,
        view_errors=errors,
        closed_forms=closed_forms,
        leave_one_out=_leave_one_out(problem, solution) if leave_one_out else np.zeros((0, 6)),
        board_scale=board_scale,
        board_scale_sigma=scale_sigma,
        motion=motion,
    )


def _pixel_noise(camera: Camera, views: Views, seen: Solution) -> float:
    degrees = 2 * views.seen.sum() - 6 * len(seen.poses)
    return float(max(np.sqrt(2 * seen.cost / max(degrees, 1.0)), 1e-3))


def _reference(hand: Array, carrier: Array, board: Array) -> Array:
    """The mean of G X C over views: rotations by projection, positions by median."""
    each = carrier @ hand @ board
    u, _, vt = np.linalg.svd(each[:, :3, :3].mean(axis=0))
    rotation = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
    return pose(rotation, np.median(each[:, :3, 3], axis=0))


def _best_start(closed_forms: dict[str, Array], carrier: Array, board: Array) -> tuple[Array, Array]:
    """The closed form whose views agree best on where the board is."""
    candidates = []
    for hand in closed_forms.values():
        if not np.all(np.isfinite(hand)):
            continue
        reference = _reference(hand, carrier, board)
        spread = difference(carrier @ hand @ board, reference)
        candidates.append(
            (float(np.median(np.linalg.norm(spread * [0.3, 0.3, 0.3, 1, 1, 1], axis=1))), hand, reference)
        )
    if not candidates:
        raise CalibrationError("no hand-eye solver finds an answer: check that the robot poses belong to the pictures")
    _, hand, reference = min(candidates, key=lambda candidate: candidate[0])
    return hand, reference


def _estimate(
    views: Views,
    camera: Camera,
    base_from_gripper: Array,
    on_gripper: bool,
    noise_px: float,
    start: tuple[Array, Array],
    free_scale: bool,
) -> tuple[_JointProblem, Solution]:
    """Solve, estimate how exact the robot is, solve again: D. MacKay's evidence updates, to a fixed point."""
    size = camera.lens.size
    known = bool(np.all(np.diag(camera.covariance) > 0))
    # a camera without stated errors, as factories give theirs, counts as exact
    information = inverse_information(camera.covariance) if known else np.diag(np.full(size, 1e12))
    problem = _JointProblem(
        views=views,
        camera=camera,
        base_from_gripper=base_from_gripper,
        on_gripper=on_gripper,
        hand=start[0],
        reference=start[1],
        noise_px=noise_px,
        robot_sigma_rad=2e-3,
        robot_sigma_m=1e-3,
        scale_information=1e-4 if free_scale else 1e14,
        lens_information=(information + information.T) / 2,
    )
    shared = np.zeros(13 + size)
    poses = base_from_gripper if on_gripper else inverse(base_from_gripper)
    solution = solve(problem, shared, poses, max_iterations=30, tolerance=1e-7, damping=1e-6)
    informed = np.zeros(2)
    for _ in range(15):
        off, by_pose = problem.robot_errors(solution.poses)
        variances = np.einsum("vii->vi", by_pose @ solution.pose_covariance @ np.swapaxes(by_pose, 1, 2))
        sigmas = []
        for index, sigma in enumerate((problem.robot_sigma_rad, problem.robot_sigma_m)):
            part = slice(3 * index, 3 * index + 3)
            informed[index] = max(float(np.sum(1.0 - variances[:, part] / sigma**2)), 1e-3)
            sigmas.append(float(np.sqrt(np.sum(off[:, part] ** 2) / informed[index])))
        new_rad, new_m = max(sigmas[0], 1e-6), max(sigmas[1], 1e-6)
        change = max(abs(np.log(new_rad / problem.robot_sigma_rad)), abs(np.log(new_m / problem.robot_sigma_m)))
        problem = replace(problem, robot_sigma_rad=min(new_rad, 0.3), robot_sigma_m=min(new_m, 0.3))
        solution = solve(problem, solution.shared, solution.poses, max_iterations=3, tolerance=1e-6, damping=1e-9)
        if change < 0.02:
            break
    return problem, replace(solution, shared_information=_stated_information(problem, solution, informed))


def _stated_information(problem: _JointProblem, solution: Solution, informed: Array) -> Array:
    """The shared unknowns' information, the robot's exactness taken as known no better than it is.

    Its two variances come from `informed` numbers each, so what is divided by them follows Student's distribution,
    whose variance is larger than the normal one by n / (n - 2). Left out, the stated sigma is a tenth too small.
    """
    wider = np.sqrt(np.maximum(informed, 4.0) / (np.maximum(informed, 4.0) - 2.0))
    wide = replace(
        problem,
        robot_sigma_rad=problem.robot_sigma_rad * float(wider[0]),
        robot_sigma_m=problem.robot_sigma_m * float(wider[1]),
    )
    return solve(wide, solution.shared, solution.poses, max_iterations=0).shared_information


def _require_scale(board: Board, scale: float, sigma: float) -> None:
    if abs(scale - 1.0) > max(SCALE_TOLERANCE, 4 * sigma):
        measured_mm, stated_mm = 1e3 * board.square_m * scale, 1e3 * board.square_m
        raise CalibrationError(
            f"by the robot's motion the board's squares measure {measured_mm:.2f} mm, but {stated_mm:.2f} mm is "
            f"stated: "
            "measure the print with a ruler and give its true size (or check the units of the robot's poses)"
        )


def _require_plausible(problem: _JointProblem, errors: Array) -> None:
    if problem.robot_sigma_rad > np.radians(3.0) or problem.robot_sigma_m > 0.02:
        raise CalibrationError(
            f"robot poses and pictures disagree by {np.degrees(problem.robot_sigma_rad):.1f} degrees and "
            f"{1e3 * problem.robot_sigma_m:.0f} mm per view: check that each pose belongs to its picture, that the "
            f"board "
            "did not move, and that camera on gripper or fixed camera is chosen rightly"
        )


def _leave_one_out(problem: _JointProblem, whole: Solution) -> Array:
    """Changes of hand_from_camera, the robot's exactness kept."""
    count = len(whole.poses)
    changes = np.zeros((count, 6))
    best, _ = problem.places(whole.shared)
    for index in range(count):
        keep = np.delete(np.arange(count), index)
        part = replace(problem, views=problem.views.some(keep), base_from_gripper=problem.base_from_gripper[keep])
        solution = solve(part, whole.shared, whole.poses[keep], max_iterations=3, tolerance=1e-4, damping=1e-9)
        changes[index] = difference(part.places(solution.shared)[0], best)
    return changes


def simulated_robot_noise(poses: Array, sigma_rad: float, sigma_m: float, rng: np.random.Generator) -> Array:
    """Poses as a robot reports them that is off by Gaussian errors of these sizes per axis."""
    noisy = poses.copy()
    noisy[:, :3, :3] = rotation_from_vector(rng.normal(size=(len(poses), 3)) * sigma_rad) @ poses[:, :3, :3]
    noisy[:, :3, 3] += rng.normal(size=(len(poses), 3)) * sigma_m
    return np.asarray(noisy)
