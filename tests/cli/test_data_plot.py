import pytest

from fosp_edge.experience.store import ExperienceStore
from tests.cli.tree import run_verb
from tests.experience.episodes import make_header, make_steps

pytest.importorskip("matplotlib")


def test_the_episodes_of_a_store_are_drawn(tmp_path):
    with ExperienceStore(tmp_path / "store", "a") as store:
        for index in range(6):
            store.add(
                make_header(source=("safe", "unsafe")[index % 2], seed=index), make_steps(20, mark=index), "time-out"
            )
    out = tmp_path / "spread.png"
    result = run_verb("data", "plot", str(tmp_path / "store"), "--out", str(out))
    assert result.exit_code == 0 and "6 episodes" in result.output
    assert out.read_bytes().startswith(b"\x89PNG")


def test_one_episode_is_enough_and_none_is_a_sentence(tmp_path):
    with ExperienceStore(tmp_path / "one", "a") as store:
        store.add(make_header(), make_steps(20), "time-out")
    ExperienceStore(tmp_path / "none", "a").close()
    assert run_verb("data", "plot", str(tmp_path / "one"), "--out", str(tmp_path / "one.png")).exit_code == 0
    result = run_verb("data", "plot", str(tmp_path / "none"), "--out", str(tmp_path / "none.png"))
    assert result.exit_code != 0 and "holds no episodes" in " ".join(result.output.split())
    assert not (tmp_path / "none.png").exists()
