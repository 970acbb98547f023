"""How strict a candidate's filter is at the least."""

import copy
import math
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch

from export.exporter import export_bundle
from export.reference import redrawn_reachability
from export.restore import agent_of_bundle
from fosp_edge.agent.agent import Agent
from fosp_edge.bundle.folder import Bundle, load_bundle
from fosp_edge.cli.admission import HeldOut
from fosp_edge.cli.candidate import ceilings
from fosp_edge.cli.familiarity import Episodes
from tests.export.agents import make_agent, make_episode
from tests.export.test_exporter import CONTRACT

EPISODES = [make_episode(seed, onset=8 if seed % 4 == 0 else None) for seed in range(16)]
HELD_OUT = HeldOut(own=cast(Episodes, [(None, steps) for steps in EPISODES[:8]]), offline=(), quiet=cast(
    Episodes, [(None, steps) for steps in EPISODES[8:]]
))  # fmt: skip


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = export_bundle(
        make_agent(), CONTRACT, EPISODES, name="tiny", miss_rate=0.5, data_sha256="0" * 64, provenance={},
        parent_folder=tmp_path_factory.mktemp("running"), storage="float32",
    ).path  # fmt: skip
    return load_bundle(path)


def calmer(agent: Agent, logit: float, **changes: Any) -> Agent:
    """Believes everything to be safer by so much, and else the same."""
    changed = copy.deepcopy(agent)
    changed.config = replace(agent.config, **changes)
    with torch.no_grad():
        changed.critics.reach_action.output.bias -= logit
    return changed


def alarms(agent: Agent, threshold: float) -> int:
    generator = torch.Generator().manual_seed(0)
    quiet = [steps for steps in EPISODES if not steps["violation"].any()]
    return sum(int(np.sum(redrawn_reachability(agent, steps, generator)[:, :-1] > threshold)) for steps in quiet)


def test_a_judge_that_did_not_learn_keeps_its_thresholds(running: Bundle) -> None:
    agent = calmer(agent_of_bundle(running), 3.0, reachability_learns=False)
    before = running.manifest.filter
    assert ceilings(agent, running, HELD_OUT) == (before.feasible_reachability, before.stop_reachability)


@pytest.mark.parametrize("logit", [0.0, 3.0, -1.0])
def test_a_judge_that_learnt_to_be_calmer_alarms_no_less_often(running: Bundle, logit: float) -> None:
    first, before = agent_of_bundle(running), running.manifest.filter
    agent = calmer(first, logit, reachability_learns=True)
    found = ceilings(agent, running, HELD_OUT)
    for ceiling, threshold in zip(found, (before.feasible_reachability, before.stop_reachability), strict=True):
        assert alarms(agent, ceiling) == alarms(first, threshold)
        # The threshold, seen through the change: the largest score below it, which is as near as there are scores.
        moved = 1.0 / (1.0 + math.exp(logit - math.log(threshold / (1.0 - threshold))))
        assert ceiling == pytest.approx(moved, rel=0.2) and ceiling <= moved + 1e-6
    assert alarms(first, before.feasible_reachability) > 0


def test_of_no_quiet_episode_nothing_is_counted(running: Bundle) -> None:
    agent = calmer(agent_of_bundle(running), 3.0, reachability_learns=True)
    violent = HeldOut(own=cast(Episodes, [(None, EPISODES[0])]), offline=())
    before = running.manifest.filter
    assert ceilings(agent, running, violent) == (before.feasible_reachability, before.stop_reachability)
