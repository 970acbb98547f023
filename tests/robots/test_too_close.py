"""What a depth camera says is too close: by its distances, by its holes, and within which part of the picture."""

import numpy as np
import pytest

from fosp_edge.robots.base import RobotState
from fosp_edge.robots.judging import Sample
from fosp_edge.robots.too_close import TooClose

SAMPLE = Sample(RobotState(np.zeros(2, np.float32), np.zeros(2), np.zeros(2), 0, 0, None))


def cost(distances_mm: np.ndarray, unit_m: float = 0.001, **how: object) -> float:
    source = TooClose(lambda: (distances_mm.astype(np.uint16), unit_m), 0.3, **how)  # type: ignore[arg-type]
    return source.judge(SAMPLE).cost


def test_what_is_nearer_costs_once_there_is_enough_of_it() -> None:
    far = np.full((20, 50), 300)
    assert cost(far) == 0.0, "nearer is what lies below"
    few, many = far.copy(), far.copy()
    few[0, :10] = many[0, :11] = 299
    assert (cost(few), cost(many)) == (0.0, 1.0), "a hundredth of the pixels may be noise"
    one = far.copy()
    one[3, 3] = 1
    assert (cost(one), cost(one, share=0.0)) == (0.0, 1.0)


def test_the_unit_is_the_camera_s() -> None:
    assert cost(np.full((4, 4), 1000), unit_m=0.00025) == 1.0
    assert cost(np.full((4, 4), 1200), unit_m=0.00025) == 0.0
    assert cost(np.full((4, 4), 65535), unit_m=1e-6) == 0.0, "a unit so small that the limit is beyond all numbers"


def test_a_picture_without_distances_is_something_right_before_the_lens() -> None:
    holes = np.full((10, 10), 900)
    holes[:9] = 0
    assert cost(holes) == 0.0, "glass and sky leave holes, too"
    holes[9, 0] = 0
    assert cost(holes) == 1.0
    assert cost(np.zeros((10, 10)), unmeasured=1.0) == 0.0, "never, if so asked"


def test_only_the_window_counts() -> None:
    floor = np.full((10, 10), 900)
    floor[8:] = 100
    assert cost(floor) == 1.0
    assert cost(floor, window=(0.0, 0.0, 1.0, 0.8)) == 0.0
    assert cost(floor.T, window=(0.0, 0.0, 0.8, 1.0)) == 0.0
    assert cost(floor, window=(0.4, 0.79, 0.41, 0.81)) == 1.0, (
        "a window smaller than a pixel is the pixels that it touches"
    )


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"nearer_m": 0.0}, "metres above 0"),
        ({"nearer_m": float("nan")}, "metres above 0"),
        ({"share": 1.0}, "parts of 1"),
        ({"unmeasured": 0.0}, "parts of 1"),
        ({"window": (0.5, 0.0, 0.5, 1.0)}, "left, top, right, bottom"),
        ({"window": (0.0, 0.0, 1.0, 1.1)}, "left, top, right, bottom"),
        ({"window": (0.0, float("nan"), 1.0, 1.0)}, "left, top, right, bottom"),
    ],
)
def test_what_cannot_be_meant_is_refused(how: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        TooClose(lambda: (np.zeros((2, 2), np.uint16), 0.001), **({"nearer_m": 0.3} | how))  # type: ignore[arg-type]
