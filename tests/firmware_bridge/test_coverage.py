"""Every branch of the C core is taken: safety.c by its own unit tests, the rest by the shared conversation."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.firmware_bridge.native import FIRMWARE, build, needs_gcc

needs_gcov = pytest.mark.skipif(not shutil.which("gcov"), reason="needs gcov, which comes with gcc")


def untaken(data: Path) -> tuple[list[str], int]:
    """Branches of one .gcda file that were never taken, and how many there are."""
    printed = subprocess.run(
        ["gcov", "-b", "-c", "-j", "-t", str(data)], capture_output=True, text=True, check=True, cwd=data.parent
    ).stdout
    missing, number = [], 0
    for file in json.loads(printed)["files"]:
        if not file["file"].endswith(".c"):
            continue
        for line in file["lines"]:
            number += len(line["branches"])
            missing += [
                f"{file['file']}:{line['line_number']} branch {index}"
                for index, branch in enumerate(line["branches"])
                if branch["count"] == 0
            ]
    return missing, number


@needs_gcc
@needs_gcov
def test_unit_tests_take_every_branch_of_the_safety_core(tmp_path: Path) -> None:
    build("safety-tests", tmp_path, "COVERAGE=--coverage")
    run = subprocess.run([str(tmp_path / "test_safety")], capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stdout
    missing, number = untaken(tmp_path / "safety.gcda")
    assert number > 80
    assert missing == []


@needs_gcc
@needs_gcov
def test_vectors_and_scenarios_take_every_branch_of_the_whole_core(tmp_path: Path) -> None:
    build("shared", tmp_path, "COVERAGE=--coverage", "OPTIMISE=-O0")
    # Another process, because counts are written when it ends; the property tests are left out: luck is no coverage.
    names = ["test_vectors.py", "test_controller.py", "test_native_framing.py"]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-k",
        "not byte_for_byte and not random and not ever_beyond",
    ]
    run = subprocess.run(
        [*command, *(str(Path(__file__).parent / name) for name in names)],
        cwd=FIRMWARE.parent.parent,
        env={**os.environ, "FOSP_CORE_LIBRARY": str(tmp_path / "libfosp_core.so")},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout
    for name in ("framing", "motion", "requests", "report", "safety"):
        missing, number = untaken(tmp_path / f"{name}.pic.gcda")
        assert number > 10
        assert missing == []
