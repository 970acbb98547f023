"""Who learns on from a bundle with other data than its policy was learnt from is told so."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fosp_edge.bundle.folder import load_bundle
from fosp_edge.cli.learnt_from import unlike_training
from fosp_edge.cli.shipped import shipped_bundle


def test_the_shipped_agent_wants_the_demonstrations_that_it_was_taught_by() -> None:
    bundle = load_bundle(shipped_bundle())
    (sentence,) = unlike_training(bundle, [Path("data/safereach")])
    assert "called careful" in sentence and "data/safereach" in sentence and bundle.id[:12] in sentence
    assert unlike_training(bundle, [Path("data/safereach"), Path("elsewhere/careful/")]) == []


@pytest.mark.parametrize(
    "provenance",
    [{}, {"learnt_from": "ab", "update": 400}, {"training": None}, {"training": {"dataset": [{"rows": 1}, "careful"]}}],
    ids=["nothing told", "learnt on the robot", "no training", "no names"],
)
def test_a_bundle_that_does_not_say_is_asked_no_questions(provenance: dict[str, Any]) -> None:
    bundle = load_bundle(shipped_bundle())
    silent = replace(bundle, manifest=replace(bundle.manifest, provenance=provenance))
    assert unlike_training(silent, [Path("data/other")]) == []
