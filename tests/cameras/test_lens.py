import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fosp_edge.bundle.picture import Lens, Preprocessing
from fosp_edge.cameras.lens import distort, straightening_taps, undistortion_map
from fosp_edge.cameras.preprocess import Preprocessor, preprocess

small = st.floats(-0.2, 0.2)
STRAIGHT = Lens(160, 120, 150.0, 152.0, 81.0, 58.5)


def noise(height, width, seed=0):
    """Smooth noise: neighbouring pixels resemble each other, as in pictures."""
    rough = np.random.default_rng(seed).integers(0, 256, (height // 8 + 2, width // 8 + 2, 3)).astype(float)
    return np.kron(rough, np.ones((8, 8, 1)))[:height, :width].astype(np.uint8)


def straightened(image, lens, rows, columns):
    index, weight = straightening_taps(lens, rows, columns)
    return np.sum(image.reshape(-1, 3)[index] * weight[..., None], axis=0)


@pytest.mark.parametrize("count", [4, 5, 8])
@settings(max_examples=40)
@given(values=st.tuples(*[small] * 8))
def test_brown_conrady_is_opencvs(count, values):
    cv2 = pytest.importorskip("cv2")
    lens = Lens(160, 120, 150.0, 152.0, 81.0, 58.5, "brown-conrady", values[:count])
    matrix = np.array([[150.0, 0, 81.0], [0, 152.0, 58.5], [0, 0, 1]])
    expected = cv2.initUndistortRectifyMap(matrix, np.array(values[:count]), None, matrix, (160, 120), cv2.CV_32FC1)
    found = undistortion_map(lens)
    # Where a rational model comes near its pole the picture is meaningless; elsewhere the two agree.
    sound = np.abs(expected[0]) + np.abs(expected[1]) < 1e4
    np.testing.assert_allclose(found[0][sound], expected[0][sound], rtol=1e-3, atol=2e-2)
    np.testing.assert_allclose(found[1][sound], expected[1][sound], rtol=1e-3, atol=2e-2)


@given(st.tuples(*[st.floats(-0.05, 0.05)] * 4), st.floats(-0.8, 0.8), st.floats(-0.8, 0.8))
def test_fisheye_is_opencvs(values, x, y):
    cv2 = pytest.importorskip("cv2")
    lens = Lens(160, 120, 150.0, 152.0, 81.0, 58.5, "fisheye", values)
    matrix = np.array([[150.0, 0, 81.0], [0, 152.0, 58.5], [0, 0, 1]])
    expected = cv2.fisheye.distortPoints(np.array([[[x, y]]]), matrix, np.array(values))
    found = distort(lens, np.array(x), np.array(y))
    np.testing.assert_allclose(found, expected.ravel(), atol=1e-6)


def test_a_straight_lens_changes_nothing():
    image = noise(120, 160)
    result = straightened(image, STRAIGHT, slice(0, 120), slice(0, 160))
    np.testing.assert_allclose(result, image, atol=1e-3)
    np.testing.assert_array_equal(preprocess(image, Preprocessing(lens=STRAIGHT)), preprocess(image, Preprocessing()))


def test_straightening_agrees_with_opencv():
    cv2 = pytest.importorskip("cv2")
    coefficients = (-0.25, 0.08, 0.002, -0.001, 0.0)
    lens = Lens(160, 120, 150.0, 152.0, 81.0, 58.5, "brown-conrady", coefficients)
    image = cv2.GaussianBlur(noise(120, 160), (0, 0), 2.0)
    matrix = np.array([[150.0, 0, 81.0], [0, 152.0, 58.5], [0, 0, 1]])
    maps = cv2.initUndistortRectifyMap(matrix, np.array(coefficients), None, matrix, (160, 120), cv2.CV_32FC1)
    expected = cv2.remap(image, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    found = straightened(image, lens, slice(10, 110), slice(20, 140))
    assert np.max(np.abs(found - expected[10:110, 20:140].astype(float))) < 2.0


def test_the_crop_is_one_of_the_straightened_picture_and_bgr_still_comes_out_as_rgb():
    lens = Lens(160, 120, 150.0, 152.0, 81.0, 58.5, "brown-conrady", (-0.3, 0.1, 0.0, 0.0))
    image = noise(120, 160, 3)
    whole = straightened(image, lens, slice(0, 120), slice(0, 160))
    straight = np.clip(whole + 0.5, 0, 255).astype(np.uint8)
    crop = (20, 10, 128, 96)
    direct = preprocess(image, Preprocessing(crop=crop, lens=lens)).astype(int)
    by_hand = preprocess(straight, Preprocessing(crop=crop)).astype(int)
    assert np.max(np.abs(direct - by_hand)) <= 1
    swapped = np.ascontiguousarray(image[:, :, ::-1])
    np.testing.assert_array_equal(
        preprocess(swapped, Preprocessing(crop=crop, lens=lens, colour_order="bgr")), direct.astype(np.uint8)
    )


def test_a_lens_of_another_picture_size_is_refused():
    with pytest.raises(ValueError, match="calibrated at 160x120 pixels, the camera gives 640x480"):
        Preprocessor(Preprocessing(lens=STRAIGHT), 640, 480)


@pytest.mark.parametrize(
    "arguments",
    [
        ("brown-conrady", (0.1,)),
        ("fisheye", (0.1,) * 5),
        ("pinhole", ()),
        ("brown-conrady", (float("nan"),) * 4),
    ],
)
def test_parameters_that_mean_nothing_are_refused(arguments):
    with pytest.raises(ValueError):
        Lens(160, 120, 150.0, 150.0, 80.0, 60.0, *arguments)
    with pytest.raises(ValueError):
        Lens(160, 120, 0.0, 150.0, 80.0, 60.0)
