"""Where a robot that keeps learning keeps what it has: experience, bundles, the learner's work, and what they say."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fosp_edge.bundle.versions import Versions
from fosp_edge.cli.shipped import shipped_bundle
from fosp_edge.files import write_atomically

DEFAULT_HOME = Path("robot")


@dataclass(frozen=True)
class Home:
    """One folder per robot; it outlives every run."""

    folder: Path

    @property
    def experience(self) -> Path:
        """The store of what the robot lived."""
        return self.folder / "experience"

    @property
    def learner(self) -> Path:
        """Checkpoint and metrics of the learner."""
        return self.folder / "learner"

    @property
    def learner_note(self) -> Path:
        """What the learner remembers of itself (`fosp_edge.cli.learner_note`)."""
        return self.learner / "base.json"

    @property
    def events(self) -> Path:
        """What happened to bundles, as JSON lines."""
        return self.folder / "events.jsonl"

    @property
    def verdicts(self) -> Path:
        """What the gate said, as JSON lines."""
        return self.folder / "verdicts.jsonl"

    @property
    def pulse(self) -> Path:
        """How the control loop is doing, written by it once a second."""
        return self.folder / "pulse.json"

    @property
    def status(self) -> Path:
        """How the learner is doing, written by it."""
        return self.folder / "learner.json"

    def versions(self, first: Path | None = None) -> Versions:
        """The robot's bundles; `first` is the one to begin and to fall back to, the shipped one if left out.

        Raises:
            BundleError: there is none shipped.
        """
        return Versions(self.folder / "bundles", first if first is not None else shipped_bundle())

    def make(self) -> None:
        """Make the folders."""
        for folder in (self.folder, self.learner):
            folder.mkdir(parents=True, exist_ok=True)


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Replace a small JSON file as a whole."""
    write_atomically(path, (json.dumps(values) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """What a small JSON file says; empty if it is not there or damaged, for what is only shown or throttled by."""
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def append_json(path: Path, values: dict[str, Any]) -> None:
    """Add one line to a log."""
    with path.open("a") as file:
        file.write(json.dumps(values) + "\n")
