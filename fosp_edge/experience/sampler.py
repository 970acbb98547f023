"""Sequences for the learner, drawn from episodes that are held in memory.

A window starts at any row of any episode, all rows alike. Where the episode ends before the window does, another
episode follows from its beginning; `is_first` marks the seam, as in DreamerV3, so that the recurrent state is reset
there and no sequence ever crosses from one episode into another unmarked. The first row of a window is marked too:
what came before it is not in the window.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fosp_edge.experience.episode import EpisodeInfo, StoreError
from fosp_edge.experience.schema import COLUMNS, Steps, with_proof
from fosp_edge.experience.source import EpisodeSource

Progress = Callable[[int, int], None]
"""Called with the rows decoded so far and the rows there are."""


class SequenceSampler:
    """Batches of sequences, uniform over starting rows.

    Holds every row in memory: images take height * width * channels bytes each, 24 KiB at two 64x64 cameras, so
    100,000 rows are 2.4 GB. More than `memory_limit_bytes` is refused before anything is read.

    Args:
        sources: where the episodes come from; all must have been recorded alike.
        batch: sequences per batch, B.
        length: rows per sequence, T.
        seed: decides what is drawn.
        choose: which episodes to take, for instance to hold some back; None takes all.
        progress: told how far reading has come.
        memory_limit_bytes: bound on the memory that the rows may take.

    Raises:
        StoreError: no episodes, sources that do not fit together, damaged data, or more than the memory bound.
        ValueError: `batch` or `length` below 1.
    """

    def __init__(
        self,
        sources: Sequence[EpisodeSource],
        batch: int,
        length: int,
        seed: int,
        *,
        choose: Callable[[EpisodeInfo], bool] | None = None,
        progress: Progress | None = None,
        memory_limit_bytes: int = 8 << 30,
    ) -> None:
        if batch < 1 or length < 1:
            raise ValueError(f"batch and length must be at least 1, found {batch} and {length}")
        self.batch, self.length = batch, length
        self._random = np.random.default_rng(seed)
        chosen = [(source, info) for source in sources for info in source.episodes() if choose is None or choose(info)]
        _check_alike([info for _, info in chosen])
        self._columns, lengths = _load(chosen, progress, memory_limit_bytes)
        self._starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
        self._ends = np.cumsum(lengths).astype(np.int64)

    @property
    def rows(self) -> int:
        """Rows held."""
        return int(self._ends[-1])

    @property
    def episodes(self) -> int:
        """Episodes held."""
        return len(self._ends)

    @property
    def memory_bytes(self) -> int:
        """Bytes that the rows take."""
        return sum(values.nbytes for values in self._columns.values())

    def statistics(self, column: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Mean and standard deviation of one column over all rows, each of the column's row shape."""
        values = self._columns[column].astype(np.float64)
        return values.mean(axis=0).astype(np.float32), values.std(axis=0).astype(np.float32)

    def sample(self) -> Steps:
        """One batch: every column of the schema and `proven`, with shape [B, T, ...]."""
        index, first = self._indices()
        batch: Steps = {name: np.take(values, index, axis=0) for name, values in self._columns.items()}
        batch["is_first"] = np.logical_or(batch["is_first"], first)
        return batch

    def state(self) -> dict[str, Any]:
        """What `restore` needs to draw the same batches again, as JSON values."""
        return {"random": self._random.bit_generator.state, "rows": self.rows}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken.

        Raises:
            ValueError: the state is not of a sampler over as many rows.
        """
        if state.get("rows") != self.rows:
            raise ValueError(
                f"the sampler's state was taken over {state.get('rows')} rows, these sources have {self.rows}; "
                "resume with the same data set"
            )
        self._random.bit_generator.state = state["random"]

    def _indices(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Rows of the batch [B, T], and where a piece of an episode begins [B, T]."""
        index = np.empty((self.batch, self.length), np.int64)
        first = np.zeros((self.batch, self.length), np.bool_)
        for sequence in range(self.batch):
            start, filled = int(self._random.integers(self.rows)), 0
            end = int(self._ends[np.searchsorted(self._ends, start, side="right")])
            while filled < self.length:
                count = min(end - start, self.length - filled)
                index[sequence, filled : filled + count] = np.arange(start, start + count)
                first[sequence, filled] = True
                filled += count
                following = int(self._random.integers(self.episodes))
                start, end = int(self._starts[following]), int(self._ends[following])
        return index, first


def _check_alike(infos: list[EpisodeInfo]) -> None:
    if not infos:
        raise StoreError("there are no episodes to learn from; `fosp-edge data collect` makes some")
    reference = infos[0].header.recording
    for info in infos[1:]:
        if differences := reference.differences(info.header.recording):
            raise StoreError(f"these data sets do not fit together: {'; '.join(differences)}; train on them separately")


def _load(
    chosen: list[tuple[EpisodeSource, EpisodeInfo]], progress: Progress | None, memory_limit_bytes: int
) -> tuple[Steps, list[int]]:
    """All rows, one array per column, and the length of each episode."""
    counts = [info.summary.rows for _, info in chosen]
    total, done = sum(counts), 0
    columns: Steps = {}
    for (source, info), count in zip(chosen, counts, strict=True):
        # An episode that is still being written may have grown since it was listed: what was counted is taken.
        steps = source.read(info.id)
        if not columns:
            needed = total * sum(values[0].nbytes for values in steps.values())
            if needed > memory_limit_bytes:
                raise StoreError(
                    f"{total} rows take {needed / 2**30:.1f} GiB of memory, the limit is "
                    f"{memory_limit_bytes / 2**30:.1f} GiB; choose fewer episodes or cameras, or allow more "
                    "(`fosp-edge train --memory-gib`)"
                )
            columns = {
                column.name: np.empty((total, *steps[column.name].shape[1:]), column.dtype) for column in COLUMNS
            } | {"proven": np.empty(total, np.bool_)}
        steps = with_proof(steps)
        for name, values in columns.items():
            if steps[name].shape[1:] != values.shape[1:]:
                raise StoreError(
                    f"episode {info.id}: column {name} has shape {steps[name].shape[1:]} per row, not "
                    f"{values.shape[1:]} as in the others"
                )
            values[done : done + count] = steps[name][:count]
        done += count
        if progress is not None:
            progress(done, total)
    return columns, counts
