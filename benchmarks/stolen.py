"""Deadlines that nothing within a virtual machine could have kept: its host had given the processor to others."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def stolen_s() -> float:
    """How long the host of a virtual machine has given its processors to others, all together; 0 on bare metal."""
    with Path("/proc/stat").open() as file:
        return int(file.readline().split()[8]) / os.sysconf("SC_CLK_TCK")


def missed_while_stolen(missed: Sequence[int], stolen: Sequence[float]) -> int:
    """Deadlines missed in ticks in which, or just before or after which, time was stolen.

    Args:
        missed: deadlines missed so far, after every tick.
        stolen: `stolen_s` then. The kernel counts it in hundredths, hence the neighbours.
    """
    grew = np.diff(stolen) > 0.0
    return int(np.diff(missed)[grew | np.append(False, grew[:-1]) | np.append(grew[1:], False)].sum())
