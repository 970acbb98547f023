"""What a robot's learner remembers of itself from one of its processes to the next."""

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from fosp_edge.cli.home import read_json, write_json


@dataclass
class LearnerNote:
    """A small file beside the learner's checkpoints, replaced as a whole whenever something in it changes."""

    number: int = 0
    """How often learning has begun anew."""
    folder: str = ""
    """Where it learns now, beside the note; empty: it begins anew."""
    base: str = ""
    """Id of the bundle that it learns on from."""
    mode: str = ""
    candidate_update: int = 0
    """Update of the last candidate that was judged; it may be many short runs ago."""
    candidate_episodes: int = 0
    """Own episodes there were when there was last something to export."""
    proposed: list[str] = field(default_factory=list)
    """Ids of the bundles that were proposed since it began anew."""

    @classmethod
    def read(cls, path: Path) -> "LearnerNote":
        """As it was written; of what is missing or damaged, the beginning."""
        values = read_json(path)
        return cls(**{item.name: values[item.name] for item in fields(cls) if item.name in values})

    def write(self, path: Path) -> None:
        """Keep it."""
        write_json(path, asdict(self))
