"""A classifier trained from labelled episodes tells what a ruler could tell, and refuses what it cannot learn."""

from dataclasses import replace

import numpy as np
import pytest

from fosp_edge.robots.judging import Finding, Sample
from fosp_edge.robots.outcome_classifier import (
    Classifier,
    LearntOutcome,
    balanced_accuracy,
    features,
    labelled_rows,
    train,
)
from tests.robots.test_judging import STATE


def episodes(count, seed):
    """A lamp in a corner goes on when the constraint is violated; light and pose vary."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        rows = 30
        violation = np.zeros(rows, np.float32)
        if random.random() < 0.5:
            violation[int(random.integers(5, 25)) :] = 1.0
        image = random.integers(40, 120, (rows, 64, 64, 3)).astype(np.uint8) + np.uint8(random.integers(0, 40))
        image[violation > 0.5, 2:12, 2:12] = 230
        yield {
            "image": image, "state": random.normal(size=(rows, 9)).astype(np.float32), "violation": violation,
            "reward": np.zeros(rows, np.float32), "is_terminal": np.zeros(rows, np.bool_),
        }  # fmt: skip


def test_it_learns_from_labels_and_tells_fresh_episodes(tmp_path):
    classifier = train(*labelled_rows(list(episodes(20, 0)), "violation"))
    assert balanced_accuracy(classifier, *labelled_rows(list(episodes(10, 1)), "violation")) > 0.98
    classifier.save(tmp_path / "violation.safetensors")
    again = Classifier.load(tmp_path / "violation.safetensors")
    steps = next(episodes(1, 2))
    assert again.probability(steps["image"][0], steps["state"][0]) == classifier.probability(
        steps["image"][0], steps["state"][0]
    )


def test_as_a_source_it_waits_until_it_is_sure():
    source = LearntOutcome(train(*labelled_rows(list(episodes(20, 0)), "violation")), Finding(cost=1.0))
    steps = next(item for item in episodes(9, 3) if item["violation"].any())
    costs = []
    for image, state in zip(steps["image"], steps["state"], strict=True):
        costs.append(source.judge(Sample(replace(STATE, state=state), image)).cost)
    first = int(np.argmax(steps["violation"]))
    assert not any(costs[: first + 2]) and all(costs[first + 2 :])
    with pytest.raises(ValueError, match="pictures"):
        source.judge(Sample(STATE))


def test_success_is_the_end_of_an_episode_that_ended_well():
    steps = next(episodes(1, 0))
    steps["is_terminal"][-1] = True
    _, labels = labelled_rows([steps], "success")
    assert labels.sum() == 2 and labels[-1]


def test_too_few_labels_and_foreign_files_are_refused(tmp_path):
    rows, labels = labelled_rows(list(episodes(20, 0)), "violation")
    with pytest.raises(ValueError, match="at least ten"):
        train(rows, np.zeros_like(labels))
    (tmp_path / "x").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="not an outcome classifier"):
        Classifier.load(tmp_path / "x")


def test_cells_average_their_pixels():
    image = np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)
    found = features(image, np.zeros(2, np.float32))
    assert found.shape == (8 * 8 * 3 + 2,)
    assert found[0] == pytest.approx(image[:8, :8, 0].mean() / 255.0)
