"""Which cameras stand beside which simulated port: `simulate` writes it down while it runs, `run` looks there.

A real robot's cameras are named on the command line; nothing is ever written here about one.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from firmware_bridge.files import write_atomically

SIMULATED_PORTS = Path("runs/simulated-ports.json")


def note_cameras(port: str, addresses: Mapping[str, str], file: Path = SIMULATED_PORTS) -> None:
    """Write down the addresses of the cameras beside a port; an earlier note of the same port is replaced."""
    _write(file, {**_read(file), port: dict(addresses)})


def forget_cameras(port: str, file: Path = SIMULATED_PORTS) -> None:
    """Remove the note of a port that is going away."""
    notes = _read(file)
    if notes.pop(port, None) is not None:
        _write(file, notes)


def cameras_beside(port: str, file: Path = SIMULATED_PORTS) -> dict[str, str]:
    """Name and address of the cameras beside a simulated port; empty for every other port."""
    return _read(file).get(port, {})


def _write(file: Path, notes: Mapping[str, Mapping[str, str]]) -> None:
    write_atomically(file, json.dumps(notes, indent=2) + "\n")


def _read(file: Path) -> dict[str, dict[str, str]]:
    """The notes; a file that cannot be read has none, because nothing depends on them."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {port: one for port, one in content.items() if isinstance(one, dict)}
