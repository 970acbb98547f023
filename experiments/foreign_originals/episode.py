"""What every original sees: an episode of pictures and actions, and how its answers are written down."""

import json
from pathlib import Path
from typing import Any

import numpy as np


def read_episode(path: Path) -> dict[str, np.ndarray]:
    """`image` uint8 [T, 64, 64, C], `state` [T, S], `action` [T, A]; the first row begins the episode."""
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def previous_actions(action: np.ndarray) -> np.ndarray:
    """The action that led to each row; zero for the first."""
    return np.concatenate([np.zeros_like(action[:1]), action[:-1]])


def near_zero(bins: int) -> np.ndarray:
    """What to take off two-hot logits so that they mean rewards and values of a plausible size, as trained ones do.

    The outermost bins of `symexp_twohot` stand for 5e8. Under random logits their sum is what is left of numbers a
    million times as large, and says nothing of the networks.
    """
    return (0.5 * np.abs(np.arange(bins) - bins // 2)).astype(np.float32)


def write_answers(path: Path, answers: list[dict[str, Any]], about: dict[str, Any]) -> None:
    """One array per answer over all rows, and `about` as JSON."""
    arrays = {name: np.stack([np.asarray(row[name], np.float32) for row in answers]) for name in answers[0]}
    np.savez(path, about=json.dumps(about), **arrays)
