"""The controller: inference, filter and limits as one, the same for the run and for the evaluation."""

import numpy as np
import pytest

from fosp_edge.bundle.manifest import BundleError
from fosp_edge.control.controller import Controller
from fosp_edge.control.inference import NotFinite
from fosp_edge.control.types import Observation, Reason
from tests.control.fakes import SIZE_PX, TinyBundle, feasible_state, make_manifest, with_thresholds


def look(**state: float) -> Observation:
    vector = feasible_state()
    for index, value in state.items():
        vector[int(index[1:])] = value
    return Observation(np.full((SIZE_PX, SIZE_PX, 6), 9, np.uint8), vector)


def test_the_executed_action_goes_back_in_and_not_the_nominal_one() -> None:
    controller = Controller(TinyBundle(), full_range_s=0.2)
    controller.reset(0)
    decision, _ = controller.decide(look(s5=1.0, s6=0.0, s7=0.0))
    # From rest, a quarter of the full range (2 on the normalised scale) may be travelled per tick.
    np.testing.assert_allclose(decision.action, [0.5, 0.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(decision.nominal, [1.0, 0.0, 0.0])
    np.testing.assert_allclose(controller.physical_action, [0.125, 0.0, 0.0])
    assert controller.insight.rate_limited and not controller.insight.range_limited
    _, scores = controller.decide(look())
    np.testing.assert_allclose(scores.candidates[4], [-0.5, 0.0, 0.0], atol=1e-6)  # retreat = minus the executed


def test_an_infeasible_policy_is_held_back_and_with_the_filter_off_it_is_not() -> None:
    for enabled, expected in ((True, Reason.SAFER_CANDIDATE), (False, Reason.FILTER_OFF)):
        controller = Controller(TinyBundle(), filter_enabled=enabled)
        controller.reset(0)
        decision, _ = controller.decide(look(s0=0.9, s3=0.01))
        assert decision.reason is expected
        assert controller.insight.advice.reason is Reason.SAFER_CANDIDATE
        assert np.any(controller.physical_action) == (not enabled)


def test_reset_forgets_filter_limits_and_latent() -> None:
    controller = Controller(TinyBundle())

    def episode() -> list[list[float]]:
        controller.reset(5)
        return [controller.decide(look(s0=0.9 if tick == 1 else 0.1))[0].action.tolist() for tick in range(4)]

    assert episode() == episode()


def test_warming_up_leaves_nothing_behind() -> None:
    warm, fresh = Controller(TinyBundle()), Controller(TinyBundle())
    warm.warm_up()
    with pytest.raises(RuntimeError, match="nothing was decided"):
        _ = warm.insight
    for controller in (warm, fresh):
        controller.reset(3)
    for value in (0.3, -0.7, 0.9):
        (ours, _), (theirs, _) = (controller.decide(look(s5=value)) for controller in (warm, fresh))
        np.testing.assert_array_equal(ours.action, theirs.action)
        np.testing.assert_array_equal(warm.runtime.latent.deterministic, fresh.runtime.latent.deterministic)


def test_nan_from_the_graph_is_raised_and_thresholds_are_checked_before_anything_runs() -> None:
    controller = Controller(TinyBundle())
    controller.reset(0)
    with pytest.raises(RuntimeError, match="nothing was decided"):
        _ = controller.insight
    with pytest.raises(NotFinite):
        controller.decide(look(s8=-2.0))


@pytest.mark.parametrize(("feasible", "stop"), [(0.5, 0.4), (-0.1, 0.4), (0.5, 1.1), (float("nan"), 0.5)])
def test_thresholds_that_describe_no_feasible_set_refuse_to_arm(feasible: float, stop: float) -> None:
    with pytest.raises(BundleError, match="filter"):
        Controller(TinyBundle(with_thresholds(make_manifest(), feasible, stop)))
