"""One episode in lockstep as rows of experience: what an offline data set is made of."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from fosp_edge.control.types import Observation
from fosp_edge.experience.schema import Steps
from fosp_edge.robots.arm import DESKTOP_ARM
from fosp_edge.simulation.behaviours import BEHAVIOURS, Action
from fosp_edge.simulation.environment import ENVIRONMENTS

MIXTURE: dict[str, float] = {"safe": 0.5, "unsafe": 0.3, "random": 0.2}
"""Shares of the behaviours; FOSP's data sets mix trajectories of safe, unsafe and random policies (section 5.1)."""


def behaviour_of(seed: int) -> str:
    """Which behaviour makes the episode of this seed, so that any part of a data set can be made again alone."""
    return str(np.random.default_rng([seed, 7]).choice(list(MIXTURE), p=list(MIXTURE.values())))


Act = Callable[[Observation], tuple[Action, Action, int]]
"""From what is seen to the executed action, the wanted one, and the reason."""


class Recorded(Protocol):
    """What an episode can be recorded of: a gymnasium environment with a name, a rate and judgements."""

    scenario: str
    period_s: float
    """How long an action lasts."""
    action_space: Any

    def step(self, action: Action) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """As gymnasium's, with `cost`, `violation` and `success` in the info."""


def collect_episode(
    scenario: str, seed: int, behaviour: str | None = None, robot: str = DESKTOP_ARM.name
) -> tuple[Steps, dict[str, Any]]:
    """Run one scripted episode; returns its rows (see `fosp_edge.experience.schema`) and a summary of how it went.

    Args:
        scenario: scenario family.
        seed: decides layout, behaviour and noise.
        behaviour: one of `behaviours.BEHAVIOURS`; None lets the seed choose by the mixture.
        robot: one of `environment.ENVIRONMENTS`.

    Raises:
        ValueError: unknown scenario or behaviour.
    """
    behaviour = behaviour or behaviour_of(seed)
    if behaviour not in BEHAVIOURS:
        raise ValueError(f"unknown behaviour {behaviour!r}; choose one of: {', '.join(BEHAVIOURS)}")
    environment = ENVIRONMENTS[robot](scenario)
    observation, info = environment.reset(seed=seed)
    script = BEHAVIOURS[behaviour](environment.plant.layout, np.random.default_rng([seed, 11]))

    def act(_: Observation) -> tuple[Action, Action, int]:
        action = environment.follow(script)
        return action, action, 0

    return record_episode(environment, observation, info, act, behaviour, seed)


def record_episode(
    environment: Recorded, observation: dict[str, Any], info: dict[str, Any], act: Act, actor: str, seed: int
) -> tuple[Steps, dict[str, Any]]:
    """Run an episode that was just reset to its end; `actor` names who acts in the summary."""
    rows: list[dict[str, Any]] = []
    rest = np.zeros(environment.action_space.shape, np.float32)
    ended = terminated = False
    while True:
        action, nominal, reason = rest, rest, 0
        if not ended:
            action, nominal, reason = act(Observation(observation["image"], observation["state"]))
        row: dict[str, Any] = {
            "image": observation["image"],
            "state": observation["state"],
            "action": action,
            "nominal": nominal,
            "violation": np.float32(info["violation"]),
            "is_first": np.bool_(not rows),
            "is_terminal": np.bool_(terminated),
            "reason": np.uint8(reason),
            "time_ns": np.int64(round(len(rows) * environment.period_s * 1e9)),
        }
        reward = 0.0
        if not ended:
            observation, reward, terminated, truncated, info = environment.step(action)
        rows.append(row | {"reward": np.float32(reward), "cost": np.float32(0.0 if ended else info["cost"])})
        if ended:
            break
        ended = terminated or truncated
    steps: Steps = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    summary = {
        "scenario": environment.scenario,
        "seed": seed,
        "behaviour": actor,
        "return": float(steps["reward"].sum()),
        "cost": float(steps["cost"].sum()),
        "success": bool(info["success"]),
        "steps": len(rows) - 1,
    }
    return steps, summary
