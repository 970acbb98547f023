"""The exported step graph, followed through episodes like the agent it came from."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnxruntime

from export.reference import Inputs, Outputs
from export.step import OUTPUTS
from fosp_edge.agent.config import Config

CPU = ("CPUExecutionProvider",)


class GraphPolicy:
    """One tick at a time through ONNX Runtime; carries its own recurrent state."""

    def __init__(self, graph: bytes, config: Config, *, threads: int = 1, providers: Sequence[str] = CPU) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        # Threads that wait by turning in circles take the core from whoever runs beside them, as other forms do here.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(graph, options, providers=list(providers))
        self.deterministic: npt.NDArray[np.float32] = np.zeros((1, config.deterministic), np.float32)
        self.stochastic: npt.NDArray[np.int64] = np.zeros((1, config.groups), np.int64)

    def feeds(self, inputs: Inputs) -> dict[str, npt.NDArray[np.generic]]:
        """The graph's inputs for one observation and the state carried so far."""
        return {
            "image": inputs.image[None],
            "state": inputs.state[None],
            "previous_action": inputs.previous_action[None],
            "is_first": np.array([inputs.is_first], np.float32),
            "deterministic": self.deterministic,
            "stochastic": self.stochastic,
            "latent_noise": inputs.latent_noise[None],
            "action_noise": inputs.action_noise,
        }

    def step(self, inputs: Inputs) -> Outputs:
        """Follow one observation; `is_first` resets inside the graph."""
        found = dict(zip(OUTPUTS, self.session.run(list(OUTPUTS), self.feeds(inputs)), strict=True))
        self.deterministic, self.stochastic = found["next_deterministic"], found["next_stochastic"]
        return Outputs(
            stochastic=self.stochastic[0],
            candidates=found["candidates"],
            reward_value=found["reward_value"],
            cost_value=found["cost_value"],
            reachability=found["reachability"],
            state_reachability=float(found["state_reachability"][0]),
            surprise=float(found["surprise"][0]),
        )
