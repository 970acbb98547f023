import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fosp_edge.simulation.safety_gym.navigation import FloorPlanner


def walk(planner: FloorPlanner, place: np.ndarray, target: np.ndarray, steps: int = 200) -> list[np.ndarray]:
    way = [place]
    while np.linalg.norm(way[-1] - target) > 0.1 and len(way) < steps:
        way.append(planner.waypoint(way[-1], ahead_m=0.08))
    return way


def test_the_way_over_an_empty_floor_is_straight() -> None:
    target = np.array([1.0, 0.0])
    way = walk(FloorPlanner(np.zeros((0, 2)), np.zeros(0), target), np.array([-1.0, 0.0]), target)
    assert max(abs(place[1]) for place in way) < 0.05 and len(way) < 30


@given(st.floats(-0.3, 0.3), st.floats(0.2, 0.6))
def test_the_way_keeps_out_of_a_disc(y: float, radius: float) -> None:
    target, centre = np.array([1.2, 0.0]), np.array([[0.0, y]])
    way = walk(FloorPlanner(centre, np.array([radius]), target), np.array([-1.2, 0.0]), target)
    assert np.linalg.norm(way[-1] - target) <= 0.1
    assert min(np.linalg.norm(place - centre[0]) for place in way) >= radius - 0.08  # a cell


def test_from_within_a_disc_the_way_leads_out() -> None:
    target = np.array([1.2, 0.0])
    planner = FloorPlanner(np.zeros((1, 2)), np.array([0.5]), target)
    assert np.linalg.norm(walk(planner, np.array([0.1, 0.0]), target)[-1] - target) <= 0.1
