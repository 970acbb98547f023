"""One episode on its way to the disk: rows buffered for a second, then a chunk that survives a power cut."""

import struct
from dataclasses import dataclass, replace

from fosp_edge.experience.codec import Row, encode, stack_rows
from fosp_edge.experience.database import Database, View
from fosp_edge.experience.episode import (
    UNFINISHED,
    EpisodeHeader,
    EpisodeSummary,
    Recording,
    StoreError,
    concatenate,
)
from fosp_edge.experience.schema import Steps

CHUNK_ROWS = 20


class EpisodeWriter:
    """One episode being written. Rows are durable in chunks of one second; made by `ExperienceStore.writer`."""

    def __init__(self, database: Database, header: EpisodeHeader) -> None:
        self.header = header
        self._database = database
        self._rows: list[Steps] = []
        self._key: bytes | None = None
        self._chunks = 0
        self._summary = EpisodeSummary()

    @property
    def episode_id(self) -> str | None:
        """The id under which readers find the episode; None before its first chunk is written."""
        return None if self._key is None else id_of(self._key)

    @property
    def summary(self) -> EpisodeSummary:
        """How the episode goes, as far as it is on the disk."""
        return self._summary

    def append(self, row: Row) -> None:
        """Take a copy of one row, a mapping of every column of the schema; the twentieth one writes a chunk.

        Raises:
            ValueError: the row does not fit the schema.
            StoreFull, StoreError: as `flush`; the rows are kept, and go out with the next chunk if there is room again.
        """
        self._rows.append(stack_rows([row]))
        if len(self._rows) >= CHUNK_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write buffered rows; when this returns they survive a power cut. Raises StoreFull, StoreError."""
        if self._rows:
            self.commit(self._parts(), UNFINISHED)
            self._rows = []

    def close(self, outcome: str = "complete") -> str | None:
        """Write what is left and mark the episode as finished; returns its id, None if it never had a row.

        Raises:
            StoreFull, StoreError: as `flush`; the episode stays `unfinished`.
        """
        if self._rows or self._key is not None:
            self.commit(self._parts(), outcome)
            self._rows = []
        return self.episode_id

    def prepare(self, parts: list[Steps], outcome: str) -> "Prepared":
        """Encode parts of the episode, one chunk each, for a transaction."""
        summary = self._summary
        for part in parts:
            summary = summary.extended(part)
        blobs = [encode(part) for part in parts]
        return Prepared(self._key, self.header, blobs, self._chunks, replace(summary, outcome=outcome))

    def commit(self, parts: list[Steps], outcome: str) -> str:
        """Write parts of the episode, one chunk each, in one transaction. Raises StoreFull, StoreError."""
        prepared = self.prepare(parts, outcome)
        self._key = self._database.write(prepared.write, prepared.size_bytes)
        self._summary, self._chunks = prepared.summary, self._chunks + len(prepared.blobs)
        return id_of(self._key)

    def _parts(self) -> list[Steps]:
        """Buffered rows as chunks; more than one only if the store was full for a while."""
        starts = range(0, len(self._rows), CHUNK_ROWS)
        try:
            return [concatenate(self._rows[start : start + CHUNK_ROWS]) for start in starts]
        except ValueError as error:
            raise ValueError(f"rows of one episode must have the same shapes ({error})") from error


@dataclass(frozen=True)
class Prepared:
    """What one transaction adds to an episode."""

    key: bytes | None
    """None for an episode that does not exist yet: it gets the next number."""
    header: EpisodeHeader
    blobs: list[bytes]
    first_chunk: int
    summary: EpisodeSummary

    @property
    def size_bytes(self) -> int:
        """About what the transaction adds to the file."""
        return sum(map(len, self.blobs))

    def write(self, view: View) -> bytes:
        """Put everything into a transaction; returns the episode's key. Raises StoreError for another recording."""
        key = self.key
        if key is None:
            # Checked here too, where nobody else can write: two writers may both have found the store empty.
            check_recording(view, self.header.recording)
            last = view.last_key("headers")
            key = struct.pack(">I", 0 if last is None else struct.unpack(">I", last)[0] + 1)
            view.put("headers", key, self.header.to_json().encode())
        for number, blob in enumerate(self.blobs, self.first_chunk):
            view.put("chunks", key + struct.pack(">I", number), blob)
        view.put("summaries", key, self.summary.to_json().encode())
        return key


def check_recording(view: View, recording: Recording) -> None:
    """Refuse what was recorded otherwise than the episodes that are there.

    Raises:
        StoreError: naming what differs.
    """
    value = view.first_value("headers")
    if value is None:
        return
    if differences := EpisodeHeader.from_json(value.decode()).recording.differences(recording):
        raise StoreError(
            f"the store holds episodes of another kind: {'; '.join(differences)}; use another folder for these"
        )


def id_of(key: bytes) -> str:
    """The id of an episode, as people see it, from its key in the tables."""
    return f"{struct.unpack('>I', key)[0]:06d}"


def key_of(episode_id: str) -> bytes:
    """The key of an episode in the tables. Raises StoreError if this cannot be an id."""
    if not (episode_id.isascii() and episode_id.isdecimal()) or int(episode_id) >= 1 << 32:
        raise StoreError(f"{episode_id!r} is not an episode's id; `fosp-edge data ls` lists them")
    return struct.pack(">I", int(episode_id))
