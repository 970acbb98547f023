"""What makes an update cheaper at the same mathematics: shorter numbers where they do no harm, memory that is kept."""

import ctypes
from contextlib import AbstractContextManager, nullcontext

import torch

_MMAP_MAX, _TRIM_THRESHOLD = -4, -1
"""glibc's M_MMAP_MAX and M_TRIM_THRESHOLD (mallopt(3))."""


def lowered(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Inside, and in the backward pass of what happens inside, products and convolutions are computed in `precision`.

    Weights, norms' statistics, softmax and losses stay float32 (`torch.autocast`).
    """
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def fast_bfloat16(device: torch.device) -> bool:
    """Whether this device multiplies bfloat16 natively; elsewhere it is emulated and slower than float32."""
    if device.type == "cpu":
        known = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(getattr(torch.cpu, name, bool)() for name in known)
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def keep_freed_memory() -> bool:
    """Let the allocator keep freed memory for the next update; returns whether there is an allocator that can.

    An update allocates and frees the same gigabytes every time. By default glibc gives them back to the kernel, which
    hands them out again page by page, zeroed: two fifths of the time of an update. For processes that do nothing but
    learn: the memory of the largest update stays theirs.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, -1))
