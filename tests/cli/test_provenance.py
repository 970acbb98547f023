"""A result names the command that made it."""

import sys
from importlib.machinery import ModuleSpec
from types import SimpleNamespace

import pytest

from fosp_edge.cli.provenance import command, provenance


@pytest.mark.parametrize(
    ("module", "program"),
    [
        (None, "fosp-edge"),  # the installed script
        ("fosp_edge.cli.__main__", "fosp-edge"),
        ("experiments.sabotage", "python -m experiments.sabotage"),
        ("benchmarks.swap", "python -m benchmarks.swap"),
    ],
)
def test_the_command_is_the_one_that_was_given(
    monkeypatch: pytest.MonkeyPatch, module: str | None, program: str
) -> None:
    spec = None if module is None else ModuleSpec(module, None)
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__spec__=spec))
    monkeypatch.setattr(sys, "argv", ["/somewhere/file.py", "--out", "two words"])
    assert provenance(seed=1)["command"] == f"{program} --out 'two words'"
    assert provenance(seed=1)["seed"] == 1
    assert command(["--seed", "2"]) == f"{program} --seed 2"
