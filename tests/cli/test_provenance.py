"""A result names the command that made it."""

import sys
from importlib import metadata
from importlib.machinery import ModuleSpec
from types import SimpleNamespace

import pytest

from fosp_edge.cli.provenance import command, installed_version, provenance, versions


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


def test_another_build_of_a_package_counts_as_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Jetson has onnxruntime-gpu in place of onnxruntime."""
    builds, told = {"onnxruntime": ["onnxruntime-gpu"]}, {"onnxruntime-gpu": "1.23.0", "numpy": "2.2.6"}

    def version(distribution: str) -> str:
        if distribution not in told:
            raise metadata.PackageNotFoundError(distribution)
        return told[distribution]

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(metadata, "packages_distributions", lambda: builds)
    assert installed_version("onnxruntime") == "1.23.0" and installed_version("mujoco") is None
    assert installed_version("onnx-runtime", "onnxruntime") == "1.23.0"
    assert {name: versions().get(name) for name in ("numpy", "onnxruntime", "mujoco")} == {
        "numpy": "2.2.6", "onnxruntime": "1.23.0", "mujoco": None,
    }  # fmt: skip
