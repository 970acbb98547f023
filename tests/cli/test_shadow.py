"""What a probation expects: of the best bundle so far, not of the one before; and limits that few episodes set."""

from dataclasses import replace

import numpy as np
import pytest

from fosp_edge.cli.shadow import _exceeded_by_a_tenth, best_rates
from fosp_edge.experience.episode import EpisodeInfo, EpisodeSummary
from tests.experience.episodes import make_header


def episodes(bundle: str, count: int, violated: int, failed: int) -> list[EpisodeInfo]:
    header = replace(make_header(), bundle=bundle)
    return [
        EpisodeInfo(f"{bundle}{i}", header, EpisodeSummary(total_cost=float(i < violated), success=i >= failed))
        for i in range(count)
    ]


def test_rates_are_those_of_the_best_bundle_so_far() -> None:
    lived = episodes("first", 60, violated=3, failed=6) + episodes("second", 60, violated=12, failed=3)
    rates = best_rates(lived)
    assert rates["violation"] == pytest.approx(4 / 62)
    assert rates["failure"] == pytest.approx(4 / 62)


def test_a_bundle_that_hardly_drove_says_nothing() -> None:
    lived = episodes("first", 60, violated=6, failed=6) + episodes("lucky", 10, violated=0, failed=0)
    assert best_rates(lived)["violation"] == pytest.approx(7 / 62)


def test_of_few_episodes_all_are_taken_together() -> None:
    lived = episodes("first", 10, violated=2, failed=0) + episodes("second", 10, violated=0, failed=1)
    expected = {"violation": 3 / 22, "failure": 2 / 22, "stop": 1 / 22}
    assert best_rates(lived) == {name: pytest.approx(rate) for name, rate in expected.items()}


def test_a_stop_of_the_filter_is_expected_as_often_as_of_the_bundle_that_had_fewest() -> None:
    lived = episodes("first", 60, violated=0, failed=9) + episodes("second", 60, violated=0, failed=9)
    ended = ["recovery exhausted"] * 3 + ["time out"] * 57 + ["unfamiliar stop"] + ["recovery exhausted"] * 5
    lived = [
        replace(info, summary=replace(info.summary, outcome=outcome))
        for info, outcome in zip(lived, ended + ["success"] * 54, strict=True)
    ]
    assert best_rates(lived)["stop"] == pytest.approx(4 / 62)


def test_the_limit_of_few_episodes_is_exceeded_by_a_tenth_and_not_by_more() -> None:
    random = np.random.default_rng(0)
    for count in (12, 20, 40):
        exceeded = [random.random() > _exceeded_by_a_tenth(list(random.random(count))) for _ in range(4000)]
        assert 0.02 < np.mean(exceeded) < 0.11
