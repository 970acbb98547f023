"""The columns of an episode: one row per control step, the same in every store, reader and learner.

Row t holds the observation o_t, the action a_t taken upon it, and the reward and cost that this action brought
(r_t and c_t are known when o_{t+1} is there). The last row of an episode holds the final observation with a zero
action; `is_terminal` on it says that the task itself ended there (success), not just the recording.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SCHEMA_VERSION = 2
"""2 added `FILTER_COLUMNS`; nothing else changed."""
READABLE_VERSIONS = (1, 2)


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

FILTER_COLUMNS: tuple[Column, ...] = (
    Column("reachability", "float32", (None,), "of each candidate, in the order of the bundle"),
    Column("reward_value", "float32", (None,), "Q_r of each candidate"),
    Column("cost_value", "float32", (None,), "Q_c of each candidate"),
    Column("state_reachability", "float32", (), "of the state before any candidate"),
    Column("surprise", "float32", (), "KL divergence from prior to posterior, nats"),
    Column("chosen", "uint8", (), "row of the candidate that was let through"),
    Column("thresholds", "float32", (2,), "feasible and stop threshold in force, after the gate's tightening"),
    Column("gate", "float32", (3,), "statistics of the out-of-distribution gate over its threshold; 0 without a gate"),
    Column("latency_s", "float32", (), "from the start of the tick to the command on the wire"),
    Column("frame_age_s", "float32", (), "age of the oldest picture"),
)
"""What a filtered run adds, all of it or none: why each action was let through. Zero in an episode's last row, upon
which nothing was decided. Scripts and other tools' data have none of it, and learning asks for none of it."""

Steps = dict[str, npt.NDArray[np.generic]]
"""Columns of one episode or of a part of it, each with the step as first axis."""


def check_steps(steps: Steps) -> int:
    """Number of rows, after checking names, types and lengths against the schema.

    Raises:
        ValueError: a sentence naming the column, what was expected and what was found.
    """
    expected = {column.name: column for column in COLUMNS}
    if any(column.name in steps for column in FILTER_COLUMNS):
        expected |= {column.name: column for column in FILTER_COLUMNS}
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


def with_proof(steps: Steps) -> Steps:
    """The columns of a whole episode with one more, `proven`: whether it reached its end and was never in violation."""
    bad = (steps["violation"].astype(np.float32) > 0.0).any() or (steps["cost"].astype(np.float32) > 0.0).any()
    proven = bool(steps["is_terminal"].any()) and not bad
    return steps | {"proven": np.full(len(steps["reward"]), proven)}
