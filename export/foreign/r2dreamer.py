"""`NM512/r2dreamer`: DreamerV3 of 2024 in PyTorch, with or without a decoder. Heads see s before h."""

from export.foreign.assembly import Layer, Output
from export.foreign.block_dreamer import BlockLayer, Head, Parts, Sizes, assemble, configuration
from export.foreign.dreamerv3_torch import h_first
from export.foreign.errors import ForeignCheckpointError
from export.foreign.ledger import Ledger
from fosp_edge.agent.agent import Agent

PICTURES, VECTOR = "encoder.encoders.0.layers", "encoder.encoders.1.layers"
RECURRENCE, PRIOR, POSTERIOR = "rssm._deter_net", "rssm._img_net.img_net", "rssm._obs_net.obs_net"


class _Reader:
    """Layers by name."""

    def __init__(self, ledger: Ledger) -> None:
        self.take = ledger.take

    def layer(self, linear: str, norm: str, inputs: int, width: int) -> Layer:
        take = self.take
        weight, bias = take(f"{linear}.weight", width, inputs), take(f"{linear}.bias", width)
        return Layer(weight, take(f"{norm}.weight", width), bias=bias)

    def output(self, name: str, inputs: int, width: int) -> Output:
        return Output(self.take(f"{name}.weight", width, inputs), self.take(f"{name}.bias", width))

    def stack(self, name: str, inputs: int, width: int, layers: int, norm: str) -> list[Layer]:
        return [
            self.layer(f"{name}{index}", f"{norm}{index}", width if index else inputs, width) for index in range(layers)
        ]

    def block(self, name: str, blocks: int, inputs: int, outputs: int) -> BlockLayer:
        """Theirs is [out, in, blocks]."""
        weight = self.take(f"{name}.weight", outputs, inputs, blocks).permute(2, 1, 0)
        return BlockLayer(weight, self.take(f"{name}.bias", blocks * outputs))

    def convolution(self, index: int, sizes: Sizes) -> Layer:
        name, width = f"{PICTURES}.{4 * index}", sizes.channels[index]
        before = sizes.channels[index - 1] if index else sizes.image_channels
        weight = self.take(f"{name}.weight", width, before, sizes.kernel, sizes.kernel)
        return Layer(
            weight, self.take(f"{PICTURES}.{4 * index + 2}.weight", width), bias=self.take(f"{name}.bias", width)
        )


def is_r2dreamer(names: set[str]) -> bool:
    """Whether these are the names of such a checkpoint."""
    return f"{RECURRENCE}._dyn_gru.weight" in names


def read_r2dreamer(ledger: Ledger, *, groups: int | None, state_size: int) -> Agent:
    """The agent. `state_size` counts only where the agent does not look at the state vector.

    Raises:
        ForeignCheckpointError: from `Ledger.settle`, or sizes that cannot be told.
    """
    sizes = _sizes(ledger, state_size)
    config, reader = configuration(sizes, groups), _Reader(ledger)
    hidden, h, s = sizes.hidden, sizes.deterministic, sizes.stochastic
    own = h // sizes.blocks

    def head(name: str, outputs: int, layers: int) -> Head:
        label = f"{name}.mlp.layers.{name}"
        found = reader.stack(f"{label}_linear", s + h, sizes.units, layers, f"{label}_norm")
        return Head(h_first(found, h, s), reader.output(f"{name}.last", sizes.units, outputs))

    embedding = 16 * sizes.channels[-1] + sizes.state_units
    parts = Parts(
        convolutions=[reader.convolution(index, sizes) for index in range(4)],
        state=reader.stack(
            f"{VECTOR}.mlp_encoder_linear",
            sizes.state_size,
            sizes.state_units,
            sizes.state_layers,
            f"{VECTOR}.mlp_encoder_norm",
        ),
        from_deterministic=reader.layer(f"{RECURRENCE}._dyn_in0.0", f"{RECURRENCE}._dyn_in0.1", h, hidden),
        from_stochastic=reader.layer(f"{RECURRENCE}._dyn_in1.0", f"{RECURRENCE}._dyn_in1.1", s, hidden),
        from_action=reader.layer(f"{RECURRENCE}._dyn_in2.0", f"{RECURRENCE}._dyn_in2.1", sizes.action_size, hidden),
        block_hidden=reader.block(f"{RECURRENCE}._dyn_hid.dyn_hid_0", sizes.blocks, own + 3 * hidden, own),
        block_norm=reader.take(f"{RECURRENCE}._dyn_hid.norm_0.weight", h),
        gates=reader.block(f"{RECURRENCE}._dyn_gru", sizes.blocks, own, 3 * own),
        prior=Head(
            reader.stack(f"{PRIOR}_", h, hidden, sizes.prior_layers, f"{PRIOR}_n_"),
            reader.output(f"{PRIOR}_logit", hidden, s),
        ),
        posterior=Head(
            reader.stack(f"{POSTERIOR}_", h + embedding, hidden, 1, f"{POSTERIOR}_n_"),
            reader.output(f"{POSTERIOR}_logit", hidden, s),
        ),
        reward=head("reward", sizes.bins, sizes.model_head_layers),
        proceed=head("cont", 1, sizes.model_head_layers),
        policy=head("actor", 2 * sizes.action_size, sizes.head_layers),
        value=head("value", sizes.bins, sizes.head_layers),
    )
    _leave(ledger)
    ledger.settle()
    return assemble(parts, config)


def _sizes(ledger: Ledger, state_size: int) -> Sizes:
    vector = f"{VECTOR}.mlp_encoder_linear{{}}.weight"
    if not ledger.has(f"{PICTURES}.0.weight"):
        raise ForeignCheckpointError("the checkpoint's encoder takes no pictures; only agents that see can be read")
    if not ledger.has(f"{PICTURES}.2.weight"):
        raise ForeignCheckpointError("the picture's encoder has no norms (`norm: False`), which cannot be carried over")
    actions = ledger.size(f"{RECURRENCE}._dyn_in2.0.weight", 1)
    if ledger.size("actor.last.weight", 0) != 2 * actions:
        raise ForeignCheckpointError(
            "the checkpoint's actor has no mean and deviation for each action: it chooses among discrete actions, and "
            "only continuous ones move motors"
        )
    convolutions = 0
    while ledger.has(f"{PICTURES}.{4 * convolutions}.weight"):
        convolutions += 1
    state_layers = ledger.count(vector)
    return Sizes(
        image_channels=ledger.size(f"{PICTURES}.0.weight", 1),
        state_size=ledger.size(vector.format(0), 1) if state_layers else state_size,
        action_size=actions,
        channels=[ledger.size(f"{PICTURES}.{4 * index}.weight", 0) for index in range(convolutions)],
        kernel=ledger.size(f"{PICTURES}.0.weight", 2),
        deterministic=ledger.size(f"{RECURRENCE}._dyn_in0.0.weight", 1),
        stochastic=ledger.size(f"{RECURRENCE}._dyn_in1.0.weight", 1),
        hidden=ledger.size(f"{RECURRENCE}._dyn_in0.0.weight", 0),
        blocks=ledger.size(f"{RECURRENCE}._dyn_gru.weight", 2),
        state_layers=state_layers,
        state_units=ledger.size(vector.format(0), 0) if state_layers else 0,
        prior_layers=max(1, ledger.count(f"{PRIOR}_{{}}.weight")),
        head_layers=max(1, ledger.count("actor.mlp.layers.actor_linear{}.weight")),
        model_head_layers=max(1, ledger.count("reward.mlp.layers.reward_linear{}.weight")),
        units=ledger.size("actor.mlp.layers.actor_linear0.weight", 0),
        bins=ledger.size("reward.last.weight", 0),
    )


def _leave(ledger: Ledger) -> None:
    ledger.leave(r"_frozen_.*", "second names, which share their numbers")
    ledger.leave(r"_slow_value\..*", "slow copies of critics, made anew")
    ledger.leave(r"return_ema\..*", "scales of returns")
    ledger.leave(r"decoder\..*", "decoder, which does not drive")
    ledger.leave(r"(prj|obs_proj|feat_proj|_ema_\w+)\..*|_prototypes", "what only the representation's loss needs")
