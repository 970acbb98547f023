"""What is stated of a lens, from what its corners alone say."""

import numpy as np

from calib.lens import FISHEYE, PINHOLE
from calib.uncertainty import FISHEYE_FOCAL_WIDENING, widened


def test_only_a_fisheye_s_focal_lengths_are_widened() -> None:
    random = np.random.default_rng(0)
    for lens in (PINHOLE, FISHEYE):
        root = random.normal(size=(lens.size, lens.size))
        covariance = root @ root.T
        stated = widened(lens, covariance)
        ratio = np.sqrt(np.diag(stated) / np.diag(covariance))
        expected = np.ones(lens.size)
        if lens is FISHEYE:
            expected[:2] = FISHEYE_FOCAL_WIDENING
        np.testing.assert_allclose(ratio, expected)
        # What goes together goes on going together as much.
        sigma, stated_sigma = np.sqrt(np.diag(covariance)), np.sqrt(np.diag(stated))
        np.testing.assert_allclose(
            covariance / np.outer(sigma, sigma), stated / np.outer(stated_sigma, stated_sigma), atol=1e-12
        )
