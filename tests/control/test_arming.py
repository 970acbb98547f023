"""A filter that promises nothing, or promised it for another network, does not arm."""

import hashlib
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fosp_edge.bundle.manifest import CLOSED_LOOP, BundleError, GateThreshold
from fosp_edge.control.arming import caveats, check_armed, refusals, smallest_sample
from fosp_edge.control.controller import Controller
from tests.control.fakes import TinyBundle, make_manifest

GRAPH = "a" * 64


@given(st.floats(0.001, 0.999))
def test_the_smallest_sample_is_the_first_whose_rank_is_one(level: float) -> None:
    count = smallest_sample(level)
    assert math.floor(level * (count + 1) + 1e-6) >= 1
    assert count == 0 or level * count < 1.0


def test_a_calibrated_filter_arms_and_too_little_data_or_another_network_do_not() -> None:
    manifest = make_manifest()
    check_armed(manifest, GRAPH)
    few = replace(manifest, filter=replace(manifest.filter, sample_size=8))
    assert "on 8 episodes, a level of 0.1 needs at least 9" in refusals(few, GRAPH)[0]
    other = replace(manifest, filter=replace(manifest.filter, graph_sha256="b" * 64))
    with pytest.raises(BundleError, match=r"calibrated for the network bbb.*, this is aaa.*calibrate-filter"):
        check_armed(other, GRAPH)
    boundless = replace(manifest, filter=replace(manifest.filter, level=0.0))
    assert "promises nothing" in refusals(boundless, GRAPH)[0]


def test_the_gate_is_asked_too() -> None:
    gate = GateThreshold(1.0, 0.05, 5, "2026-01-01", "0" * 64, "c" * 64, CLOSED_LOOP)
    found = refusals(replace(make_manifest(), gate=gate), GRAPH)
    assert len(found) == 2 and all("gate" in reason for reason in found)


def test_caveats_are_said_until_both_are_mended() -> None:
    manifest = make_manifest()
    assert len(caveats(manifest)) == 2
    gate = GateThreshold(1.0, 0.05, 50, "2026-01-01", "0" * 64, GRAPH, CLOSED_LOOP)
    assert caveats(replace(manifest, gate=gate, filter=replace(manifest.filter, trajectories=CLOSED_LOOP))) == []


def test_the_controller_refuses_unless_the_filter_is_off() -> None:
    bundle = TinyBundle()
    own = hashlib.sha256(bundle.graph_bytes).hexdigest()
    bundle.manifest = replace(bundle.manifest, filter=replace(bundle.manifest.filter, graph_sha256=own))
    Controller(bundle)
    bundle.manifest = replace(bundle.manifest, filter=replace(bundle.manifest.filter, graph_sha256=GRAPH))
    with pytest.raises(BundleError, match="does not arm"):
        Controller(bundle)
    Controller(bundle, filter_enabled=False)
