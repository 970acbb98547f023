import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fosp_edge.robots.workspace import DESKTOP_WORKSPACE, limit_to_workspace

LOW, HIGH = np.array(DESKTOP_WORKSPACE.low_m), np.array(DESKTOP_WORKSPACE.high_m)
vectors = st.tuples(*[st.floats(-1.0, 1.0)] * 3).map(np.array)
horizons = st.floats(0.001, 1.0)


@given(st.tuples(*[st.floats(0.0, 1.0)] * 3).map(np.array), vectors, horizons)
def test_a_fingertip_inside_stays_inside(fraction, velocity, horizon_s):
    tip = LOW + fraction * (HIGH - LOW)
    end = tip + horizon_s * limit_to_workspace(tip, velocity, horizon_s)
    assert np.all(end >= LOW - 1e-12) and np.all(end <= HIGH + 1e-12)


@given(vectors, vectors, horizons)
def test_the_limit_never_adds_speed_or_turns_a_component_around(tip, velocity, horizon_s):
    limited = limit_to_workspace(tip, velocity, horizon_s)
    assert np.all(np.abs(limited) <= np.abs(velocity))
    assert np.all(limited * velocity >= 0.0)


@given(vectors, horizons)
def test_from_outside_only_motion_towards_the_box_is_left(velocity, horizon_s):
    limited = limit_to_workspace(HIGH + 0.05, velocity, horizon_s)
    depth = HIGH + 0.05 - LOW  # and not through the opposite face
    np.testing.assert_allclose(limited, np.clip(velocity, -depth / horizon_s, 0.0), atol=1e-12)


def test_motion_that_stays_inside_is_untouched():
    velocity = np.array([0.25, -0.25, 0.1])
    np.testing.assert_array_equal(limit_to_workspace((LOW + HIGH) / 2, velocity, 0.05), velocity)


def test_a_component_that_would_leave_is_cut_to_reach_the_face_and_the_others_go_on():
    tip = np.array([0.41, 0.0, 0.1])
    np.testing.assert_allclose(limit_to_workspace(tip, np.array([0.25, 0.2, -0.1]), 0.1), [0.1, 0.2, -0.1])
    np.testing.assert_array_equal(limit_to_workspace(np.array([0.42, 0, 0.1]), np.array([0.25, 0, 0]), 0.1), [0, 0, 0])


@pytest.mark.parametrize(
    ("tip", "velocity", "horizon_s"),
    [
        (np.full(3, np.nan), np.zeros(3), 0.1),
        (np.zeros(3), np.array([0, np.inf, 0]), 0.1),
        (np.zeros(3), np.zeros(3), 0.0),
        (np.zeros(3), np.zeros(3), float("nan")),
        (np.zeros(2), np.zeros(3), 0.1),
    ],
)
def test_what_is_not_a_number_is_refused(tip, velocity, horizon_s):
    with pytest.raises(ValueError):
        limit_to_workspace(tip, velocity, horizon_s)
