"""danijar/dreamerv3 as of 2024, original code: an agent with random weights, saved their way, follows an episode.

Run by experiments/foreign_parity.py in an interpreter with jax, ninjax, elements, einops, optax, chex and ruamel.yaml;
arguments are one JSON object: {"checkout", "size", "episode", "checkpoint", "answers", "vector", "seed"}.

Their networks, heads and RSSM are used as they are, in float32, called in the order of `Agent.policy`. What wraps them
for accelerators (`embodied.jax.Agent`: meshes, locks, compiled train step) is not.
"""

import importlib
import json
import re
import sys
import types
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from experiments.foreign_originals.episode import near_zero, previous_actions, read_episode, write_answers


def import_original(checkout: Path) -> tuple[Any, Any, Any]:
    """Their networks, heads and RSSM, without what trains and collects."""
    sys.path.insert(0, str(checkout))
    for name in ("portal", "granular", "scope"):
        sys.modules.setdefault(name, MagicMock())
    package = types.ModuleType("embodied")
    package.__path__ = [str(checkout / "embodied")]
    sys.modules["embodied"] = package
    inner = types.ModuleType("embodied.jax")
    inner.__path__ = [str(checkout / "embodied" / "jax")]
    sys.modules["embodied.jax"] = package.jax = inner  # type: ignore[attr-defined]
    nets, outs = importlib.import_module("embodied.jax.nets"), importlib.import_module("embodied.jax.outs")
    heads = importlib.import_module("embodied.jax.heads")
    inner.nets, inner.outs, inner.MLPHead = nets, outs, heads.MLPHead  # type: ignore[attr-defined]
    outer = types.ModuleType("dreamerv3")
    outer.__path__ = [str(checkout / "dreamerv3")]
    sys.modules["dreamerv3"] = outer
    return nets, heads, importlib.import_module("dreamerv3.rssm")


def configuration(checkout: Path, size: str) -> dict[str, Any]:
    """The agent's section of their defaults, with a size applied as `elements.Flags` would."""
    from ruamel.yaml import YAML

    found = YAML(typ="safe").load((checkout / "dreamerv3" / "configs.yaml").read_text())
    agent: dict[str, Any] = found["defaults"]["agent"]

    def apply(node: dict[str, Any], path: str) -> None:
        for key, value in node.items():
            name = f"{path}.{key}" if path else key
            for pattern, change in found[size].items():
                if isinstance(change, dict) and isinstance(value, dict) and re.fullmatch(pattern, f"agent.{name}"):
                    value.update({inner: change[inner] for inner in change if inner in value})
                elif not isinstance(change, dict) and re.fullmatch(pattern, f"agent.{name}"):
                    node[key] = change
            if isinstance(node[key], list):
                node[key] = tuple(node[key])
            elif isinstance(node[key], dict):
                apply(node[key], name)

    apply(agent, "")
    return agent


def main() -> None:
    task = json.loads(sys.argv[1])
    checkout, episode = Path(task["checkout"]), read_episode(Path(task["episode"]))
    nets, heads, rssm = import_original(checkout)
    import elements
    import jax
    import jax.numpy as jnp
    import ninjax as nj

    nets.COMPUTE_DTYPE = jnp.float32
    jax.config.update("jax_default_matmul_precision", "highest")
    config = configuration(checkout, task["size"])
    spaces = {"image": elements.Space(np.uint8, episode["image"].shape[1:])}
    if task["vector"]:
        spaces["observation"] = elements.Space(np.float32, episode["state"].shape[1:])
    actions = {"action": elements.Space(np.float32, episode["action"].shape[1:], -1.0, 1.0)}
    scalar, binary = elements.Space(np.float32, ()), elements.Space(bool, (), 0, 2)
    encoder = rssm.Encoder(spaces, **config["enc"]["simple"], name="enc")
    dynamics = rssm.RSSM(actions, **config["dyn"]["rssm"], name="dyn")
    reward = heads.MLPHead(scalar, **config["rewhead"], name="rew")
    proceed = heads.MLPHead(binary, **config["conhead"], name="con")
    policy = heads.MLPHead(actions, {"action": config["policy_dist_cont"]}, **config["policy"], name="pol")
    value = heads.MLPHead(scalar, **config["value"], name="val")
    slow = heads.MLPHead(scalar, **config["value"], name="slowval")

    def follow(carry: Any, action: Any, observation: Any) -> Any:
        reset = observation["is_first"]
        _, _, tokens = encoder({}, observation, reset, training=False, single=True)
        carry, _, feat = dynamics.observe(carry, tokens, {"action": action}, reset, training=False, single=True)
        features = jnp.concatenate([feat["deter"], feat["stoch"].reshape((1, -1))], -1)
        chosen, worth = policy(features, bdims=1)["action"].output, value(features, bdims=1).pred()
        slow(features, bdims=1)  # so that its numbers are in the checkpoint, as they are in theirs
        return carry, {
            "deterministic": feat["deter"],
            "stochastic": feat["stoch"],
            "posterior": dynamics._dist(feat["logit"]).output.dist.logits,
            "prior": dynamics._dist(dynamics._prior(feat["deter"])).output.dist.logits,
            "mean": chosen.mean,
            "deviation": chosen.stddev,
            "reward": reward(features, bdims=1).pred(),
            "proceed": proceed(features, bdims=1).prob(1),
            "reward_value": worth,
            "reward_value_of_state": worth,
        }

    def look(row: int) -> dict[str, Any]:
        seen = {"image": episode["image"][row : row + 1], "is_first": np.array([row == 0])}
        return seen | ({"observation": episode["state"][row : row + 1]} if task["vector"] else {})

    pure, carry = nj.pure(follow), dynamics.initial(1)
    before = previous_actions(episode["action"])
    params = nj.init(follow)({}, carry, before[:1], look(0), seed=task["seed"])
    random = np.random.default_rng(task["seed"])
    # Heads that start at zero would agree about anything, and so would norms that start at one.
    params = {
        name: np.asarray(found + random.normal(0.0, 0.05 if found.ndim > 1 else 0.2, found.shape), np.float32)
        for name, found in sorted(params.items())
    }
    for name in ("rew/head/logits/bias", "val/head/logits/bias"):
        params[name] = params[name] - near_zero(len(params[name]))

    # What `Agent.save` hands over, written as `elements.Checkpoint` writes it.
    saved = {"params": params, "counters": {"updates": 3, "batches": 3, "actions": 9}}
    folder = Path(task["checkpoint"]).with_name("ckpt")
    elements.checkpoint.save(str(folder), {"agent": lambda: saved})
    (folder / "agent.pkl").rename(task["checkpoint"])

    step, answers = jax.jit(lambda *arguments, seed: pure(params, *arguments, seed=seed)[1]), []
    for row, action in enumerate(before):
        carry, answer = step(carry, action[None], look(row), seed=jax.random.PRNGKey(row))
        answers.append({key: np.asarray(found)[0] for key, found in answer.items()})
    about = {"jax": jax.__version__, "parameters": int(sum(np.size(found) for found in params.values()))}
    write_answers(Path(task["answers"]), answers, about)


if __name__ == "__main__":
    main()
