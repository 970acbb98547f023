"""What an examination of the machine yields: findings, each with a state and the command that mends it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path


class Health(str, Enum):
    """How it stands with one thing."""

    OK = "ok"
    WARN = "warn"
    """It works, but worse than it could, or only for some uses."""
    MISSING = "missing"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    topic: str
    name: str
    health: Health
    detail: str
    mend: str = ""
    """A command, or one sentence; empty if there is nothing to do."""
    essential: bool = False
    """Without it `fosp-edge run` cannot work at all."""


@dataclass(frozen=True)
class Machine:
    """Where the examination looks. Tests put their own tree in place of `/`."""

    root: Path = Path("/")
    folder: Path = Path()
    """Where runs are recorded."""

    def read(self, path: str) -> str | None:
        """First kibibytes of a file below the root, stripped; None if it cannot be read."""
        try:
            with (self.root / path).open("rb") as file:
                return file.read(4096).decode(errors="replace").strip("\0 \n\t")
        except OSError:
            return None

    def glob(self, pattern: str) -> list[Path]:
        """Paths below the root that match, sorted."""
        return sorted(self.root.glob(pattern))


Check = Callable[[Machine], Sequence[Finding]]


def can_run(findings: Sequence[Finding]) -> bool:
    """Whether `fosp-edge run` can work at all."""
    return not any(finding.essential and finding.health is Health.MISSING for finding in findings)
