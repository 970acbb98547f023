"""Closed-form hand-eye solvers, the field's classics, as starting points and for comparison.

All take carrier poses G_i and board poses C_i (camera_from_board), both [views, 4, 4], and find X (hand_from_camera)
and
Z (reference_from_board) with G_i X C_i = Z. For a camera on the gripper G_i is base_from_gripper; for a fixed camera
that watches a board on the gripper, G_i is gripper_from_base and X becomes base_from_camera.

OpenCV has the same seven (`calibrateHandEye`, `calibrateRobotWorldHandEye`); its version 5.0 for Python leaves them
out,
so they are written here from the papers: Tsai and Lenz 1989, Park and Martin 1994, Horaud and Dornaika 1995, Daniilidis
1999, Andreff, Horaud and Espiau 1999; Li, Wang and Wu 2010, Shah 2013.
"""

from collections.abc import Callable

import numpy as np

from .geometry import Array, cross_matrix, inverse, nearest_rotation, pose, quaternion_from_rotation
from .geometry import vector_from_rotation as rotation_vector


def motions(carrier: Array, board: Array) -> tuple[Array, Array]:
    """All pairs of views as motions A_k, B_k [pairs, 4, 4] with A X = X B; pairs that hardly turn are left out."""
    first, second = np.triu_indices(len(carrier), 1)
    a = inverse(carrier[second]) @ carrier[first]
    b = board[second] @ inverse(board[first])
    turned = np.linalg.norm(rotation_vector(a[:, :3, :3]), axis=1) > 0.03
    return (a[turned], b[turned]) if turned.sum() >= 3 else (a, b)


def _translation(a: Array, b: Array, rotation: Array) -> Array:
    """t of X from (R_A - I) t = R_X t_B - t_A over all motions."""
    left = (a[:, :3, :3] - np.eye(3)).reshape(-1, 3)
    right = (b[:, :3, 3] @ rotation.T - a[:, :3, 3]).ravel()
    return np.asarray(np.linalg.lstsq(left, right, rcond=None)[0])


def tsai(carrier: Array, board: Array) -> Array:
    """R. Tsai and R. Lenz (1989): axes as 2 sin(angle / 2), linear in a modified Rodrigues vector."""
    a, b = motions(carrier, board)
    axis_a, axis_b = (
        2 * quaternion_from_rotation(a[:, :3, :3])[:, 1:],
        2 * quaternion_from_rotation(b[:, :3, :3])[:, 1:],
    )
    left = cross_matrix(axis_a + axis_b).reshape(-1, 3)
    modified = np.linalg.lstsq(left, (axis_b - axis_a).ravel(), rcond=None)[0]
    p = 2 * modified / np.sqrt(1 + modified @ modified)
    rotation = (1 - p @ p / 2) * np.eye(3) + 0.5 * (np.outer(p, p) + np.sqrt(4 - p @ p) * cross_matrix(p))
    return pose(rotation, _translation(a, b, rotation))


def park(carrier: Array, board: Array) -> Array:
    """F. Park and B. Martin (1994): rotation vectors matched in the least-squares sense."""
    a, b = motions(carrier, board)
    rotation = nearest_rotation(rotation_vector(a[:, :3, :3]).T @ rotation_vector(b[:, :3, :3]))
    return pose(rotation, _translation(a, b, rotation))


def horaud(carrier: Array, board: Array) -> Array:
    """R. Horaud and F. Dornaika (1995): the quaternion that best turns unit axes of B into those of A."""
    a, b = motions(carrier, board)
    axes = [rotation_vector(each[:, :3, :3]) for each in (a, b)]
    axis_a, axis_b = (each / np.maximum(np.linalg.norm(each, axis=1, keepdims=True), 1e-12) for each in axes)
    rows = np.zeros((len(a), 4, 4))
    rows[:, 0, 1:] = -(axis_a - axis_b)
    rows[:, 1:, 0] = axis_a - axis_b
    rows[:, 1:, 1:] = cross_matrix(axis_a + axis_b)
    quaternion = np.linalg.eigh(np.einsum("kij,kil->jl", rows, rows))[1][:, 0]
    rotation = _rotation(quaternion)
    return pose(rotation, _translation(a, b, rotation))


def andreff(carrier: Array, board: Array) -> Array:
    """N. Andreff, R. Horaud and B. Espiau (1999): rotation and translation together, linear in the matrix entries."""
    a, b = motions(carrier, board)
    eye, count = np.eye(3), len(a)
    left, right = np.zeros((count, 12, 12)), np.zeros((count, 12))
    left[:, :9, :9] = _kronecker(a[:, :3, :3], eye) - _kronecker(eye, np.swapaxes(b[:, :3, :3], 1, 2))
    left[:, 9:, :9] = _kronecker(eye, b[:, None, :3, 3])
    left[:, 9:, 9:] = eye - a[:, :3, :3]
    right[:, 9:] = a[:, :3, 3]
    found = np.linalg.lstsq(left.reshape(-1, 12), right.ravel(), rcond=None)[0]
    rotation = nearest_rotation(np.asarray(found[:9], dtype=np.float64).reshape(3, 3))
    return pose(rotation, _translation(a, b, rotation))


def daniilidis(carrier: Array, board: Array) -> Array:
    """K. Daniilidis (1999): screws as dual quaternions, rotation and translation in one singular value problem."""
    a, b = motions(carrier, board)
    real_a, dual_a = _dual_quaternion(a)
    real_b, dual_b = _dual_quaternion(b)
    rows = np.zeros((len(a), 6, 8))
    rows[:, :3, 0] = rows[:, 3:, 4] = real_a[:, 1:] - real_b[:, 1:]
    rows[:, :3, 1:4] = rows[:, 3:, 5:] = cross_matrix(real_a[:, 1:] + real_b[:, 1:])
    rows[:, 3:, 0] = dual_a[:, 1:] - dual_b[:, 1:]
    rows[:, 3:, 1:4] = cross_matrix(dual_a[:, 1:] + dual_b[:, 1:])
    vectors = np.linalg.svd(rows.reshape(-1, 8))[2]
    u1, v1, u2, v2 = vectors[6, :4], vectors[6, 4:], vectors[7, :4], vectors[7, 4:]
    quadratic = np.array([u1 @ v1, u1 @ v2 + u2 @ v1, u2 @ v2])
    ratios = np.roots(quadratic).real if abs(quadratic[0]) > 1e-15 else np.array([0.0])
    sizes = [s * s * (u1 @ u1) + 2 * s * (u1 @ u2) + u2 @ u2 for s in ratios]
    best = int(np.argmax(sizes))
    second = 1 / np.sqrt(sizes[best])
    first = ratios[best] * second
    real, dual = first * u1 + second * u2, first * v1 + second * v2
    conjugate = real * np.array([1.0, -1.0, -1.0, -1.0])
    return pose(_rotation(real), 2 * _product(dual, conjugate)[1:])


def shah(carrier: Array, board: Array) -> Array:
    """M. Shah (2013): G X = Z C^-1, both rotations from one singular value decomposition."""
    b = inverse(board)
    u, _, vt = np.linalg.svd(_kronecker(carrier[:, :3, :3], b[:, :3, :3]).sum(axis=0))
    x, z = vt[0].reshape(3, 3), u[:, 0].reshape(3, 3)
    sign = np.sign(np.linalg.det(x))
    x, z = nearest_rotation(sign * x), nearest_rotation(sign * z)
    return pose(x, _robot_world_translation(carrier, b, z))


def li(carrier: Array, board: Array) -> Array:
    """A. Li, L. Wang and D. Wu (2010): G X = Z C^-1, all 24 entries in one linear system."""
    b, eye, count = inverse(board), np.eye(3), len(carrier)
    left, right = np.zeros((count, 12, 24)), np.zeros((count, 12))
    left[:, :9, :9] = _kronecker(carrier[:, :3, :3], eye)
    left[:, :9, 9:18] = -_kronecker(eye, np.swapaxes(b[:, :3, :3], 1, 2))
    left[:, 9:, 9:18] = _kronecker(eye, b[:, None, :3, 3])
    left[:, 9:, 18:21] = -carrier[:, :3, :3]
    left[:, 9:, 21:] = eye
    right[:, 9:] = carrier[:, :3, 3]
    found = np.linalg.lstsq(left.reshape(-1, 24), right.ravel(), rcond=None)[0]
    x, z = (nearest_rotation(np.asarray(found[9 * i : 9 * i + 9], dtype=np.float64).reshape(3, 3)) for i in (0, 1))
    return pose(x, _robot_world_translation(carrier, b, z))


def _robot_world_translation(carrier: Array, b: Array, z: Array) -> Array:
    """t of X from R_G t_X + t_G = R_Z t_B + t_Z over all views."""
    left = np.concatenate([carrier[:, :3, :3], np.broadcast_to(-np.eye(3), (len(b), 3, 3))], axis=2)
    right = b[:, :3, 3] @ z.T - carrier[:, :3, 3]
    return np.asarray(np.linalg.lstsq(left.reshape(-1, 6), right.ravel(), rcond=None)[0][:3])


SOLVERS: dict[str, Callable[[Array, Array], Array]] = {
    "Tsai": tsai,
    "Park": park,
    "Horaud": horaud,
    "Andreff": andreff,
    "Daniilidis": daniilidis,
    "Shah": shah,
    "Li": li,
}
"""By the names OpenCV's constants carry."""


def _kronecker(left: Array, right: Array) -> Array:
    """Kronecker products, batched over leading axes."""
    product = np.einsum("...ij,...kl->...ikjl", left, right)
    rows, columns = left.shape[-2] * right.shape[-2], left.shape[-1] * right.shape[-1]
    return np.asarray(product.reshape(*product.shape[:-4], rows, columns))


def _rotation(quaternion: Array) -> Array:
    """A quaternion [4] of any length -> matrix."""
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    hat = cross_matrix(np.array([x, y, z]))
    return np.asarray(np.eye(3) + 2 * w * hat + 2 * hat @ hat)


def _product(first: Array, second: Array) -> Array:
    """Hamilton product of quaternions [..., 4]."""
    w1, v1, w2, v2 = first[..., :1], first[..., 1:], second[..., :1], second[..., 1:]
    real = w1 * w2 - np.sum(v1 * v2, axis=-1, keepdims=True)
    return np.concatenate([real, w1 * v2 + w2 * v1 + np.cross(v1, v2)], axis=-1)


def _dual_quaternion(poses: Array) -> tuple[Array, Array]:
    real = quaternion_from_rotation(poses[:, :3, :3])
    shift = np.concatenate([np.zeros((len(poses), 1)), poses[:, :3, 3]], axis=1)
    return real, 0.5 * _product(shift, real)
