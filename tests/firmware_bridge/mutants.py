"""Break the C core in small ways and see whether the tests notice: `python -m tests.firmware_bridge.mutants`.

A mutant is one operator or constant changed on one line. Mutants of safety.c face its unit tests (host/test_safety.c),
mutants of motion.c and requests.c the shared conversation. One that no test notices has survived.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.firmware_bridge.native import FIRMWARE

CHANGES = [
    (r"<=", "<"),
    (r">=", ">"),
    (r"(?<=\s)<(?=\s)", "<="),
    (r"(?<=\s)>(?=\s)", ">="),
    (r"==", "!="),
    (r"!=", "=="),
    (r"&&", "||"),
    (r"\|\|", "&&"),
    (r"(?<=\s)\+(?=\s)", "-"),
    (r"(?<=\s)-(?=\s)", "+"),
    (r"-=", "+="),
    (r"\+=", "-="),
    (r"(?<=\s)\*(?=\s)", "/"),
    (r"\|=", "&="),
    (r"\btrue\b", "false"),
    (r"\bfalse\b", "true"),
    (r"\bsmaller\(", "larger("),
    (r"\blarger\(", "smaller("),
    (r"(?<![\w.])!(?=\w)", ""),
    (r"\b2 \*", "3 *"),
    (r"(?<== )0;", "1;"),
    (r"FOSP_REFUSED_(?!NONE)\w+", "FOSP_REFUSED_NONE"),
    (r"^\s+(fosp_hold_now|fosp_hold_if_on|fosp_latch|guard_stop|refuse|watch)\(.*;$", ";"),
    (r"^\s+return;$", ";"),
]

# Changes that alter nothing that anyone could observe, with the reason. Matched against "file: old line -> new line".
EQUIVALENT = [
    (r"safety.c: .*return \(value < 0\) \? -value", "at zero both signs are zero"),
    (r"safety.c: .*return \(a [<>] b\) \? a : b", "equal values are the same value"),
    (r"safety.c: .*elapsed_us > FOSP_BUDGET_WINDOW_US", "at the window both branches give the window"),
    (r"safety.c: .*while \(bit > rest\)", "a larger first bit is tried and does not fit, or fits at once"),
    (r"safety.c: .*return \(error > 0\) \? size : -size", "at zero error the size is zero"),
    (
        r"safety.c: .*velocity_urad_s [<>] 0",
        "at rest the braking distance is zero: both answers are true",
    ),
    (
        r"safety.c: .*\(target [<>] 0\)",
        "zero effort has no direction: effort_leaves has answered before",
    ),
    (r"motion.c: .*uint32_t errors = 0", "bit 0, missing feedback, is not looked at there: time decides"),
    (r"motion.c: +return; -> ;", "after a guard stop all setpoints are zero: nothing further can happen in that tick"),
    (r"motion.c: .*at < sizeof", "the byte after the structure is the shim's own name, written later"),
    (r"motion.c: .*joint_count > FOSP_MAX_JOINTS", "sixteen cut to sixteen"),
    (r"motion.c: .*next_telemetry_us <= self->ticks_us", "sent in the next tick instead"),
]


@dataclass(frozen=True)
class Mutant:
    """One changed line."""

    file: str
    line: int
    before: str
    after: str

    @property
    def text(self) -> str:
        return f"{self.file}: {self.before.strip()} -> {self.after.strip()}"


def mutants(file: str) -> Iterator[Mutant]:
    """All mutants of one source file of the core."""
    for number, line in enumerate((FIRMWARE / "core" / file).read_text().splitlines()):
        code = line.split("/*")[0]
        if not code.startswith((" ", "static")) or code.strip().startswith(("*", "//")):
            continue
        for pattern, replacement in CHANGES:
            for found in re.finditer(pattern, code):
                changed = code[: found.start()] + replacement + code[found.end() :]
                if changed != code:
                    yield Mutant(file, number, line, changed)


def noticed(mutant: Mutant, folder: Path) -> bool | None:
    """Whether the tests fail on the mutant; None if it does not compile."""
    core = folder / "core"
    shutil.copytree(FIRMWARE / "core", core, dirs_exist_ok=True)
    source = core / mutant.file
    lines = source.read_text().splitlines()
    lines[mutant.line] = mutant.after
    source.write_text("\n".join(lines) + "\n")
    unit = mutant.file == "safety.c"
    target, product = ("safety-tests", "test_safety") if unit else ("shared", "libfosp_core.so")
    for stale in folder.glob("*.o"):
        if not stale.name.endswith(".pic.o") or stale.name.startswith(mutant.file[:-2]):
            stale.unlink()
    (folder / product).unlink(missing_ok=True)
    # An index out of bounds traps: a loop that runs one too far must not pass because the next row happens to be zero.
    bounds = "OPTIMISE=-O0 -fsanitize=bounds -fsanitize-undefined-trap-on-error"
    options = [f"BUILD={folder}", f"CORE_DIR={core}", "WARNINGS=-w", bounds]
    made = subprocess.run(["make", "-s", "-C", str(FIRMWARE), *options, target], capture_output=True)
    if made.returncode != 0:
        return None
    replay = "from tests.firmware_bridge import native, test_vectors as t\n"
    replay += "t.replay(native.NativeController)"
    command = [str(folder / product)] if unit else [sys.executable, "-c", replay]
    environment = {**os.environ, "FOSP_CORE_LIBRARY": str(folder / product)}
    try:
        ran = subprocess.run(command, capture_output=True, timeout=10, env=environment, cwd=FIRMWARE.parent.parent)
    except subprocess.TimeoutExpired:
        return True
    return ran.returncode != 0


def reason_for_equivalence(mutant: Mutant) -> str | None:
    """Why nobody could notice this mutant; None if somebody should."""
    return next((reason for pattern, reason in EQUIVALENT if re.search(pattern, mutant.text)), None)


def campaign(files: list[str], folder: Path) -> dict[str, object]:
    """Try every mutant of the files."""
    counts = {"noticed": 0, "survived": 0, "equivalent": 0, "does not compile": 0}
    survivors: list[str] = []
    for file in files:
        for mutant in mutants(file):
            verdict = noticed(mutant, folder)
            if verdict is None:
                counts["does not compile"] += 1
            elif verdict:
                counts["noticed"] += 1
            elif reason_for_equivalence(mutant):
                counts["equivalent"] += 1
            else:
                counts["survived"] += 1
                survivors.append(f"{mutant.file}:{mutant.line + 1}: {mutant.text}")
        shutil.copytree(FIRMWARE / "core", folder / "core", dirs_exist_ok=True)
    return {"files": files, **counts, "survivors": survivors}


def main() -> int:
    """Run the campaign; exit status 1 if a mutant survives."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("files", nargs="*", default=["safety.c", "motion.c", "requests.c"])
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        result = campaign(arguments.files, Path(folder))
    text = json.dumps(result, indent=2)
    if arguments.json:
        arguments.json.write_text(text + "\n")
    sys.stdout.write(text + "\n")
    return 1 if result["survived"] else 0


if __name__ == "__main__":
    sys.exit(main())
