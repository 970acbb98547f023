"""Opening whatever holds episodes: our own store, or the format of another tool, told by what lies in the folder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fosp_edge.experience.database import DATA_FILE
from fosp_edge.experience.episode import StoreError
from fosp_edge.experience.formats.dreamer import DreamerChunks, is_chunk, write_chunks
from fosp_edge.experience.formats.vd4rl import VD4RLEpisodes, is_episode, write_episodes
from fosp_edge.experience.source import EpisodeSource
from fosp_edge.experience.store import ExperienceStore

_LEROBOT_INFO = "meta/info.json"


def _lerobot(path: Path, rate_hz: float | None) -> EpisodeSource:
    from fosp_edge.experience.formats.lerobot import LeRobotDataset

    return LeRobotDataset(path)


def _write_lerobot(source: EpisodeSource, folder: Path, episode_ids: Sequence[str]) -> int:
    from fosp_edge.experience.formats.lerobot_writer import write_lerobot

    return write_lerobot(source, folder, episode_ids)


@dataclass(frozen=True)
class Format:
    """One way of keeping episodes."""

    name: str
    recognise: Callable[[Path], bool]
    open: Callable[[Path, float | None], EpisodeSource]
    """Takes the folder and the control rate, for formats that do not record it."""
    write: Callable[[EpisodeSource, Path, Sequence[str]], int] | None = None


def _any_file(folder: Path, kind: Callable[[Path], bool]) -> bool:
    return folder.is_dir() and any(kind(path) for path in folder.iterdir())


FORMATS: tuple[Format, ...] = (
    Format("store", lambda path: (path / DATA_FILE).is_file(), lambda path, _: ExperienceStore(path)),
    Format("lerobot", lambda path: (path / _LEROBOT_INFO).is_file(), _lerobot, _write_lerobot),
    Format(
        "dreamer",
        lambda path: _any_file(path, is_chunk),
        lambda path, rate_hz: DreamerChunks(path, rate_hz) if rate_hz else DreamerChunks(path),
        write_chunks,
    ),
    Format(
        "v-d4rl",
        lambda path: _any_file(path, is_episode),
        lambda path, rate_hz: VD4RLEpisodes(path, rate_hz) if rate_hz else VD4RLEpisodes(path),
        write_episodes,
    ),
)
"""Every format, in the order in which a folder is asked whether it is one."""


def open_source(path: Path, rate_hz: float | None = None) -> EpisodeSource:
    """Open a folder of episodes, of whatever format.

    Args:
        path: the folder.
        rate_hz: control rate, for formats that do not record it; None takes the format's own.

    Raises:
        StoreError: it is none of the formats, or cannot be read.
    """
    for candidate in FORMATS:
        if candidate.recognise(path):
            return candidate.open(path, rate_hz)
    names = ", ".join(item.name for item in FORMATS)
    raise StoreError(f"there are no episodes at {path} in any format known here ({names})")


def writer_for(name: str) -> Callable[[EpisodeSource, Path, Sequence[str]], int]:
    """What writes episodes in the format of this name, to which `ExperienceStore` itself is none.

    Raises:
        StoreError: there is no such format to write.
    """
    writers = {item.name: item.write for item in FORMATS if item.write is not None}
    if name not in writers:
        raise StoreError(f"unknown format {name!r}; choose one of: {', '.join(writers)}")
    return writers[name]
