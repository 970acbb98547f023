"""Which episodes a robot's learner learns from, and which are kept for its gate to compare on."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import TypeVar

from fosp_edge.cli.admission import HeldOut
from fosp_edge.cli.familiarity import Episodes
from fosp_edge.experience.episode import EpisodeInfo
from fosp_edge.experience.selection import CameraSelection
from fosp_edge.experience.split import HELD_OUT_SHARE, is_held_out, share_of

SOURCE = "bundle"
"""Source of the episodes that a bundle drove, as the recorder writes it."""
OWN_HELD_OUT_EVERY = 4
"""One of so many of the robot's own episodes is kept from learning. More than of offline data: there are few, and the
gate compares on them. By turns and not by lot: after eighty episodes there are twenty, not twelve or thirty."""
_NEWEST, _HISTORY = 20, 300
"""Own episodes of the shadow run, and those that say what may be expected of an episode: of longer ago, it was perhaps
another table."""
_VIOLATIONS = 100
"""Offline episodes with a violation that the filter is calibrated on: as many as a threshold from a hundred has, it
varies by a third of its level."""
_QUIET = 100
"""And as many without: they help to tell whether a gain is more than luck."""
_Item = TypeVar("_Item")


def own_held_out(info: EpisodeInfo) -> bool:
    """Whether an episode is kept from learning."""
    return int(info.id) % OWN_HELD_OUT_EVERY == 0 if info.header.source == SOURCE else is_held_out(info)


def is_learnt_from(info: EpisodeInfo, share: float) -> bool:
    """Whether an episode is learnt from, where memory takes this share of the offline ones."""
    if own_held_out(info):
        return False
    # Held-out episodes have the low shares; of the others, so many as the memory takes.
    return info.header.source == SOURCE or share_of(info) >= 1.0 - (1.0 - HELD_OUT_SHARE) * share


class LearnerData:
    """Offline data and the robot's own experience, as the learner and its gate take from them.

    Args:
        offline: data sets, with the bundle's cameras.
        own: what the robot lived; it grows.
        compared: held-out episodes of each origin that the gate compares on.
    """

    def __init__(self, offline: Sequence[CameraSelection], own: CameraSelection, compared: int) -> None:
        self.offline, self.own, self._compared = offline, own, compared

    @property
    def offline_rows(self) -> int:
        """Rows of all data sets."""
        return sum(info.summary.rows for source in self.offline for info in source.episodes())

    def lived(self) -> list[EpisodeInfo]:
        """Finished own episodes that are long enough to say something, oldest first."""
        return [info for info in self.own.episodes() if info.summary.finished and info.summary.rows >= 3]

    def held_out(self) -> HeldOut:
        """The newest own ones, and of the offline ones as many with violations as without, from all data sets alike."""
        kept = [[(source, info) for info in source.episodes() if is_held_out(info)] for source in self.offline]
        every_violated = _in_turn([[item for item in items if item[1].summary.violations] for items in kept])
        every_quiet = _in_turn([[item for item in items if not item[1].summary.violations] for items in kept])
        violated, more = every_violated[: self._compared // 2], every_violated[self._compared // 2 : _VIOLATIONS]
        quiet, others = every_quiet[: (left := self._compared - len(violated))], every_quiet[left:_QUIET]
        return HeldOut(
            own=self._read([info for info in self.lived() if own_held_out(info)][-self._compared :]),
            offline=[(info, source.read(info.id)) for source, info in (*violated, *quiet)],
            violated=[(info, source.read(info.id)) for source, info in more],
            quiet=[(info, source.read(info.id)) for source, info in others],
        )

    def learnt_from(self) -> Episodes:
        """The newest own episodes that were learnt from."""
        return self._read([info for info in self.lived() if not own_held_out(info)][-self._compared :])

    def newest(self) -> Episodes:
        """The newest own episodes, for a shadow run."""
        return self._read(self.lived()[-_NEWEST:])

    def history(self) -> list[EpisodeInfo]:
        """What says how an episode of this robot may be expected to go."""
        return self.lived()[-_HISTORY:]

    def _read(self, infos: Sequence[EpisodeInfo]) -> Episodes:
        return [(info, self.own.read(info.id)) for info in infos]


def _in_turn(groups: Sequence[Sequence[_Item]]) -> list[_Item]:
    """The first of each, the second of each, and so on."""
    return [item for turn in zip_longest(*groups) for item in turn if item is not None]
