import dataclasses
import json

import lmdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fosp_edge.experience.episode import StoreError
from fosp_edge.experience.schema import FILTER_COLUMNS, check_steps
from fosp_edge.experience.store import CHUNK_ROWS, ExperienceStore
from tests.experience.episodes import RECORDING, make_header, make_steps, row_of


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name in expected:
        assert found[name].dtype == expected[name].dtype
        np.testing.assert_array_equal(found[name], expected[name])


def test_what_goes_in_comes_out(tmp_path):
    steps = make_steps(53)
    steps["nominal"][7] += 0.5
    steps["cost"][9], steps["violation"][10], steps["is_terminal"][52] = 1.0, 1.0, True
    with ExperienceStore(tmp_path / "store", "a") as store:
        assert store.header is None
        writer = store.writer(make_header())
        for index in range(53):
            writer.append(row_of(steps, index))
        assert writer.close("success") == "000000"
    with ExperienceStore(tmp_path / "store") as store:
        (info,) = store.episodes()
        assert_same(store.read(info.id), steps)
        assert store.header == RECORDING
        assert dataclasses.replace(info.header, created_utc="") == make_header()
        summary = info.summary
        assert (summary.rows, summary.outcome, summary.success) == (53, "success", True)
        assert (summary.total_reward, summary.total_cost) == (sum(range(53)), 1.0)
        assert (summary.interventions, summary.violations) == (1, 1)
        assert list(store.verify()) == [("000000", None)]


@settings(max_examples=15)
@given(lengths=st.lists(st.integers(1, 65), min_size=1, max_size=4))
def test_any_lengths_round_trip(tmp_path_factory, lengths):
    with ExperienceStore(tmp_path_factory.mktemp("any") / "store", "a") as store:
        ids = [store.add(make_header(), make_steps(rows, mark=mark)) for mark, rows in enumerate(lengths)]
        assert [info.id for info in store.episodes()] == ids
        for mark, rows in enumerate(lengths):
            assert_same(store.read(ids[mark]), make_steps(rows, mark=mark))


def test_an_open_episode_is_readable_up_to_its_last_chunk_and_marked(tmp_path):
    steps = make_steps(50)
    with ExperienceStore(tmp_path / "store", "a") as store:
        writer = store.writer(make_header())
        for index in range(50):
            writer.append(row_of(steps, index))
        (info,) = store.episodes()
        assert info.summary.outcome == "unfinished"
        assert not info.summary.finished
        assert len(store.read(info.id)["reward"]) == 50 // CHUNK_ROWS * CHUNK_ROWS
        writer.flush()
        assert_same(store.read(info.id), steps)


def test_an_episode_without_rows_does_not_exist(tmp_path):
    with ExperienceStore(tmp_path / "store", "a") as store:
        assert store.writer(make_header()).close() is None
        assert store.episodes() == []


def test_rows_are_copied_so_that_a_buffer_may_be_used_again(tmp_path):
    row = row_of(make_steps(1), 0)
    buffer = row["image"].copy()
    with ExperienceStore(tmp_path / "store", "a") as store:
        writer = store.writer(make_header())
        writer.append(row | {"image": buffer})
        buffer[:] = 0
        writer.close()
        np.testing.assert_array_equal(store.read("000000")["image"][0], row["image"])


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"reward": np.float32("nan")}, "reward"),
        ({"state": np.full(4, np.inf, np.float32)}, "state"),
        ({"image": np.zeros((8, 8, 6), np.float32)}, "image"),
        ({"astonishment": np.float32(0)}, "astonishment"),
    ],
)
def test_rows_that_do_not_fit_are_refused_by_name(tmp_path, change, word):
    with ExperienceStore(tmp_path / "store", "a") as store:
        writer = store.writer(make_header())
        with pytest.raises(ValueError, match=word):
            writer.append(row_of(make_steps(1), 0) | change)
        assert writer.close() is None


def test_rows_of_another_shape_are_refused_and_the_rest_survives(tmp_path):
    with ExperienceStore(tmp_path / "store", "a") as store:
        store.add(make_header(), make_steps(5))
        writer = store.writer(make_header())
        writer.append(row_of(make_steps(1), 0))
        writer.append(row_of(make_steps(1, size_px=4), 0))
        with pytest.raises(ValueError, match="same shapes"):
            writer.close()
        assert len(store.episodes()) == 1


def test_another_robot_needs_another_store(tmp_path):
    with ExperienceStore(tmp_path / "store", "a") as store:
        store.add(make_header(), make_steps(5))
        with pytest.raises(StoreError, match=r"rate_hz 20\.0 here, 50\.0 there"):
            store.writer(make_header(recording=dataclasses.replace(RECORDING, rate_hz=50.0)))


def test_two_writers_that_both_found_the_store_empty_do_not_mix_robots(tmp_path):
    other = make_header(recording=dataclasses.replace(RECORDING, robot="another"))
    with ExperienceStore(tmp_path / "store", "a") as store:
        with pytest.raises(StoreError, match="robot another here, test-arm there"):
            store.add_all([(other, make_steps(5), "done"), (make_header(), make_steps(5), "done")])
        assert store.episodes() == []


def test_reading_does_not_write(tmp_path):
    with ExperienceStore(tmp_path / "store", "a") as store:
        store.add(make_header(), make_steps(5))
    with ExperienceStore(tmp_path / "store") as store, pytest.raises(StoreError, match="reading"):
        store.writer(make_header())


def test_what_is_not_a_store_is_refused_with_a_sentence(tmp_path):
    with pytest.raises(StoreError, match="no experience store"):
        ExperienceStore(tmp_path / "nothing")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    with pytest.raises(StoreError, match="not an experience store"):
        ExperienceStore(tmp_path / "full", "a")
    (tmp_path / "noise").mkdir()
    (tmp_path / "noise" / "data.mdb").write_bytes(b"x" * 8192)
    with pytest.raises(StoreError, match="cannot be opened"):
        ExperienceStore(tmp_path / "noise")
    lmdb.open(str(tmp_path / "foreign")).close()
    with pytest.raises(StoreError, match="not an experience store"):
        ExperienceStore(tmp_path / "foreign")


def test_another_schema_is_refused(tmp_path):
    ExperienceStore(tmp_path / "store", "a").close()
    environment = lmdb.open(str(tmp_path / "store"), max_dbs=4)
    with environment.begin(write=True) as transaction:
        meta = json.dumps({"format": "fosp-edge experience", "schema_version": 99}).encode()
        transaction.put(b"store", meta, db=environment.open_db(b"meta", txn=transaction))
    environment.close()
    with pytest.raises(StoreError, match="schema 99"):
        ExperienceStore(tmp_path / "store", "a")


def test_a_store_from_before_the_filter_columns_is_read_and_moves_on_when_appended_to(tmp_path):
    def version() -> int:
        environment = lmdb.open(str(tmp_path / "store"), max_dbs=4, readonly=True)
        with environment.begin() as transaction:
            meta = json.loads(transaction.get(b"store", db=environment.open_db(b"meta", txn=transaction, create=False)))
        environment.close()
        return meta["schema_version"]

    with ExperienceStore(tmp_path / "store", "a") as store:
        store.add(make_header(), make_steps(3))
    environment = lmdb.open(str(tmp_path / "store"), max_dbs=4)
    with environment.begin(write=True) as transaction:
        meta = json.dumps({"format": "fosp-edge experience", "schema_version": 1}).encode()
        transaction.put(b"store", meta, db=environment.open_db(b"meta", txn=transaction))
    environment.close()
    with ExperienceStore(tmp_path / "store") as store:
        assert len(store.read("000000")["reward"]) == 3
    assert version() == 1
    with ExperienceStore(tmp_path / "store", "a") as store:
        assert len(store.read("000000")["reward"]) == 3
    assert version() == 2


def test_filter_columns_come_all_or_not_at_all():
    steps = make_steps(3)
    filtered = steps | {
        column.name: np.zeros((3, *(size or 5 for size in column.shape)), column.dtype) for column in FILTER_COLUMNS
    }
    assert check_steps(filtered) == 3
    del filtered["chosen"]
    with pytest.raises(ValueError, match="missing from the episode: chosen"):
        check_steps(filtered)


@pytest.mark.parametrize("wrong", ["7", "seven", "-1", "99999999999", "²"])
def test_unknown_episodes_are_named(tmp_path, wrong):
    with ExperienceStore(tmp_path / "store", "a") as store, pytest.raises(StoreError, match=wrong):
        store.read(wrong)


def test_removed_episodes_are_gone_and_their_room_is_used_again(tmp_path):
    with ExperienceStore(tmp_path / "store", "a") as store:
        store.add(make_header(), make_steps(5))
        for round_number in range(12):
            episode_id = store.add(make_header(), make_steps(100, size_px=32, mark=round_number))
            if round_number == 3:
                size = store.size_bytes()
            store.remove(episode_id)
        assert store.size_bytes() <= size
        assert [info.id for info in store.episodes()] == ["000000"]
        with pytest.raises(StoreError, match=episode_id):
            store.remove(episode_id)


def test_the_map_grows_by_itself(tmp_path):
    with ExperienceStore(tmp_path / "store", "a", map_step_bytes=1 << 20) as store:
        for mark in range(8):
            store.add(make_header(), make_steps(100, size_px=32, mark=mark))
        assert store.size_bytes() > 3 << 20
        assert [problem for _, problem in store.verify()] == [None] * 8


def test_a_damaged_chunk_is_named_and_the_others_stay_readable(tmp_path):
    with ExperienceStore(tmp_path / "store", "a") as store:
        for mark in range(2):
            store.add(make_header(), make_steps(30, mark=mark))
    environment = lmdb.open(str(tmp_path / "store"), max_dbs=4)
    with environment.begin(write=True) as transaction:
        table = environment.open_db(b"chunks", txn=transaction)
        key = bytes(4) + (1).to_bytes(4, "big")
        data = bytearray(transaction.get(key, db=table))
        data[len(data) // 2] ^= 0x10
        transaction.put(key, bytes(data), db=table)
    environment.close()
    with ExperienceStore(tmp_path / "store") as store:
        with pytest.raises(StoreError, match="episode 000000, chunk 1"):
            store.read("000000")
        problems = dict(store.verify())
        assert "chunk 1" in problems["000000"]
        assert problems["000001"] is None


def test_verify_finds_rows_that_contradict_their_header(tmp_path):
    steps = make_steps(30)
    steps["reason"][3] = 2
    with ExperienceStore(tmp_path / "store", "a") as store:
        store.add(make_header(), steps)
        store.add(make_header(), make_steps(30) | {"is_first": np.zeros(30, np.bool_)})
        problems = [problem for _, problem in store.verify()]
    assert "reason 2" in problems[0]
    assert "first" in problems[1]
