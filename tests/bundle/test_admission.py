"""The gate's judgement: every line it draws is crossed alone, and the refusal names that line with its figures."""

from dataclasses import fields, replace

import numpy as np
import pytest

from fosp_edge.bundle.admission import Evidence, GateThresholds, Luck, Paired, Shadow, judge, one_sided, paired

SAME = Paired(0.0, -0.01, 0.01, 1.0, 20, 0.013)
BETTER = Paired(-0.04, -0.06, -0.02, 1.0, 20, -0.01)
LESS = Paired(0.004, 0.001, 0.008, 1.0, 20, 0.01)
"""Beyond its interval, but less than what the value alone may drop by."""
HARDLY = Paired(-0.004, -0.01, -0.001, 1.0, 20, 0.001)
SHADOW = Shadow(400, 0.1, 0.1, 0.2, 0.2, 1.0, 1.0, 0.1)
GOOD = Evidence(
    parity_action=1e-5, parity_reachability=1e-5, latency_s=0.002, running_latency_s=0.002, period_s=0.05,
    level=0.2, running_level=0.2, model={"own": SAME, "offline": SAME}, known_violations=40, missed=8,
    missed_before=8, value={"own": BETTER, "offline": SAME}, cost={"own": SAME, "offline": SAME},
    imitation=0.1, imitation_before=0.1, one_sided={"own": 0.005, "offline": 0.005},
    luck={"value, own": Luck(0.1, 0.0, 0.1, 40), "cost, offline": Luck(0.4, 0.1, 0.1, 40)},
    proven_episodes=20, shadow=SHADOW, gated=True, gate_level=0.05, running_gate_level=0.05, disturbed=30, noticed=29,
    noticed_before=30,
)  # fmt: skip


def test_what_is_better_in_one_thing_and_alike_in_the_others_is_admitted():
    verdict = judge(GOOD)
    assert verdict.admitted and "all" in verdict.sentence


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("integrity", {"integrity": "a hash differs"}),
        ("contract", {"contract": ("camera wrist: another calibration",)}),
        ("parity", {"parity_action": 0.01}),
        ("latency", {"latency_s": 0.02}),
        ("latency", {"latency_s": 0.0101, "running_latency_s": 0.001}),
        ("filter level", {"level": 0.3}),
        ("known violations", {"missed": 12}),
        ("known violations", {"known_violations": 3, "missed": 0, "missed_before": 0}),
        ("out-of-distribution gate", {"noticed": 20}),
        ("out-of-distribution gate", {"gate_level": 0.2}),
        ("out-of-distribution gate", {"disturbed": 0, "noticed": 0, "noticed_before": 0}),
        ("world model, own", {"model": {"own": replace(SAME, mean=0.1), "offline": SAME}}),
        ("world model, offline", {"model": {"own": SAME, "offline": replace(SAME, mean=0.04, low=0.03)}}),
        ("value, offline", {"value": {"own": BETTER, "offline": paired([0.2] * 20, 1.0)}}),
        ("value, offline", {"value": {"own": BETTER, "offline": paired([float("nan")] + [0.0] * 20, 1.0)}}),
        ("value, own", {"value": {"own": paired([-0.1] * 3, 1.0)}}),
        ("value, own since chosen", {"value": {"own": BETTER, "own since chosen": paired([0.02] * 20, 1.0)}}),
        ("cost, own", {"cost": {"own": replace(SAME, mean=0.06)}}),
        ("benefit", {"value": {"own": SAME}}),
        ("benefit", {"value": {"own": HARDLY}}),
        ("benefit", {"value": {"own": HARDLY, "own since chosen": BETTER}}),
        ("benefit", {"value": {"own": HARDLY}, "cost": {"own since chosen": BETTER}}),
        ("benefit", {"value": {"own": LESS}, "cost": {"own": BETTER}}),
        ("benefit", {"value": {"own": SAME, "own since chosen": LESS}, "cost": {"own": BETTER}}),
        ("more than luck", {"luck": {"value, own": Luck(0.2, 0.1, 0.1, 40)}}),
        ("more than luck", {"luck": {f"value, {who}": Luck(0.3, 0.1, 0.1, 40) for who in "abcde"}}),
        ("more than luck", {"luck": {"value, own": Luck(0.0, 0.0, 0.0, 40)}}),
        ("more than luck", {"luck": {"value, own": Luck(float("nan"), 0.0, 0.1, 40)}}),
        ("more than luck", {"luck": {}}),
        ("proven actions", {"imitation": 0.2}),
        ("one-sided, own", {"one_sided": {"own": 0.016, "offline": 0.005}}),
        ("one-sided, offline", {"one_sided": {"own": 0.005, "offline": float("nan")}}),
        ("one-sided", {"one_sided": {}}),
        ("shadow", {"shadow": None}),
        ("shadow", {"shadow": replace(SHADOW, broken="candidates")}),
        ("shadow length", {"shadow": replace(SHADOW, ticks=10)}),
        ("shadow interventions", {"shadow": replace(SHADOW, intervention_share=0.3)}),
        ("shadow chatter", {"shadow": replace(SHADOW, chatter=0.5)}),
        ("shadow surprise", {"shadow": replace(SHADOW, surprise=3.0)}),
        ("shadow difference", {"shadow": replace(SHADOW, difference=0.7)}),
    ],
)
def test_each_line_alone_refuses_with_its_figures(name, change):
    verdict = judge(replace(GOOD, **change))
    failed = [check for check in verdict.checks if not check.passed]
    assert [check.name for check in failed] == [name]
    assert name in verdict.sentence and failed[0].figures in verdict.sentence


def test_less_cost_is_a_benefit_too():
    assert judge(replace(GOOD, value={"own": SAME}, cost={"own": BETTER})).admitted


def test_of_one_thing_alone_less_is_asked_than_of_the_best_of_many():
    assert judge(replace(GOOD, luck={"value, own": Luck(0.3, 0.1, 0.1, 40)})).admitted


def test_nothing_measured_admits_nothing():
    verdict = judge(Evidence())
    assert not verdict.admitted
    assert {check.name for check in verdict.checks if check.passed} == {"integrity", "contract"}


def test_the_interval_covers_the_truth_as_often_as_it_says():
    random = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        found = paired(random.normal(0.3, 1.0, 30), 1.0, seed=trial, resamples=300)
        covered += found.low <= 0.3 <= found.high
    assert 0.88 <= covered / 200 <= 0.99


def test_every_threshold_says_why():
    import inspect

    source = inspect.getsource(GateThresholds)
    for item in fields(GateThresholds):
        following = source.split(f"{item.name}:", 1)[1].split("\n", 1)[1].lstrip()
        assert following.startswith('"""'), item.name


def test_a_push_that_is_the_same_everywhere_shows_and_what_differs_from_state_to_state_does_not():
    random = np.random.default_rng(0)
    learnt = [random.normal(0.0, 0.1, (30, 3)) for _ in range(40)]
    assert one_sided(learnt) < 0.005
    pushed = [episode + np.array([0.0, -0.04, 0.0]) for episode in learnt]
    assert one_sided(pushed) == pytest.approx(0.02, abs=0.005)
    assert np.isnan(one_sided([*learnt, np.full((30, 3), np.nan)]))
