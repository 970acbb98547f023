"""A checkpoint of any family that can be read, by what is in it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from export.foreign.dreamerv3 import is_dreamerv3, read_dreamerv3
from export.foreign.dreamerv3_torch import is_dreamerv3_torch, read_dreamerv3_torch
from export.foreign.errors import ForeignCheckpointError
from export.foreign.ledger import Ledger
from export.foreign.official import BEHAVIOUR, is_official, read_official
from export.foreign.pickles import load_arrays
from export.foreign.r2dreamer import is_r2dreamer, read_r2dreamer
from export.foreign.torch_files import load_state
from fosp_edge.agent.agent import Agent

_ZIP = b"PK\x03\x04"


@dataclass(frozen=True)
class ForeignAgent:
    """An agent that another project trained."""

    agent: Agent
    family: str
    """One of `FAMILIES`."""
    left: dict[str, int]
    """How many tensors were left aside, by reason."""
    files: tuple[Path, ...]
    """What was read."""


def _is_fosp(names: set[str]) -> bool:
    return is_official(names) and f"{BEHAVIOUR}/p_critic/net/h0/kernel" in names


def _is_safedreamer(names: set[str]) -> bool:
    return is_official(names) and not _is_fosp(names)


_Read = Callable[..., Agent]
_READERS: dict[str, tuple[Callable[[set[str]], bool], _Read]] = {
    "fosp": (_is_fosp, read_official),
    "safedreamer": (_is_safedreamer, read_official),
    "dreamerv3": (is_dreamerv3, read_dreamerv3),
    "dreamerv3-torch": (is_dreamerv3_torch, read_dreamerv3_torch),
    "r2dreamer": (is_r2dreamer, read_r2dreamer),
}
FAMILIES = tuple(_READERS)


def read_foreign(path: Path, *, family: str | None, groups: int | None, state_size: int) -> ForeignAgent:
    """Read a checkpoint; every tensor in it is used, or left aside for a reason, or refused.

    Args:
        path: the file.
        family: what it must be; None: whatever its names say.
        groups: categorical variables of the stochastic state, where the file does not say.
        state_size: of the robot's state vector, for agents that do not look at it.

    Raises:
        ForeignCheckpointError: what was expected, what was found, what to do.
    """
    tensors = _tensors(path)
    names = set(tensors)
    fitting = [name for name, (fits, _) in _READERS.items() if fits(names)]
    if not fitting:
        some = ", ".join(sorted(names)[:3])
        raise ForeignCheckpointError(
            f"{path} is of no family that can be read ({', '.join(FAMILIES)}); among its {len(names)} entries: {some}"
        )
    found = fitting[0]
    if family is not None and family != found:
        raise ForeignCheckpointError(
            f"{path} was written by {found}, not by {family}; export it with --from {found}, or without --from"
        )
    ledger = Ledger(tensors, str(path))
    agent = _READERS[found][1](ledger, groups=groups, state_size=state_size)
    return ForeignAgent(agent, found, ledger.settle(), (path,))


def _tensors(path: Path) -> dict[str, Tensor | None]:
    """Tensors by name; None for an entry that is none."""
    if not path.is_file():
        raise ForeignCheckpointError(f"no checkpoint file at {path}; give the file itself")
    data = path.read_bytes()
    if data.startswith(_ZIP):
        return load_state(data, str(path))
    content = load_arrays(data, str(path))
    # FOSP and SafeDreamer keep one file for everything, DreamerV3 of 2024 one for the agent.
    arrays = content.get("agent", content.get("params")) if isinstance(content, dict) else None
    if not isinstance(arrays, dict):
        raise ForeignCheckpointError(
            f"{path} has no entry 'agent' or 'params' with arrays by name; it is of another project, or not the file "
            "of the agent (danijar/dreamerv3: `agent.pkl` in the checkpoint's folder)"
        )
    return _from_numpy(arrays)


def _from_numpy(arrays: Mapping[Any, Any]) -> dict[str, Tensor | None]:
    return {str(name): _tensor(value) if isinstance(value, np.ndarray) else None for name, value in arrays.items()}


def _tensor(value: npt.NDArray[Any]) -> Tensor:
    native = np.array(value, value.dtype.newbyteorder("="))
    return torch.from_numpy(native.astype(np.int64) if native.dtype.kind == "u" else native)
