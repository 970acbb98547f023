import json
from dataclasses import replace

import numpy as np
import pytest

from fosp_edge.bundle.picture import Preprocessing
from fosp_edge.cameras.preprocess import preprocess
from fosp_edge.experience.episode import Camera
from fosp_edge.experience.store import ExperienceStore
from tests.cli.tree import run_verb
from tests.experience.episodes import make_header, make_steps


@pytest.fixture
def store(tmp_path):
    with ExperienceStore(tmp_path / "store", "a") as opened:
        for mark in range(3):
            opened.add(make_header(seed=mark), make_steps(40, mark=mark), "time-out")
    return tmp_path / "store"


def summaries(store):
    return [item["summary"] for item in json.loads(run_verb("data", "ls", str(store), "--json").stdout)]


def test_label_marks_success_and_violations(store):
    result = run_verb("data", "label", str(store), "000001", "--success", "--violation", "0.5-0.75")
    assert result.exit_code == 0, result.output
    assert "success, 6 rows in violation, cost 6" in result.output
    assert [item["success"] for item in summaries(store)] == [False, True, False]
    assert "0 rows in violation" in run_verb("data", "label", str(store), "000001", "--no-violation").output
    assert "all whole" in run_verb("data", "verify", str(store)).output


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "nothing to label"),
        (["--violation", "1-2", "--no-violation"], "contradict"),
        (["--violation", "soon"], "1.25-2.5"),
        (["--violation", "1-99"], "do not lie"),
    ],
)
def test_label_refuses_what_it_cannot_mean(store, arguments, word):
    result = run_verb("data", "label", str(store), "000001", *arguments)
    assert result.exit_code == 1
    assert word in result.output


def test_prune_keeps_to_a_size(store):
    assert "2 episodes removed" in run_verb("data", "prune", str(store), "--to", "1K").output
    assert len(summaries(store)) == 1
    assert run_verb("data", "prune", str(store), "--to", "much").exit_code == 1


@pytest.mark.parametrize("arguments", [("prune", "{store}", "--to", "1K"), ("label", "{store}", "000000", "--success")])
def test_a_mistyped_store_is_not_made(tmp_path, arguments):
    nowhere = tmp_path / "nowhere"
    found = run_verb("data", *[item.format(store=nowhere) for item in arguments])
    assert found.exit_code == 1 and "there is no experience store at" in found.output
    assert not nowhere.exists()


@pytest.mark.parametrize("form", ["dreamer", "v-d4rl", "lerobot"])
def test_exported_episodes_are_imported_again_once(store, tmp_path, form):
    if form == "lerobot":
        pytest.importorskip("pyarrow")
        pytest.importorskip("av")
    out, back = tmp_path / "out", tmp_path / "back"
    result = run_verb("data", "export", str(store), str(out), "--format", form)
    assert result.exit_code == 0, result.output
    result = run_verb("data", "import", str(out), str(back), "--rate-hz", "20", "--robot", "borrowed")
    assert "3 episodes imported" in result.output
    again = run_verb("data", "import", str(out), str(back), "--rate-hz", "20", "--robot", "borrowed")
    assert "0 episodes imported" in again.output
    assert "3 were there already" in again.output
    with ExperienceStore(store) as first, ExperienceStore(back) as second:
        assert second.header.robot == "borrowed"
        for info in second.episodes():
            np.testing.assert_array_equal(second.read(info.id)["image"], first.read(info.id)["image"])


def test_larger_pictures_are_imported_as_the_policy_will_see_them(tmp_path):
    """Through the function that the robot's cameras use, and the store says what was done."""
    wide = Camera("top", 96, 72)
    pictures = np.random.default_rng(0).integers(0, 256, (12, 72, 96, 3), dtype=np.uint8)
    header = make_header(seed=0)
    header = replace(header, recording=replace(header.recording, cameras=(wide,)))
    with ExperienceStore(tmp_path / "wide", "a") as opened:
        opened.add(header, make_steps(12) | {"image": pictures}, "time-out")
    assert run_verb("data", "import", str(tmp_path / "wide"), str(tmp_path / "small")).exit_code == 0
    stated = Preprocessing(64, 64, source_px=(96, 72))
    with ExperienceStore(tmp_path / "small") as small:
        assert small.header is not None
        assert small.header.cameras == (Camera("top", 64, 64, stated),)
        kept = small.read(small.episodes()[0].id)["image"]
    np.testing.assert_array_equal(kept, [preprocess(picture, stated) for picture in pictures])
    assert run_verb("data", "import", str(tmp_path / "wide"), str(tmp_path / "as-is"), "--picture", "0").exit_code == 0
    with ExperienceStore(tmp_path / "as-is") as same:
        np.testing.assert_array_equal(same.read(same.episodes()[0].id)["image"], pictures)


def test_exchange_refuses_in_a_sentence(store, tmp_path):
    out = str(tmp_path / "out")
    for arguments, word in [
        (["export", str(store), out, "--format", "rosbag"], "rosbag"),
        (["export", str(store), str(store)], "not empty"),
        (["export", str(store), str(store / "data.mdb")], "is a file; choose another folder"),
        (
            ["export", str(store), out, "--format", "dreamer", "--only", "violation"],
            "no such episodes",
        ),
        (["import", str(tmp_path), str(tmp_path / "back")], "any format known"),
    ]:
        result = run_verb("data", *arguments)
        assert result.exit_code == 1
        assert word in result.output.replace("\n", " ")
