"""Several processes that learn as one: each takes its own batch, and every update is that of all batches together.

Started by `torchrun`, which tells each process its rank. With one process every function here gives back what it was
given, so that there is one code. DistributedDataParallel is not used: it synchronises what passes through `forward`,
and an update here is three losses of methods of a model, each with an optimiser of its own.

Exact, not only alike: means over masked rows are taken over the rows of all processes, percentiles over all values, and
the Lagrangian sees the constraint of all.
"""

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.distributed as distributed
from torch import Tensor, nn


def join(device: torch.device) -> torch.device:
    """Meet the other processes if `torchrun` started several; the device that is this process's own.

    Raises:
        RuntimeError: the others cannot be reached.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not distributed.is_initialized():
        if device.type == "cuda":
            device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
            torch.cuda.set_device(device)
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return device


def leave() -> None:
    """End what `join` began."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def count() -> int:
    """How many processes learn together."""
    return int(distributed.get_world_size()) if distributed.is_initialized() else 1


def rank() -> int:
    """Which of them this is; process 0 writes."""
    return int(distributed.get_rank()) if distributed.is_initialized() else 0


def own_seed(seed: int) -> int:
    """A seed for draws that must differ between the processes; process 0 keeps the one given."""
    return seed + 1_000_003 * rank()


def mean(value: Tensor) -> Tensor:
    """Mean of a tensor over the processes, without gradient; the tensor itself where there is one process."""
    if count() == 1:
        return value
    total = value.detach().clone()
    distributed.all_reduce(total)
    return total / count()


def shared_value(value: Tensor) -> Tensor:
    """The mean over the processes as value, this process's own part as gradient: averaged gradients are those of it."""
    return value if count() == 1 else value + (mean(value) - value.detach())


def gathered(values: Tensor) -> Tensor:
    """The values of all processes in one flat tensor, without gradient; each must bring equally many."""
    flat = values.detach().flatten()
    if count() == 1:
        return flat
    parts = [torch.empty_like(flat) for _ in range(count())]
    distributed.all_gather(parts, flat.contiguous())
    return torch.cat(parts)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace each gradient by its mean over the processes, in one message."""
    if count() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    averaged = mean(torch.cat([gradient.flatten() for gradient in gradients]))
    for gradient, part in zip(gradients, torch.split(averaged, [item.numel() for item in gradients]), strict=True):
        gradient.copy_(part.view(gradient.shape))


def average(metrics: Mapping[str, float], device: torch.device) -> dict[str, float]:
    """Plain numbers, averaged over the processes; all must bring the same names in the same order."""
    if count() == 1:
        return dict(metrics)
    values = mean(torch.tensor(list(metrics.values()), dtype=torch.float32, device=device))
    return dict(zip(metrics, values.tolist(), strict=True))


def any_of(flag: bool, device: torch.device) -> bool:
    """Whether it holds in any process; all get the same answer."""
    return flag if count() == 1 else bool(mean(torch.tensor(float(flag), device=device)) > 0.0)


def told_by_all(value: Mapping[str, Any], device: torch.device) -> list[Any]:
    """A JSON value of every process, by rank; known to all."""
    if count() == 1:
        return [dict(value)]
    text = torch.tensor(list(json.dumps(dict(value)).encode()), dtype=torch.uint8, device=device)
    lengths = gathered(torch.tensor([len(text)], device=device)).tolist()
    padded = torch.zeros(max(lengths), dtype=torch.uint8, device=device)
    padded[: len(text)] = text
    rows = gathered(padded).view(count(), -1)
    return [json.loads(bytes(row[:length].tolist())) for row, length in zip(rows, lengths, strict=True)]


def share_weights(module: nn.Module) -> None:
    """Give every process the weights and buffers of process 0."""
    if count() > 1:
        for value in module.state_dict().values():
            distributed.broadcast(value, 0)
