"""The file under the experience store: LMDB opened with care, growing by itself, its failures turned into sentences."""

import json
import os
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import lmdb

from fosp_edge.experience.episode import StoreError
from fosp_edge.experience.schema import READABLE_VERSIONS, SCHEMA_VERSION

FORMAT = "fosp-edge experience"
DATA_FILE = "data.mdb"
TABLES = ("meta", "headers", "summaries", "chunks")

Result = TypeVar("Result")


class StoreFull(StoreError):  # noqa: N818 - a state, as the control loop names it
    """There is no room for the next chunk; everything before it is safe."""


class View:
    """One transaction on the four tables, by name."""

    def __init__(self, transaction: lmdb.Transaction, tables: dict[str, Any]) -> None:
        self._transaction, self._tables = transaction, tables

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value under a key, or None."""
        value = self._transaction.get(key, db=self._tables[table])
        return None if value is None else bytes(value)

    def put(self, table: str, key: bytes, value: bytes) -> None:
        """Set the value under a key."""
        self._transaction.put(key, value, db=self._tables[table])

    def delete(self, table: str, key: bytes) -> None:
        """Forget a key."""
        self._transaction.delete(key, db=self._tables[table])

    def items(self, table: str) -> Iterator[tuple[bytes, bytes]]:
        """All keys with their values, in the order of the keys."""
        for key, value in self._transaction.cursor(db=self._tables[table]):
            yield bytes(key), bytes(value)

    def keys_from(self, table: str, prefix: bytes) -> list[bytes]:
        """All keys that begin with `prefix`, in order."""
        cursor = self._transaction.cursor(db=self._tables[table])
        keys: list[bytes] = []
        if cursor.set_range(prefix):
            for found in cursor.iternext(values=False):
                key = bytes(found)
                if not key.startswith(prefix):
                    break
                keys.append(key)
        return keys

    def sizes(self, table: str) -> Iterator[tuple[bytes, int]]:
        """All keys with the bytes that their values take; the values themselves are not read."""
        for key, value in self._transaction.cursor(db=self._tables[table]):
            yield bytes(key), len(value)

    def first_value(self, table: str) -> bytes | None:
        """The value under the first key; None if the table is empty."""
        cursor = self._transaction.cursor(db=self._tables[table])
        return bytes(cursor.value()) if cursor.first() else None

    def last_key(self, table: str) -> bytes | None:
        """The last key; None if the table is empty."""
        cursor = self._transaction.cursor(db=self._tables[table])
        return bytes(cursor.key()) if cursor.last() else None


class Database:
    """An existing store's tables. May be used by several threads, but not across a fork.

    Args:
        path: the folder.
        readonly: whether nothing will be written.
        reserve_bytes: this much of the disk is left free for the rest of the robot.
        map_step_bytes: by how much the memory map grows when it is full. Address space, not memory.

    Raises:
        StoreError: there is no store, it is of another schema, or it is already open in this process.
    """

    def __init__(self, path: Path, *, readonly: bool, reserve_bytes: int, map_step_bytes: int) -> None:
        self.path = path
        self._reserve_bytes, self._map_step_bytes = reserve_bytes, map_step_bytes
        self._lock = threading.RLock()
        if not (path / DATA_FILE).is_file():
            raise StoreError(
                f"there is no experience store at {path}; `fosp-edge data collect` or `fosp-edge run` make one"
            )
        self._environment = self._open(readonly)
        try:
            self._tables = {name: self._environment.open_db(name.encode(), create=False) for name in TABLES}
            with self.read() as view:
                version = _check_schema(path, view.get("meta", b"store"))
            if not readonly and version != SCHEMA_VERSION:
                # Older rows are rows of the present schema; only an older reader must learn that newer ones may follow.
                self.write(lambda view: view.put("meta", b"store", _meta()), 0)
        except (lmdb.Error, StoreError) as error:
            self._environment.close()
            if isinstance(error, StoreError):
                raise
            raise StoreError(f"{path} holds a database that is not an experience store ({error})") from error
        if not readonly:
            self._environment.reader_check()  # frees the slots of readers that were killed

    def close(self) -> None:
        """Let go of the folder."""
        with self._lock:
            self._environment.close()

    @contextmanager
    def read(self) -> Iterator[View]:
        """The tables as they were at one moment, whatever is written meanwhile. Keep it short: it pins old pages."""
        with self._lock, self._begin_read() as transaction:
            yield View(transaction, self._tables)

    def write(self, action: Callable[[View], Result], size_bytes: int) -> Result:
        """Run `action` in one durable transaction, growing the map as needed; `size_bytes` is what it will add.

        Raises:
            StoreFull: no room; nothing of the transaction is written.
            StoreError: the disk refuses to write for another reason.
        """
        with self._lock:
            while True:
                self._check_room(size_bytes)
                try:
                    with self._environment.begin(write=True) as transaction:
                        return action(View(transaction, self._tables))
                except lmdb.MapFullError:
                    present: int = self._environment.info()["map_size"]
                    self._environment.set_mapsize(present + self._map_step_bytes + size_bytes)
                except lmdb.MapResizedError:
                    self._environment.set_mapsize(0)  # another process grew it: adopt its size
                except (lmdb.Error, OSError) as error:
                    raise self._write_error(error) from error

    def _open(self, readonly: bool) -> lmdb.Environment:
        # Readers register in the lock file; data on a medium that cannot be written to has no writer to be careful of.
        lock = not readonly or os.access(self.path / "lock.mdb", os.W_OK)
        size = (self.path / DATA_FILE).stat().st_size
        map_size = (size // self._map_step_bytes + 1) * self._map_step_bytes
        try:
            return lmdb.open(
                str(self.path), max_dbs=len(TABLES), readonly=readonly, create=False, lock=lock, map_size=map_size
            )
        except (lmdb.Error, OSError) as error:
            if "already open" in str(error):
                raise StoreError(f"{self.path} is already open in this process; was it named twice?") from error
            raise StoreError(f"{self.path} cannot be opened ({error})") from error

    def _begin_read(self) -> lmdb.Transaction:
        try:
            return self._environment.begin(buffers=True)
        except lmdb.MapResizedError:
            self._environment.set_mapsize(0)
        except lmdb.ReadersFullError:
            self._environment.reader_check()
        return self._environment.begin(buffers=True)

    def _check_room(self, size_bytes: int) -> None:
        usage = os.statvfs(self.path)
        free = usage.f_bavail * usage.f_frsize
        if size_bytes and free < self._reserve_bytes + size_bytes:
            raise StoreFull(
                f"the disk with {self.path} has {free >> 20} MiB left, of which {self._reserve_bytes >> 20} MiB are "
                "kept for the rest of the system; free some space (`fosp-edge data ls` shows what the store holds)"
            )

    def _write_error(self, error: Exception) -> StoreError:
        # LMDB reports a short write, which is what a full disk or quota looks like, as an input/output error.
        text = str(error)
        signs = ("No space left", "File too large", "quota", "Input/output error")
        if isinstance(error, lmdb.DiskError) or any(sign in text for sign in signs):
            return StoreFull(f"{self.path} cannot grow ({text}); free some space. What was written before is safe")
        return StoreError(f"writing to {self.path} failed ({text}); what was written before is safe")


def create(path: Path) -> None:
    """Make an empty store beside `path` and rename it into place, so that there is never half a store.

    Raises:
        StoreError: the folder holds something else, or cannot be written.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise StoreError(f"{path} exists and is not an experience store; choose another folder")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        environment = lmdb.open(str(temporary), max_dbs=len(TABLES), map_size=1 << 20)
        tables = {name: environment.open_db(name.encode()) for name in TABLES}
        with environment.begin(write=True) as transaction:
            transaction.put(b"store", _meta(), db=tables["meta"])
        environment.close()
        _rename(temporary, path)
    except (lmdb.Error, OSError) as error:
        raise StoreError(f"no experience store can be made at {path} ({error}); choose another folder") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _rename(temporary: Path, path: Path) -> None:
    try:
        temporary.rename(path)
    except OSError:
        if not (path / DATA_FILE).exists():  # otherwise someone else was faster, with the same result
            raise
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _meta() -> bytes:
    return json.dumps({"format": FORMAT, "schema_version": SCHEMA_VERSION}).encode()


def _check_schema(path: Path, raw: bytes | None) -> int:
    """The schema version of a store. Raises StoreError if this version of the software does not read it."""
    try:
        meta: dict[str, Any] = json.loads(raw or b"{}")
    except json.JSONDecodeError:
        meta = {}
    if meta.get("format") != FORMAT:
        raise StoreError(f"{path} holds a database that is not an experience store")
    version = meta.get("schema_version")
    if version not in READABLE_VERSIONS:
        raise StoreError(
            f"{path} has schema {version}, this version of fosp-edge reads up to schema {SCHEMA_VERSION}; "
            "use the version it was written with"
        )
    return int(version)
