import numpy as np
import pytest

from fosp_edge.experience.episode import StoreError
from fosp_edge.experience.label import labelled
from tests.experience.episodes import make_steps


def test_a_step_costs_if_it_ends_in_violation():
    steps = make_steps(8)
    result = labelled(steps, violations=[(2, 3), (7, 7)])
    np.testing.assert_array_equal(result["violation"], [0, 0, 1, 1, 0, 0, 0, 1])
    np.testing.assert_array_equal(result["cost"], [0, 1, 1, 0, 0, 0, 1, 0])
    assert steps["violation"].sum() == 0
    assert labelled(result, violations=[])["cost"].sum() == 0
    np.testing.assert_array_equal(labelled(result, success=True)["cost"], result["cost"])


def test_success_stands_in_the_last_row():
    steps = make_steps(4)
    assert labelled(steps, success=True)["is_terminal"].tolist() == [False, False, False, True]
    assert not labelled(labelled(steps, success=True), success=False)["is_terminal"].any()


@pytest.mark.parametrize("stretch", [(-1, 2), (3, 2), (0, 8)])
def test_stretches_outside_the_episode_are_refused(stretch):
    with pytest.raises(StoreError, match="8 rows"):
        labelled(make_steps(8), violations=[stretch])
