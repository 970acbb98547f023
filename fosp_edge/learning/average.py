"""The moving average of an agent's weights: what a learner hands on, while it goes on with the weights themselves.

A learner with a constant rate never comes to rest: its policy goes on walking about what it has learnt, as far as a
step of the optimiser and the noise of a batch take it. The average does not (Polyak and Juditsky 1992; Tarvainen and
Valpola 2017).
"""

import copy
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fosp_edge.agent.agent import Agent
from fosp_edge.files import write_atomically
from fosp_edge.learning.checkpoint import CheckpointError, load_weights

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

    def on_cpu(self) -> Agent:
        """The average where bundles are made and judged: itself if it is there already, else a copy."""
        if next(self.agent.parameters()).device.type == "cpu":
            return self.agent
        return copy.deepcopy(self.agent).cpu()

    def update(self) -> None:
        """Take in the agent's present weights."""
        self._averaged.update_parameters(self._source)

    def save(self) -> None:
        """Write it down."""
        write_atomically(
            self._path, save({name: value.contiguous() for name, value in self.agent.state_dict().items()})
        )

    def resume(self) -> bool:
        """Go on from what was written down; whether anything was that fits. Otherwise it begins with the agent."""
        try:
            load_weights(self.agent, load_file(self._path), self._path)
        except (OSError, SafetensorError, CheckpointError):
            return False
        return True
