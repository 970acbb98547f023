"""Where episodes come from, whatever the format they are kept in."""

from collections.abc import Sequence
from typing import Protocol

from fosp_edge.experience.episode import EpisodeInfo, Recording
from fosp_edge.experience.schema import Steps


class EpisodeSource(Protocol):
    """Recorded episodes: our own store, or a reader of another tool's data."""

    @property
    def header(self) -> Recording | None:
        """What all episodes have in common; None while there is none."""

    def episodes(self) -> Sequence[EpisodeInfo]:
        """Every episode with at least one row, oldest first. Raises StoreError."""

    def read(self, episode_id: str) -> Steps:
        """All rows of one episode, columns of `fosp_edge.experience.schema.COLUMNS`. Raises StoreError."""
