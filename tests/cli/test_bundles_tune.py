"""`fosp-edge bundles tune`, and what `run` does when nothing was measured yet."""

from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from fosp_edge.bundle.folder import load_bundle
from fosp_edge.cli import bundles_tune
from fosp_edge.cli.shipped import shipped_bundle
from fosp_edge.control import tuning
from fosp_edge.control.device import CPU_DEVICE
from fosp_edge.control.inference import Execution, NotFinite


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FOSP_EDGE_TUNING", str(tmp_path))
    monkeypatch.setattr(tuning, "PAUSE_S", 0.0)


def test_the_verb_measures_shows_and_keeps(tmp_path: Path) -> None:
    application = typer.Typer()
    application.command()(bundles_tune.tune_bundle)
    result = CliRunner().invoke(application, [])
    assert result.exit_code == 0, result.output
    assert "chosen" in result.output and len(list(tmp_path.iterdir())) == 1


def test_a_run_measures_once_and_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    console, bundle = Console(width=200), load_bundle(shipped_bundle())
    first = bundles_tune.execution_for(console, bundle, CPU_DEVICE)
    assert "measured on this machine" in capsys.readouterr().out
    monkeypatch.setattr(bundles_tune, "tune", lambda *_: pytest.fail("measured a second time"))
    assert bundles_tune.execution_for(console, bundle, CPU_DEVICE) == first
    assert capsys.readouterr().out == ""


def test_what_cannot_be_measured_or_kept_runs_on_one_thread(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    console, bundle = Console(width=200), load_bundle(shipped_bundle())

    def no_number(*_: object) -> tuning.Tuning:
        raise NotFinite("NaN")

    def full(*_: object) -> tuning.Tuning:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundles_tune, "tune", no_number)
    assert bundles_tune.execution_for(console, bundle, CPU_DEVICE) == Execution()
    monkeypatch.setattr(bundles_tune, "tune", full)
    assert bundles_tune.execution_for(console, bundle, CPU_DEVICE) == Execution()
    assert "No space left" in capsys.readouterr().out
