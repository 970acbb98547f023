import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fosp_edge.bundle.picture import Lens, Preprocessing
from fosp_edge.cameras.preprocess import Preprocessor, preprocess

sizes = st.integers(1, 200)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_picture_of_the_policys_size_passes_unchanged_and_is_a_copy():
    image = noise(64, 64)
    result = preprocess(image, Preprocessing())
    np.testing.assert_array_equal(result, image)
    assert not np.shares_memory(result, image) and result.flags.c_contiguous


@given(sizes, sizes, st.integers(0, 255))
def test_a_uniform_picture_stays_uniform(height, width, value):
    result = preprocess(np.full((height, width, 3), value, np.uint8), Preprocessing())
    assert result.shape == (64, 64, 3) and np.all(result == value)


@pytest.mark.parametrize("factor", [2, 3, 7])
def test_a_whole_ratio_is_the_mean_of_blocks(factor):
    image = noise(64 * factor, 64 * factor)
    mean = image.reshape(64, factor, 64, factor, 3).mean(axis=(1, 3))
    difference = np.abs(preprocess(image, Preprocessing()).astype(float) - mean)
    assert np.max(difference) <= 0.5 + 1e-3


@given(st.integers(64, 300), st.integers(64, 300), st.integers(0, 9))
def test_the_mean_brightness_is_kept(height, width, seed):
    image = noise(height, width, seed)
    whole = Preprocessing(crop=(0, 0, width, height))
    assert abs(preprocess(image, whole).mean() - image.mean()) < 0.51


@pytest.mark.parametrize(("height", "width"), [(480, 480), (100, 100), (333, 333), (65, 65)])
def test_agrees_with_opencv_area_interpolation(height, width):
    cv2 = pytest.importorskip("cv2")
    image = noise(height, width)
    reference = cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA)
    difference = np.abs(preprocess(image, Preprocessing()).astype(int) - reference.astype(int))
    assert difference.max() <= 1


def test_the_centred_square_is_taken_from_a_wide_picture():
    image = np.zeros((480, 640, 3), np.uint8)
    image[:, 80:560] = 200
    assert np.all(preprocess(image, Preprocessing()) == 200)
    assert preprocess(image, Preprocessing(width_px=128)).shape == (64, 128, 3)


def test_the_crop_is_left_top_width_height():
    image = np.zeros((100, 200, 3), np.uint8)
    image[20:84, 30:94] = 77
    assert np.all(preprocess(image, Preprocessing(crop=(30, 20, 64, 64))) == 77)


def test_bgr_sources_come_out_as_rgb():
    image = noise(128, 128)
    swapped = preprocess(np.ascontiguousarray(image[:, :, ::-1]), Preprocessing(colour_order="bgr"))
    np.testing.assert_array_equal(swapped, preprocess(image, Preprocessing()))


@pytest.mark.parametrize("crop", [(0, 0, 65, 64), (-1, 0, 10, 10), (0, 60, 10, 10), (0, 0, 0, 5)])
def test_a_crop_outside_the_picture_is_refused(crop):
    with pytest.raises(ValueError, match="does not lie within 64x64 pixels"):
        preprocess(noise(64, 64), Preprocessing(crop=crop))


@pytest.mark.parametrize(
    "image", [np.zeros((64, 64), np.uint8), np.zeros((64, 64, 4), np.uint8), np.zeros((64, 64, 3))]
)
def test_what_is_not_a_colour_picture_is_refused(image):
    with pytest.raises(ValueError, match="expected"):
        preprocess(image, Preprocessing())


def test_a_preprocessor_refuses_another_size_than_it_was_made_for():
    with pytest.raises(ValueError, match="expected uint8"):
        Preprocessor(Preprocessing(), 640, 480)(noise(64, 64))


def test_nonsense_parameters_are_refused():
    with pytest.raises(ValueError):
        Preprocessing(width_px=0)
    with pytest.raises(ValueError):
        Preprocessing(colour_order="gbr")


@pytest.mark.parametrize(
    "parameters",
    [
        Preprocessing(),
        Preprocessing(32, 48, (1, 2, 30, 40), "bgr", source_px=(64, 48)),
        Preprocessing(lens=Lens(64, 64, 60.0, 61.0, 32.0, 31.0, "fisheye", (0.1, 0.0, 0.0, 0.0))),
    ],
)
def test_parameters_survive_the_manifest(parameters):
    text = json.dumps(parameters.to_json_object())
    assert Preprocessing.from_json_object(json.loads(text)) == parameters


@pytest.mark.parametrize(
    "change", [{"crop": [1, 2]}, {"crop": 5}, {"lens": {}}, {"lens": 3}, {"zoom": 2}, {"colour_order": "grb"}]
)
def test_damaged_parameters_are_refused(change):
    with pytest.raises(ValueError):
        Preprocessing.from_json_object(Preprocessing().to_json_object() | change)
    with pytest.raises(ValueError):
        Preprocessing.from_json_object({})


def test_a_camera_of_another_size_than_in_training_is_refused():
    parameters = Preprocessing(source_px=(640, 480))
    assert Preprocessor(parameters, 640, 480)(noise(480, 640)).shape == (64, 64, 3)
    with pytest.raises(ValueError, match="trained on a camera of 640x480 pixels, this one gives 1280x720"):
        Preprocessor(parameters, 1280, 720)
