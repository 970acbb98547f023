import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fosp_edge.experience.episode import EpisodeInfo, EpisodeSummary, StoreError
from fosp_edge.experience.sampler import SequenceSampler
from fosp_edge.experience.schema import with_proof
from tests.experience.episodes import RECORDING, make_header, make_steps


class Shelf:
    """Episodes in memory, by the protocol."""

    def __init__(self, lengths, recording=RECORDING, size_px=8):
        self.header = recording
        self._steps = [make_steps(rows, mark=mark, size_px=size_px) for mark, rows in enumerate(lengths)]

    def episodes(self):
        return [
            EpisodeInfo(str(i), make_header(recording=self.header, seed=i), EpisodeSummary().extended(steps))
            for i, steps in enumerate(self._steps)
        ]

    def read(self, episode_id):
        return self._steps[int(episode_id)]


@settings(max_examples=30)
@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=5), length=st.integers(1, 50), seed=st.integers(0, 99))
def test_windows_follow_episodes_row_by_row_and_mark_every_seam(lengths, length, seed):
    shelf = Shelf(lengths)
    batch = SequenceSampler([shelf], 3, length, seed).sample()
    for name, values in batch.items():
        assert values.shape[:2] == (3, length)
        assert values.dtype == with_proof(shelf.read("0"))[name].dtype
    assert batch["is_first"][:, 0].all()
    for sequence in range(3):
        for t in range(length):
            mark, row = divmod(int(batch["reward"][sequence, t]), 1000)
            np.testing.assert_array_equal(batch["image"][sequence, t], shelf.read(str(mark))["image"][row])
            if t == 0:
                continue
            before = divmod(int(batch["reward"][sequence, t - 1]), 1000)
            if batch["is_first"][sequence, t]:
                assert row == 0
                assert before[1] == lengths[before[0]] - 1
            else:
                assert before == (mark, row - 1)


def test_every_row_is_as_likely_to_begin_a_window():
    lengths = [3, 40, 7]
    sampler = SequenceSampler([Shelf(lengths)], 64, 4, 0)
    counts = np.zeros(50)
    offsets = np.cumsum([0, *lengths])
    for _ in range(400):
        for value in sampler.sample()["reward"][:, 0]:
            mark, row = divmod(int(value), 1000)
            counts[offsets[mark] + row] += 1
    expected = 64 * 400 / 50
    chi_squared = float(np.sum((counts - expected) ** 2 / expected))
    assert chi_squared < 85.4  # 0.999 quantile, 49 degrees of freedom


def test_a_restored_sampler_draws_the_same_batches():
    sampler = SequenceSampler([Shelf([30, 20])], 4, 8, 0)
    sampler.sample()
    state = json.loads(json.dumps(sampler.state()))
    expected = [sampler.sample()["reward"] for _ in range(3)]
    again = SequenceSampler([Shelf([30, 20])], 4, 8, 123)
    again.restore(state)
    for wanted in expected:
        np.testing.assert_array_equal(again.sample()["reward"], wanted)
    with pytest.raises(ValueError, match="50 rows"):
        SequenceSampler([Shelf([30, 21])], 4, 8, 0).restore(state)


def test_episodes_can_be_chosen_and_progress_is_told():
    seen = []
    sampler = SequenceSampler(
        [Shelf([10, 20, 30])],
        2,
        5,
        0,
        choose=lambda info: info.header.seed != 1,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert (sampler.rows, sampler.episodes) == (40, 2)
    assert seen == [(10, 40), (40, 40)]
    assert not ((sampler.sample()["reward"] // 1000) == 1).any()


def test_several_sources_are_one_pool():
    assert SequenceSampler([Shelf([10]), Shelf([5, 5])], 2, 5, 0).rows == 20


def test_the_memory_bound_is_kept():
    with pytest.raises(StoreError, match="GiB"):
        SequenceSampler([Shelf([100])], 2, 5, 0, memory_limit_bytes=1000)
    sampler = SequenceSampler([Shelf([100])], 2, 5, 0, memory_limit_bytes=100 * 1000)
    assert sampler.memory_bytes <= 100 * 1000


def test_sources_that_do_not_fit_together_are_refused():
    with pytest.raises(StoreError, match="rate_hz"):
        SequenceSampler([Shelf([5]), Shelf([5], dataclasses.replace(RECORDING, rate_hz=10.0))], 2, 5, 0)
    with pytest.raises(StoreError, match="image"):
        SequenceSampler([Shelf([5]), Shelf([5], size_px=4)], 2, 5, 0)
    with pytest.raises(StoreError, match="no episodes"):
        SequenceSampler([], 2, 5, 0)
    with pytest.raises(ValueError, match="at least 1"):
        SequenceSampler([Shelf([5])], 0, 5, 0)
