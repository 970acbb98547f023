"""What the trainer asks of whoever draws batches."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Columns = Mapping[str, npt.NDArray[np.generic]]


class Sampler(Protocol):
    """Where batches come from."""

    def sample(self) -> Columns:
        """Columns of one batch, [B, T, ...]."""

    def state(self) -> dict[str, Any]:
        """What `restore` needs to draw the same batches again, JSON values."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken."""
