"""A candidate's filter is no looser than the running bundle's, by the same wishes in the same places."""

import math
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")
from hypothesis import given
from hypothesis import strategies as st

from fosp_edge.bundle.folder import Bundle, load_bundle
from fosp_edge.cli.watchfulness import as_watchful, objections, threshold_for, wished_reachability
from tests.cli.test_learning_process import first, plain  # noqa: F401 - a fixture

OWN = [plain(seed) for seed in range(8)]


def with_threshold(bundle: Bundle, threshold: float) -> Bundle:
    manifest = bundle.manifest
    return replace(bundle, manifest=replace(manifest, filter=replace(manifest.filter, feasible_reachability=threshold)))


@given(st.lists(st.floats(0.0, 1.0, width=32), min_size=1, max_size=50), st.integers(1, 60))
def test_the_threshold_is_the_largest_that_so_many_values_exceed(values: list[float], wanted: int) -> None:
    found = np.array(values, np.float32)
    threshold = threshold_for(wanted, found)
    if 0.0 not in values:
        assert np.sum(found > threshold) >= min(wanted, len(values))
    assert np.sum(found > np.nextafter(np.float32(threshold), np.float32(2.0))) < wanted or wanted > len(values)


def test_who_objects_to_nothing_asks_for_nothing() -> None:
    assert threshold_for(0, np.ones(3, np.float32)) == math.inf
    assert threshold_for(4, np.zeros(0, np.float32)) == math.inf


def test_a_looser_candidate_is_tightened_and_a_stricter_one_left_alone(first) -> None:  # noqa: F811
    bundle = load_bundle(first)
    seen = wished_reachability(bundle, OWN)
    running = with_threshold(bundle, float(np.quantile(seen, 0.7)))
    loose, strict = with_threshold(bundle, float(np.quantile(seen, 0.95))), with_threshold(bundle, 0.0)
    assert 0 < objections(loose, OWN) < objections(running, OWN) < objections(strict, OWN)
    tightened = as_watchful(loose, running, OWN)
    assert objections(tightened, OWN) == objections(running, OWN)
    assert "as watchful" in tightened.manifest.provenance["filter"]
    assert as_watchful(strict, running, OWN) is strict


def test_wishes_are_judged_not_what_the_filter_made_of_them(first) -> None:  # noqa: F811
    bundle = load_bundle(first)
    steps = OWN[0]
    other = steps | {"nominal": -steps["nominal"] + np.float32(0.5)}
    assert not np.allclose(wished_reachability(bundle, [steps]), wished_reachability(bundle, [other]))
    assert len(wished_reachability(bundle, OWN)) == sum(len(item["reward"]) - 1 for item in OWN)
