"""The moving average of an agent's weights: what a learner hands on, while it goes on with the weights themselves.

A learner with a constant rate never comes to rest: its policy goes on walking about what it has learnt, as far as a
step of the optimiser and the noise of a batch take it. The average does not (Polyak and Juditsky 1992; Tarvainen and
Valpola 2017).
"""

import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fosp_edge.agent.agent import Agent

AVERAGE_FILE = "average.safetensors"


class MovingAverage:
    """Exponential, over the last 1 / rate updates; it begins with what the agent is.

    Args:
        agent: what learns; not changed.
        rate: share of its weights that enters the average at each update, in (0, 1].
        folder: where it is kept.

    Raises:
        ValueError: a rate outside (0, 1].
    """

    def __init__(self, agent: Agent, rate: float, folder: Path) -> None:
        if not 0.0 < rate <= 1.0:
            raise ValueError(f"expected a rate in (0, 1], found {rate:g}")
        self._source, self._path = agent, folder / AVERAGE_FILE
        self._averaged = AveragedModel(agent, multi_avg_fn=get_ema_multi_avg_fn(1.0 - rate))  # type: ignore[no-untyped-call]
        self._averaged.update_parameters(agent)  # the first only copies

    @property
    def agent(self) -> Agent:
        """The average, an agent like the other."""
        found = self._averaged.module
        assert isinstance(found, Agent)
        return found

    def update(self) -> None:
        """Take in the agent's present weights."""
        self._averaged.update_parameters(self._source)

    def save(self) -> None:
        """Write it down, through a temporary name."""
        temporary = self._path.with_name(f".{AVERAGE_FILE}.{os.getpid()}.tmp")
        try:
            save_file({name: value.contiguous() for name, value in self.agent.state_dict().items()}, temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(self._path)
        finally:
            temporary.unlink(missing_ok=True)

    def resume(self) -> bool:
        """Go on from what was written down; whether anything was that fits. Otherwise it begins with the agent."""
        try:
            state = load_file(self._path)
            own = self.agent.state_dict()
            if {name: value.shape for name, value in state.items()} != {n: value.shape for n, value in own.items()}:
                return False
            if not all(bool(value.isfinite().all()) for value in state.values() if value.is_floating_point()):
                return False
        except (OSError, SafetensorError):
            return False
        with torch.no_grad():
            self.agent.load_state_dict(state)
        return True
