"""Which processor this is, and how it adds products of bytes up, on which the numbers of an integer graph depend.

onnxruntime multiplies unsigned by signed bytes. With VNNI, and on 64-bit ARM, the products are added in 32 bits; x86-64
without it adds pairs of them in 16 bits first, and cuts off what overflows (onnxruntime's documentation of
quantisation, "U8S8 on AVX2 and AVX512").
"""

import platform
from collections.abc import Sequence
from functools import cache
from pathlib import Path

BYTE_PRODUCTS = ("int8-dynamic", "int8-static", "int8-mixed")
"""Precisions whose graphs add such products up. `int8-blocks` multiplies signed by signed bytes, which fit."""

_EXACT_FEATURES = {"avx512_vnni", "avx_vnni"}


def adds_exactly(machine: str, features: set[str]) -> bool:
    """Whether products of bytes are added without overflow on a machine (`platform.machine`) of such features."""
    return machine not in ("x86_64", "AMD64", "i686") or bool(features & _EXACT_FEATURES)


@cache
def this_adds_exactly() -> bool:
    """The same of the processor that this runs on; an x86-64 that does not tell its features counts as one without."""
    features = next((line.partition(":")[2].split() for line in cpuinfo() if line.startswith("flags")), [])
    return adds_exactly(platform.machine(), set(features))


def name_in(lines: Sequence[str]) -> str:
    """A processor's name in /proc/cpuinfo; on 64-bit ARM, which gives none, who made it and which part it is."""
    told = dict.fromkeys(line.strip() for line in lines if line.startswith("model name"))
    told = told or dict.fromkeys(line.strip() for line in lines if line.startswith(("CPU implementer", "CPU part")))
    return ", ".join(line.partition(":")[2].strip() for line in told) or "unknown"


def processor_name() -> str:
    """The name of the processor that this runs on."""
    return name_in(cpuinfo())


def cpuinfo() -> list[str]:
    """What the kernel tells of the processor, line by line; nothing where it tells nothing."""
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
