"""`danijar/dreamerv3` as of 2024 (block recurrence): `agent.pkl` of its checkpoint folder, arrays named after modules.

The encoder puts the state vector before the picture, and pictures lie [height, width, channel].
"""

import torch

from export.foreign.assembly import Layer, Output
from export.foreign.block_dreamer import BlockLayer, Head, Parts, Sizes, assemble, configuration
from export.foreign.errors import ForeignCheckpointError
from export.foreign.ledger import Ledger
from export.foreign.official import channels_first
from fosp_edge.agent.agent import Agent


class _Reader:
    """Layers by their module's name; kernels there are [in, out]."""

    def __init__(self, ledger: Ledger) -> None:
        self.take = ledger.take

    def layer(self, linear: str, norm: str, inputs: int, width: int) -> Layer:
        take = self.take
        weight, bias = take(f"{linear}/kernel", inputs, width).T, take(f"{linear}/bias", width)
        return Layer(weight, take(f"{norm}/scale", width), bias=bias)

    def output(self, name: str, inputs: int, width: int) -> Output:
        return Output(self.take(f"{name}/kernel", inputs, width).T, self.take(f"{name}/bias", width))

    def stack(self, name: str, inputs: int, width: int, layers: int) -> list[Layer]:
        return [
            self.layer(f"{name}{index}", f"{name}{index}norm", width if index else inputs, width)
            for index in range(layers)
        ]

    def head(self, name: str, inputs: int, width: int, layers: int) -> list[Layer]:
        return [
            self.layer(f"{name}/mlp/linear{index}", f"{name}/mlp/norm{index}", width if index else inputs, width)
            for index in range(layers)
        ]

    def block(self, name: str, blocks: int, inputs: int, outputs: int) -> BlockLayer:
        return BlockLayer(
            self.take(f"{name}/kernel", blocks, inputs, outputs), self.take(f"{name}/bias", blocks * outputs)
        )

    def convolution(self, index: int, sizes: Sizes) -> Layer:
        width, before = sizes.channels[index], sizes.channels[index - 1] if index else sizes.image_channels
        weight = self.take(f"enc/cnn{index}/kernel", sizes.kernel, sizes.kernel, before, width).permute(3, 2, 0, 1)
        scale = self.take(f"enc/cnn{index}norm/scale", width)
        return Layer(weight, scale, bias=self.take(f"enc/cnn{index}/bias", width))


def is_dreamerv3(names: set[str]) -> bool:
    """Whether these are the names of such a checkpoint."""
    return "dyn/dyngru/kernel" in names


def read_dreamerv3(ledger: Ledger, *, groups: int | None, state_size: int) -> Agent:
    """The agent. `state_size` counts only where the agent does not look at the state vector.

    Raises:
        ForeignCheckpointError: from `Ledger.settle`, or sizes that cannot be told.
    """
    action = _action(ledger)
    sizes = _sizes(ledger, action, state_size)
    config, reader = configuration(sizes, groups), _Reader(ledger)
    hidden, h, s, units = sizes.hidden, sizes.deterministic, sizes.stochastic, sizes.units
    own, picture, vector = h // sizes.blocks, 16 * sizes.channels[-1], sizes.state_units

    def head(name: str, output: str, outputs: int, layers: int) -> Head:
        return Head(reader.head(name, h + s, units, layers), reader.output(f"{name}/head/{output}", units, outputs))

    posterior = reader.layer("dyn/obs0", "dyn/obs0norm", h + vector + picture, hidden)
    by_h, by_vector, by_picture = torch.split(posterior.weight, [h, vector, picture], 1)
    turned = torch.cat([by_h, channels_first(by_picture), by_vector], 1)
    parts = Parts(
        convolutions=[reader.convolution(index, sizes) for index in range(4)],
        state=reader.stack("enc/mlp", sizes.state_size, vector, sizes.state_layers),
        from_deterministic=reader.layer("dyn/dynin0", "dyn/dynin0norm", h, hidden),
        from_stochastic=reader.layer("dyn/dynin1", "dyn/dynin1norm", s, hidden),
        from_action=reader.layer("dyn/dynin2", "dyn/dynin2norm", sizes.action_size, hidden),
        block_hidden=reader.block("dyn/dynhid0", sizes.blocks, own + 3 * hidden, own),
        block_norm=reader.take("dyn/dynhid0norm/scale", h),
        gates=reader.block("dyn/dyngru", sizes.blocks, own, 3 * own),
        prior=Head(
            reader.stack("dyn/prior", h, hidden, sizes.prior_layers), reader.output("dyn/priorlogit", hidden, s)
        ),
        posterior=Head([Layer(turned, posterior.scale, bias=posterior.bias)], reader.output("dyn/obslogit", hidden, s)),
        reward=head("rew", "logits", sizes.bins, sizes.model_head_layers),
        proceed=head("con", "logit", 1, sizes.model_head_layers),
        policy=Head(
            reader.head("pol", h + s, units, sizes.head_layers),
            reader.output(f"pol/head/{action}/mean", units, sizes.action_size).above(
                reader.output(f"pol/head/{action}/stddev", units, sizes.action_size)
            ),
        ),
        value=head("val", "logits", sizes.bins, sizes.head_layers),
    )
    _leave(ledger)
    ledger.settle()
    return assemble(parts, config)


def _action(ledger: Ledger) -> str:
    """The name of the one action space that the policy has."""
    found = ledger.matching(r"pol/head/(.+)/mean/kernel")
    others = [name for name in ledger.matching(r"pol/head/(.+)/(?:logits|logit)/kernel") if name not in found]
    if len(found) == 1 and not others:
        return found[0]
    if not found:
        raise ForeignCheckpointError(
            "the checkpoint's policy has no mean and deviation: it chooses among discrete actions, and only continuous "
            "ones move motors"
        )
    raise ForeignCheckpointError(
        f"the checkpoint's policy has several action spaces ({', '.join(sorted([*found, *others]))}); only agents with "
        "one continuous space can be carried over"
    )


def _sizes(ledger: Ledger, action: str, state_size: int) -> Sizes:
    vector, picture = "enc/mlp{}/kernel", "enc/cnn{}/kernel"
    if not ledger.has(picture.format(0)):
        raise ForeignCheckpointError("the checkpoint's encoder takes no pictures; only agents that see can be read")
    state_layers = ledger.count(vector)
    return Sizes(
        image_channels=ledger.size(picture.format(0), 2),
        state_size=ledger.size(vector.format(0), 0) if state_layers else state_size,
        action_size=ledger.size(f"pol/head/{action}/mean/kernel", 1),
        channels=[ledger.size(picture.format(index), 3) for index in range(ledger.count(picture))],
        kernel=ledger.size(picture.format(0), 0),
        deterministic=ledger.size("dyn/dynin0/kernel", 0),
        stochastic=ledger.size("dyn/dynin1/kernel", 0),
        hidden=ledger.size("dyn/dynin0/kernel", 1),
        blocks=ledger.size("dyn/dyngru/kernel", 0),
        state_layers=state_layers,
        state_units=ledger.size(vector.format(0), 1) if state_layers else 0,
        prior_layers=max(1, ledger.count("dyn/prior{}/kernel")),
        head_layers=max(1, ledger.count("pol/mlp/linear{}/kernel")),
        model_head_layers=max(1, ledger.count("rew/mlp/linear{}/kernel")),
        units=ledger.size("pol/mlp/linear0/kernel", 1),
        bins=ledger.size("rew/head/logits/kernel", 1),
    )


def _leave(ledger: Ledger) -> None:
    ledger.leave(r"opt/.*", "optimisers")
    ledger.leave(r"slowval/.*", "slow copies of critics, made anew")
    ledger.leave(r"(ret|val|adv)norm/.*", "scales of returns")
    ledger.leave(r"dec/.*", "decoder, which does not drive")
