"""What `torch.save` wrote: tensors and plain containers, and of nothing else."""

import io
import pickle
from typing import Any

import torch
from torch import Tensor

from export.foreign.errors import ForeignCheckpointError

_STATE = "agent_state_dict"


def load_state(data: bytes, name: str) -> dict[str, Tensor | None]:
    """The agent's state of a checkpoint with `agent_state_dict`, by names without what torch.compile puts into them.

    Raises:
        ForeignCheckpointError: truncated, not such a file, or it asks for anything that is not a tensor.
    """
    try:
        content: Any = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ForeignCheckpointError(
            f"{name} is refused and nothing in it was run: it holds more than tensors and plain containers "
            f"({_first(error)}). If you trust where it comes from, load it with the program that wrote it and save its "
            f"`{_STATE}` alone"
        ) from error
    except Exception as error:  # a damaged archive fails in many ways
        raise ForeignCheckpointError(
            f"{name} is damaged or not a whole torch file ({_first(error)}); copy it again, or take an earlier "
            "checkpoint"
        ) from error
    state = content.get(_STATE) if isinstance(content, dict) else None
    if not isinstance(state, dict):
        raise ForeignCheckpointError(
            f"{name} has no {_STATE!r}, which dreamerv3-torch and r2dreamer keep their agent under; it is of another "
            "project"
        )
    return {
        str(key).replace("_orig_mod.", ""): value if isinstance(value, Tensor) and not value.is_complex() else None
        for key, value in state.items()
    }


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
