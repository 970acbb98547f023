"""Levenberg-Marquardt for problems with a few shared unknowns and one pose per view.

Calibration problems look alike: shared unknowns (lens, hand-eye, other cameras, the board's warp) touch every residual,
a view's pose touches only its own. Eliminating the poses (Schur complement) makes a step cost a small dense solve, and
leaves exactly the information matrix of the shared unknowns, from which their covariance follows.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from .geometry import Array, moved


@dataclass(frozen=True)
class Linearisation:
    """Residuals and derivatives at one place, already divided by their standard deviations and weighted."""

    residuals: Array
    """[views, residuals]"""
    by_shared: Array
    """[views, residuals, shared]"""
    by_pose: Array
    """[views, residuals, 6], for a change in the convention of `geometry.moved`"""
    cost: float
    """What is minimised; half the sum of squares unless the problem is robust."""


class Problem(Protocol):
    """What the solver needs to know."""

    def linearise(self, shared: Array, poses: Array) -> Linearisation:
        """Residuals at `shared` [shared] and `poses` [views, 4, 4]."""

    def move_shared(self, shared: Array, change: Array) -> Array:
        """Apply a small change [shared unknowns] to the shared unknowns."""

    def prior(self, shared: Array) -> tuple[float, Array, Array]:
        """Cost, its gradient [n] and information [n, n] of what is known beforehand; zeros for nothing."""


@dataclass(frozen=True)
class Solution:
    """Where the solver stopped."""

    shared: Array
    poses: Array
    cost: float
    converged: bool
    shared_information: Array
    """[n, n]: inverse covariance of the shared unknowns with the poses estimated along, for unit residual variance."""
    pose_covariance: Array
    """[views, 6, 6], with the shared unknowns estimated along, for unit residual variance."""


def solve(
    problem: Problem,
    shared: Array,
    poses: Array,
    max_iterations: int = 60,
    tolerance: float = 1e-10,
    damping: float = 1e-3,
) -> Solution:
    """Minimise from `shared` and `poses`; never raises for a hard problem, `converged` says how it ended.

    `damping` is where the trust region starts: small from a good start, where directions differ much in their weight.
    """
    converged = False
    here = problem.linearise(shared, poses)
    cost = here.cost + problem.prior(shared)[0]
    for _ in range(max_iterations):
        blocks = _blocks(problem, shared, here)
        improved = False
        for _ in range(10):
            step = _step(blocks, damping)
            if step is None:
                damping *= 10
                continue
            new_shared = problem.move_shared(shared, step[0])
            new_poses = moved(poses, step[1])
            there = problem.linearise(new_shared, new_poses)
            new_cost = there.cost + problem.prior(new_shared)[0]
            if np.isfinite(new_cost) and new_cost <= cost:
                improved = True
                break
            damping *= 10
        if not improved:
            converged = True  # no descent even with tiny steps: a minimum to rounding
            break
        gain = cost - new_cost
        shared, poses, here, cost = new_shared, new_poses, there, new_cost
        damping = max(damping / 10, 1e-12)
        if gain <= tolerance * (cost + tolerance):
            converged = True
            break
    information, pose_covariance = _covariances(_blocks(problem, shared, here))
    return Solution(shared, poses, cost, converged, information, pose_covariance)


_Blocks = tuple[Array, Array, Array, Array, Array]


def _blocks(problem: Problem, shared: Array, here: Linearisation) -> _Blocks:
    """Normal equations: shared-shared, shared-pose, pose-pose, and the two gradients."""
    a = np.einsum("vri,vrj->ij", here.by_shared, here.by_shared, optimize=True)
    b = np.swapaxes(here.by_shared, 1, 2) @ here.by_pose
    c = np.swapaxes(here.by_pose, 1, 2) @ here.by_pose
    shared_gradient = np.einsum("vri,vr->i", here.by_shared, here.residuals)
    pose_gradient = np.einsum("vri,vr->vi", here.by_pose, here.residuals)
    _, prior_gradient, prior_information = problem.prior(shared)
    return a + prior_information, b, c, shared_gradient + prior_gradient, pose_gradient


def _step(blocks: _Blocks, damping: float) -> tuple[Array, Array] | None:
    a, b, c, shared_gradient, pose_gradient = blocks
    c = c + damping * np.einsum("vii->vi", c)[..., None] * np.eye(6) + 1e-12 * np.eye(6)
    try:
        solved = np.linalg.solve(c, np.concatenate([np.swapaxes(b, 1, 2), pose_gradient[..., None]], axis=2))
        change = np.zeros(len(shared_gradient))
        if len(change):
            a = a + damping * np.diag(np.diag(a))
            reduced = a - np.einsum("vip,vpj->ij", b, solved[..., :-1])
            gradient = shared_gradient - np.einsum("vip,vp->i", b, solved[..., -1])
            scale = 1.0 / np.sqrt(np.maximum(np.diag(reduced), 1e-300))
            change = -scale * np.linalg.solve(reduced * np.outer(scale, scale), scale * gradient)
        pose_change = -solved[..., -1] - solved[..., :-1] @ change
    except np.linalg.LinAlgError:
        return None
    if not (np.all(np.isfinite(change)) and np.all(np.isfinite(pose_change))):
        return None
    return change, pose_change


def _covariances(blocks: _Blocks) -> tuple[Array, Array]:
    a, b, c, _, _ = blocks
    c_inverse = np.linalg.pinv(c, hermitian=True)
    gain = b @ c_inverse
    information = a - np.einsum("vip,vjp->ij", gain, b)
    information = (information + information.T) / 2
    shared_covariance = inverse_information(information)
    return information, c_inverse + np.swapaxes(gain, 1, 2) @ shared_covariance @ gain


def inverse_information(information: Array) -> Array:
    """The covariance of an information matrix, scaled first so that pixels and k6 can stand side by side."""
    if len(information) == 0:
        return information
    scale = 1.0 / np.sqrt(np.maximum(np.diag(information), 1e-30))
    normalised = information * np.outer(scale, scale)
    return np.asarray(np.linalg.pinv(normalised, rcond=1e-13, hermitian=True) * np.outer(scale, scale))
