"""Calling the whole tree of verbs inside the test's own process."""

from unittest import mock

import typer
import typer.testing
from typer.testing import CliRunner

from fosp_edge.cli.application import build


def run_verb(*arguments: str, columns: int | None = None):
    """Result of `fosp-edge ARGUMENTS`, in a terminal of so many columns."""
    env = {} if columns is None else {"COLUMNS": str(columns)}
    with mock.patch.object(typer.testing, "_get_command", lambda _: build()):
        return CliRunner(env=env).invoke(typer.Typer(), list(arguments), prog_name="fosp-edge")
