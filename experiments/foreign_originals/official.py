"""FOSP and SafeDreamer, official JAX code: make an agent with random weights, save it their way, follow an episode.

Run by experiments/foreign_parity.py in an interpreter with jax; arguments are one JSON object:
{"checkout", "package", "presets", "changes", "episode", "checkpoint", "answers", "vector", "seed"}.
"""

import importlib
import json
import os
import sys
import types
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from experiments.foreign_originals.episode import previous_actions, read_episode, write_answers


def import_package(folder: Path, package: str) -> types.ModuleType:
    """Their package without its __init__, which starts a training script, and without their environments."""
    sys.path.insert(0, str(folder))
    for name in ("embodied.envs", "embodied.run"):
        sys.modules[name] = types.ModuleType(name)
    module = types.ModuleType(package)
    module.__path__ = [str(folder)]
    sys.modules[package] = module
    return importlib.import_module(f"{package}.agent")


def main() -> None:
    task = json.loads(sys.argv[1])
    folder, package = Path(task["checkout"]) / task["package"], task["package"]
    agents = import_package(folder, package)
    import embodied
    import jax
    import jax.numpy as jnp

    nj = importlib.import_module(f"{package}.ninjax")
    episode = read_episode(Path(task["episode"]))
    cameras = episode["image"].shape[-1] // 3
    obs_space = {"image" if i == 0 else f"image{i + 1}": embodied.Space(np.uint8, (64, 64, 3)) for i in range(cameras)}
    if task["vector"]:
        obs_space["observation"] = embodied.Space(np.float32, episode["state"].shape[1:])
    for name in ("reward", "cost"):
        obs_space[name] = embodied.Space(np.float32)
    for name in ("is_first", "is_last", "is_terminal"):
        obs_space[name] = embodied.Space(bool)
    act_space = {"action": embodied.Space(np.float32, episode["action"].shape[1:], -1.0, 1.0)}
    act_space["reset"] = embodied.Space(bool)
    config = embodied.Config(agents.Agent.configs["defaults"])
    for name in task["presets"]:
        config = config.update(agents.Agent.configs[name])
    config = config.update({"jax.platform": "cpu", "jax.precision": "float32", "seed": task["seed"]} | task["changes"])
    agent = agents.Agent(obs_space, act_space, embodied.Counter(), config)

    # Heads that start at zero would agree about anything, and so would norms that start at one.
    random = np.random.default_rng(task["seed"])
    for key, value in agent.varibs.items():
        if getattr(value, "ndim", 0) and value.dtype == np.float32:
            scale = 0.05 if value.ndim > 1 else 0.2
            with jax.transfer_guard("allow"):
                agent.varibs[key] = value + jnp.asarray(random.normal(0, scale, value.shape).astype(np.float32))
    checkpoint = embodied.Checkpoint(task["checkpoint"], parallel=False)
    checkpoint.step, checkpoint.agent = embodied.Counter(), agent
    checkpoint.save()

    inner = agent.agent
    behaviour = inner.task_behavior.ac

    def follow(latent, action, observation):
        observation = inner.preprocess(observation)
        latent, prior = inner.wm.rssm.obs_step(latent, action, inner.wm.encoder(observation), observation["is_first"])
        policy = behaviour.actor(latent)
        base = getattr(policy, "distribution", policy)
        answers = {
            "deterministic": latent["deter"],
            "stochastic": latent["stoch"],
            "posterior": latent["logit"],
            "prior": prior["logit"],
            "mean": base.mean(),
            "deviation": base.stddev(),
            **{name: inner.wm.heads[name](latent).mean() for name in ("reward", "cost") if name in inner.wm.heads},
            "proceed": jax.nn.sigmoid(inner.wm.heads["cont"](latent).distribution.logits),
        }
        judged = {**latent, "action": base.mean()}
        for name, critics in (
            ("reward_value", "critics"),
            ("cost_value", "cost_critics"),
            ("reach_value", "p_critics"),
        ):
            for critic in getattr(behaviour, critics, {}).values():
                answers[name] = critic.net(judged).mean()
                if hasattr(critic, "vnet"):
                    answers[f"{name}_of_state"] = critic.vnet(latent).mean()
        return latent, answers

    with jax.transfer_guard("allow"):
        step = jax.jit(nj.pure(follow))
        start, _ = nj.pure(lambda: inner.wm.rssm.initial(1))(agent.varibs, jax.random.PRNGKey(0))
        latent, answers = start, []
        for row, action in enumerate(previous_actions(episode["action"])):
            observation = {
                key: episode["image"][row : row + 1, ..., 3 * i : 3 * i + 3]
                for i, key in enumerate(key for key in obs_space if key.startswith("image"))
            }
            if task["vector"]:
                observation["observation"] = episode["state"][row : row + 1]
            zeros = np.zeros(1, np.float32)
            observation |= {"reward": zeros, "cost": zeros, "is_terminal": zeros, "is_last": zeros}
            observation["is_first"] = np.array([row == 0])
            (latent, answer), _ = step(agent.varibs, jax.random.PRNGKey(row), latent, action[None], observation)
            answers.append({key: np.asarray(value)[0] for key, value in answer.items()})
    about = {
        "jax": jax.__version__,
        "parameters": int(sum(np.size(v) for k, v in agent.varibs.items() if "opt" not in k)),
    }
    write_answers(Path(task["answers"]), answers, about)


if __name__ == "__main__":
    main()
