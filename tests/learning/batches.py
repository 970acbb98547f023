"""Made-up batches: two kinds of pictures, and costs and rewards that follow from the actions."""

import numpy as np
import torch

from fosp_edge.agent.config import Config
from fosp_edge.learning.batch import Batch

CPU = torch.device("cpu")


def make_columns(config: Config, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    batch, length = config.batch_size, config.batch_length
    bright = random.integers(0, 2, (batch, length, 1, 1, 1))
    image = np.broadcast_to(60 + 130 * bright, (batch, length, 64, 64, config.image_channels)).astype(np.uint8)
    first = np.zeros((batch, length), bool)
    first[:, 0] = True
    first[0, length // 2] = True
    terminal = np.zeros((batch, length), bool)
    terminal[0, length // 2 - 1] = True
    violation = (random.random((batch, length)) < 0.3).astype(np.float32)
    return {
        "image": image.copy(),
        "state": random.normal(size=(batch, length, config.state_size)).astype(np.float32),
        "action": random.uniform(-1, 1, (batch, length, config.action_size)).astype(np.float32),
        "reward": random.normal(size=(batch, length)).astype(np.float32),
        "cost": np.roll(violation, -1, axis=1).astype(np.float32),
        "violation": violation,
        "is_first": first,
        "is_terminal": terminal,
    }


def make_batch(config: Config, seed: int = 0) -> Batch:
    return Batch.from_numpy(make_columns(config, seed), CPU)


class MadeUpSampler:
    """Draws made-up batches; its state is how many it drew."""

    def __init__(self, config: Config) -> None:
        self.config, self.drawn = config, 0
        self.spoil_at: int | None = None

    def sample(self) -> dict[str, np.ndarray]:
        columns = make_columns(self.config, self.drawn)
        if self.drawn == self.spoil_at:
            columns["state"][0, 0, 0] = np.nan
        self.drawn += 1
        return columns

    def state(self) -> dict[str, int]:
        return {"drawn": self.drawn}

    def restore(self, state: dict[str, int]) -> None:
        self.drawn = state["drawn"]
