import json
from pathlib import Path

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow")
pytest.importorskip("PIL")
import pyarrow.parquet as pq  # noqa: E402

from fosp_edge.experience.episode import StoreError  # noqa: E402
from fosp_edge.experience.formats.lerobot import LeRobotDataset  # noqa: E402
from fosp_edge.experience.formats.lerobot_writer import write_lerobot  # noqa: E402
from fosp_edge.experience.schema import check_steps  # noqa: E402
from fosp_edge.experience.store import ExperienceStore  # noqa: E402
from tests.experience.episodes import RECORDING, make_header, make_steps  # noqa: E402


def episode(rows, mark):
    steps = make_steps(rows, mark=mark)
    for name in ("action", "nominal", "reward"):
        steps[name][-1] = 0
    steps["nominal"][1] = -steps["action"][1]
    steps["reason"][1] = 1
    steps["cost"][2], steps["violation"][3] = 1.0, 1.0
    steps["is_terminal"][-1] = mark == 1
    return steps


@pytest.fixture
def exported(tmp_path):
    with ExperienceStore(tmp_path / "store", "a") as store:
        for mark, rows in enumerate([12, 7]):
            store.add(
                make_header(bundle="c" * 64, seed=40 + mark), episode(rows, mark), "success" if mark else "time-out"
            )
        ids = [info.id for info in store.episodes()]
        assert write_lerobot(store, tmp_path / "lerobot", ids) == 1
        yield store, tmp_path / "lerobot"


def test_what_is_exported_is_imported_again(exported):
    store, folder = exported
    source = LeRobotDataset(folder)
    assert source.header == RECORDING
    for original, info in zip(store.episodes(), source.episodes(), strict=True):
        assert info.header == original.header
        expected, found = store.read(original.id), source.read(info.id)
        check_steps(found)
        for name in expected:
            if name in ("action", "nominal"):
                np.testing.assert_allclose(found[name], expected[name], atol=3e-7)
            else:
                np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
        assert (info.summary.rows, info.summary.success, info.summary.outcome) == (
            original.summary.rows,
            original.summary.success,
            original.summary.outcome,
        )


def test_the_tables_are_as_the_format_has_them(exported):
    _, folder = exported
    info = json.loads((folder / "meta/info.json").read_text())
    assert (info["codebase_version"], info["fps"], info["total_frames"], info["total_episodes"]) == ("v3.0", 20, 19, 2)
    table = pq.read_table(folder / "data/chunk-000/file-000.parquet")
    assert table.column("index").to_pylist() == list(range(19))
    assert table.column("next.cost").to_pylist() == [0, 0, 1, *[0] * 9, 0, 0, 1, *[0] * 4]
    assert set(table.column_names) == set(info["features"])
    actions = np.array(table.column("action").to_pylist())
    assert np.abs(actions).max() <= 0.25
    stats = json.loads((folder / "meta/stats.json").read_text())
    np.testing.assert_allclose(stats["action"]["mean"], actions.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(stats["action"]["std"], actions.std(axis=0), atol=1e-6)
    assert np.shape(stats["observation.images.fixed"]["mean"]) == (3, 1, 1)
    assert stats["action"]["count"] == [19]


def test_a_foreign_data_set_without_our_columns_is_read(exported):
    """What other tools leave: no costs, no final observation, no ranges. The last observation stands in."""
    store, folder = exported
    (folder / "meta/fosp_edge.json").unlink()
    info = json.loads((folder / "meta/info.json").read_text())
    own = ("next.cost", "violation", "nominal_action", "filter_reason", "is_final_observation", "next.success")
    info["features"] = {name: feature for name, feature in info["features"].items() if name not in own}
    (folder / "meta/info.json").write_text(json.dumps(info))
    path = folder / "data/chunk-000/file-000.parquet"
    pq.write_table(pq.read_table(path).drop_columns(list(own)), path)
    source = LeRobotDataset(folder)
    steps, original = source.read("000000"), store.read("000000")
    check_steps(steps)
    assert len(steps["reward"]) == 13
    np.testing.assert_array_equal(steps["image"][-1], steps["image"][-2])
    np.testing.assert_array_equal(steps["image"][:12], original["image"])
    assert steps["is_terminal"].tolist() == [*[False] * 12, True]
    assert steps["cost"].sum() == 0
    assert np.abs(steps["action"]).max() == 1.0
    assert [camera.name for camera in source.header.cameras] == ["fixed", "wrist"]


def test_a_data_set_written_by_lerobot_itself_is_read():
    """Made by LeRobot 0.4.4 with the script beside it: row r of episode e is filled with 10 e + r."""
    source = LeRobotDataset(Path(__file__).parent / "lerobot-0.4.4")
    infos = source.episodes()
    assert [info.summary.rows for info in infos] == [6, 5]
    assert source.header.rate_hz == 10.0
    assert [channel.name for channel in source.header.action] == ["x", "y"]
    assert source.header.cameras[0].name == "front"
    for number, info in enumerate(infos):
        steps = source.read(info.id)
        check_steps(steps)
        rows = info.summary.rows - 1
        marks = 10 * number + np.arange(rows)
        np.testing.assert_array_equal(steps["image"][:rows, 0, 0, 0], marks)
        np.testing.assert_array_equal(steps["state"][:rows, 0], marks)
        np.testing.assert_array_equal(steps["reward"], [*marks, 0])
        np.testing.assert_array_equal(steps["cost"], [0, 1, *[0] * (rows - 1)])
        np.testing.assert_array_equal(steps["violation"], [0, 0, 1, *[0] * (rows - 2)])
        assert steps["is_terminal"][-1]


def test_other_versions_and_places_outside_are_refused(exported):
    _, folder = exported
    path = folder / "meta/info.json"
    info = json.loads(path.read_text())
    path.write_text(json.dumps(info | {"data_path": "../../elsewhere.parquet"}))
    with pytest.raises(StoreError, match="leads out"):
        LeRobotDataset(folder).read("000000")
    path.write_text(json.dumps(info | {"codebase_version": "v2.1"}))
    with pytest.raises(StoreError, match=r"v2\.1"):
        LeRobotDataset(folder)
    path.write_text("[]")
    with pytest.raises(StoreError, match="object"):
        LeRobotDataset(folder)


def test_damaged_tables_are_one_sentence(exported):
    _, folder = exported
    (folder / "data/chunk-000/file-000.parquet").write_bytes(b"PAR1 and nothing more")
    with pytest.raises(StoreError, match="cannot be read"):
        LeRobotDataset(folder).read("000000")


def test_nothing_is_overwritten(exported):
    store, folder = exported
    with pytest.raises(StoreError, match="not empty"):
        write_lerobot(store, folder, ["000000"])


def test_pictures_in_videos_are_read_from_where_their_episode_begins(exported):
    """One video for both episodes, as the format keeps them; the pictures are flat, so that compression keeps them."""
    av = pytest.importorskip("av")
    _, folder = exported
    info = json.loads((folder / "meta/info.json").read_text())
    key = "observation.images.fixed"
    info["features"][key] |= {"dtype": "video"}
    info["features"].pop("observation.images.wrist")
    info["video_path"] = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
    (folder / "meta/info.json").write_text(json.dumps(info))
    (folder / "meta/fosp_edge.json").unlink()
    path = folder / info["video_path"].format(video_key=key, chunk_index=0, file_index=0)
    path.parent.mkdir(parents=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=20)
        stream.width = stream.height = 32
        stream.bit_rate = 1_000_000
        for value in range(19):
            picture = np.full((32, 32, 3), 10 * value, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    episodes = pq.read_table(folder / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    for episode, begins_s in zip(episodes, [0.0, 12 / 20], strict=True):
        episode |= {f"videos/{key}/chunk_index": 0, f"videos/{key}/file_index": 0}
        episode[f"videos/{key}/from_timestamp"] = begins_s
    pq.write_table(pa.Table.from_pylist(episodes), folder / "meta/episodes/chunk-000/file-000.parquet")
    source = LeRobotDataset(folder)
    for episode_id, expected in [("000000", range(12)), ("000001", range(12, 19))]:
        found = source.read(episode_id)["image"]
        means = found.reshape(len(found), -1).mean(axis=1)
        np.testing.assert_allclose(means, [10 * value for value in expected], atol=4)
    path.unlink()
    with pytest.raises(StoreError, match="cannot be decoded"):
        source.read("000000")
