"""The columns of an episode: one row per control step, the same in every store, reader and learner.

Row t holds the observation o_t, the action a_t taken upon it, and the reward and cost that this action brought
(r_t and c_t are known when o_{t+1} is there). The last row of an episode holds the final observation with a zero
action; `is_terminal` on it says that the task itself ended there (success), not just the recording.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Column:
    """Name, element type and per-row shape of one column; None stands for a size the episode decides."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    meaning: str


COLUMNS: tuple[Column, ...] = (
    Column("image", "uint8", (None, None, None), "[height, width, 3 * cameras], RGB, cameras concatenated on channels"),
    Column("state", "float32", (None,), "the robot's own state vector; names and units stand in the episode's header"),
    Column("action", "float32", (None,), "executed action, normalised to [-1, 1]"),
    Column("nominal", "float32", (None,), "what the policy alone would have done, normalised"),
    Column("reward", "float32", (), "reward of the step that begins here"),
    Column("cost", "float32", (), "cost of the step that begins here; 1 in violation"),
    Column("violation", "float32", (), "1 if the constraint is violated in the state of this row itself"),
    Column("is_first", "bool", (), "first row of the episode"),
    Column("is_terminal", "bool", (), "the task ended in this row"),
    Column("reason", "uint8", (), "index into the header's list of filter reasons"),
    Column("time_ns", "int64", (), "monotonic time of the tick"),
)

Steps = dict[str, npt.NDArray[np.generic]]
"""Columns of one episode or of a part of it, each with the step as first axis."""


def check_steps(steps: Steps) -> int:
    """Number of rows, after checking names, types and lengths against the schema.

    Raises:
        ValueError: a sentence naming the column, what was expected and what was found.
    """
    expected = {column.name: column for column in COLUMNS}
    if missing := sorted(expected.keys() - steps.keys()):
        raise ValueError(f"columns are missing from the episode: {', '.join(missing)}")
    if unknown := sorted(steps.keys() - expected.keys()):
        raise ValueError(f"columns unknown to schema {SCHEMA_VERSION}: {', '.join(unknown)}")
    rows = len(steps["reward"])
    for name, column in expected.items():
        values = steps[name]
        if values.dtype != np.dtype(column.dtype):
            raise ValueError(f"column {name}: expected {column.dtype}, found {values.dtype}")
        if values.shape[:1] != (rows,) or values.ndim != 1 + len(column.shape):
            raise ValueError(f"column {name}: expected {rows} rows of shape {column.shape}, found {values.shape}")
    return rows
