"""What a depth camera says is near: by its distances, by its holes, and within which part of the picture."""

import numpy as np
import pytest

from fosp_edge.cameras.base import DepthFrame
from fosp_edge.robots.base import RobotState
from fosp_edge.robots.depth_window import DepthWindow
from fosp_edge.robots.judging import Sample
from fosp_edge.robots.too_close import TooClose

SAMPLE = Sample(RobotState(np.zeros(2, np.float32), np.zeros(2), np.zeros(2), 0, 0, None))


def nearest_m(distances: np.ndarray, unit_m: float = 0.001, **how: object) -> float:
    return DepthWindow(**how).nearest_m(DepthFrame(distances.astype(np.uint16), unit_m, 0, 0))  # type: ignore[arg-type]


def test_what_is_near_counts_once_there_is_enough_of_it() -> None:
    few = np.full((20, 50), 900)
    many = few.copy()
    few[0, :10] = many[0, :11] = 300
    assert nearest_m(few) == pytest.approx(0.9), "a hundredth of the pixels may be noise"
    assert nearest_m(many) == pytest.approx(0.3)
    one = np.full((20, 50), 900)
    one[3, 3] = 1
    assert nearest_m(one, share=0.0) == pytest.approx(0.001)


def test_the_unit_is_the_camera_s() -> None:
    assert nearest_m(np.full((4, 4), 1000), unit_m=0.00025) == pytest.approx(0.25)


def test_a_picture_without_distances_is_something_right_before_the_lens() -> None:
    holes = np.full((10, 10), 900)
    holes[:9] = 0
    assert nearest_m(holes) == pytest.approx(0.9), "glass and sky leave holes, too"
    holes[9, 0] = 0
    assert nearest_m(holes) == 0.0
    assert nearest_m(np.zeros((10, 10)), unmeasured=1.0) == np.inf, "never, if so asked"
    holes = np.zeros((10, 10))
    holes[0, 0] = 500
    assert nearest_m(holes, unmeasured=1.0) == np.inf, "one pixel of a hundred is not more than a hundredth"


def test_only_the_window_counts() -> None:
    floor = np.full((10, 10), 900)
    floor[8:] = 100
    assert nearest_m(floor) == pytest.approx(0.1)
    assert nearest_m(floor, window=(0.0, 0.0, 1.0, 0.8)) == pytest.approx(0.9)
    assert nearest_m(floor.T, window=(0.0, 0.0, 0.8, 1.0)) == pytest.approx(0.9)
    found = nearest_m(floor, window=(0.4, 0.79, 0.41, 0.81))
    assert found == pytest.approx(0.1), "a window smaller than a pixel is the pixels that it touches"


def test_of_a_large_picture_a_part_is_looked_at_and_tells_the_same() -> None:
    wall = np.full((720, 1280), 2000)
    assert nearest_m(wall) == pytest.approx(2.0)
    wall[200:330, 400:530] = 700
    assert nearest_m(wall) == pytest.approx(0.7)
    assert nearest_m(wall, share=0.05) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"share": 1.0}, "parts of 1"),
        ({"unmeasured": 0.0}, "parts of 1"),
        ({"window": (0.5, 0.0, 0.5, 1.0)}, "left, top, right, bottom"),
        ({"window": (0.0, 0.0, 1.0, 1.1)}, "left, top, right, bottom"),
        ({"window": (0.0, float("nan"), 1.0, 1.0)}, "left, top, right, bottom"),
    ],
)
def test_a_window_that_cannot_be_meant_is_refused(how: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        DepthWindow(**how)  # type: ignore[arg-type]


@pytest.mark.parametrize(("distance_mm", "cost"), [(299, 1.0), (301, 0.0), (0, 1.0)])
def test_what_is_too_close_costs(distance_mm: int, cost: float) -> None:
    seen = DepthFrame(np.full((8, 8), distance_mm, np.uint16), 0.001, 0, 0)
    assert TooClose(lambda: seen, 0.3, DepthWindow()).judge(SAMPLE).cost == cost


@pytest.mark.parametrize("nearer_m", [0.0, -1.0, float("nan"), float("inf")])
def test_what_is_no_distance_is_refused(nearer_m: float) -> None:
    with pytest.raises(ValueError, match="metres above 0"):
        TooClose(lambda: DepthFrame(np.zeros((2, 2), np.uint16), 0.001, 0, 0), nearer_m, DepthWindow())
