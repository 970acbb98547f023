import json

import numpy as np
import pytest

from fosp_edge.cli import data
from fosp_edge.experience.store import ExperienceStore
from tests.cli.tree import run_verb
from tests.experience.episodes import make_header, make_steps, row_of


@pytest.fixture
def store(tmp_path):
    """Three episodes: a plain one, one in violation that was held back, and one that was never closed."""
    violated = make_steps(30, mark=1)
    violated["violation"][10:15] = 1.0
    violated["cost"][9:14] = 1.0
    violated["nominal"][3] = -violated["nominal"][3]
    violated["reason"][3] = 1
    violated["is_terminal"][29] = True
    with ExperienceStore(tmp_path / "store", "a") as opened:
        opened.add(make_header(), make_steps(40), "time-out")
        opened.add(make_header(source="bundle", bundle="b" * 64, seed=77), violated, "success")
        writer = opened.writer(make_header())
        for index in range(20):
            writer.append(row_of(make_steps(20), index))
    return tmp_path / "store"


def test_ls_lists_and_counts(store):
    result = run_verb("data", "ls", str(store))
    assert result.exit_code == 0, result.output
    for word in ("000000", "000001", "unfinished", "time-out", "3 episodes, 90 rows", "1 in violation"):
        assert word in result.output


@pytest.mark.parametrize(
    ("only", "ids"),
    [("violation", ["000001"]), ("success", ["000001"]), ("intervention", ["000001"]), ("unfinished", ["000002"])],
)
def test_ls_chooses(store, only, ids):
    result = run_verb("data", "ls", str(store), "--only", only, "--json")
    assert [item["id"] for item in json.loads(result.stdout)] == ids


def test_ls_can_be_cut_to_the_newest(store):
    assert [item["id"] for item in json.loads(run_verb("data", "ls", str(store), "--last", "2", "--json").stdout)] == [
        "000001",
        "000002",
    ]


def test_show_tells_the_course_of_an_episode(store):
    result = run_verb("data", "show", str(store), "000001")
    assert result.exit_code == 0, result.output
    for word in ("b" * 64, "seed 77", "5 rows in violation", "held", "the task ends"):
        assert word in result.output
    assert "episode    000002" in run_verb("data", "show", str(store)).output


def test_the_course_is_told_in_stretches(store):
    with ExperienceStore(store) as opened:
        info = opened.info("000001")
        stretches = data.course(info, opened.read("000001"))
    assert [(first, last) for first, last, _ in stretches] == [(0, 2), (3, 3), (4, 9), (10, 14), (15, 28), (29, 29)]
    assert [text for _, _, text in stretches][3] == "policy, in violation"


def test_show_draws_a_contact_sheet(store, tmp_path):
    image = pytest.importorskip("PIL.Image")
    pytest.importorskip("matplotlib")
    result = run_verb("data", "show", str(store), "000001", "--sheet", str(tmp_path / "sheet.png"))
    assert result.exit_code == 0, result.output
    pixels = np.asarray(image.open(tmp_path / "sheet.png").convert("RGB"))
    assert pixels.shape[1] == 1200
    assert pixels.std() > 10
    from fosp_edge.cli.contact_sheet import picture_rows, strip

    assert picture_rows(1) == [0]
    assert picture_rows(30) == [0, 3, 6, 10, 13, 16, 19, 23, 26, 29]
    with ExperienceStore(store) as opened:
        steps = opened.read("000001")
    page = strip(steps, [0, 12])
    assert page.shape == (2 * 14, 2 * 14, 3)
    np.testing.assert_array_equal(page[3:11, 17:25], steps["image"][12, :, :, :3])
    np.testing.assert_array_equal(page[17:25, 3:11], steps["image"][0, :, :, 3:])
    assert (page[0, 14:] == [220, 40, 40]).all()
    assert (page[0, :14] == 255).all()


def test_a_sheet_without_its_extra_is_refused_with_the_cure(store, tmp_path, monkeypatch):
    from fosp_edge.cli.extras import EXTRAS

    monkeypatch.setitem(EXTRAS, "visualisation", ("a_module_that_nobody_has",))
    result = run_verb("data", "show", str(store), "--sheet", str(tmp_path / "sheet.png"))
    assert result.exit_code == 1
    assert "fosp-edge[visualisation]" in result.output


def test_verify_says_which_episode_is_damaged(store):
    assert "3 episodes, all whole" in run_verb("data", "verify", str(store)).output
    with ExperienceStore(store, "a") as opened:
        opened.add(make_header(), make_steps(5) | {"reason": np.full(5, 9, np.uint8)})
    result = run_verb("data", "verify", str(store))
    assert result.exit_code == 1
    assert "000003" in result.output
    assert "reason 9" in result.output


def test_a_folder_without_a_store_is_one_sentence(tmp_path):
    for verb in ("ls", "show", "verify"):
        result = run_verb("data", verb, str(tmp_path / "nothing"))
        assert result.exit_code == 1
        assert "no experience store" in result.output


def test_an_empty_store_is_said_to_be_empty(tmp_path):
    ExperienceStore(tmp_path / "store", "a").close()
    assert "no episodes" in run_verb("data", "ls", str(tmp_path / "store")).output
    assert "no episodes" in run_verb("data", "show", str(tmp_path / "store")).output
