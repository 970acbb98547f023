"""Chunks as FOSP, SafeDreamer and DreamerV3 save their replay: `<time>-<id>-<successor>-<rows>.npz`.

A chunk holds up to 1024 rows of one stream; an episode may begin in one chunk and end in its successor. A row is an
observation, the reward and cost that arrived with it, and the action then chosen.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fosp_edge.experience.episode import UNFINISHED, EpisodeHeader, EpisodeInfo, EpisodeSummary, Recording, StoreError
from fosp_edge.experience.formats.npz import Array, NpzFile, arriving, layout_of, pictures_of, save, steps_of
from fosp_edge.experience.schema import Steps
from fosp_edge.experience.source import EpisodeSource

RATE_HZ = 12.5
"""Safety-Gymnasium at 50 Hz with FOSP's action repeat of 4; the files do not say."""
_CHUNK_ROWS = 1024
_NONE = "0" * 22
_PARTS = 4


@dataclass(frozen=True)
class _Piece:
    """Rows `start` to `stop` of one chunk."""

    file: NpzFile
    start: int
    stop: int


class DreamerChunks:
    """A folder of chunks, as a source of episodes.

    Args:
        folder: where the chunks lie.
        rate_hz: control rate at which they were recorded.

    Raises:
        StoreError: no chunks, or chunks that contradict one another.
    """

    def __init__(self, folder: Path, rate_hz: float = RATE_HZ) -> None:
        self.folder, self._rate_hz = folder, rate_hz
        streams = list(_streams(folder))
        self._recording, self._cameras, self._vectors = layout_of(streams[0][0], "dreamer", rate_hz)
        self._pieces: dict[str, list[_Piece]] = {}
        self._infos: list[EpisodeInfo] = []
        for stream in streams:
            for pieces in _episodes(stream):
                self._add(pieces)
        self._loaded: tuple[NpzFile, dict[str, Array]] | None = None

    @property
    def header(self) -> Recording:
        """What all episodes have in common."""
        return self._recording

    def episodes(self) -> Sequence[EpisodeInfo]:
        """Every episode, stream after stream."""
        return self._infos

    def read(self, episode_id: str) -> Steps:
        """All rows of one episode. Raises StoreError."""
        if episode_id not in self._pieces:
            raise StoreError(f"{self.folder} has no episode {episode_id}; `fosp-edge data ls` lists them")
        names = ["action", "reward", "cost", "is_terminal", *self._cameras, *self._vectors]
        parts = []
        for piece in self._pieces[episode_id]:
            arrays = self._chunk(piece.file, names)
            parts.append({name: arrays[name][piece.start : piece.stop] for name in names})
        try:
            joined = {name: np.concatenate([part[name] for part in parts]) for name in names}
        except ValueError as error:
            raise StoreError(f"{self.folder}, episode {episode_id}: chunks differ in shape ({error})") from error
        return steps_of(joined, self._cameras, self._vectors, self._rate_hz)

    def _chunk(self, file: NpzFile, names: Sequence[str]) -> dict[str, Array]:
        """Arrays of a chunk; the last one is kept, because the next episode mostly lies in it too."""
        if self._loaded is None or self._loaded[0] is not file:
            present = file.names()
            small = {"reward": file.numbers, "cost": file.numbers, "is_terminal": file.flags}
            arrays = {name: small[name](name, present) if name in small else file.array(name) for name in names}
            self._loaded = (file, arrays)
        return self._loaded[1]

    def _add(self, pieces: list[_Piece]) -> None:
        columns: dict[str, list[Array]] = {"reward": [], "cost": [], "is_terminal": [], "is_last": []}
        for piece in pieces:
            present = piece.file.names()
            for name, parts in columns.items():
                read = piece.file.numbers if name in ("reward", "cost") else piece.file.flags
                parts.append(read(name, present)[piece.start : piece.stop])
        joined = {name: np.concatenate(parts) for name, parts in columns.items()}
        identity = f"{len(self._infos):06d}"
        summary = EpisodeSummary(
            rows=len(joined["reward"]),
            # What arrived with the first row was brought by no step of this episode.
            total_reward=float(np.sum(joined["reward"][1:], dtype=np.float64)),
            total_cost=float(np.sum(joined["cost"][1:], dtype=np.float64)),
            violations=int(np.count_nonzero(joined["cost"])),
            success=bool(joined["is_terminal"].any()),
            outcome="complete" if joined["is_last"][-1] else UNFINISHED,
        )
        header = EpisodeHeader(self._recording, source="dreamer", seed=len(self._infos))
        self._pieces[identity] = pieces
        self._infos.append(EpisodeInfo(identity, header, summary))


def is_chunk(path: Path) -> bool:
    """Whether a file's name is that of a chunk."""
    return path.suffix == ".npz" and path.stem.count("-") == _PARTS - 1


def write_chunks(source: EpisodeSource, folder: Path, episode_ids: Sequence[str]) -> int:
    """Write episodes as one stream of chunks; returns how many files were written.

    The filter's reasons and what the policy alone would have done have no place in this format.

    Raises:
        OSError: the disk refuses.
        StoreError: an episode cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    buffer: dict[str, Array] = {}
    written = 0
    for episode_id in episode_ids:
        rows = _dreamer_rows(source.read(episode_id))
        buffer = {name: np.concatenate([buffer[name], values]) if buffer else values for name, values in rows.items()}
        while len(buffer["reward"]) > _CHUNK_ROWS:
            _save(folder, written, {name: values[:_CHUNK_ROWS] for name, values in buffer.items()}, last=False)
            buffer = {name: values[_CHUNK_ROWS:] for name, values in buffer.items()}
            written += 1
    if buffer:
        _save(folder, written, buffer, last=True)
        written += 1
    return written


def _dreamer_rows(steps: Steps) -> dict[str, Array]:
    last = np.arange(len(steps["reward"])) == len(steps["reward"]) - 1
    rows: dict[str, Array] = {
        **pictures_of(steps),
        "action": steps["action"],
        "reward": arriving(steps["reward"]),
        "cost": arriving(steps["cost"]),
        "is_first": steps["is_first"],
        "is_last": last,
        "is_terminal": steps["is_terminal"],
        "reset": last,
    }
    return rows | ({"state": steps["state"]} if steps["state"].shape[1] else {})


def _save(folder: Path, number: int, arrays: dict[str, Array], *, last: bool) -> None:
    successor = _NONE if last else f"{number + 2:022d}"
    rows = len(arrays["reward"])
    save(folder / f"20000101T{number:06d}F000000-{number + 1:022d}-{successor}-{rows}.npz", arrays)


def _streams(folder: Path) -> Iterator[list[NpzFile]]:
    """Chains of chunks, each in order; streams in the order of their names."""
    files: dict[str, NpzFile] = {}
    successors: dict[str, str] = {}
    for path in sorted(path for path in folder.iterdir() if is_chunk(path)):
        _, identity, successor, _ = path.stem.split("-")
        if identity in files:
            raise StoreError(f"{folder} holds the chunk {identity} twice: {files[identity].path.name} and {path.name}")
        files[identity], successors[identity] = NpzFile(path), successor
    if not files:
        raise StoreError(f"{folder} holds no chunks such as <time>-<id>-<successor>-<rows>.npz")
    followers = {successor for identity, successor in successors.items() if successor in files}
    seen = 0
    for head in (identity for identity in files if identity not in followers):
        stream: dict[str, NpzFile] = {}
        current = head
        while current in files and current not in stream:
            stream[current] = files[current]
            current = successors[current]
        if current in stream:
            raise StoreError(f"{folder}: chunks follow one another in a circle, from {stream[current].path.name} on")
        seen += len(stream)
        yield list(stream.values())
    if seen != len(files):
        raise StoreError(f"{folder}: chunks follow one another in a circle, or two have the same successor")


def _episodes(stream: list[NpzFile]) -> Iterator[list[_Piece]]:
    """Pieces of each episode of a stream. Rows before the first marked beginning are an episode cut at its front."""
    pieces: list[_Piece] = []
    for file in stream:
        firsts = [int(row) for row in np.flatnonzero(file.flags("is_first", file.names()))]
        for start, stop in zip([0, *firsts], [*firsts, file.rows], strict=True):
            if start in firsts and pieces:
                yield pieces
                pieces = []
            if stop > start:
                pieces.append(_Piece(file, start, stop))
    if pieces:
        yield pieces
