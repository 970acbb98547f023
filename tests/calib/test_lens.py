"""The lens models against OpenCV, against finite differences, and against their own inverses."""

import cv2
import numpy as np
import pytest

from calib.geometry import (
    difference,
    inverse,
    moved,
    nearest_rotation,
    pose_from_vectors,
    rotation_from_vector,
    vector_from_rotation,
)
from calib.lens import FISHEYE, LENS_MODELS, PINHOLE, RATIONAL, LensModel, lens_model

PARAMETERS = {
    "pinhole": np.array([600.0, 610, 320, 240, -0.25, 0.09, 0.001, -0.0005, -0.01]),
    "rational": np.array([600.0, 610, 320, 240, 0.3, 0.05, 0.001, -0.0005, 0.01, 0.6, 0.1, 0.02]),
    "fisheye": np.array([300.0, 302, 320, 240, 0.02, -0.01, 0.003, -0.0004]),
}


@pytest.fixture
def points() -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.concatenate([rng.uniform(-0.45, 0.45, (40, 2)), np.ones((40, 1))], axis=1) * rng.uniform(0.2, 2, (40, 1))


@pytest.mark.parametrize("model", LENS_MODELS, ids=lambda m: m.name)
def test_projection_is_opencvs(model: LensModel, points: np.ndarray) -> None:
    parameters = PARAMETERS[model.name]
    matrix = np.array([[parameters[0], 0, parameters[2]], [0, parameters[1], parameters[3]], [0, 0, 1]])
    project = cv2.fisheye.projectPoints if model is FISHEYE else cv2.projectPoints
    expected = project(points[:, None], np.zeros(3), np.zeros(3), matrix, parameters[4:])[0][:, 0]
    np.testing.assert_allclose(model.project(parameters, points), expected, atol=1e-9)


@pytest.mark.parametrize("model", LENS_MODELS, ids=lambda m: m.name)
def test_derivatives_are_those_of_finite_differences(model: LensModel, points: np.ndarray) -> None:
    parameters = PARAMETERS[model.name]
    _, by_point, by_parameters = model.project_with_derivatives(parameters, points)
    for axis in range(3):
        step = np.eye(3)[axis] * 1e-6
        slope = (model.project(parameters, points + step) - model.project(parameters, points - step)) / 2e-6
        np.testing.assert_allclose(by_point[..., axis], slope, rtol=1e-5, atol=1e-4)
    for index in range(model.size):
        step = np.eye(model.size)[index] * 1e-6
        slope = (model.project(parameters + step, points) - model.project(parameters - step, points)) / 2e-6
        np.testing.assert_allclose(by_parameters[..., index], slope, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("model", LENS_MODELS, ids=lambda m: m.name)
def test_unproject_inverts_project(model: LensModel, points: np.ndarray) -> None:
    parameters = PARAMETERS[model.name]
    rays = model.unproject(parameters, model.project(parameters, points))
    np.testing.assert_allclose(rays, points / np.linalg.norm(points, axis=1, keepdims=True), atol=1e-8)


def test_a_fisheye_sees_behind_itself() -> None:
    parameters = np.array([200.0, 200, 320, 240, 0, 0, 0, 0])
    behind = np.array([[np.sin(2.0), 0.0, np.cos(2.0)]])
    pixel = FISHEYE.project(parameters, behind)
    np.testing.assert_allclose(pixel, [[320 + 400.0, 240]])
    np.testing.assert_allclose(FISHEYE.unproject(parameters, pixel), behind, atol=1e-9)


def test_a_pixel_that_no_direction_reaches_is_nan() -> None:
    strong = np.array([600.0, 600, 320, 240, -0.5, 0, 0, 0, 0])
    assert np.isnan(PINHOLE.unproject(strong, np.array([[320.0 + 600, 240]]))).all()


def test_names() -> None:
    assert lens_model("plumb_bob") is PINHOLE
    assert lens_model("rational") is RATIONAL
    with pytest.raises(ValueError, match="only pinhole, rational, fisheye are known"):
        lens_model("mirror")


def test_rotations_survive_the_round_trip_up_to_half_a_turn() -> None:
    rng = np.random.default_rng(2)
    axis = rng.normal(size=(50, 3))
    vectors = axis / np.linalg.norm(axis, axis=1, keepdims=True) * np.linspace(0, np.pi - 1e-9, 50)[:, None]
    np.testing.assert_allclose(vector_from_rotation(rotation_from_vector(vectors)), vectors, atol=1e-7)
    rotations = rotation_from_vector(vectors)
    np.testing.assert_allclose(nearest_rotation(rotations * 1.7), rotations, atol=1e-12)


def test_moved_and_difference_are_inverse() -> None:
    rng = np.random.default_rng(3)
    start = pose_from_vectors(rng.normal(size=(5, 3)), rng.normal(size=(5, 3)))
    change = rng.normal(size=(5, 6)) * 0.3
    np.testing.assert_allclose(difference(moved(start, change), start), change, atol=1e-12)
    np.testing.assert_allclose(inverse(start) @ start, np.broadcast_to(np.eye(4), (5, 4, 4)), atol=1e-12)
