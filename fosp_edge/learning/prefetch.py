"""The next batch, drawn while the present one is learnt from: no GPU should wait for pictures to be gathered."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch

from fosp_edge.learning.batch import Batch
from fosp_edge.learning.samplers import Columns, Sampler


class Prefetcher:
    """One batch ahead of whoever takes them, in a thread and a CUDA stream of its own.

    Args:
        sampler: drawn from in that thread only, from the first `take` on.
        make: turns its columns into a batch on the device.
        device: where batches go.
    """

    def __init__(self, sampler: Sampler, make: Callable[[Columns], Batch], device: torch.device) -> None:
        self._sampler, self._make = sampler, make
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._thread = ThreadPoolExecutor(1, "next-batch")
        self._next: Future[tuple[Batch, dict[str, Any]]] | None = None
        self._state: dict[str, Any] | None = None

    def take(self) -> Batch:
        """The next batch; whatever drawing it raised is raised here. Use it up before taking another."""
        waiting = self._next or self._thread.submit(self._draw)
        self._next = None
        batch, self._state = waiting.result()
        self._next = self._thread.submit(self._draw)
        return batch

    def state(self) -> dict[str, Any]:
        """The sampler's state behind the batch that was taken last: what was drawn ahead is drawn again."""
        return self._sampler.state() if self._state is None else self._state

    def _draw(self) -> tuple[Batch, dict[str, Any]]:
        columns = self._sampler.sample()
        state = self._sampler.state()
        if self._stream is None:
            return self._make(columns), state
        with torch.cuda.stream(self._stream):
            batch = self._make(columns)
        self._stream.synchronize()
        return batch, state
