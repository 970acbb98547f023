"""The state of an agent of this project, put together layer by layer."""

from dataclasses import dataclass

import torch
from torch import Tensor

from export.foreign.errors import ForeignCheckpointError
from fosp_edge.agent.agent import Agent
from fosp_edge.agent.config import Config


@dataclass(frozen=True)
class Layer:
    """A linear map or convolution, and the norm behind it."""

    weight: Tensor
    """[out, in] or [out, in, height, width]."""
    scale: Tensor
    shift: Tensor | None = None
    """None: a norm without centring."""
    bias: Tensor | None = None


@dataclass(frozen=True)
class Output:
    """The last, linear layer of a head."""

    weight: Tensor
    bias: Tensor

    def above(self, other: "Output") -> "Output":
        """Both as one, this one's rows above the other's."""
        return Output(torch.cat([self.weight, other.weight]), torch.cat([self.bias, other.bias]))


NO_COSTS = ("cost", "cost_action", "cost_state", "reach_action", "reach_state")
"""What an agent does not know that was never told of costs; for `Config.unknown`."""


class Assembly:
    """Tensors by the names of `Agent.state_dict`."""

    def __init__(self) -> None:
        self.state: dict[str, Tensor] = {}

    def put(self, name: str, value: Tensor | None) -> None:
        """One tensor, unless there is none."""
        if value is not None:
            self.state[name] = value.contiguous()

    def norm(self, name: str, layer: Layer) -> None:
        """The norm behind a layer."""
        self.put(f"{name}.weight", layer.scale)
        self.put(f"{name}.bias", layer.shift)

    def stack(self, name: str, layers: list[Layer], output: Output | None = None) -> None:
        """Hidden layers as `networks.dense` makes them, and an output."""
        for index, layer in enumerate(layers):
            self.put(f"{name}.{3 * index}.weight", layer.weight)
            self.put(f"{name}.{3 * index}.bias", layer.bias)
            self.norm(f"{name}.{3 * index + 1}", layer)
        if output is not None:
            self.put(f"{name}.{3 * len(layers)}.weight", output.weight)
            self.put(f"{name}.{3 * len(layers)}.bias", output.bias)

    def convolutions(self, layers: list[Layer], *, pooling: bool) -> None:
        """The picture's encoder."""
        each = 4 if pooling else 3
        for index, layer in enumerate(layers):
            name = f"world_model.encoder.image.{each * index}"
            self.put(f"{name}.weight", layer.weight)
            self.put(f"{name}.bias", layer.bias)
            self.norm(f"world_model.encoder.image.{each * index + each - 2}.norm", layer)

    def posterior(self, layer: Layer, deterministic: int, output: Output) -> None:
        """One hidden layer over h and embedding, in this order, and the output."""
        name = "world_model.rssm.posterior_"
        self.put(f"{name}deterministic.weight", layer.weight[:, :deterministic])
        self.put(f"{name}embedding.weight", layer.weight[:, deterministic:])
        self.put(f"{name}embedding.bias", layer.bias)
        self.norm(f"{name}norm", layer)
        self.put(f"{name}output.weight", output.weight)
        self.put(f"{name}output.bias", output.bias)

    def agent(self, config: Config) -> Agent:
        """The agent, with slow critics that are fresh copies. Heads nobody trained say what `Config.unknown` says."""
        agent = Agent(config)
        state = agent.state_dict()
        untouched = (
            *(f"{part}.{name}." for name in config.unknown for part in ("critics", "world_model")),
            "slow_critics.",
            "world_model.encoder.state_mean",
            "world_model.encoder.state_deviation",
        )
        wanted = {name for name in state if not name.startswith(untouched)}
        if wanted != self.state.keys():
            raise ForeignCheckpointError(
                "an error of fosp-edge's own: this family's map does not make a whole agent, it differs in "
                f"{sorted(wanted ^ self.state.keys())[:4]}; please report it"
            )
        try:
            agent.load_state_dict(state | self.state)
        except RuntimeError as error:
            raise ForeignCheckpointError(f"the checkpoint's layers do not fit each other: {error}") from error
        agent.slow_critics.load_state_dict(agent.critics.state_dict())
        return agent.eval()


def for_every_action(layers: list[Layer], action_size: int) -> list[Layer]:
    """A state's value as an action's value that does not care about the action: columns of zeros."""
    first = layers[0]
    weight = torch.cat([first.weight, first.weight.new_zeros(len(first.weight), action_size)], 1)
    return [Layer(weight, first.scale, first.shift, first.bias), *layers[1:]]


def split_classes(stochastic: int, groups: int | None) -> tuple[int, int]:
    """Groups and classes of the stochastic state; checkpoints hold only their product.

    Raises:
        ForeignCheckpointError: nobody said, or what was said does not divide it.
    """
    if groups is None:
        raise ForeignCheckpointError(
            f"the checkpoint does not say how its {stochastic} stochastic units are split into groups and classes; add "
            "--groups, the value of `stoch` in its config.yaml (FOSP: 48; DreamerV3: 32)"
        )
    if groups < 1 or stochastic % groups or stochastic // groups < 2:
        raise ForeignCheckpointError(
            f"{groups} groups do not divide the checkpoint's {stochastic} stochastic units into classes; --groups is "
            "the value of `stoch` in its config.yaml"
        )
    return groups, stochastic // groups


def actions_left(inputs: int, stochastic: int) -> int:
    """Components of the action, from the width of what enters the recurrence. Raises ForeignCheckpointError."""
    if inputs <= stochastic:
        raise ForeignCheckpointError(
            f"the recurrence takes {inputs} inputs, no more than its {stochastic} stochastic units: no action enters it"
        )
    return inputs - stochastic
