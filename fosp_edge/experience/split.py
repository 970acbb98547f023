"""Which episodes are held back from learning: for validation, filter thresholds and parity."""

import zlib

from fosp_edge.experience.episode import EpisodeInfo

HELD_OUT_SHARE = 0.1


def is_held_out(info: EpisodeInfo) -> bool:
    """True for about a tenth of the episodes, decided by what the episode is, not by when or where it is read."""
    return share_of(info) < HELD_OUT_SHARE


def share_of(info: EpisodeInfo) -> float:
    """A number in [0, 1) that belongs to the episode, evenly spread over episodes."""
    header = info.header
    name = f"{header.source}/{header.scenario}/{header.seed}/{header.created_utc if header.bundle else ''}"
    return zlib.crc32(name.encode()) % 1000 / 1000
