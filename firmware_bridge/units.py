"""SI units here, scaled integers on the wire (PROTOCOL.md, first table). What does not fit is refused."""

from __future__ import annotations

import math
from collections.abc import Iterable

PER_MICRO = 1_000_000
PER_MILLI = 1_000

POSITION_MAX_URAD = 100_000_000
VELOCITY_MAX_URAD_S = 50_000_000
ACCELERATION_MIN_URAD_S2 = 1_000
ACCELERATION_MAX_URAD_S2 = 2_000_000_000
EFFORT_MAX_MNM = 1_000_000
TEMPERATURE_MAX_DECIDEGREE = 1_200
CURRENT_MAX_MA = 100_000


def to_wire(value: float, scale: int, bound: int, what: str) -> int:
    """Return `round(value * scale)`. Raises ValueError if it is not finite or beyond ±`bound`."""
    if not math.isfinite(value):
        raise ValueError(f"{what} is {value}: give a finite number")
    scaled = round(value * scale)
    if not -bound <= scaled <= bound:
        raise ValueError(f"{what} is {value:g}: give a number within ±{bound / scale:g}")
    return scaled


def to_wire_each(values: Iterable[float], scale: int, bound: int, what: str) -> tuple[int, ...]:
    """Return `to_wire` of each value; the sentence of the error names the joint."""
    scaled = [value * scale for value in values]
    # On the way of every command: one comparison per joint, which NaN fails too; the sentence is made when needed.
    for joint, number in enumerate(scaled):
        if not -bound <= number <= bound:
            to_wire(number / scale, scale, bound, f"{what} of joint {joint}")
    return tuple([round(number) for number in scaled])
