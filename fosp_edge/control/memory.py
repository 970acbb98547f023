"""What a controller remembers from one tick to the next: enough to compute the coming tick again bit for bit."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fosp_edge.control.gate_response import GateState
from fosp_edge.control.inference import Latent
from fosp_edge.control.safety_filter import FilterState
from fosp_edge.control.types import Float32Array


@dataclass(frozen=True)
class Memory:
    """Taken before a tick. What the out-of-distribution gate has seen of earlier pictures is not in it."""

    latent: Latent
    filter: FilterState
    gate: GateState
    executed: Float32Array
    """The action that was executed in the tick before, normalised, shape [A]."""
    physical: npt.NDArray[np.float64]
    """The same in the robot's units, from which the rate limit counts, shape [A]."""
    feasible_reachability: float
    """Feasible threshold in force: the bundle's own, or tighter while it is on probation."""
