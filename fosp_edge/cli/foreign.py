"""What `fosp-edge export` takes besides this project's own checkpoints."""

import hashlib
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fosp_edge.experience.episode import EpisodeInfo

if TYPE_CHECKING:
    from export.foreign.read import ForeignAgent

MOST_EPISODES = 200
"""Recorded episodes that a foreign agent is calibrated and compared on."""


class Family(str, Enum):
    """What `--from` takes: who wrote the checkpoint."""

    AUTO = "auto"
    OWN = "fosp-edge"
    FOSP = "fosp"
    SAFEDREAMER = "safedreamer"
    DREAMERV3 = "dreamerv3"
    DREAMERV3_TORCH = "dreamerv3-torch"
    R2DREAMER = "r2dreamer"


def is_foreign(path: Path, family: Family) -> bool:
    """Whether a checkpoint is another project's: as told, or by what it looks like from outside."""
    if family is not Family.AUTO:
        return family is not Family.OWN
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(2) in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def read(path: Path, family: Family, groups: int | None, state_size: int) -> "ForeignAgent":
    """The agent of a foreign checkpoint. Raises ForeignCheckpointError, a sentence."""
    from export.foreign.read import read_foreign

    chosen = None if family is Family.AUTO else family.value
    return read_foreign(path, family=chosen, groups=groups, state_size=state_size)


def origin(path: Path, foreign: "ForeignAgent") -> dict[str, Any]:
    """For the manifest: where the weights are from, and what was not carried over."""
    return {
        "written_by": foreign.family,
        "file": path.name,
        "sha256": {file.name: _sha256(file) for file in foreign.files},
        "left_aside": foreign.left,
        "not_in_the_file": {"unimix": foreign.agent.config.unimix, "norm_epsilon": foreign.agent.config.norm_epsilon},
    }


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def episodes_for(infos: Sequence[EpisodeInfo]) -> list[EpisodeInfo]:
    """Which recorded episodes to use: it learnt from none of them, so all serve, up to a number that memory holds."""
    return list(infos[:: -(-len(infos) // MOST_EPISODES) or 1])
