"""`NM512/dreamerv3-torch`: DreamerV3 of 2023 in PyTorch. The networks are the official ones, the names and the order of
columns are not: heads see s before h. Its critic judges states, and it knows no costs.
"""

import torch
from torch import Tensor

from export.foreign.assembly import NO_COSTS, Assembly, Layer, Output, actions_left, for_every_action, split_classes
from export.foreign.errors import ForeignCheckpointError
from export.foreign.ledger import Ledger
from fosp_edge.agent.agent import Agent
from fosp_edge.agent.config import Config

ENCODER, RSSM, BEHAVIOUR = "_wm.encoder", "_wm.dynamics", "_task_behavior"


class _Reader:
    """Layers by name."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def layer(self, linear: str, norm: str, inputs: int, width: int) -> Layer:
        take = self.ledger.take
        return Layer(
            take(f"{linear}.weight", width, inputs), take(f"{norm}.weight", width), take(f"{norm}.bias", width)
        )

    def output(self, name: str, inputs: int, width: int) -> Output:
        return Output(self.ledger.take(f"{name}.weight", width, inputs), self.ledger.take(f"{name}.bias", width))

    def hidden(self, module: str, label: str, inputs: int, width: int, layers: int) -> list[Layer]:
        name = f"{module}.layers.{label}"
        return [
            self.layer(f"{name}_linear{index}", f"{name}_norm{index}", width if index else inputs, width)
            for index in range(layers)
        ]


def is_dreamerv3_torch(names: set[str]) -> bool:
    """Whether these are the names of such a checkpoint."""
    return f"{RSSM}._cell.layers.GRU_linear.weight" in names


def read_dreamerv3_torch(ledger: Ledger, *, groups: int | None, state_size: int) -> Agent:
    """The agent. `state_size` counts only where the agent does not look at the state vector.

    Raises:
        ForeignCheckpointError: from `Ledger.settle`, or sizes that cannot be told.
    """
    if not ledger.has(f"{BEHAVIOUR}.actor.std_layer.weight"):
        raise ForeignCheckpointError(
            "the checkpoint's actor has no learnt deviation: it chooses among discrete actions, or its `dist` is not "
            "`normal`, the only one that can be read"
        )
    config = _config(ledger, groups, state_size)
    reader, parts = _Reader(ledger), Assembly()
    hidden, h, s = config.hidden, config.deterministic, config.groups * config.classes
    channels = [config.image_channels, *(config.conv_depth << index for index in range(4))]
    parts.convolutions(
        [
            Layer(
                ledger.take(f"{ENCODER}._cnn.layers.{3 * index}.weight", channels[index + 1], channels[index], 4, 4),
                ledger.take(f"{ENCODER}._cnn.layers.{3 * index + 1}.norm.weight", channels[index + 1]),
                ledger.take(f"{ENCODER}._cnn.layers.{3 * index + 1}.norm.bias", channels[index + 1]),
            )
            for index in range(4)
        ],
        pooling=False,
    )
    vector = 0
    if config.state_layers and config.state_units:
        vector = config.state_units
        layers = reader.hidden(f"{ENCODER}._mlp", "Encoder", config.state_size, vector, config.state_layers)
        parts.stack("world_model.encoder.state", layers)
    name = "world_model.rssm."
    entrance = reader.layer(f"{RSSM}._img_in_layers.0", f"{RSSM}._img_in_layers.1", s + config.action_size, hidden)
    parts.put(f"{name}input_stochastic.weight", entrance.weight[:, :s])
    parts.put(f"{name}input_action.weight", entrance.weight[:, s:])
    parts.norm(f"{name}input_norm", entrance)
    gru = reader.layer(f"{RSSM}._cell.layers.GRU_linear", f"{RSSM}._cell.layers.GRU_norm", hidden + h, 3 * h)
    parts.put(f"{name}gru.weight", gru.weight)
    parts.norm(f"{name}gru_norm", gru)
    parts.put(f"{name}initial_deterministic", ledger.take(f"{RSSM}.W", 1, h)[0])
    prior = reader.layer(f"{RSSM}._img_out_layers.0", f"{RSSM}._img_out_layers.1", h, hidden)
    parts.stack(f"{name}prior", [prior], reader.output(f"{RSSM}._imgs_stat_layer", hidden, s))
    embedding = 16 * 8 * config.conv_depth + vector
    posterior = reader.layer(f"{RSSM}._obs_out_layers.0", f"{RSSM}._obs_out_layers.1", h + embedding, hidden)
    parts.posterior(posterior, h, reader.output(f"{RSSM}._obs_stat_layer", hidden, s))

    def head(module: str, label: str, outputs: int, layers: int | None = None) -> tuple[list[Layer], Output]:
        found = reader.hidden(module, label, h + s, hidden, layers or config.head_layers)
        return h_first(found, h, s), reader.output(f"{module}.mean_layer", hidden, outputs)

    parts.stack("world_model.reward", *head("_wm.heads.reward", "Reward", config.bins, config.model_head_layers))
    parts.stack("world_model.proceed", *head("_wm.heads.cont", "Cont", 1, config.model_head_layers))
    layers, mean = head(f"{BEHAVIOUR}.actor", "Actor", config.action_size)
    spread = reader.output(f"{BEHAVIOUR}.actor.std_layer", hidden, config.action_size)
    parts.stack("policy.head", layers, mean.above(spread))
    layers, output = head(f"{BEHAVIOUR}.value", "Value", config.bins)
    parts.stack("critics.reward_state", layers, output)
    parts.stack("critics.reward_action", for_every_action(layers, config.action_size), output)
    _leave(ledger)
    ledger.settle()
    return parts.agent(config)


def _config(ledger: Ledger, groups: int | None, state_size: int) -> Config:
    stochastic = ledger.size(f"{RSSM}._obs_stat_layer.weight", 0)
    groups, classes = split_classes(stochastic, groups)
    state = f"{ENCODER}._mlp.layers.Encoder_linear{{}}.weight"
    state_layers = ledger.count(state)
    heads = max(1, ledger.count(f"{BEHAVIOUR}.actor.layers.Actor_linear{{}}.weight"))  # none: then one is missing
    model_heads = max(1, ledger.count("_wm.heads.reward.layers.Reward_linear{}.weight"))
    return Config(
        image_channels=ledger.size(f"{ENCODER}._cnn.layers.0.weight", 1),
        state_size=ledger.size(state.format(0), 1) if state_layers else state_size,
        action_size=actions_left(ledger.size(f"{RSSM}._img_in_layers.0.weight", 1), stochastic),
        conv_depth=ledger.size(f"{ENCODER}._cnn.layers.0.weight", 0),
        deterministic=ledger.size(f"{RSSM}.W", 1),
        groups=groups,
        classes=classes,
        hidden=ledger.size(f"{RSSM}._img_in_layers.0.weight", 0),
        head_layers=heads,
        model_head_layers=None if model_heads == heads else model_heads,
        bins=ledger.size("_wm.heads.reward.mean_layer.bias", 0),
        norm_epsilon=1e-3,
        state_layers=state_layers,
        state_units=ledger.size(state.format(0), 0) if state_layers else None,
        state_scaling="symlog",
        has_decoder=False,
        unknown=NO_COSTS,
        safety=False,
    )


def h_first(layers: list[Layer], deterministic: int, stochastic: int) -> list[Layer]:
    """The same layers over h and s in this order, where theirs is s and h."""
    first = layers[0]
    weight: Tensor = first.weight
    turned = torch.cat([weight[:, stochastic : stochastic + deterministic], weight[:, :stochastic]], 1)
    return [Layer(turned, first.scale, first.shift, first.bias), *layers[1:]]


def _leave(ledger: Ledger) -> None:
    ledger.leave(r"_task_behavior\._world_model\..*", "second names of the world model")
    ledger.leave(r"_expl_behavior\..*", "exploration, or second names of the policy")
    ledger.leave(r"_task_behavior\._slow_value\..*", "slow copies of critics, made anew")
    ledger.leave(r"_task_behavior\.ema_vals", "scales of returns")
    ledger.leave(r"_wm\.heads\.decoder\..*", "decoder, which does not drive")
