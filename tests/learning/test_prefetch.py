"""Batches drawn ahead: the same ones, in the same order, and a state that forgets what nobody took."""

import pytest
import torch

from fosp_edge.learning.batch import Batch
from fosp_edge.learning.prefetch import Prefetcher
from tests.agent.sizes import tiny_config
from tests.learning.batches import CPU, MadeUpSampler, make_batch


def ahead(sampler: MadeUpSampler) -> Prefetcher:
    return Prefetcher(sampler, lambda columns: Batch.from_numpy(columns, CPU), CPU)


def test_batches_come_in_order_and_the_state_is_that_of_the_last_one_taken() -> None:
    config = tiny_config()
    sampler = MadeUpSampler(config)
    prefetcher = ahead(sampler)
    assert prefetcher.state() == {"drawn": 0}
    for number in range(4):
        assert torch.equal(prefetcher.take().image, make_batch(config, number).image)
        assert prefetcher.state() == {"drawn": number + 1}  # though the sampler may be one further


def test_who_goes_on_from_the_state_draws_what_was_drawn_ahead() -> None:
    config = tiny_config()
    first = ahead(MadeUpSampler(config))
    first.take()
    other = MadeUpSampler(config)
    other.restore(first.state())
    assert torch.equal(ahead(other).take().state, first.take().state)


def test_what_goes_wrong_in_drawing_is_told_to_the_one_who_takes() -> None:
    class Broken(MadeUpSampler):
        def sample(self) -> dict:
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        ahead(Broken(tiny_config())).take()
