"""Updates as CUDA graphs: recorded once with everything they launch, replayed from then on with one call.

An update is some ten thousand small kernels, most of them behind one another in the recurrence; launched one by one,
the GPU waits for Python most of the time. A recording holds addresses and shapes: batches are copied to where the
recorded one lay, weights and the learner's own state change in place, and random numbers go on through the registered
generator. (Nguyen et al., "Accelerating PyTorch with CUDA Graphs", 2021.)
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, fields, replace
from typing import Generic, TypeVar

import torch
from torch import Tensor

from fosp_edge.agent.rssm import Latent
from fosp_edge.learning.batch import Batch
from fosp_edge.learning.objectives import Readings

Kind = TypeVar("Kind", bound=Hashable)

_BEFORE_RECORDING = 3
"""Updates made as usual before: optimisers, cuDNN and the allocator get what a graph may not ask for."""


@dataclass(frozen=True)
class _Recorded:
    graph: torch.cuda.CUDAGraph
    batch: Batch
    readings: Readings


class Graphs(Generic[Kind]):
    """Calls `learn(batch, kind)`; for each kind and shape of batch as a recording, after a few calls.

    Args:
        learn: must not wait for results, and must read and leave its state in tensors that stay where they are.
        generator: source of all randomness in it.
    """

    def __init__(self, learn: Callable[[Batch, Kind], Readings], generator: torch.Generator) -> None:
        self._learn, self._generator = learn, generator
        self._made: dict[Hashable, int] = {}
        self._recorded: dict[Hashable, _Recorded] = {}

    def __call__(self, batch: Batch, kind: Kind) -> Readings:
        """One update; the readings are valid until the next."""
        key = (kind, tuple((tuple(tensor.shape), tensor.dtype) for tensor in tensors(batch)))
        if key not in self._recorded:
            if self._made.get(key, 0) < _BEFORE_RECORDING:
                self._made[key] = self._made.get(key, 0) + 1
                return self._aside(batch, kind)
            self._recorded[key] = self._record(batch, kind)
        recorded = self._recorded[key]
        for kept, new in zip(tensors(recorded.batch), tensors(batch), strict=True):
            kept.copy_(new)
        recorded.graph.replay()
        return recorded.readings

    def _aside(self, batch: Batch, kind: Kind) -> Readings:
        """As usual, but on a stream of its own, as what is to be recorded must have run."""
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            readings = self._learn(batch, kind)
        torch.cuda.current_stream().wait_stream(stream)
        return readings

    def _record(self, batch: Batch, kind: Kind) -> _Recorded:
        kept = cloned(batch)
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self._generator)
        # Other threads, which draw the next batches, may go on using the GPU meanwhile.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            readings = self._learn(kept, kind)
        return _Recorded(graph, kept, readings)


def tensors(batch: Batch) -> list[Tensor]:
    """All tensors of a batch, in one order."""
    own = [getattr(batch, item.name) for item in fields(batch) if item.name != "latents"]
    return own if batch.latents is None else [*own, batch.latents.deterministic, batch.latents.stochastic]


def cloned(batch: Batch) -> Batch:
    """A batch of its own memory."""
    own = {item.name: getattr(batch, item.name).clone() for item in fields(batch) if item.name != "latents"}
    latents = batch.latents
    if latents is not None:
        own["latents"] = Latent(latents.deterministic.clone(), latents.stochastic.clone())
    return replace(batch, **own)
