"""One scripted episode as rows of experience: what an offline data set is made of."""

from typing import Any

import numpy as np

from fosp_edge.experience.schema import Steps
from fosp_edge.simulation.behaviours import BEHAVIOURS
from fosp_edge.simulation.environment import SafeReach

MIXTURE: dict[str, float] = {"safe": 0.5, "unsafe": 0.3, "random": 0.2}
"""Shares of the behaviours; FOSP's data sets mix trajectories of safe, unsafe and random policies (section 5.1)."""


def behaviour_of(seed: int) -> str:
    """Which behaviour makes the episode of this seed, so that any part of a data set can be made again alone."""
    return str(np.random.default_rng([seed, 7]).choice(list(MIXTURE), p=list(MIXTURE.values())))


def collect_episode(scenario: str, seed: int, behaviour: str | None = None) -> tuple[Steps, dict[str, Any]]:
    """Run one episode; returns its rows (see `fosp_edge.experience.schema`) and a summary of how it went.

    Args:
        scenario: scenario family.
        seed: decides layout, behaviour and noise.
        behaviour: one of `behaviours.BEHAVIOURS`; None lets the seed choose by the mixture.

    Raises:
        ValueError: unknown scenario or behaviour.
    """
    behaviour = behaviour or behaviour_of(seed)
    if behaviour not in BEHAVIOURS:
        raise ValueError(f"unknown behaviour {behaviour!r}; choose one of: {', '.join(BEHAVIOURS)}")
    environment = SafeReach(scenario)
    observation, info = environment.reset(seed=seed)
    script = BEHAVIOURS[behaviour](environment.plant.layout, np.random.default_rng([seed, 11]))
    rows: list[dict[str, Any]] = []
    ended = terminated = False
    while True:
        action = np.zeros(3, np.float32) if ended else script.act(environment.plant.tip_m())
        row: dict[str, Any] = {
            "image": observation["image"],
            "state": observation["state"],
            "action": action,
            "nominal": action,
            "violation": np.float32(info["violation"]),
            "is_first": np.bool_(not rows),
            "is_terminal": np.bool_(terminated),
            "reason": np.uint8(0),
            "time_ns": np.int64(len(rows) * 50_000_000),
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
        "scenario": scenario,
        "seed": seed,
        "behaviour": behaviour,
        "return": float(steps["reward"].sum()),
        "cost": float(steps["cost"].sum()),
        "success": bool(terminated),
        "steps": len(rows) - 1,
    }
    return steps, summary
