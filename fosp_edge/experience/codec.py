"""Rows to bytes and back: safetensors, compressed without loss. No pickle, no code, a bound on what is unpacked."""

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from fosp_edge.experience.episode import StoreError
from fosp_edge.experience.schema import COLUMNS, Steps, check_steps

Row = Mapping[str, npt.NDArray[np.generic]]
"""One row: every column of the schema, without the step axis."""

_LEVEL = 1
"""zlib level: on 64x64 pictures, level 6 takes several times as long for a tenth fewer bytes."""
_LARGEST_CHUNK_BYTES = 1 << 30


def stack_rows(rows: Sequence[Row]) -> Steps:
    """Rows as columns, checked against the schema.

    Raises:
        ValueError: a column is missing, unknown, of another type or shape, or not a finite number.
    """
    for row in rows:
        if missing := [column.name for column in COLUMNS if column.name not in row]:
            raise ValueError(f"columns are missing from the row: {', '.join(missing)}")
    try:
        steps: Steps = {name: np.stack([np.asarray(row[name]) for row in rows]) for name in rows[0]}
    except ValueError as error:
        raise ValueError(f"rows of one episode must have the same shapes ({error})") from error
    check_finite(steps)
    check_steps(steps)
    return steps


def check_finite(steps: Steps) -> None:
    """Refuse NaN and infinity, which would poison whoever learns from them.

    Raises:
        ValueError: naming the column and the row.
    """
    for name, values in steps.items():
        if values.dtype.kind == "f":
            finite = np.isfinite(values)
            if not finite.all():
                row = int(np.argwhere(~finite)[0][0])
                raise ValueError(f"column {name} is not a finite number in row {row}; it is not recorded")


def encode(steps: Steps) -> bytes:
    """Columns as compressed safetensors."""
    return zlib.compress(save({name: np.ascontiguousarray(values) for name, values in steps.items()}), _LEVEL)


def decode(data: bytes, largest_bytes: int = _LARGEST_CHUNK_BYTES) -> Steps:
    """Columns back from `encode`'s bytes, checked against the schema.

    Raises:
        StoreError: the bytes are damaged, unpack to more than `largest_bytes`, or are of another schema.
    """
    try:
        unpacker = zlib.decompressobj()
        plain = unpacker.decompress(data, largest_bytes)
        if unpacker.unconsumed_tail:
            raise StoreError(f"a chunk unpacks to more than {largest_bytes >> 20} MiB; it is not one of ours")
        if not unpacker.eof:
            raise StoreError("a chunk ends too early")
        steps: Steps = dict(load(plain))
        check_steps(steps)
    except StoreError:
        raise
    except (zlib.error, SafetensorError, ValueError, KeyError) as error:
        raise StoreError(f"a chunk is damaged ({error})") from error
    return steps
