"""What DreamerV3 of 2024 and r2dreamer have in common: a block-diagonal recurrence, RMS norms, pooled convolutions.

A reader takes the parts out of its checkpoint, in this project's order of rows and columns; here they become an agent.
Both know no costs and no reachability, and their critic judges states.
"""

import math
from dataclasses import dataclass

from torch import Tensor

from export.foreign.assembly import NO_COSTS, Assembly, Layer, Output, for_every_action, split_classes
from export.foreign.errors import ForeignCheckpointError
from fosp_edge.agent.agent import Agent
from fosp_edge.agent.config import Config

NORM_EPSILON = 1e-4


@dataclass(frozen=True)
class BlockLayer:
    """A linear map per block."""

    weight: Tensor
    """[blocks, in, out] of one block."""
    bias: Tensor
    """[blocks * out]."""


@dataclass(frozen=True)
class Head:
    """Hidden layers over h and s, in this order, and the output."""

    hidden: list[Layer]
    output: Output


@dataclass(frozen=True)
class Parts:
    """Everything that drives."""

    convolutions: list[Layer]
    """Weights [out, in, height, width]."""
    state: list[Layer]
    """The encoder of the state vector; empty: the agent does not look at it."""
    from_deterministic: Layer
    from_stochastic: Layer
    from_action: Layer
    block_hidden: BlockLayer
    """Over a block's own part of h, then what comes from h, s and the action."""
    block_norm: Tensor
    gates: BlockLayer
    prior: Head
    posterior: Head
    """Over h, then the picture in [channel, height, width] order, then the state vector."""
    reward: Head
    proceed: Head
    policy: Head
    """Means, then deviations."""
    value: Head


@dataclass(frozen=True)
class Sizes:
    """What the tensors' shapes say."""

    image_channels: int
    state_size: int
    action_size: int
    channels: list[int]
    """Of each convolution."""
    kernel: int
    deterministic: int
    stochastic: int
    hidden: int
    blocks: int
    state_layers: int
    state_units: int
    prior_layers: int
    head_layers: int
    model_head_layers: int
    units: int
    """Width of the heads."""
    bins: int


def configuration(sizes: Sizes, groups: int | None) -> Config:
    """The configuration of such an agent. Raises ForeignCheckpointError: sizes that no agent of this project has."""
    groups, classes = split_classes(sizes.stochastic, groups)
    if sizes.units != sizes.hidden:
        raise ForeignCheckpointError(
            f"the recurrence is {sizes.hidden} units wide and the heads {sizes.units}; only agents with one width for "
            "both can be carried over"
        )
    if sizes.deterministic % sizes.blocks:
        raise ForeignCheckpointError(f"{sizes.blocks} blocks do not divide the {sizes.deterministic} units of h")
    if len(sizes.channels) != 4:
        raise ForeignCheckpointError(
            f"the picture's encoder has {len(sizes.channels)} convolutions, expected 4, which take 64x64 to 4x4"
        )
    depth = math.gcd(*sizes.channels)  # only products are in the file; any common divisor gives the same layers
    return Config(
        image_channels=sizes.image_channels,
        state_size=sizes.state_size,
        action_size=sizes.action_size,
        conv_depth=depth,
        conv_multiples=tuple(width // depth for width in sizes.channels),
        conv_kernel=sizes.kernel,
        conv_pooling=True,
        deterministic=sizes.deterministic,
        groups=groups,
        classes=classes,
        hidden=sizes.hidden,
        head_layers=sizes.head_layers,
        model_head_layers=sizes.model_head_layers,
        prior_layers=sizes.prior_layers,
        bins=sizes.bins,
        bin_spacing="symexp",
        norm="rms",
        norm_epsilon=NORM_EPSILON,
        dense_bias=True,
        recurrence="block_gru",
        blocks=sizes.blocks,
        state_layers=sizes.state_layers,
        state_units=sizes.state_units if sizes.state_layers else None,
        state_scaling="symlog",
        has_decoder=False,
        unknown=NO_COSTS,
        safety=False,
    )


def assemble(parts: Parts, config: Config) -> Agent:
    """The agent. Raises ForeignCheckpointError: layers that do not fit each other."""
    made, name = Assembly(), "world_model.rssm."
    made.convolutions(parts.convolutions, pooling=True)
    made.stack("world_model.encoder.state", parts.state)
    for part, layer in (
        ("deterministic", parts.from_deterministic),
        ("latent", parts.from_stochastic),
        ("action", parts.from_action),
    ):
        made.stack(f"{name}input_{part}", [layer])
    made.put(f"{name}block_norm.weight", parts.block_norm)
    for part, block in (("hidden", parts.block_hidden), ("gates", parts.gates)):
        made.put(f"{name}block_{part}.weight", block.weight)
        made.put(f"{name}block_{part}.bias", block.bias.reshape(config.blocks, -1))
    made.stack(f"{name}prior", parts.prior.hidden, parts.prior.output)
    made.posterior(parts.posterior.hidden[0], config.deterministic, parts.posterior.output)
    made.stack("world_model.reward", parts.reward.hidden, parts.reward.output)
    made.stack("world_model.proceed", parts.proceed.hidden, parts.proceed.output)
    made.stack("policy.head", parts.policy.hidden, parts.policy.output)
    made.stack("critics.reward_state", parts.value.hidden, parts.value.output)
    made.stack("critics.reward_action", for_every_action(parts.value.hidden, config.action_size), parts.value.output)
    return made.agent(config)
