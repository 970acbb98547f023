"""NM512/r2dreamer, original code: make an agent with random weights, save it their way, follow an episode.

Run by experiments/foreign_parity.py in an interpreter with torch, tensordict and PyYAML; arguments are one JSON object:
{"checkout", "size", "changes", "episode", "checkpoint", "answers", "vector", "seed"}.
"""

import importlib
import json
import sys
import types
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import torch
import yaml

sys.path.insert(0, str(Path(__file__).parents[2]))
from experiments.foreign_originals.episode import near_zero, previous_actions, read_episode, write_answers
from experiments.foreign_originals.torch_weights import unsettle


def import_dreamer(checkout: Path) -> types.ModuleType:
    """Their main module, without their logs."""
    sys.path.insert(0, str(checkout))
    for name in ("torch.utils.tensorboard", "tensordict"):  # the step itself keeps its state in plain tensors
        try:
            importlib.import_module(name)
        except ImportError:
            sys.modules[name] = MagicMock()
    return importlib.import_module("dreamer")


def configuration(checkout: Path, size: str, changes: dict[str, Any], vector: bool) -> Any:
    """Their model's configuration; `${model.x}` is filled in as OmegaConf would."""
    models = checkout / "configs" / "model"
    base = yaml.safe_load((models / "_base_.yaml").read_text())
    top = {
        key: value for key, value in yaml.safe_load((models / f"{size}.yaml").read_text()).items() if key != "defaults"
    }
    top |= {"norm": True} | changes
    known = {f"${{model.{key}}}": value for key, value in top.items()} | {
        "${device}": "cpu", "${env.encoder.mlp_keys}": "observation" if vector else "$^",
        "${env.encoder.cnn_keys}": "image", "${env.decoder.mlp_keys}": "$^", "${env.decoder.cnn_keys}": "image",
    }  # fmt: skip

    def fill(node: Any) -> Any:
        if isinstance(node, dict):
            return Node({key: fill(value) for key, value in node.items()})
        if isinstance(node, str):
            node = known.get(node, node)
            if isinstance(node, str) and node[:1].isdigit() and "e" in node:  # YAML 1.1 reads 4e-5 as text
                return float(node)
        return node

    return fill(base | top | {"device": "cpu", "compile": False})


class Node(dict[str, Any]):
    """A mapping whose entries are attributes too."""

    __getattr__ = dict.__getitem__
    __setattr__ = dict.__setitem__


@torch.no_grad()
def main() -> None:
    task = json.loads(sys.argv[1])
    checkout, episode = Path(task["checkout"]), read_episode(Path(task["episode"]))
    torch.manual_seed(task["seed"])
    torch.set_num_threads(1)
    dreamer = import_dreamer(checkout)
    config = configuration(checkout, task["size"], task["changes"], task["vector"])
    shapes = {"image": episode["image"].shape[1:], "observation": episode["state"].shape[1:]}
    space = types.SimpleNamespace(spaces={key: types.SimpleNamespace(shape=shape) for key, shape in shapes.items()})
    agent = dreamer.Dreamer(config, space, types.SimpleNamespace(shape=episode["action"].shape[1:]))
    agent.requires_grad_(False)
    unsettle(agent)
    for head in (agent.reward, agent.value):
        head.last.bias.sub_(torch.from_numpy(near_zero(len(head.last.bias))))
    torch.save({"agent_state_dict": agent.state_dict(), "optims_state_dict": {}}, task["checkpoint"])

    rssm, answers = agent._frozen_rssm, []
    stoch, deter = rssm.initial(1)
    for row, action in enumerate(previous_actions(episode["action"])):
        observation = agent.preprocess({
            "image": torch.from_numpy(episode["image"][row : row + 1]),
            "observation": torch.from_numpy(episode["state"][row : row + 1]),
        })  # fmt: skip
        embedding = agent._frozen_encoder(observation)
        first = torch.tensor([row == 0])
        stoch, deter, posterior = rssm.obs_step(stoch, deter, torch.from_numpy(action)[None], embedding, first)
        prior = rssm.prior(deter)[1]
        features = rssm.get_feat(stoch, deter)
        policy = agent._frozen_actor(features)
        value = agent._frozen_value(features).mode()[0, 0]
        answers.append({
            "deterministic": deter[0],
            "stochastic": stoch[0],
            "posterior": rssm.get_dist(posterior).base_dist.logits[0],
            "prior": rssm.get_dist(prior).base_dist.logits[0],
            "mean": policy.base_dist.loc[0],
            "deviation": policy.base_dist.scale[0],
            "reward": agent._frozen_reward(features).mode()[0, 0],
            "proceed": agent._frozen_cont(features).mean[0, 0],
            "reward_value": value,
            "reward_value_of_state": value,
        })  # fmt: skip
    parameters = sum(value.numel() for name, value in agent.named_parameters() if not name.startswith("_frozen_"))
    write_answers(Path(task["answers"]), answers, {"torch": torch.__version__, "parameters": parameters})


if __name__ == "__main__":
    main()
