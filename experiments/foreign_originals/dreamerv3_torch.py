"""NM512/dreamerv3-torch, original code: make an agent with random weights, save it their way, follow an episode.

Run by experiments/foreign_parity.py in an interpreter with torch and PyYAML; arguments are one JSON
object: {"checkout", "changes", "episode", "checkpoint", "answers", "vector", "seed"}.
"""

import importlib
import json
import sys
import types
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch
import yaml

sys.path.insert(0, str(Path(__file__).parents[2]))
from experiments.foreign_originals.episode import previous_actions, read_episode, write_answers
from experiments.foreign_originals.torch_weights import unsettle


def import_dreamer(checkout: Path) -> types.ModuleType:
    """Their main module, without their environments, simulators and logs."""
    sys.path.insert(0, str(checkout))
    for name in ("envs", "envs.wrappers", "parallel", "torch.utils.tensorboard", "ruamel", "ruamel.yaml"):
        sys.modules[name] = MagicMock()
    dreamer = importlib.import_module("dreamer")

    # The encoder's MLP is not told the device and takes "cuda".
    initialise = dreamer.models.networks.MLP.__init__
    initialise.__defaults__ = tuple("cpu" if value == "cuda" else value for value in initialise.__defaults__)
    return dreamer


def configuration(checkout: Path, changes: dict[str, Any], vector: bool, actions: int) -> types.SimpleNamespace:
    """Their defaults, changed. YAML 1.1 reads `1e4` as text: such values become numbers as theirs do."""
    found: dict[str, Any] = yaml.safe_load((checkout / "configs.yaml").read_text())["defaults"]
    for part in (found, *(value for value in found.values() if isinstance(value, dict))):
        for name, value in part.items():
            if isinstance(value, str) and value[:1].isdigit() and "e" in value:
                part[name] = float(value)
    changes = dict(changes)
    for ours, theirs in (("depth", "cnn_depth"), ("mlp_units", "mlp_units")):
        if ours in changes:
            found["encoder"][theirs] = found["decoder"][theirs] = changes.pop(ours)
    if vector:
        found["encoder"]["mlp_keys"] = found["decoder"]["mlp_keys"] = "observation"
    found |= {"device": "cpu", "compile": False, "num_actions": actions, **changes}
    return types.SimpleNamespace(**found)


def spaces(episode: dict[str, np.ndarray]) -> types.SimpleNamespace:
    """An observation space as far as their networks look at it."""
    shapes = {"image": episode["image"].shape[1:], "observation": episode["state"].shape[1:]}
    return types.SimpleNamespace(spaces={key: types.SimpleNamespace(shape=shape) for key, shape in shapes.items()})


@torch.no_grad()
def main() -> None:
    task = json.loads(sys.argv[1])
    checkout, episode = Path(task["checkout"]), read_episode(Path(task["episode"]))
    torch.manual_seed(task["seed"])
    torch.set_num_threads(1)
    dreamer = import_dreamer(checkout)
    config = configuration(checkout, task["changes"], task["vector"], episode["action"].shape[1])
    logger = types.SimpleNamespace(step=0)
    agent = dreamer.Dreamer(spaces(episode), None, config, logger, None).requires_grad_(False)
    unsettle(agent)
    optimisers = dreamer.tools.recursively_collect_optim_state_dict(agent)
    torch.save({"agent_state_dict": agent.state_dict(), "optims_state_dict": optimisers}, task["checkpoint"])

    model, behaviour, latent, answers = agent._wm, agent._task_behavior, None, []
    rssm = model.dynamics
    for row, action in enumerate(previous_actions(episode["action"])):
        observation = model.preprocess({
            "image": episode["image"][row : row + 1],
            "observation": episode["state"][row : row + 1],
            "is_first": np.array([row == 0]),
            "is_terminal": np.array([False]),
        })  # fmt: skip
        embedding = model.encoder(observation)
        action_before = torch.from_numpy(action)[None]
        latent, prior = rssm.obs_step(latent, action_before, embedding, observation["is_first"])
        features = rssm.get_feat(latent)
        policy = behaviour.actor(features)
        answers.append({
            "deterministic": latent["deter"][0],
            "stochastic": latent["stoch"][0],
            "posterior": rssm.get_dist(latent).base_dist.logits[0],
            "prior": rssm.get_dist(prior).base_dist.logits[0],
            "mean": policy.base_dist.loc[0],
            "deviation": policy.base_dist.scale[0],
            "reward": model.heads["reward"](features).mean()[0, 0],
            "proceed": model.heads["cont"](features).mean[0, 0],
            "reward_value": behaviour.value(features).mean()[0, 0],
            "reward_value_of_state": behaviour.value(features).mean()[0, 0],
        })  # fmt: skip
    about = {"torch": torch.__version__, "parameters": sum(value.numel() for value in agent.parameters())}
    write_answers(Path(task["answers"]), answers, about)


if __name__ == "__main__":
    main()
