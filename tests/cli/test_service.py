"""`fosp-edge service`: the unit says what it has to, and without systemd the command says what is missing."""

import configparser
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fosp_edge.cli import service
from fosp_edge.control.latch import StopLatch

OPTIONS = ["--robot", "serial", "--port", "/dev/a b", "--estop-file", "100%", "--yes"]


def test_the_unit_runs_run_with_the_options_and_lets_systemd_watch_it() -> None:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(service.unit_text(OPTIONS, system=True))
    unit = parser["Service"]
    words = shlex.split(unit["ExecStart"].replace("%%", "%"))
    assert words[1:5] == ["-m", "fosp_edge.cli", "run", "--headless"] and words[5:-2] == OPTIONS
    assert words[-2] == "--episodes" and int(words[-1]) > 1e6, "a service goes on until it is stopped"
    assert "1000000" not in service.unit_text(["--seconds=60"], system=True)
    assert unit["KillMode"] == "mixed"
    assert Path(words[0]).is_absolute()
    assert (unit["Type"], unit["Restart"], unit["RestartPreventExitStatus"]) == ("notify", "on-failure", "2")
    assert int(unit["WatchdogSec"]) > 0
    with pytest.raises(ValueError, match="line break"):
        service.unit_text(["a\nExecStart=/bin/sh"], system=True)


def test_install_and_uninstall_without_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(service.shutil, "which", lambda name: None)
    run, path = CliRunner().invoke, tmp_path / "systemd/user" / service.NAME
    assert run(service.app, ["status"]).exit_code == 1
    installed = run(service.app, ["install", "--", "--robot", "serial"])
    assert installed.exit_code == 1 and "there is no systemctl here" in installed.output
    assert "--robot serial" in path.read_text()
    assert "no systemctl" in run(service.app, ["status"]).output
    assert run(service.app, ["uninstall"]).exit_code == 0 and not path.exists()
    assert run(service.app, ["uninstall"]).exit_code == 1


def test_release_is_a_persons_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    StopLatch("/dev/x").ended("the lens was covered")
    first = CliRunner().invoke(service.app, ["release", "--port", "/dev/x"])
    assert "released" in first.output and "the lens was covered" in first.output.replace("\n", " ")
    assert "nothing is latched" in CliRunner().invoke(service.app, ["release", "--port", "/dev/x"]).output
