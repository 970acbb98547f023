import numpy as np
import pytest

from fosp_edge.experience.episode import StoreError
from fosp_edge.experience.formats.dreamer import DreamerChunks, write_chunks
from fosp_edge.experience.formats.vd4rl import VD4RLEpisodes, write_episodes
from fosp_edge.experience.schema import check_steps
from fosp_edge.experience.store import ExperienceStore
from tests.experience.episodes import make_header, make_steps

KEPT = ("image", "state", "action", "reward", "cost", "violation", "is_first", "is_terminal", "time_ns")


def consistent(rows, mark=0):
    """An episode as a recorder leaves it: no action in the last row, violation where a cost arrived."""
    steps = make_steps(rows, mark=mark)
    for name in ("action", "nominal", "reward"):
        steps[name][-1] = 0
    steps["cost"][2:4] = 1.0
    steps["violation"][3:5] = 1.0
    steps["is_terminal"][-1] = mark % 2 == 0
    return steps


@pytest.fixture
def store(tmp_path):
    with ExperienceStore(tmp_path / "store", "a") as opened:
        for mark, rows in enumerate([700, 700, 30]):
            opened.add(make_header(), consistent(rows, mark))
        yield opened


@pytest.mark.parametrize(
    ("write", "reader", "files"), [(write_chunks, DreamerChunks, 2), (write_episodes, VD4RLEpisodes, 3)]
)
def test_what_is_exported_is_imported_again(store, tmp_path, write, reader, files):
    ids = [info.id for info in store.episodes()]
    assert write(store, tmp_path / "out", ids) == files
    source = reader(tmp_path / "out", rate_hz=20.0)
    infos = source.episodes()
    assert [info.summary.rows for info in infos] == [700, 700, 30]
    for original, info in zip(store.episodes(), infos, strict=True):
        expected, found = store.read(original.id), source.read(info.id)
        check_steps(found)
        for name in KEPT:
            np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
        assert info.summary.total_cost == original.summary.total_cost == 2
        assert info.summary.violations == original.summary.violations
        assert info.summary.success == original.summary.success
        assert info.summary.total_reward == pytest.approx(original.summary.total_reward)
        assert info.summary.outcome == "complete"


def foreign_chunk(folder, name, rows, capacity, *, firsts=(), lasts=(), offset=0):
    """A chunk as the tool saves it: full capacity, garbage behind the rows that count."""
    index = offset + np.arange(capacity)
    arrays = {
        "image": np.repeat(index.astype(np.uint8), 8 * 8 * 3).reshape(capacity, 8, 8, 3),
        "image2": np.zeros((capacity, 8, 8, 3), np.uint8),
        "action": np.tile(index[:, None] / 1000, (1, 2)).astype(np.float32),
        "reward": index.astype(np.float32),
        "cost": np.zeros(capacity, np.float32),
        "is_first": np.isin(np.arange(capacity), firsts),
        "is_last": np.isin(np.arange(capacity), lasts),
        "is_terminal": np.zeros(capacity, np.bool_),
        "lagrange_penalty": np.zeros(capacity, np.float32),
        "log_extra": np.zeros((capacity, 3), np.float32),
    }
    for values in arrays.values():
        if values.dtype.kind == "f":
            values[rows:] = np.nan
    arrays["is_first"][rows:] = True
    np.savez_compressed(folder / f"{name}-{rows}.npz", **arrays)


def test_chunks_of_the_tool_are_read_across_files_without_their_tails(tmp_path):
    foreign_chunk(tmp_path, "20230918T120000F000-aaa-bbb", 16, 16, firsts=(0, 10), lasts=(9,))
    foreign_chunk(tmp_path, "20230918T120100F000-bbb-000", 7, 16, firsts=(4,), lasts=(3, 6), offset=16)
    foreign_chunk(tmp_path, "20230918T110000F000-ccc-000", 3, 16, firsts=(0,), offset=100)
    source = DreamerChunks(tmp_path)
    infos = source.episodes()
    assert [info.summary.rows for info in infos] == [3, 10, 10, 3]
    assert [info.summary.outcome for info in infos] == ["unfinished", "complete", "complete", "complete"]
    assert [camera.name for camera in source.header.cameras] == ["image", "image2"]
    assert source.header.state == ()
    across = source.read("000002")
    np.testing.assert_array_equal(across["image"][:, 0, 0, 0], np.arange(10, 20))
    np.testing.assert_array_equal(across["reward"], [*range(11, 20), 0])
    np.testing.assert_allclose(across["action"][:, 0], [*(np.arange(10, 19) / 1000), 0], rtol=1e-6)
    for info in infos:
        assert all(np.isfinite(values).all() for values in source.read(info.id).values())


def test_an_episode_cut_at_its_front_is_one_too(tmp_path):
    foreign_chunk(tmp_path, "20230918T120100F000-bbb-000", 7, 16, firsts=(4,), lasts=(3, 6))
    assert [info.summary.rows for info in DreamerChunks(tmp_path).episodes()] == [4, 3]


def test_actions_of_v_d4rl_stand_beside_what_they_led_to(tmp_path):
    rows = 6
    np.savez_compressed(
        tmp_path / f"20210101T000000-{'a' * 32}-{rows}.npz",
        image=np.zeros((rows, 8, 8, 3), np.uint8),
        action=np.arange(rows, dtype=np.float32)[:, None] / 10,
        reward=np.arange(rows, dtype=np.float32),
        discount=np.array([1, 1, 1, 1, 1, 0], np.float32),
    )
    source = VD4RLEpisodes(tmp_path)
    steps = source.read("000000")
    np.testing.assert_allclose(steps["action"][:, 0], [0.1, 0.2, 0.3, 0.4, 0.5, 0.0], rtol=1e-6)
    np.testing.assert_array_equal(steps["reward"], [1, 2, 3, 4, 5, 0])
    np.testing.assert_array_equal(steps["is_terminal"], [0, 0, 0, 0, 0, 1])
    assert source.episodes()[0].summary.success


def test_pickles_are_refused(tmp_path):
    path = tmp_path / f"20210101T000000-{'a' * 32}-2.npz"
    np.savez(path, image=np.zeros((2, 8, 8, 3), np.uint8), action=np.array([{}, {}], dtype=object))
    with pytest.raises(StoreError, match="action cannot be read"):
        VD4RLEpisodes(tmp_path)


@pytest.mark.parametrize(
    ("names", "word"),
    [
        (["t-aaa-bbb-8", "u-bbb-aaa-8"], "circle"),
        (["t-aaa-bbb-8", "u-bbb-ccc-8", "v-ccc-bbb-8"], "circle"),
        (["t-aaa-ccc-8", "u-bbb-ccc-8", "v-ccc-000-8"], "same successor"),
        (["t-aaa-000-8", "u-aaa-000-8"], "twice"),
        (["t-aaa-000-eight"], "number of its rows"),
        (["t-aaa-000-99"], "promises 99 rows"),
    ],
)
def test_chunks_that_contradict_one_another_are_refused(tmp_path, names, word):
    for name in names:
        foreign_chunk(tmp_path, "x-x-x", 8, 8, firsts=(0,))
        (tmp_path / "x-x-x-8.npz").rename(tmp_path / f"{name}.npz")
    with pytest.raises(StoreError, match=word):
        DreamerChunks(tmp_path)


def test_damaged_files_are_one_sentence(tmp_path):
    (tmp_path / "t-aaa-000-8.npz").write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(StoreError, match="cannot be read"):
        DreamerChunks(tmp_path)
    with pytest.raises(StoreError, match="no episodes"):
        VD4RLEpisodes(tmp_path)
