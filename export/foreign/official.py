"""FOSP's and SafeDreamer's own checkpoints (JAX, 2024): a pickle of arrays named after modules.

`Sunlighted/FOSP` is built on `PKU-Alignment/SafeDreamer`, that on DreamerV3 of 2023, and all three share networks: a
GRU behind a LayerNorm, stride-2 convolutions, two-hot heads. They differ in their critics: SafeDreamer's judge states,
FOSP's judge actions (`net`) and states (`vnet`), and FOSP has a third kind, `p_critic`, for reachability.
"""

import torch
from torch import Tensor

from export.foreign.assembly import Assembly, Layer, Output, actions_left, for_every_action, split_classes
from export.foreign.errors import ForeignCheckpointError
from export.foreign.ledger import Ledger
from fosp_edge.agent.agent import Agent
from fosp_edge.agent.config import Config

RSSM, ENCODER, BEHAVIOUR = "agent/wm/rssm", "agent/wm/enc", "agent/task_behavior"


class _Reader:
    """Layers by their module's name; kernels there are [in, out]."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def layer(self, name: str, inputs: int, width: int) -> Layer:
        take = self.ledger.take
        weight = take(f"{name}/kernel", inputs, width).T
        return Layer(weight, take(f"{name}/norm/scale", width), take(f"{name}/norm/bias", width))

    def output(self, name: str, inputs: int, width: int) -> Output:
        return Output(self.ledger.take(f"{name}/kernel", inputs, width).T, self.ledger.take(f"{name}/bias", width))

    def hidden(self, name: str, inputs: int, width: int, layers: int) -> list[Layer]:
        return [self.layer(f"{name}/h{index}", width if index else inputs, width) for index in range(layers)]

    def convolutions(self, channels: int, depth: int) -> list[Layer]:
        found, take = [], self.ledger.take
        for index in range(4):
            name, before, after = (
                f"{ENCODER}/cnn/s{index}res",
                channels if not index else depth << index >> 1,
                depth << index,
            )
            weight = take(f"{name}/kernel", 4, 4, before, after).permute(3, 2, 0, 1)
            found.append(Layer(weight, take(f"{name}/norm/scale", after), take(f"{name}/norm/bias", after)))
        return found


def is_official(names: set[str]) -> bool:
    """Whether these are the names of such a checkpoint."""
    return f"{RSSM}/gru/kernel" in names


def read_official(ledger: Ledger, *, groups: int | None, state_size: int) -> Agent:
    """The agent. `state_size` counts only where the agent does not look at the state vector.

    Raises:
        ForeignCheckpointError: from `Ledger.settle`, or sizes that cannot be told.
    """
    actor = next(
        (
            f"{BEHAVIOUR}/{name}/actor"
            for name in ("safe_ac", "ac")
            if ledger.has(f"{BEHAVIOUR}/{name}/actor/h0/kernel")
        ),
        "",
    )
    if not actor:
        raise ForeignCheckpointError(f"the checkpoint has no actor under {BEHAVIOUR}: there is no policy to export")
    if not ledger.has(f"{actor}/dist_out/std/kernel"):
        raise ForeignCheckpointError(
            "the checkpoint's actor chooses among discrete actions; only continuous ones move motors"
        )
    config = _config(ledger, actor, groups, state_size)
    reader, parts = _Reader(ledger), Assembly()
    _world_model(reader, parts, config)
    features, hidden, pair = config.feature_size, config.hidden, config.feature_size + config.action_size

    def head(name: str, inputs: int, outputs: int, layers: int | None = None) -> tuple[list[Layer], Output]:
        return (
            reader.hidden(name, inputs, hidden, layers or config.head_layers),
            reader.output(f"{name}/dist_out/out", hidden, outputs),
        )

    for ours, theirs, outputs in (
        ("reward", "rew", config.bins),
        ("cost", "cost", config.bins),
        ("proceed", "cont", 1),
    ):
        if ours not in config.unknown:
            parts.stack(f"world_model.{ours}", *head(f"agent/wm/{theirs}", features, outputs, config.model_head_layers))
    layers, mean = head(actor, features, config.action_size)
    spread = reader.output(f"{actor}/dist_out/std", hidden, config.action_size)
    parts.stack("policy.head", layers, mean.above(spread))
    for ours, theirs in (("reward", "critic"), ("cost", "cost_critic")):
        if f"{ours}_state" in config.unknown:
            continue
        if ledger.has(f"{BEHAVIOUR}/{theirs}/vnet/h0/kernel"):
            parts.stack(f"critics.{ours}_action", *head(f"{BEHAVIOUR}/{theirs}/net", pair, config.bins))
            parts.stack(f"critics.{ours}_state", *head(f"{BEHAVIOUR}/{theirs}/vnet", features, config.bins))
        else:
            layers, output = head(f"{BEHAVIOUR}/{theirs}/net", features, config.bins)
            parts.stack(f"critics.{ours}_state", layers, output)
            parts.stack(f"critics.{ours}_action", for_every_action(layers, config.action_size), output)
    if "reach_action" not in config.unknown:
        parts.stack("critics.reach_action", *head(f"{BEHAVIOUR}/p_critic/net", pair, config.bins))
    _leave(ledger)
    ledger.settle()
    return parts.agent(config)


def _config(ledger: Ledger, actor: str, groups: int | None, state_size: int) -> Config:
    stochastic, hidden = ledger.size(f"{RSSM}/obs_stats/kernel", 1), ledger.size(f"{RSSM}/img_in/kernel", 1)
    groups, classes = split_classes(stochastic, groups)
    state_layers = ledger.count(f"{ENCODER}/mlp/h{{}}/kernel")
    unknown = ["reach_state"]
    if not ledger.has("agent/wm/cost/h0/kernel"):
        unknown.append("cost")
    if not ledger.has(f"{BEHAVIOUR}/cost_critic/net/h0/kernel"):
        unknown += ["cost_action", "cost_state"]
    if not ledger.has(f"{BEHAVIOUR}/p_critic/net/h0/kernel"):
        unknown.append("reach_action")
    heads = ledger.count(f"{actor}/h{{}}/kernel")  # one at least, by which the actor was found
    model_heads = max(1, ledger.count("agent/wm/rew/h{}/kernel"))
    return Config(
        image_channels=ledger.size(f"{ENCODER}/cnn/s0res/kernel", 2),
        state_size=ledger.size(f"{ENCODER}/mlp/h0/kernel", 0) if state_layers else state_size,
        action_size=actions_left(ledger.size(f"{RSSM}/img_in/kernel", 0), stochastic),
        conv_depth=ledger.size(f"{ENCODER}/cnn/s0res/kernel", 3),
        deterministic=ledger.size(f"{RSSM}/initial", 0),
        groups=groups,
        classes=classes,
        hidden=hidden,
        head_layers=heads,
        model_head_layers=None if model_heads == heads else model_heads,
        bins=ledger.size("agent/wm/rew/dist_out/out/bias", 0),
        norm_epsilon=1e-3,
        state_layers=state_layers,
        state_units=ledger.size(f"{ENCODER}/mlp/h0/kernel", 1) if state_layers else None,
        state_scaling="symlog",
        reachability_form="logit" if "reach_action" in unknown else "two_hot",
        has_decoder=False,
        unknown=tuple(unknown),
        safety="cost_action" not in unknown,
    )


def _world_model(reader: _Reader, parts: Assembly, config: Config) -> None:
    hidden, h, s = config.hidden, config.deterministic, config.groups * config.classes
    parts.convolutions(reader.convolutions(config.image_channels, config.conv_depth), pooling=False)
    vector = 0
    if config.state_layers and config.state_units:
        vector = config.state_units
        parts.stack(
            "world_model.encoder.state",
            reader.hidden(f"{ENCODER}/mlp", config.state_size, vector, config.state_layers),
        )
    name, entrance = "world_model.rssm.", reader.layer(f"{RSSM}/img_in", s + config.action_size, hidden)
    parts.put(f"{name}input_stochastic.weight", entrance.weight[:, :s])
    parts.put(f"{name}input_action.weight", entrance.weight[:, s:])
    parts.norm(f"{name}input_norm", entrance)
    gru = reader.layer(f"{RSSM}/gru", h + hidden, 3 * h)
    parts.put(f"{name}gru.weight", torch.cat([gru.weight[:, h:], gru.weight[:, :h]], 1))  # theirs: h first
    parts.norm(f"{name}gru_norm", gru)
    parts.put(f"{name}initial_deterministic", reader.ledger.take(f"{RSSM}/initial", h))
    parts.stack(
        f"{name}prior", [reader.layer(f"{RSSM}/img_out", h, hidden)], reader.output(f"{RSSM}/img_stats", hidden, s)
    )
    picture = 16 * 8 * config.conv_depth
    posterior = reader.layer(f"{RSSM}/obs_out", h + picture + vector, hidden)
    weight = torch.cat(
        [
            posterior.weight[:, :h],
            channels_first(posterior.weight[:, h : h + picture]),
            posterior.weight[:, h + picture :],
        ],
        1,
    )
    parts.posterior(Layer(weight, posterior.scale, posterior.shift), h, reader.output(f"{RSSM}/obs_stats", hidden, s))


def channels_first(weight: Tensor) -> Tensor:
    """Columns over a flattened 4x4 picture, from [height, width, channel] order to [channel, height, width]."""
    return weight.reshape(len(weight), 4, 4, -1).permute(0, 3, 1, 2).flatten(1)


def _leave(ledger: Ledger) -> None:
    ledger.leave(r"agent/.*_v?opt/.*", "optimisers")
    ledger.leave(r"agent/.*/updates/value", "counters")
    ledger.leave(r"agent/task_behavior/[a-z_]*critic/slow/.*", "slow copies of critics, made anew")
    ledger.leave(r"agent/task_behavior/(safe_)?ac/(ret|cost|p)norm_\w+/.*", "scales of returns")
    ledger.leave(r"agent/task_behavior/safe_ac/lagrange/.*", "the Lagrangian's multipliers")
    ledger.leave(r"agent/wm/dec/.*", "decoder, which does not drive")
    ledger.leave(r"agent/expl_behavior/.*", "exploration, which does not drive")
