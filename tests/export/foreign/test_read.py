"""Other projects' checkpoints become agents; every tensor is accounted for, and whatever does not fit is a sentence."""

import itertools
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as functional

from export.foreign.errors import ForeignCheckpointError
from export.foreign.read import FAMILIES, read_foreign
from export.forgetting import forget_reachability
from export.graph import export_step
from export.parity import check_parity
from export.step import StepModule
from fosp_edge.agent.agent import Agent, reachability
from fosp_edge.agent.config import Config
from fosp_edge.agent.distributions import two_hot_mean
from fosp_edge.agent.rssm import Latent
from fosp_edge.cli.foreign import Family
from tests.export.agents import make_episode
from tests.export.foreign.layouts import (
    ACTIONS,
    CHANNELS,
    GROUPS,
    STATE,
    Arrays,
    dreamerv3,
    dreamerv3_torch,
    official,
    r2dreamer,
    write_dreamerv3,
    write_official,
    write_torch,
)

LAYOUTS = {
    "fosp": (official, write_official),
    "safedreamer": (lambda: official(fosp=False, vector=False), write_official),
    "dreamerv3": (dreamerv3, write_dreamerv3),
    "dreamerv3-torch": (dreamerv3_torch, write_torch),
    "r2dreamer": (r2dreamer, write_torch),
}


def write(family: str, path: Path, arrays: Arrays | None = None) -> Path:
    make, save = LAYOUTS[family]
    return save(path, make() if arrays is None else arrays)


def read(path: Path, family: str | None = None, groups: int | None = GROUPS) -> Agent:
    return read_foreign(path, family=family, groups=groups, state_size=STATE).agent


def test_the_command_line_knows_every_family() -> None:
    assert {item.value for item in Family} == {"auto", "fosp-edge", *FAMILIES}


@pytest.mark.parametrize("family", list(LAYOUTS))
def test_it_is_recognised_and_leaves_through_the_same_graph(family: str, tmp_path: Path) -> None:
    found = read_foreign(write(family, tmp_path / "it"), family=None, groups=GROUPS, state_size=STATE)
    assert found.family == family and sum(found.left.values()) > 0
    config = found.agent.config
    assert (config.image_channels, config.action_size, config.state_size) == (CHANNELS, ACTIONS, STATE)
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    parity = check_parity(found.agent, export_step(StepModule(found.agent)), [make_episode(0, rows=6)])
    assert parity.latent_flips == 0 and max(parity.action_error, parity.value_error) < 1e-4


def _dense(arrays: Arrays, name: str, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    x = x @ arrays[f"{name}/kernel"]
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-3)
    return x * arrays[f"{name}/norm/scale"] + arrays[f"{name}/norm/bias"]


def _silu(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return x / (1.0 + np.exp(-x))


def _head(arrays: Arrays, name: str, x: npt.NDArray[Any], output: str = "out") -> npt.NDArray[Any]:
    for index in range(2):
        x = _silu(_dense(arrays, f"{name}/h{index}", x))
    return x @ arrays[f"{name}/dist_out/{output}/kernel"] + arrays[f"{name}/dist_out/{output}/bias"]


def _mean(logits: npt.NDArray[Any]) -> float:
    share = np.exp(logits - logits.max())
    mean = float((share / share.sum()) @ np.linspace(-20.0, 20.0, len(logits)))
    return float(np.sign(mean) * np.expm1(abs(mean)))


def _sigmoid(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return 1.0 / (1.0 + np.exp(-x))


def test_it_computes_what_the_official_networks_compute(tmp_path: Path) -> None:
    """Written out once more in numpy, from the official code's own names and orders."""
    arrays, random = official(), np.random.default_rng(5)
    agent, wm, task = read(write_official(tmp_path / "it", arrays)), "agent/wm", "agent/task_behavior"
    image = random.integers(0, 256, (64, 64, CHANNELS)).astype(np.uint8)
    state, action = random.normal(0.0, 2.0, STATE).astype(np.float32), np.array([0.2, -0.4, 0.9], np.float32)
    before, width = np.tanh(random.normal(0.0, 1.0, 12)).astype(np.float32), agent.config.deterministic
    classes = np.eye(4, dtype=np.float32)[[1, 3, 0, 2]]

    x = image / 255.0 - 0.5
    for index in range(4):
        name = f"{wm}/enc/cnn/s{index}res"
        padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
        size = x.shape[0] // 2
        kernel = arrays[f"{name}/kernel"]
        x = np.zeros((size, size, kernel.shape[-1]))
        for row, column in itertools.product(range(4), range(4)):
            seen = padded[row : row + 2 * size : 2, column : column + 2 * size : 2]
            x = x + seen @ kernel[row, column]
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-3)
        x = _silu(x * arrays[f"{name}/norm/scale"] + arrays[f"{name}/norm/bias"])
    vector = np.sign(state) * np.log1p(np.abs(state))
    for index in range(2):
        vector = _silu(_dense(arrays, f"{wm}/enc/mlp/h{index}", vector))
    hidden = _silu(_dense(arrays, f"{wm}/rssm/img_in", np.concatenate([classes.ravel(), action])))
    reset, candidate, update = np.split(_dense(arrays, f"{wm}/rssm/gru", np.concatenate([before, hidden])), 3)
    update = _sigmoid(update - 1.0)
    h = update * np.tanh(_sigmoid(reset) * candidate) + (1.0 - update) * before
    hidden = _silu(_dense(arrays, f"{wm}/rssm/obs_out", np.concatenate([h, x.ravel(), vector])))
    logits = (hidden @ arrays[f"{wm}/rssm/obs_stats/kernel"] + arrays[f"{wm}/rssm/obs_stats/bias"]).reshape(4, 4)
    share = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    features = np.concatenate([h, classes.ravel()])
    mean = np.tanh(_head(arrays, f"{task}/safe_ac/actor", features))
    deviation = 0.1 + 0.9 * _sigmoid(_head(arrays, f"{task}/safe_ac/actor", features, "std") + 2.0)
    pair = np.concatenate([features, mean])

    with torch.no_grad():
        rssm, one_hot = agent.world_model.rssm, torch.from_numpy(classes)[None]
        latent = Latent(torch.from_numpy(before)[None], one_hot)
        found_h = rssm.transition(latent, torch.from_numpy(action)[None])
        embedding = agent.world_model.encoder(torch.from_numpy(image)[None], torch.from_numpy(state)[None])
        posterior = rssm.posterior(found_h, rssm.posterior_embedding(embedding))[0]
        found = Latent(found_h, one_hot).features()
        found_mean, found_deviation = agent.policy(found)
        found_pair, critics = torch.cat([found, found_mean], -1), agent.critics
        judged = {
            f"{task}/critic/net": two_hot_mean(critics.reward_action(found_pair)),
            f"{task}/cost_critic/net": two_hot_mean(critics.cost_action(found_pair)),
            f"{task}/critic/vnet": two_hot_mean(critics.reward_state(found)),
            f"{task}/cost_critic/vnet": two_hot_mean(critics.cost_state(found)),
            f"{wm}/rew": two_hot_mean(agent.world_model.reward(found)),
            f"{wm}/cost": two_hot_mean(agent.world_model.cost(found)),
        }
        reach = float(reachability(critics.reach_action(found_pair), agent.config))
    assert width == 12
    np.testing.assert_allclose(found_h[0], h, atol=1e-5)
    np.testing.assert_allclose(posterior, np.log(0.99 * share + 0.01 / 4), atol=1e-4)
    np.testing.assert_allclose(found_mean[0], mean, atol=1e-5)
    np.testing.assert_allclose(found_deviation[0], deviation, atol=1e-5)
    for name, value in judged.items():
        expected = _mean(_head(arrays, name, pair if name.endswith("/net") else features))
        assert float(value) == pytest.approx(expected, abs=1e-4, rel=1e-4), name
    assert reach == pytest.approx(np.clip(_mean(_head(arrays, f"{task}/p_critic/net", pair)), 0.0, 1.0), abs=1e-5)


def test_a_critic_of_states_does_not_care_about_the_action(tmp_path: Path) -> None:
    agent = read(write("safedreamer", tmp_path / "it"))
    features = functional.one_hot(torch.tensor([3]), agent.config.feature_size).float()
    pairs = torch.cat([features.expand(5, -1), torch.randn(5, ACTIONS)], -1)
    values = two_hot_mean(agent.critics.cost_action(pairs))
    expected = two_hot_mean(agent.critics.cost_state(features))
    assert abs(float(expected)) > 1e-3
    torch.testing.assert_close(values, expected.expand(5), atol=1e-5, rtol=1e-5)


def test_reachability_can_be_left_behind(tmp_path: Path) -> None:
    agent = read(write("fosp", tmp_path / "it"))
    forgotten = forget_reachability(agent)
    pair = torch.randn(3, agent.config.feature_size + ACTIONS)
    assert torch.all(reachability(forgotten.critics.reach_action(pair), forgotten.config) == 1.0)
    assert torch.equal(forgotten.critics.cost_action(pair), agent.critics.cost_action(pair))


@pytest.mark.parametrize("family", list(LAYOUTS))
def test_every_tensor_is_accounted_for(family: str, tmp_path: Path) -> None:
    arrays = LAYOUTS[family][0]()
    endings = {
        "actor": (
            "actor/h1/kernel",
            "actor.layers.Actor_linear1.weight",
            "pol/mlp/linear1/kernel",
            "actor_linear1.weight",
        ),
        "bias": ("obs_stats/bias", "_obs_stat_layer.bias", "obslogit/bias", "obs_net_logit.bias"),
        "norm": ("img_in/norm/scale", "_img_in_layers.1.weight", "dynin0norm/scale", "_dyn_in0.1.weight"),
    }
    actor, bias, norm = (next(name for name in arrays if name.endswith(ending)) for ending in endings.values())
    del arrays[bias]
    arrays["agent/another/kernel"] = np.zeros(3, np.float32)
    arrays[actor] = arrays[actor][:, :-1]
    arrays[norm] = np.full_like(arrays[norm], np.nan)
    with pytest.raises(ForeignCheckpointError) as error:
        read(write(family, tmp_path / "it", arrays))
    text = str(error.value)
    assert f"1 missing: {bias.replace('_orig_mod.', '')} (16,)" in text
    assert f"1 of another shape: {actor.replace('_orig_mod.', '')}: expected (10, 10), found (10, 9)" in text
    assert "1 unexpected: agent/another/kernel" in text
    assert f"1 not finite: {norm.replace('_orig_mod.', '')}" in text


@pytest.mark.parametrize("family", list(LAYOUTS))
def test_no_tensor_can_go_missing_unnoticed(family: str, tmp_path: Path) -> None:
    arrays = LAYOUTS[family][0]()
    left = (
        "/slow/",
        "_slow_value",
        "/dec/",
        ".decoder.",
        "updates/value",
        "retnorm",
        "lagrange",
        "ema_vals",
        "_world_model",
        "_frozen_",
        "prj.",
        "slowval/",
        "dec/sp0",
        "opt/state",
    )
    for name in arrays:
        rest = {key: value for key, value in arrays.items() if key != name}
        path = write(family, tmp_path / "it", rest)
        if any(part in name for part in left):
            read(path)
        else:
            with pytest.raises(ForeignCheckpointError):
                read(path)


@pytest.mark.parametrize(
    ("groups", "words"),
    [(None, "add --groups"), (5, "5 groups do not divide"), (16, "do not divide"), (0, "do not divide")],
)
def test_groups_must_be_said_and_fit(groups: int | None, words: str, tmp_path: Path) -> None:
    with pytest.raises(ForeignCheckpointError, match=words):
        read(write("fosp", tmp_path / "it"), groups=groups)


def test_wrong_family_and_no_family(tmp_path: Path) -> None:
    with pytest.raises(ForeignCheckpointError, match="was written by safedreamer, not by fosp"):
        read(write("safedreamer", tmp_path / "it"), family="fosp")
    with pytest.raises(ForeignCheckpointError, match="of no family that can be read"):
        read(write_official(tmp_path / "it", {"w": np.zeros(2, np.float32)}))
    with pytest.raises(ForeignCheckpointError, match="no checkpoint file at"):
        read(tmp_path / "nothing")
    (tmp_path / "other").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(ForeignCheckpointError, match="of another project"):
        read(tmp_path / "other")


def test_discrete_actions_are_refused(tmp_path: Path) -> None:
    arrays = {name: value for name, value in official().items() if "/dist_out/std/" not in name}
    with pytest.raises(ForeignCheckpointError, match="discrete actions"):
        read(write_official(tmp_path / "it", arrays))


@pytest.mark.parametrize("family", list(LAYOUTS))
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_truncated_files_are_refused(family: str, share: float, tmp_path: Path) -> None:
    path = write(family, tmp_path / "it")
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ForeignCheckpointError, match=r"damaged|refused"):
        read(path)


def test_a_torch_file_with_more_than_tensors_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return open, (str(tmp_path / "executed"), "w")

    torch.save({"agent_state_dict": {"w": torch.zeros(1)}, "more": Evil()}, tmp_path / "it")
    with pytest.raises(ForeignCheckpointError, match="nothing in it was run"):
        read(tmp_path / "it")
    assert not (tmp_path / "executed").exists()
