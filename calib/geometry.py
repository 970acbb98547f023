"""Rotations and rigid poses, batched.

A pose `a_from_b` is a matrix of shape [..., 4, 4] that takes coordinates in frame b to coordinates in frame a. Small
changes are six numbers `(rotation_rad[3], translation_m[3])`, the rotation applied from the left and the translation
added: `R <- exp(rotation) R`, `t <- t + translation`. Keeping the two apart keeps every derivative short.
"""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def cross_matrix(vectors: Array) -> Array:
    """[..., 3] -> [..., 3, 3] with `cross_matrix(a) @ b == cross(a, b)`."""
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*vectors.shape[:-1], 3, 3)


def rotation_from_vector(vectors: Array) -> Array:
    """Rodrigues' formula: rotation vectors [..., 3] in rad -> matrices [..., 3, 3]."""
    vectors = np.asarray(vectors, dtype=np.float64)
    angle = np.linalg.norm(vectors, axis=-1)[..., None, None]
    hat = cross_matrix(vectors)
    small = angle < 1e-6
    safe = np.where(small, 1.0, angle)
    first = np.where(small, 1.0 - angle**2 / 6.0, np.sin(safe) / safe)
    second = np.where(small, 0.5 - angle**2 / 24.0, (1.0 - np.cos(safe)) / safe**2)
    return np.asarray(np.eye(3) + first * hat + second * (hat @ hat))


def vector_from_rotation(rotations: Array) -> Array:
    """Matrices [..., 3, 3] -> rotation vectors [..., 3] in rad, angle in [0, pi]; through quaternions, safe at pi."""
    r = np.asarray(rotations, dtype=np.float64)
    quaternions = quaternion_from_rotation(r)
    imaginary = quaternions[..., 1:]
    sine = np.linalg.norm(imaginary, axis=-1)
    angle = 2.0 * np.arctan2(sine, quaternions[..., 0])
    factor = np.where(sine > 1e-9, angle / np.where(sine > 1e-9, sine, 1.0), 2.0)
    return np.asarray(imaginary * factor[..., None])


def quaternion_from_rotation(rotations: Array) -> Array:
    """Matrices [..., 3, 3] -> unit quaternions [..., 4], real part first and not negative (Bar-Itzhack's
    eigenvector).
    """
    r = np.asarray(rotations, dtype=np.float64)
    k = np.empty((*r.shape[:-2], 4, 4))
    k[..., 0, 0] = r[..., 0, 0] + r[..., 1, 1] + r[..., 2, 2]
    k[..., 0, 1] = k[..., 1, 0] = r[..., 2, 1] - r[..., 1, 2]
    k[..., 0, 2] = k[..., 2, 0] = r[..., 0, 2] - r[..., 2, 0]
    k[..., 0, 3] = k[..., 3, 0] = r[..., 1, 0] - r[..., 0, 1]
    k[..., 1, 1] = r[..., 0, 0] - r[..., 1, 1] - r[..., 2, 2]
    k[..., 2, 2] = r[..., 1, 1] - r[..., 0, 0] - r[..., 2, 2]
    k[..., 3, 3] = r[..., 2, 2] - r[..., 0, 0] - r[..., 1, 1]
    k[..., 1, 2] = k[..., 2, 1] = r[..., 0, 1] + r[..., 1, 0]
    k[..., 1, 3] = k[..., 3, 1] = r[..., 0, 2] + r[..., 2, 0]
    k[..., 2, 3] = k[..., 3, 2] = r[..., 1, 2] + r[..., 2, 1]
    quaternion = np.linalg.eigh(k)[1][..., -1]
    return np.asarray(np.where(quaternion[..., :1] < 0, -quaternion, quaternion))


def nearest_rotation(matrices: Array) -> Array:
    """The rotation closest to each matrix [..., 3, 3] in the Frobenius norm."""
    u, _, vt = np.linalg.svd(matrices)
    sign = np.linalg.det(u @ vt)
    u = u.copy()
    u[..., :, 2] *= sign[..., None]
    return np.asarray(u @ vt)


def pose(rotation: Array, translation_m: Array) -> Array:
    """[..., 3, 3] and [..., 3] -> [..., 4, 4]."""
    shape = np.broadcast_shapes(rotation.shape[:-2], translation_m.shape[:-1])
    result = np.zeros((*shape, 4, 4))
    result[..., :3, :3] = rotation
    result[..., :3, 3] = translation_m
    result[..., 3, 3] = 1.0
    return result


def pose_from_vectors(rotation_rad: Array, translation_m: Array) -> Array:
    """Rotation vectors and translations, both [..., 3] -> [..., 4, 4]."""
    return pose(rotation_from_vector(np.asarray(rotation_rad, float)), np.asarray(translation_m, float))


def inverse(poses: Array) -> Array:
    """`a_from_b` -> `b_from_a`, [..., 4, 4]."""
    rotation = np.swapaxes(poses[..., :3, :3], -1, -2)
    return pose(rotation, -np.einsum("...ij,...j->...i", rotation, poses[..., :3, 3]))


def moved(poses: Array, change: Array) -> Array:
    """Apply small changes [..., 6] to poses [..., 4, 4], in the module's convention."""
    rotation = rotation_from_vector(change[..., :3]) @ poses[..., :3, :3]
    return pose(rotation, poses[..., :3, 3] + change[..., 3:])


def difference(poses: Array, reference: Array) -> Array:
    """The change [..., 6] that takes `reference` to `poses`: the inverse of `moved`."""
    rotation = poses[..., :3, :3] @ np.swapaxes(reference[..., :3, :3], -1, -2)
    return np.concatenate([vector_from_rotation(rotation), poses[..., :3, 3] - reference[..., :3, 3]], axis=-1)


def transform(poses: Array, points: Array) -> Array:
    """Poses [..., 4, 4] on points [..., N, 3] -> [..., N, 3]."""
    return np.asarray(points @ np.swapaxes(poses[..., :3, :3], -1, -2) + poses[..., None, :3, 3])


def is_rigid(poses: Array, tolerance: float = 1e-4) -> bool:
    """Whether every matrix [..., 4, 4] is finite, with a proper rotation and a last row of 0 0 0 1."""
    if poses.shape[-2:] != (4, 4) or not np.all(np.isfinite(poses)):
        return False
    rotation = poses[..., :3, :3]
    orthogonal = np.abs(rotation @ np.swapaxes(rotation, -1, -2) - np.eye(3)).max(initial=0.0) < tolerance
    last = np.abs(poses[..., 3, :] - np.array([0.0, 0.0, 0.0, 1.0])).max(initial=0.0) < tolerance
    return bool(orthogonal and last and np.all(np.linalg.det(rotation) > 0))
