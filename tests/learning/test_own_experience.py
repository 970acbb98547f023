"""Own experience comes in while learning, offline data stay in every batch."""

from pathlib import Path

import numpy as np
import pytest

from fosp_edge.experience.schema import with_proof
from fosp_edge.experience.store import ExperienceStore
from fosp_edge.learning.own_experience import KEPT, MixedSampler, OwnExperience, shares
from tests.experience.episodes import make_header, make_steps


class Marked:
    """An offline sampler whose rewards are all -1."""

    def __init__(self, batch: int, length: int) -> None:
        self.batch, self.length, self.drawn = batch, length, 0

    def sample(self) -> dict[str, np.ndarray]:
        self.drawn += 1
        steps = make_steps(self.batch * self.length)
        whole = {name: values.reshape(self.batch, self.length, *values.shape[1:]) for name, values in steps.items()}
        return whole | {"reward": np.full((self.batch, self.length), -1.0, np.float32)}

    def state(self) -> dict[str, int]:
        return {"drawn": self.drawn}

    def restore(self, state: dict[str, int]) -> None:
        self.drawn = state["drawn"]


def test_episodes_come_in_once_each_and_only_when_finished(tmp_path: Path) -> None:
    with ExperienceStore(tmp_path, "a") as store:
        own = OwnExperience(store, 2, 5, 0)
        assert own.refresh() == 0 and own.rows == 0
        with pytest.raises(ValueError, match="no experience of its own yet"):
            own.sample()
        store.add(make_header(), make_steps(7))
        store.add(make_header(seed=6), make_steps(4, mark=1), "unfinished")
        assert own.refresh() == 7 and own.refresh() == 0
        store.add(make_header(seed=7), make_steps(5, mark=2))
        assert own.refresh() == 5 and own.episodes == 2 and own.rows == 12


def test_windows_are_consecutive_rows_and_seams_are_marked(tmp_path: Path) -> None:
    with ExperienceStore(tmp_path, "a") as store:
        store.add_all([(make_header(), make_steps(rows, mark=mark), "complete") for mark, rows in ((1, 4), (2, 9))])
        own = OwnExperience(store, 3, 12, 0)
        own.refresh()
        seen = set()
        for _ in range(40):
            batch = own.sample()
            assert batch["image"].shape == (3, 12, 8, 8, 6) and batch["is_first"][:, 0].all()
            assert np.array_equal(np.diff(batch["reward"], axis=1) != 1, batch["is_first"][:, 1:])
            seen |= set(batch["reward"].flatten().tolist())
        assert len(seen) == 13  # every row is drawn


def test_the_oldest_are_let_go_when_memory_is_full(tmp_path: Path) -> None:
    with ExperienceStore(tmp_path, "a") as store:
        one = sum(with_proof(make_steps(5))[name].nbytes for name in KEPT)
        own = OwnExperience(store, 1, 3, 0, memory_limit_bytes=2 * one)
        for mark in range(4):
            store.add(make_header(seed=mark), make_steps(5, mark=mark))
            own.refresh()
        assert own.episodes == 2 and own.memory_bytes <= 2 * one
        assert {int(own.sample()["reward"][0, 0]) // 1000 for _ in range(50)} == {2, 3}


def test_half_of_every_batch_is_offline_and_all_of_it_before_anything_was_lived(tmp_path: Path) -> None:
    with ExperienceStore(tmp_path, "a") as store:
        mixed = MixedSampler(Marked(3, 4), OwnExperience(store, 3, 4, 0), refresh_every=1)
        before = mixed.sample()
        assert (before["reward"] == -1).all() and before["reward"].shape == (6, 4)
        store.add(make_header(), make_steps(9))
        batch = mixed.sample()
        assert (batch["reward"][:3] == -1).all() and (batch["reward"][3:] >= 0).all()
        assert batch["image"].shape == (6, 4, 8, 8, 6)
        state = mixed.state()
        expected = mixed.sample()["reward"]
        mixed.restore(state)
        assert np.array_equal(mixed.sample()["reward"], expected)


def test_shares_of_a_batch() -> None:
    assert shares(16, 0.5) == (8, 8) and shares(3, 0.9) == (2, 1) and shares(8, 0.01) == (1, 7)
    for batch, share in ((1, 0.5), (8, 0.0), (8, 1.0)):
        with pytest.raises(ValueError, match="expected a batch of at least 2 and a share"):
            shares(batch, share)
