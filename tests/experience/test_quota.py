import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fosp_edge.experience.episode import EpisodeInfo, EpisodeSummary, StoreError
from fosp_edge.experience.quota import Worth, enforce, to_remove, worth_of
from fosp_edge.experience.store import ExperienceStore
from tests.experience.episodes import make_header, make_steps

SUMMARIES = {
    Worth.PLAIN: EpisodeSummary(rows=5),
    Worth.SUCCESS: EpisodeSummary(rows=5, success=True),
    Worth.INTERVENTION: EpisodeSummary(rows=5, success=True, interventions=2),
    Worth.VIOLATION: EpisodeSummary(rows=5, violations=1, interventions=2),
}


def infos_of(worths):
    return [EpisodeInfo(f"{i:06d}", make_header(), SUMMARIES[worth]) for i, worth in enumerate(worths)]


def test_worth_is_that_of_the_rarest_thing_in_an_episode():
    for worth, summary in SUMMARIES.items():
        assert worth_of(EpisodeInfo("000000", make_header(), summary)) is worth


@given(
    episodes=st.lists(st.tuples(st.sampled_from(Worth), st.integers(1, 100)), min_size=1, max_size=20),
    limit=st.integers(0, 2000),
)
def test_no_more_goes_than_must_and_nothing_worthier_before_something_plainer(episodes, limit):
    infos = infos_of([worth for worth, _ in episodes])
    sizes = {info.id: size for info, (_, size) in zip(infos, episodes, strict=True)}
    removed = to_remove(infos, sizes, limit)
    left = [info for info in infos if info.id not in removed]
    assert infos[-1] in left
    total = sum(sizes[info.id] for info in left)
    assert total <= limit or left == [infos[-1]]
    if removed:
        assert total + sizes[removed[-1]] > limit
        worths = {info.id: worth_of(info) for info in infos}
        kept = [worths[info.id] for info in left[:-1]]
        assert not kept or max(worths[episode_id] for episode_id in removed) <= min(kept)
        assert [(worths[i], i) for i in removed] == sorted((worths[i], i) for i in removed)


def test_a_store_keeps_to_its_quota_and_its_file_stops_growing(tmp_path):
    with ExperienceStore(tmp_path / "store", "a") as store:
        violated = make_steps(40, size_px=32)
        violated["violation"][3] = 1.0
        precious = store.add(make_header(), violated)
        limit = 5 * store.episode_bytes()[precious]
        sizes = []
        for mark in range(30):
            store.add(make_header(), make_steps(40, size_px=32, mark=mark))
            enforce(store, limit)
            assert sum(store.episode_bytes().values()) <= limit
            sizes.append(store.size_bytes())
        assert precious in [info.id for info in store.episodes()]
        assert all(problem is None for _, problem in store.verify())
        assert sizes[-1] == sizes[12]


def test_replacing_rows_is_whole_or_not_at_all(tmp_path, monkeypatch):
    with ExperienceStore(tmp_path / "store", "a") as store:
        episode_id = store.add(make_header(), make_steps(45), "done")
        monkeypatch.setattr(store._database, "_reserve_bytes", 1 << 60)
        with pytest.raises(StoreError):
            store.replace(episode_id, make_steps(7), "other")
        monkeypatch.setattr(store._database, "_reserve_bytes", 0)
        np.testing.assert_array_equal(store.read(episode_id)["image"], make_steps(45)["image"])
        assert store.replace(episode_id, make_steps(7), "other").rows == 7
        assert store.info(episode_id).summary.outcome == "other"
        assert list(store.verify()) == [(episode_id, None)]


def test_what_may_still_be_being_written_is_not_replaced(tmp_path):
    with ExperienceStore(tmp_path / "store", "a") as store:
        writer = store.writer(make_header())
        writer.append({name: values[0] for name, values in make_steps(1).items()})
        writer.flush()
        with pytest.raises(StoreError, match="never closed"):
            store.replace("000000", make_steps(5), "done")
    with ExperienceStore(tmp_path / "store") as store, pytest.raises(StoreError, match="reading"):
        store.remove("000000")
