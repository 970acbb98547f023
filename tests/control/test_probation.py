"""A probation takes back what is worse, lets pass what is not, and says why, with the error rates it promises."""

from dataclasses import replace

import numpy as np
import pytest

from fosp_edge.control.probation import EpisodeFigures, Expected, Probation, ProbationSettings

GOOD = EpisodeFigures(60, violated=False, failed=False, intervention_share=0.0, mean_surprise=1.0, slow_share=0.0)
EXPECTED = Expected(violation=0.1, failure=0.3, intervention_limit=0.2, surprise_limit=3.0)


def run(probation: Probation, episodes):
    for number, figures in enumerate(episodes, 1):
        if (outcome := probation.add(figures)) is not None:
            return number, outcome
    return None


def test_good_episodes_pass_but_not_before_the_least_number():
    number, outcome = run(Probation(EXPECTED), [GOOD] * 100)
    assert outcome.passed and number >= ProbationSettings().least_episodes


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("violation", {"violated": True}),
        ("failure", {"failed": True}),
        ("stop", {"stopped": True}),
        ("intervention", {"intervention_share": 0.5}),
        ("surprise", {"mean_surprise": 9.0}),
        ("latency", {"slow_share": 0.5}),
    ],
)
def test_each_disappointment_alone_takes_the_bundle_back_with_its_figures(name, change):
    number, outcome = run(Probation(EXPECTED), [replace(GOOD, **change)] * 100)
    assert not outcome.passed and number <= 14
    assert outcome.sentence.startswith(f"more {name} than expected: {number} of {number} episodes")


def test_one_stop_in_a_hundred_episodes_is_not_held_against_it_and_one_in_five_is():
    for every, passes in ((100, True), (5, False)):
        episodes = [replace(GOOD, stopped=number % every == 3) for number in range(100)]
        _, outcome = run(Probation(replace(EXPECTED, stop=0.02)), episodes)
        assert outcome.passed == passes


def test_what_nobody_can_judge_is_not_held_against_it():
    _, outcome = run(Probation(EXPECTED), [replace(GOOD, violated=True, failed=True, judged=False)] * 100)
    assert outcome.passed


def test_where_nearly_all_episodes_fail_anyway_failing_is_not_held_against_it():
    _, outcome = run(Probation(replace(EXPECTED, failure=0.95)), [replace(GOOD, failed=True)] * 100)
    assert outcome.passed


@pytest.mark.parametrize(("rate", "least_right"), [(0.1, 0.85), (0.35, 0.95)])
def test_error_rates_are_those_of_the_settings(rate, least_right):
    random = np.random.default_rng(0)
    right = 0
    for _ in range(300):
        episodes = (replace(GOOD, violated=bool(random.random() < rate)) for _ in range(200))
        _, outcome = run(Probation(EXPECTED), episodes)
        right += outcome.passed == (rate == EXPECTED.violation)
    assert right / 300 >= least_right


def test_it_ends_whatever_happens():
    random = np.random.default_rng(1)
    for rate in (0.0, 0.1, 0.2, 0.3, 1.0):
        episodes = [replace(GOOD, violated=bool(random.random() < rate), failed=bool(random.random() < 0.4))
                    for _ in range(80)]  # fmt: skip
        assert run(Probation(EXPECTED), episodes) is not None
