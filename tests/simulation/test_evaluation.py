"""Intervals against known values, and how episodes are counted."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

pytest.importorskip("mujoco")
from fosp_edge.bundle.folder import write_bundle
from fosp_edge.bundle.manifest import GRAPH_FILE, WEIGHTS_FILE, BundleError
from fosp_edge.simulation.environment import SafeRoom
from fosp_edge.simulation.evaluation import (
    BundleActor,
    EpisodeResult,
    RandomActor,
    bootstrap_interval,
    evaluate_episode,
    score,
    wilson_interval,
)
from tests.faults.bundles import arm_manifest, base_manifest, scripted_graph


@pytest.mark.parametrize(("successes", "count"), [(0, 10), (1, 7), (50, 100), (95, 100), (100, 100)])
def test_the_score_interval_is_that_of_scipy(successes: int, count: int) -> None:
    found = wilson_interval(successes, count)
    expected = stats.binomtest(successes, count).proportion_ci(0.95, method="wilson")
    assert found.mean == successes / count
    assert (found.low, found.high) == (pytest.approx(expected.low, abs=1e-6), pytest.approx(expected.high, abs=1e-6))


def test_the_bootstrap_holds_the_mean_and_has_the_width_of_theory() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, 400)
    found = bootstrap_interval(values.tolist())
    assert found.low < found.mean < found.high and found.mean == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    assert bootstrap_interval(values.tolist()) == found
    assert bootstrap_interval([4.0]) == type(found)(4.0, 4.0, 4.0)


def result(success: bool, cost: float, steps: int, interventions: int, scenario: str = "standard") -> EpisodeResult:
    return EpisodeResult(scenario, 0, success, 10.0, cost, steps, interventions, interventions)


def test_a_score_counts_episodes_not_steps() -> None:
    found = score("one", [result(True, 0, 50, 5), result(True, 7, 100, 0), result(False, 0, 100, 50)])
    assert found.episodes == 3
    assert found.success.mean == pytest.approx(2 / 3) and found.violation.mean == pytest.approx(1 / 3)
    assert found.cost.mean == pytest.approx(7 / 3) and found.intervention.mean == pytest.approx((0.1 + 0.0 + 0.5) / 3)


def test_episodes_of_several_scenarios_or_none_are_not_summed_up() -> None:
    with pytest.raises(ValueError, match="expected the episodes of one scenario, found"):
        score("one", [result(True, 0, 1, 0), result(True, 0, 1, 0, "lighting")])
    with pytest.raises(ValueError, match="found none"):
        score("one", [])


def test_an_evaluated_episode_is_decided_by_its_seed() -> None:
    one, two = (evaluate_episode(RandomActor(), "standard", 3) for _ in range(2))
    assert one == two and one.seed == 3 and 1 <= one.steps <= 100 and one.interventions == 0


def test_a_bundle_is_measured_with_its_filter_and_without(tmp_path: Path) -> None:
    # The policy's own choice is far above the threshold of 0.3, holding still is not.
    graph = scripted_graph(reachability=(0.9, 0.9, 0.9, 0.05, 0.9))
    path = write_bundle(arm_manifest(), {GRAPH_FILE: graph, WEIGHTS_FILE: b""}, tmp_path)
    held = evaluate_episode(BundleActor(path, filter_enabled=True), "standard", 0)
    assert held.interventions == held.advised == held.steps == 100 and not held.success
    free = evaluate_episode(BundleActor(path, filter_enabled=False), "standard", 0)
    assert free.interventions == 0 and free.advised == free.steps
    assert abs(held.total_reward) < 0.5 < abs(free.total_reward)


def test_a_base_is_measured_in_a_room(tmp_path: Path) -> None:
    graph = scripted_graph((0.8, 0.0), state=2, cameras=1)
    path = write_bundle(base_manifest(), {GRAPH_FILE: graph, WEIGHTS_FILE: b""}, tmp_path)
    actor = BundleActor(path, filter_enabled=False)
    assert actor.environment is SafeRoom
    # Straight ahead towards the target, in front of which a box stands in every layout.
    results = [evaluate_episode(actor, "standard", seed) for seed in range(3)]
    assert sum(item.cost > 0 for item in results) >= 2 and all(item.total_reward > 1.0 for item in results)
    aimless = evaluate_episode(RandomActor("two-wheels"), "standard", 0)
    assert aimless.steps == 100 and aimless.total_reward < results[0].total_reward


def test_a_bundle_of_another_rate_or_robot_is_refused(tmp_path: Path) -> None:
    graph = scripted_graph((0.8, 0.0), state=2, cameras=1)
    manifest = replace(base_manifest(), robot="nobody's")
    path = write_bundle(manifest, {GRAPH_FILE: graph, WEIGHTS_FILE: b""}, tmp_path)
    with pytest.raises(BundleError, match=r"SafeReach cannot be played with this bundle: .*nobody's"):
        BundleActor(path, filter_enabled=False)
