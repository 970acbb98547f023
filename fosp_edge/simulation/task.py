"""Reach the red target, keep away from the green boxes: reward, cost and the end of an episode, on table and floor."""

from fosp_edge.robots.base import Judgement
from fosp_edge.simulation.plant import Outcome

RATE_HZ = 20.0
ROOM_RATE_HZ = 4.0
"""A base needs five times as long for its way, and is asked as often on it."""
EPISODE_STEPS = 100
_REWARD_PER_METRE = 100.0
_SUCCESS_REWARD = 10.0


def judge_step(before: Outcome, after: Outcome, step: int, *, size: float = 1.0) -> Judgement:
    """What one control step earned: one per centimetre gained plus ten on arrival; cost 1 while in violation.

    `step` counts the actions of the episode, from 1; `size` is how many times as large as the table everything is.
    """
    reward = _REWARD_PER_METRE / size * (before.distance_m - after.distance_m) + _SUCCESS_REWARD * after.success
    return Judgement(
        reward=reward,
        cost=float(after.violation),
        success=after.success,
        finished=after.success or step >= EPISODE_STEPS,
    )
