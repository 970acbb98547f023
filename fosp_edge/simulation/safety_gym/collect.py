"""The offline mixture of a task of Safety-Gymnasium, episode by episode."""

import atexit
from typing import Any

import numpy as np

from fosp_edge.control.types import Observation
from fosp_edge.experience.schema import Steps
from fosp_edge.simulation.collect import behaviour_of, record_episode
from fosp_edge.simulation.safety_gym.behaviours import BEHAVIOURS, Action
from fosp_edge.simulation.safety_gym.environment import SafetyGym

_ENVIRONMENTS: dict[str, SafetyGym] = {}
"""One per task in each process: making one takes longer than beginning an episode in it."""


def environment_of(task: str) -> SafetyGym:
    """A process's own environment of a task. Raises ValueError or SafetyGymMissing."""
    if task not in _ENVIRONMENTS:
        _ENVIRONMENTS[task] = SafetyGym(task)
        atexit.register(_ENVIRONMENTS[task].close)  # drawing wants to be ended before the interpreter is
    return _ENVIRONMENTS[task]


def collect_episode(task: str, seed: int, behaviour: str | None = None) -> tuple[Steps, dict[str, Any]]:
    """Run one scripted episode; returns its rows and a summary of how it went.

    Args:
        task: a name in `environment.TASKS`.
        seed: decides layout, behaviour and noise.
        behaviour: one of `behaviours.BEHAVIOURS`; None lets the seed choose by the mixture.

    Raises:
        ValueError: unknown task or behaviour.
        SafetyGymMissing: Safety-Gymnasium is not installed.
    """
    behaviour = behaviour or behaviour_of(seed)
    if behaviour not in BEHAVIOURS:
        raise ValueError(f"unknown behaviour {behaviour!r}; choose one of: {', '.join(BEHAVIOURS)}")
    environment = environment_of(task)
    observation, info = environment.reset(seed=seed)
    script = BEHAVIOURS[behaviour](environment.task, environment.truth, np.random.default_rng([seed, 11]))

    def act(_: Observation) -> tuple[Action, Action, int]:
        action = script.act()
        return action, action, 0

    return record_episode(environment, observation, info, act, behaviour, seed)
