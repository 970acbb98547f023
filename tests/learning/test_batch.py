"""Which action led where, and which reward came of it, at the seams between episodes above all."""

import numpy as np
import torch

from tests.agent.sizes import tiny_config
from tests.learning.batches import make_batch, make_columns


def test_rows_keep_their_conventions() -> None:
    config = tiny_config()
    columns, batch = make_columns(config), make_batch(config)
    seam = config.batch_length // 2
    previous = batch.previous_action.numpy()
    assert np.all(previous[:, 0] == 0.0)
    assert np.array_equal(previous[:, 1:], columns["action"][:, :-1])
    arrival = batch.arrival_reward.numpy()
    assert np.all(arrival[:, 0] == 0.0) and arrival[0, seam] == 0.0
    assert np.array_equal(arrival[1, 1:], columns["reward"][1, :-1])
    assert np.array_equal(arrival[0, 1:seam], columns["reward"][0, : seam - 1])


def test_no_row_has_a_successor_in_another_episode() -> None:
    config = tiny_config()
    batch, seam = make_batch(config), config.batch_length // 2
    expected = np.ones((config.batch_size, config.batch_length - 1), bool)
    expected[0, seam - 1] = False
    assert np.array_equal(batch.has_successor.numpy(), expected)


def test_columns_keep_their_types() -> None:
    batch = make_batch(tiny_config())
    assert batch.image.dtype == torch.uint8 and batch.state.dtype == torch.float32
    assert batch.is_first.dtype == torch.bool and batch.is_terminal.dtype == torch.bool
