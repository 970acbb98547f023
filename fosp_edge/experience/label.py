"""Saying afterwards how an episode went: a person saw the success, or the touch, that no sensor reported."""

from collections.abc import Sequence

import numpy as np

from fosp_edge.experience.episode import StoreError
from fosp_edge.experience.schema import Steps

Stretch = tuple[int, int]
"""First and last row, both included."""


def labelled(steps: Steps, *, success: bool | None = None, violations: Sequence[Stretch] | None = None) -> Steps:
    """The rows of an episode with labels in place of what was recorded.

    Args:
        steps: all rows of an episode; left as they are.
        success: whether the task ended in the last row; None leaves it.
        violations: stretches of rows whose state violates the constraint, in place of those recorded; None leaves
            them. A step costs 1 if it ends in such a row.

    Raises:
        StoreError: a stretch lies outside the episode, or runs backwards.
    """
    result = dict(steps)
    rows = len(steps["reward"])
    if success is not None:
        result["is_terminal"] = np.logical_and(np.arange(rows) == rows - 1, success)
    if violations is not None:
        violation = np.zeros(rows, np.float32)
        for first, last in violations:
            if not 0 <= first <= last < rows:
                raise StoreError(f"rows {first} to {last} do not lie in an episode of {rows} rows, counted from 0")
            violation[first : last + 1] = 1.0
        result["violation"] = violation
        result["cost"] = np.append(violation[1:], np.float32(0.0))
    return result
