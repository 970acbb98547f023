"""What is counted of a filter, on episodes made up so that the answer is known; and the real thing once."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

pytest.importorskip("mujoco")
from fosp_edge.bundle.folder import load_bundle, write_bundle
from fosp_edge.bundle.manifest import GRAPH_FILE, WEIGHTS_FILE
from fosp_edge.control.inference import Latent
from fosp_edge.control.types import Observation
from fosp_edge.simulation import filters
from fosp_edge.simulation.ensemble import Disagreement
from fosp_edge.simulation.evaluation import BundleActor
from fosp_edge.simulation.filter_evaluation import (
    Judged,
    Ride,
    detection,
    filter_score,
    judge_episode,
    missed_violations,
    ride_episode,
    roc_area,
)
from tests.faults.bundles import arm_manifest, base_manifest, scripted_graph


def judged(excess: list[float], unavoidable: list[int], violation: list[int]) -> Judged:
    return Judged(
        "standard",
        0,
        np.array(unavoidable, bool),
        np.array(violation, bool),
        {"one": np.array(excess, np.float32)},
        False,
    )


def test_the_future_is_the_next_ten_states_and_what_follows_a_violation_does_not_count() -> None:
    onset = 14
    item = judged([0.0] * 20, [0] * 20, [*[0] * onset, *[1] * 7])
    assert np.flatnonzero(item.ahead).tolist() == list(range(onset - 10, 20))
    assert np.flatnonzero(item.counted).tolist() == list(range(onset))


def test_balanced_accuracy_is_counted_over_ticks_before_the_violation() -> None:
    # Ticks 0..5 count: truth at 4 and 5; alarms at 1 and 5, and one afterwards that must not help.
    item = judged([-1, 1, -1, -1, -1, 1, 1, 1], [0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0, 1, 1, 1])
    found = detection([item], "one", "unavoidable")
    assert found is not None and (found.positives, found.negatives) == (2, 4)
    assert found.recall == 0.5 and found.false_alarm_rate == 0.25
    assert found.balanced_accuracy.mean == pytest.approx(0.5 * (0.5 + 0.75))
    assert detection([judged([0.0] * 3, [0] * 3, [0] * 4)], "one", "unavoidable") is None


def test_the_roc_area_is_that_of_mann_and_whitney() -> None:
    random = np.random.default_rng(0)
    positive, negative = random.integers(0, 9, 40).astype(np.float32), random.integers(0, 6, 60).astype(np.float32)
    expected = stats.mannwhitneyu(positive, negative).statistic / (40 * 60)
    assert roc_area(positive, negative) == pytest.approx(expected)


@pytest.mark.parametrize(("alarm_at", "missed"), [(None, 1.0), (18, 0.0), (9, 0.0), (8, 1.0), (19, 1.0)])
def test_an_alarm_counts_from_two_to_eleven_ticks_before_the_violation(alarm_at: int | None, missed: float) -> None:
    excess = [-1.0] * 22
    if alarm_at is not None:
        excess[alarm_at] = 0.1
    found = missed_violations([judged(excess, [0] * 22, [*[0] * 20, 1, 1, 1])], "one")
    assert found is not None and found.mean == missed


def test_rides_are_summed_up_as_episodes() -> None:
    rides = [Ride("standard", 0, True, False, 0.0, 50, 10), Ride("standard", 1, True, True, 3.0, 50, 0)]
    found = filter_score("one", rides, [], judges=False)
    assert (found.success.mean, found.safe_success.mean, found.failure.mean) == (1.0, 0.5, 0.5)
    assert found.intervention.mean == pytest.approx(0.1) and found.avoidance is None and found.averted is None


def test_what_a_filter_averts_is_counted_on_the_same_tables_and_may_be_less_than_nothing() -> None:
    hit, free = judged([-1.0] * 3, [0] * 3, [0, 0, 1, 0]), judged([-1.0] * 3, [0] * 3, [0] * 4)
    quiet, crash = Ride("standard", 0, True, False, 0.0, 3, 1), Ride("standard", 0, True, True, 1.0, 3, 1)
    found = filter_score("one", [quiet, quiet, quiet, crash], [hit, hit, free, free], judges=True, scenario="both")
    assert found.averted is not None and found.averted.mean == pytest.approx(0.25)
    assert found.averted.low < 0.0 < found.averted.high and found.scenario == "both"
    with pytest.raises(ValueError, match="shorter"):  # another table is no comparison
        filter_score("one", [quiet], [hit, free], judges=True)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    graph = scripted_graph(action=(0.5, 0.0, 0.0), reachability=(0.4, 0.9, 0.9, 0.05, 0.9))
    return write_bundle(arm_manifest(), {GRAPH_FILE: graph, WEIGHTS_FILE: b""}, tmp_path_factory.mktemp("bundles"))


def actor(bundle: Path, name: str, enabled: bool) -> BundleActor:
    return BundleActor(
        bundle, filter_enabled=enabled, make=lambda opened: filters.make_controller(opened, name, enabled=enabled)
    )


def test_filters_are_judged_on_the_same_episode_and_drive_their_own(bundle: Path) -> None:
    names = (filters.NO_FILTER, filters.FIXED, filters.CONFORMAL)
    item = judge_episode({name: actor(bundle, name, False) for name in names}, "standard", 0)
    # A reachability of 0.4 lies above the calibrated threshold of 0.3 and below one half.
    assert np.all(item.excess[filters.CONFORMAL] > 0.0) and np.all(item.excess[filters.FIXED] < 0.0)
    assert len(item.violation) == len(item.unavoidable) + 1
    held = ride_episode(actor(bundle, filters.CONFORMAL, True), "standard", 0)
    free = ride_episode(actor(bundle, filters.FIXED, True), "standard", 0)
    assert held.interventions == held.steps and free.interventions == 0
    assert free.steps == len(item.unavoidable) and free.violated == bool(item.violation[1:].any())


def test_a_base_s_filter_is_judged_in_its_room(tmp_path: Path) -> None:
    graph = scripted_graph(action=(1.0, 0.0), reachability=(0.4, 0.9, 0.9, 0.05, 0.9), state=2, cameras=1)
    path = write_bundle(base_manifest(), {GRAPH_FILE: graph, WEIGHTS_FILE: b""}, tmp_path)
    names = (filters.NO_FILTER, filters.CONFORMAL)
    item = judge_episode({name: actor(path, name, False) for name in names}, "standard", 2)
    assert item.violation.any() and item.unavoidable.any(), "straight on, into the box ahead"
    onset = int(np.argmax(item.violation))
    known = int(np.argmax(item.unavoidable))
    assert known < onset and not item.unavoidable[: known - 1].any()
    held = ride_episode(actor(path, filters.CONFORMAL, True), "standard", 2)
    assert held.interventions == held.steps and not held.violated


def test_an_ensembles_filter_needs_an_ensemble_and_an_unknown_one_is_refused(bundle: Path) -> None:
    opened = load_bundle(bundle)
    with pytest.raises(ValueError, match="--ensemble-dataset"):
        filters.make_controller(opened, filters.ENSEMBLE, enabled=True)
    with pytest.raises(ValueError, match="unknown filter"):
        filters.make_controller(opened, "hope", enabled=True)


def make_ensemble(members: int = 3, inputs: int = 1 + 15 + 3) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    shapes = {"first": (members, inputs, 8), "first_bias": (members, 1, 8)}
    shapes |= {"second": (members, 8, 4), "second_bias": (members, 1, 4)}
    arrays = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return arrays | {"threshold": np.array([0.7], np.float32)}


def test_disagreement_is_that_of_the_networks_written_out() -> None:
    arrays, random = make_ensemble(), np.random.default_rng(1)
    latent = Latent(random.normal(size=1).astype(np.float32), np.array([0, 3, 4]), 0, 1)
    candidates = random.normal(size=(5, 3)).astype(np.float32)
    one_hot = np.eye(5, dtype=np.float32)[latent.stochastic].ravel()
    inputs = np.stack([np.concatenate([latent.deterministic, one_hot, action]) for action in candidates])
    hidden = inputs @ arrays["first"] + arrays["first_bias"]
    outputs = hidden / (1 + np.exp(-hidden)) @ arrays["second"] + arrays["second_bias"]
    expected = outputs.var(axis=0, ddof=1).mean(axis=-1)
    np.testing.assert_allclose(Disagreement(arrays, 5)(latent, candidates), expected, rtol=1e-4)


def test_disagreement_at_its_threshold_scores_one_half_and_joins_with_reachability(bundle: Path) -> None:
    arrays = make_ensemble()
    observation = Observation(np.zeros((64, 64, 6), np.uint8), np.zeros(9, np.float32))
    found = {}
    for name in (filters.ENSEMBLE, filters.FIXED_ENSEMBLE):
        controller = filters.make_controller(load_bundle(bundle), name, enabled=True, ensemble=arrays)
        controller.reset(0)
        _, scores = controller.decide(observation)
        found[name] = scores
        latent = controller.runtime.latent
    spread = Disagreement(arrays, 5)(latent, found[filters.ENSEMBLE].candidates)
    np.testing.assert_allclose(found[filters.ENSEMBLE].reachability, np.minimum(0.5 * spread / 0.7, 1.0), rtol=1e-4)
    assert np.all(found[filters.FIXED_ENSEMBLE].reachability >= found[filters.ENSEMBLE].reachability)
    assert np.all(found[filters.FIXED_ENSEMBLE].reachability >= np.float32([0.4, 0.9, 0.9, 0.05, 0.9]))
