"""Which episodes go when a store has grown too large: the plain ones first, the telling ones last."""

from collections.abc import Mapping, Sequence
from enum import IntEnum

from fosp_edge.experience.episode import EpisodeInfo
from fosp_edge.experience.store import ExperienceStore


class Worth(IntEnum):
    """How much there is to learn from an episode that no other one teaches; the lowest go first."""

    PLAIN = 0
    SUCCESS = 1
    INTERVENTION = 2
    VIOLATION = 3


def worth_of(info: EpisodeInfo) -> Worth:
    """Violations are rare and are all the reachability function learns from; then where the filter stepped in."""
    if info.summary.violations or info.summary.total_cost > 0:
        return Worth.VIOLATION
    if info.summary.interventions:
        return Worth.INTERVENTION
    return Worth.SUCCESS if info.summary.success else Worth.PLAIN


def to_remove(infos: Sequence[EpisodeInfo], size_bytes: Mapping[str, int], limit_bytes: int) -> list[str]:
    """Ids of the episodes to remove so that the rest takes no more than the limit.

    The least worthy go first, among equals the oldest. The newest episode stays, whatever it is worth: it may still
    be being written.

    Args:
        infos: every episode, oldest first.
        size_bytes: what each takes, by id.
        limit_bytes: what they may take together.
    """
    excess = sum(size_bytes[info.id] for info in infos) - limit_bytes
    removed = []
    for info in sorted(infos[:-1], key=worth_of):
        if excess <= 0:
            break
        removed.append(info.id)
        excess -= size_bytes[info.id]
    return removed


def enforce(store: ExperienceStore, limit_bytes: int) -> list[str]:
    """Remove episodes until the store keeps to its limit; returns the ids of those removed, with their room free again.

    The file itself does not shrink: later episodes use the room.

    Raises:
        StoreError: the store is open for reading, or the disk refuses.
    """
    removed = to_remove(store.episodes(), store.episode_bytes(), limit_bytes)
    for episode_id in removed:
        store.remove(episode_id)
    return removed
