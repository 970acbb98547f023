"""The experience store: every episode the robot has lived, in one folder that survives whatever happens to its writer.

Why LMDB. What is needed is one writer that is never waited for, readers in other processes at the same time, and a
file that is whole after kill -9 or a power cut. LMDB gives exactly that: copy-on-write pages behind two alternating
roots, so a commit is there entirely or not at all and there is no log to replay; readers that neither block the
writer nor are blocked by it; one small C library with wheels for every robot. MCAP and Parquet write files that end
in an index: killed before the end, they have to be repaired, and nobody reads them while they grow. SQLite would do
too; it is slower on half-megabyte values, and its readers hold back the checkpoint of its log. The formats of other
tools are import and export (`fosp_edge.experience.source`).

Layout, schema 2. Four tables: `meta` (`store`: JSON with format and schema version), `headers` and `summaries`
(episode number, 4 bytes big-endian -> JSON) and `chunks` (episode number, chunk number -> zlib(safetensors) of at most
20 rows, one second). Schema 1 had the same without the columns of the filter; it is read, and becomes schema 2 when
it is first opened for appending. A chunk and the summary that counts it are one transaction, synced to the disk, so at
most the last second is ever lost.
"""

import hashlib
import struct
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from fosp_edge.experience.codec import check_finite, decode, encode
from fosp_edge.experience.database import DATA_FILE, Database, StoreFull, View, create
from fosp_edge.experience.episode import (
    EpisodeHeader,
    EpisodeInfo,
    EpisodeSummary,
    Recording,
    StoreError,
    concatenate,
    inconsistency,
)
from fosp_edge.experience.schema import Steps, check_steps
from fosp_edge.experience.writer import CHUNK_ROWS, EpisodeWriter, check_recording, id_of, key_of

__all__ = ["CHUNK_ROWS", "EpisodeWriter", "ExperienceStore", "Mode", "StoreError", "StoreFull"]

Mode = Literal["r", "a"]


class ExperienceStore:
    """Episodes in a folder. May be used by several threads, but not across a fork; one process opens a folder once.

    Args:
        path: the folder; created in mode "a".
        mode: "r" to read, "a" to read and append.
        reserve_bytes: this much of the disk is left free for the rest of the robot.
        map_step_bytes: by how much the memory map grows when it is full. Address space, not memory.

    Raises:
        StoreError: there is no store, it is of another schema, or it is already open in this process.
    """

    def __init__(
        self, path: Path | str, mode: Mode = "r", *, reserve_bytes: int = 64 << 20, map_step_bytes: int = 256 << 20
    ) -> None:
        self.path, self.mode = Path(path), mode
        if mode == "a" and not (self.path / DATA_FILE).exists():
            create(self.path)
        self._database = Database(
            self.path, readonly=mode == "r", reserve_bytes=reserve_bytes, map_step_bytes=map_step_bytes
        )

    def __enter__(self) -> "ExperienceStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the folder; rows that an open writer still buffers are not written."""
        self._database.close()

    @property
    def header(self) -> Recording | None:
        """What all episodes have in common; None while there is none."""
        with self._database.read() as view:
            value = view.first_value("headers")
        return None if value is None else EpisodeHeader.from_json(value.decode()).recording

    def check_fits(self, recording: Recording) -> None:
        """Whether episodes of this recording may be appended, asked before there are any.

        Raises:
            StoreError: the store is open for reading only, or holds another robot's episodes.
        """
        if self.mode != "a":
            raise StoreError(f"{self.path} is open for reading; open it with mode 'a' to append")
        with self._database.read() as view:
            check_recording(view, recording)

    def writer(self, header: EpisodeHeader) -> "EpisodeWriter":
        """Begin an episode. It exists for readers from its first chunk on.

        Raises:
            StoreError: the store is open for reading only, or holds another robot's episodes.
        """
        self.check_fits(header.recording)
        stamp = header.created_utc or datetime.now(timezone.utc).isoformat(timespec="seconds")
        return EpisodeWriter(self._database, replace(header, created_utc=stamp))

    def add(self, header: EpisodeHeader, steps: Steps, outcome: str = "complete") -> str:
        """Append one whole episode in one transaction; returns its id. Raises as `add_all`."""
        return self.add_all([(header, steps, outcome)])[0]

    def add_all(self, episodes: Sequence[tuple[EpisodeHeader, Steps, str]]) -> list[str]:
        """Append whole episodes (header, rows, outcome) in one transaction; returns their ids.

        One transaction is one wait for the disk, which may take longer than simulating an episode: give many at once.

        Raises:
            ValueError: the columns of an episode do not fit the schema, or are empty; nothing is written.
            StoreError, StoreFull: as `writer` and `EpisodeWriter.flush`; nothing is written.
        """
        prepared = []
        for header, steps, outcome in episodes:
            rows = check_steps(steps)
            if rows == 0:
                raise ValueError("an episode needs at least one row")
            check_finite(steps)
            starts = range(0, rows, CHUNK_ROWS)
            parts = [{name: values[start : start + CHUNK_ROWS] for name, values in steps.items()} for start in starts]
            prepared.append(self.writer(header).prepare(parts, outcome))
        keys = self._database.write(
            lambda view: [item.write(view) for item in prepared], sum(item.size_bytes for item in prepared)
        )
        return [id_of(key) for key in keys]

    def episodes(self) -> list[EpisodeInfo]:
        """Every episode, oldest first. Those never closed have the outcome `unfinished`."""
        with self._database.read() as view:
            return [_info(view, key, header) for key, header in view.items("headers")]

    def info(self, episode_id: str) -> EpisodeInfo:
        """One episode without its rows. Raises StoreError if there is none of this id."""
        key = key_of(episode_id)
        with self._database.read() as view:
            header = view.get("headers", key)
            if header is None:
                raise StoreError(f"{self.path} has no episode {episode_id}; `fosp-edge data ls` lists them")
            return _info(view, key, header)

    def read(self, episode_id: str) -> Steps:
        """All rows written so far of one episode.

        Raises:
            StoreError: no such episode, or a chunk of it is damaged.
        """
        rows = self.info(episode_id).summary.rows
        key = key_of(episode_id)
        with self._database.read() as view:
            # Copied out, so that decompressing does not hold the reader's slot, nor the pages behind it.
            blobs = [view.get("chunks", found) for found in view.keys_from("chunks", key)]
        parts = [self._decoded(episode_id, number, blob or b"") for number, blob in enumerate(blobs)]
        found = sum(len(part["reward"]) for part in parts)
        if not parts or found < rows:
            raise StoreError(f"{self.path}, episode {episode_id}: {rows} rows expected, {found} found")
        return concatenate(parts)

    def remove(self, episode_id: str) -> None:
        """Delete one episode; its pages are used again by later ones. Raises StoreError if there is none of this id."""
        if self.mode != "a":
            raise StoreError(f"{self.path} is open for reading; open it with mode 'a' to remove episodes")
        self.info(episode_id)
        key = key_of(episode_id)

        def action(view: View) -> None:
            for chunk in view.keys_from("chunks", key):
                view.delete("chunks", chunk)
            view.delete("headers", key)
            view.delete("summaries", key)

        self._database.write(action, 0)

    def fingerprint(self) -> str:
        """SHA-256 over all rows as they are stored: names a data set in what was learnt from it."""
        digest = hashlib.sha256()
        with self._database.read() as view:
            for key, value in view.items("chunks"):
                digest.update(key)
                digest.update(value)
        return digest.hexdigest()

    def replace(self, episode_id: str, steps: Steps, outcome: str) -> EpisodeSummary:
        """Put other rows in place of those of a finished episode, in one transaction; returns the new summary.

        Raises:
            ValueError: the columns do not fit the schema, or are empty.
            StoreError, StoreFull: no such episode, still being written, or the disk refuses; then nothing changes.
        """
        if self.mode != "a":
            raise StoreError(f"{self.path} is open for reading; open it with mode 'a' to change it")
        info = self.info(episode_id)
        if not info.summary.finished:
            raise StoreError(f"{self.path}, episode {episode_id} was never closed; it may still be being written")
        if check_steps(steps) == 0:
            raise ValueError("an episode needs at least one row")
        check_finite(steps)
        key = key_of(episode_id)
        starts = range(0, len(steps["reward"]), CHUNK_ROWS)
        parts = [{name: values[start : start + CHUNK_ROWS] for name, values in steps.items()} for start in starts]
        blobs = [encode(part) for part in parts]
        summary = replace(EpisodeSummary().extended(steps), outcome=outcome)

        def action(view: View) -> None:
            for chunk in view.keys_from("chunks", key):
                view.delete("chunks", chunk)
            for number, blob in enumerate(blobs):
                view.put("chunks", key + struct.pack(">I", number), blob)
            view.put("summaries", key, summary.to_json().encode())

        self._database.write(action, sum(map(len, blobs)))
        return summary

    def episode_bytes(self) -> dict[str, int]:
        """Bytes that the rows of each episode take, compressed, by id."""
        sizes: dict[str, int] = {}
        with self._database.read() as view:
            for key, size in view.sizes("chunks"):
                episode_id = id_of(key[:4])
                sizes[episode_id] = sizes.get(episode_id, 0) + size
        return sizes

    def size_bytes(self) -> int:
        """Size of the data file on the disk."""
        return (self.path / DATA_FILE).stat().st_size

    def verify(self) -> Iterator[tuple[str, str | None]]:
        """Read everything back: yields each episode's id with what is wrong with it, or None."""
        for info in self.episodes():
            yield info.id, self._problem(info)

    def _problem(self, info: EpisodeInfo) -> str | None:
        try:
            steps = self.read(info.id)
            check_finite(steps)
        except ValueError as error:
            return str(error)
        return inconsistency(info, steps)

    def _decoded(self, episode_id: str, number: int, blob: bytes) -> Steps:
        try:
            return decode(blob)
        except StoreError as error:
            raise StoreError(f"{self.path}, episode {episode_id}, chunk {number}: {error}") from error


def _info(view: View, key: bytes, header: bytes) -> EpisodeInfo:
    summary = view.get("summaries", key) or b""
    return EpisodeInfo(id_of(key), EpisodeHeader.from_json(header.decode()), EpisodeSummary.from_json(summary.decode()))
