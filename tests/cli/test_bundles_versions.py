"""A person's word on which bundle runs."""

import pytest

from fosp_edge.bundle.versions import Versions
from fosp_edge.cli import bundles_versions as verbs
from fosp_edge.cli.home import Home
from tests.bundle.test_versions import make


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path / "robot")
    home.make()
    versions = home.versions()
    versions.start()
    return home


def test_use_pin_rollback_and_what_is_shown(home, capsys):
    versions: Versions = home.versions()
    name = make(versions.folder, 1)
    verbs.use(name[:8], home.folder)
    assert versions.state.current == name and versions.state.probation
    verbs.pin(None, home.folder)
    assert versions.state.pinned == name
    verbs.pin(None, home.folder, off=True)
    verbs.use("current", home.folder)
    assert "the current bundle already" in capsys.readouterr().out and versions.state.chosen == name
    verbs.rollback(home.folder, "it shook")
    assert versions.state.current == versions.fallback.name
    capsys.readouterr()
    verbs.versions(home.folder)
    shown = capsys.readouterr().out
    assert name[:12] in shown and "it shook" in shown and "shipped" in shown


def test_a_folder_that_is_no_robot_s_is_refused_with_a_sentence(tmp_path):
    with pytest.raises(ValueError, match="run --learn"):
        verbs.versions(tmp_path)
