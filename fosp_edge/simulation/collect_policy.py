"""Episodes of a bundle's own policy as rows of experience: what its safety filter has to be calibrated on.

A filter's promise holds for episodes that come about as the calibrated ones did. Scripts visit other states than the
policy, so their violations are no sample of its violations; these are.
"""

from typing import Any

import numpy as np

from fosp_edge.control.recorder import REASONS
from fosp_edge.control.types import Observation
from fosp_edge.experience.schema import Steps
from fosp_edge.simulation.behaviours import Action
from fosp_edge.simulation.collect import record_episode
from fosp_edge.simulation.evaluation import BundleActor


def collect_policy_episode(actor: BundleActor, scenario: str, seed: int) -> tuple[Steps, dict[str, Any]]:
    """Run one episode of a bundle in lockstep; the seed decides layout and noise. Raises as `Controller.decide`."""
    environment = actor.environment(scenario)
    observation, info = environment.reset(seed=seed)
    actor.reset(seed)

    def act(seen: Observation) -> tuple[Action, Action, int]:
        decision = actor.decide(seen)[0]
        return decision.action, np.asarray(decision.nominal, np.float32), REASONS.index(decision.reason)

    return record_episode(environment, observation, info, act, "bundle", seed)
