"""Checkpoints as other projects write them, made up: right names and shapes, random numbers, a few kilobytes."""

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

H, GROUPS, CLASSES, HIDDEN, DEPTH, ACTIONS, STATE, UNITS, BINS, CHANNELS = 12, 4, 4, 10, 2, 3, 9, 7, 41, 6
S = GROUPS * CLASSES
Arrays = dict[str, npt.NDArray[Any]]


_NORM = re.compile(r"norm\d*[./](weight|scale)$|norm_0\.weight$|_n_\d\.weight$|_dyn_in\d\.1\.weight$")


class _Maker:
    def __init__(self) -> None:
        self.random, self.arrays = np.random.default_rng(0), Arrays()

    def __call__(self, name: str, *shape: int) -> None:
        offset = 1.0 if _NORM.search(name) else 0.0
        self.arrays[name] = (offset + self.random.normal(0.0, 0.3, shape)).astype(np.float32)


def _near_zero(arrays: Arrays, biases: tuple[str, ...]) -> Arrays:
    """Two-hot outputs whose values are of a plausible size: the outermost bins stand for 5e8."""
    for name in biases:
        arrays[name] -= 3.0 * np.abs(np.arange(BINS) - BINS // 2).astype(np.float32)
    return arrays


def official(*, fosp: bool = True, vector: bool = True) -> Arrays:
    """FOSP's layout, or SafeDreamer's."""
    make, wm, task = _Maker(), "agent/wm", "agent/task_behavior"

    def dense(name: str, inputs: int, outputs: int) -> None:
        make(f"{name}/kernel", inputs, outputs)
        make(f"{name}/norm/scale", outputs)
        make(f"{name}/norm/bias", outputs)

    def output(name: str, inputs: int, outputs: int) -> None:
        make(f"{name}/kernel", inputs, outputs)
        make(f"{name}/bias", outputs)

    def head(name: str, inputs: int, outputs: int, extra: str | None = None) -> None:
        dense(f"{name}/h0", inputs, HIDDEN)
        dense(f"{name}/h1", HIDDEN, HIDDEN)
        for part in ("out", extra) if extra else ("out",):
            output(f"{name}/dist_out/{part}", HIDDEN, outputs)

    for index, (before, after) in enumerate([(CHANNELS, 2), (2, 4), (4, 8), (8, 16)]):
        make(f"{wm}/enc/cnn/s{index}res/kernel", 4, 4, before, after)
        make(f"{wm}/enc/cnn/s{index}res/norm/scale", after)
        make(f"{wm}/enc/cnn/s{index}res/norm/bias", after)
    if vector:
        dense(f"{wm}/enc/mlp/h0", STATE, UNITS)
        dense(f"{wm}/enc/mlp/h1", UNITS, UNITS)
    dense(f"{wm}/rssm/img_in", S + ACTIONS, HIDDEN)
    dense(f"{wm}/rssm/gru", H + HIDDEN, 3 * H)
    dense(f"{wm}/rssm/img_out", H, HIDDEN)
    dense(f"{wm}/rssm/obs_out", H + 256 + UNITS * vector, HIDDEN)
    output(f"{wm}/rssm/img_stats", HIDDEN, S)
    output(f"{wm}/rssm/obs_stats", HIDDEN, S)
    make(f"{wm}/rssm/initial", H)
    for name, outputs in (("rew", BINS), ("cost", BINS), ("cont", 1)):
        head(f"{wm}/{name}", H + S, outputs)
    make(f"{wm}/dec/cnn/in/kernel", H + S, 256)
    head(f"{task}/safe_ac/actor", H + S, ACTIONS, "std")
    pair = H + S + ACTIONS
    for name in ("critic", "cost_critic"):
        for part in ("net", "slow"):
            head(f"{task}/{name}/{part}", pair if fosp else H + S, BINS)
        if fosp:
            head(f"{task}/{name}/vnet", H + S, BINS)
        make(f"{task}/{name}/updates/value")
    if fosp:
        head(f"{task}/p_critic/net", pair, BINS)
    make(f"{task}/safe_ac/retnorm_extr/low/value")
    make(f"{task}/safe_ac/lagrange/lagrange_multiplier/value")
    return make.arrays


def write_official(path: Path, arrays: Arrays, protocol: int = 4) -> Path:
    """The file that their `embodied.Checkpoint` writes."""
    path.write_bytes(pickle.dumps({"step": 7, "agent": arrays, "_timestamp": 1.5}, protocol))
    return path


def dreamerv3_torch(*, vector: bool = True) -> Arrays:
    """The layout of NM512/dreamerv3-torch."""
    make = _Maker()

    def dense(linear: str, norm: str, inputs: int, outputs: int) -> None:
        make(f"{linear}.weight", outputs, inputs)
        make(f"{norm}.weight", outputs)
        make(f"{norm}.bias", outputs)

    def output(name: str, inputs: int, outputs: int) -> None:
        make(f"{name}.weight", outputs, inputs)
        make(f"{name}.bias", outputs)

    def mlp(name: str, label: str, inputs: int, width: int) -> None:
        for index in range(2):
            layer = f"{name}.layers.{label}"
            dense(f"{layer}_linear{index}", f"{layer}_norm{index}", width if index else inputs, width)

    wm, task = "_wm._orig_mod", "_task_behavior._orig_mod"  # as torch.compile leaves them
    for index, (before, after) in enumerate([(CHANNELS, 2), (2, 4), (4, 8), (8, 16)]):
        make(f"{wm}.encoder._cnn.layers.{3 * index}.weight", after, before, 4, 4)
        make(f"{wm}.encoder._cnn.layers.{3 * index + 1}.norm.weight", after)
        make(f"{wm}.encoder._cnn.layers.{3 * index + 1}.norm.bias", after)
    if vector:
        mlp(f"{wm}.encoder._mlp", "Encoder", STATE, UNITS)
    dynamics = f"{wm}.dynamics"
    make(f"{dynamics}.W", 1, H)
    dense(f"{dynamics}._img_in_layers.0", f"{dynamics}._img_in_layers.1", S + ACTIONS, HIDDEN)
    dense(f"{dynamics}._cell.layers.GRU_linear", f"{dynamics}._cell.layers.GRU_norm", HIDDEN + H, 3 * H)
    dense(f"{dynamics}._img_out_layers.0", f"{dynamics}._img_out_layers.1", H, HIDDEN)
    dense(f"{dynamics}._obs_out_layers.0", f"{dynamics}._obs_out_layers.1", H + 256 + UNITS * vector, HIDDEN)
    output(f"{dynamics}._imgs_stat_layer", HIDDEN, S)
    output(f"{dynamics}._obs_stat_layer", HIDDEN, S)
    for name, label, outputs in (("reward", "Reward", BINS), ("cont", "Cont", 1)):
        mlp(f"{wm}.heads.{name}", label, S + H, HIDDEN)
        output(f"{wm}.heads.{name}.mean_layer", HIDDEN, outputs)
    make(f"{wm}.heads.decoder._cnn._linear_layer.weight", 256, S + H)
    mlp(f"{task}.actor", "Actor", S + H, HIDDEN)
    output(f"{task}.actor.mean_layer", HIDDEN, ACTIONS)
    output(f"{task}.actor.std_layer", HIDDEN, ACTIONS)
    for name in ("value", "_slow_value"):
        mlp(f"{task}.{name}", "Value", S + H, HIDDEN)
        output(f"{task}.{name}.mean_layer", HIDDEN, BINS)
    make(f"{task}.ema_vals", 2)
    make(f"{task}._world_model.dynamics.W", 1, H)
    return make.arrays


def r2dreamer(*, vector: bool = True) -> Arrays:
    """The layout of NM512/r2dreamer."""
    make, channels = _Maker(), [4, 6, 8, 8]

    def linear(name: str, inputs: int, outputs: int) -> None:
        make(f"{name}.weight", outputs, inputs)
        make(f"{name}.bias", outputs)

    def layer(name: str, norm: str, inputs: int, outputs: int) -> None:
        linear(name, inputs, outputs)
        make(f"{norm}.weight", outputs)

    def head(name: str, label: str, layers: int, outputs: int) -> None:
        for index in range(layers):
            part = f"{name}.mlp.layers.{label}"
            layer(f"{part}_linear{index}", f"{part}_norm{index}", HIDDEN if index else S + H, HIDDEN)
        linear(f"{name}.last", HIDDEN, outputs)

    for prefix in ("", "_frozen_"):
        pictures = f"{prefix}encoder.encoders.0.layers"
        for index, after in enumerate(channels):
            make(f"{pictures}.{4 * index}.weight", after, channels[index - 1] if index else CHANNELS, 5, 5)
            make(f"{pictures}.{4 * index}.bias", after)
            make(f"{pictures}.{4 * index + 2}.weight", after)
        for index in range(3 * vector):
            part = f"{prefix}encoder.encoders.1.layers.mlp_encoder"
            layer(f"{part}_linear{index}", f"{part}_norm{index}", UNITS if index else STATE, UNITS)
    core = "rssm._deter_net"
    for index, inputs in enumerate((H, S, ACTIONS)):
        layer(f"{core}._dyn_in{index}.0", f"{core}._dyn_in{index}.1", inputs, HIDDEN)
    make(f"{core}._dyn_hid.dyn_hid_0.weight", H // 2, H // 2 + 3 * HIDDEN, 2)
    make(f"{core}._dyn_hid.dyn_hid_0.bias", H)
    make(f"{core}._dyn_hid.norm_0.weight", H)
    make(f"{core}._dyn_gru.weight", 3 * H // 2, H // 2, 2)
    make(f"{core}._dyn_gru.bias", 3 * H)
    for index in range(2):
        layer(f"rssm._img_net.img_net_{index}", f"rssm._img_net.img_net_n_{index}", HIDDEN if index else H, HIDDEN)
    layer("rssm._obs_net.obs_net_0", "rssm._obs_net.obs_net_n_0", H + 16 * 8 + UNITS * vector, HIDDEN)
    linear("rssm._img_net.img_net_logit", HIDDEN, S)
    linear("rssm._obs_net.obs_net_logit", HIDDEN, S)
    for name, layers, outputs in (("reward", 1, BINS), ("cont", 1, 1), ("actor", 3, 2 * ACTIONS), ("value", 3, BINS)):
        head(name, name, layers, outputs)
    head("_slow_value", "value", 3, BINS)
    make("return_ema.ema_vals", 2)
    make("prj.w.weight", 16 * 8 + UNITS * vector, S + H)
    return _near_zero(make.arrays, ("reward.last.bias", "value.last.bias"))


def dreamerv3(*, vector: bool = True) -> Arrays:
    """The layout of danijar/dreamerv3 as of 2024."""
    make, channels = _Maker(), [4, 6, 8, 8]

    def linear(name: str, inputs: int, outputs: int) -> None:
        make(f"{name}/kernel", inputs, outputs)
        make(f"{name}/bias", outputs)

    def layer(name: str, norm: str, inputs: int, outputs: int) -> None:
        linear(name, inputs, outputs)
        make(f"{norm}/scale", outputs)

    def head(name: str, layers: int, outputs: dict[str, int]) -> None:
        for index in range(layers):
            layer(f"{name}/mlp/linear{index}", f"{name}/mlp/norm{index}", HIDDEN if index else H + S, HIDDEN)
        for output, width in outputs.items():
            linear(f"{name}/head/{output}", HIDDEN, width)

    for index, after in enumerate(channels):
        make(f"enc/cnn{index}/kernel", 5, 5, channels[index - 1] if index else CHANNELS, after)
        make(f"enc/cnn{index}/bias", after)
        make(f"enc/cnn{index}norm/scale", after)
    for index in range(3 * vector):
        layer(f"enc/mlp{index}", f"enc/mlp{index}norm", UNITS if index else STATE, UNITS)
    for index, inputs in enumerate((H, S, ACTIONS)):
        layer(f"dyn/dynin{index}", f"dyn/dynin{index}norm", inputs, HIDDEN)
    make("dyn/dynhid0/kernel", 2, H // 2 + 3 * HIDDEN, H // 2)
    make("dyn/dynhid0/bias", H)
    make("dyn/dynhid0norm/scale", H)
    make("dyn/dyngru/kernel", 2, H // 2, 3 * H // 2)
    make("dyn/dyngru/bias", 3 * H)
    for index in range(2):
        layer(f"dyn/prior{index}", f"dyn/prior{index}norm", HIDDEN if index else H, HIDDEN)
    layer("dyn/obs0", "dyn/obs0norm", H + UNITS * vector + 16 * 8, HIDDEN)
    linear("dyn/priorlogit", HIDDEN, S)
    linear("dyn/obslogit", HIDDEN, S)
    head("rew", 1, {"logits": BINS})
    head("con", 1, {"logit": 1})
    head("pol", 3, {"action/mean": ACTIONS, "action/stddev": ACTIONS})
    for name in ("val", "slowval"):
        head(name, 3, {"logits": BINS})
    linear("dec/sp0", H, 16)
    make("retnorm/lo")
    make("opt/state/0/count")
    return _near_zero(make.arrays, ("rew/head/logits/bias", "val/head/logits/bias"))


def write_dreamerv3(path: Path, arrays: Arrays) -> Path:
    """The file `agent.pkl` that their `elements.Checkpoint` writes."""
    counters = {"updates": 3, "batches": 3, "actions": 7}
    path.write_bytes(pickle.dumps({"params": arrays, "counters": counters}))
    return path


def write_torch(path: Path, arrays: Arrays) -> Path:
    """The file that `torch.save` writes for them."""
    state = {name: torch.from_numpy(np.asarray(value)) for name, value in arrays.items()}
    torch.save({"agent_state_dict": state, "optims_state_dict": {"model": {"step": 3}}}, path)
    return path
