"""dreamerv3-torch's eager policy step: `python -m benchmarks.peers.dreamerv3_torch CHECKOUT`. Needs torch.

Encoder, recurrent step and actor, as its `Dreamer._policy` does them when it does not train; no critic, no candidates.
"""

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from benchmarks.peers import serve


def main() -> None:
    checkout = Path(sys.argv[1]).resolve()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    sys.path.insert(0, str(checkout))
    for name in ("torch.utils.tensorboard", "gym"):  # for its logs and its environments, which a step has no use for
        sys.modules.setdefault(name, types.SimpleNamespace(SummaryWriter=None, spaces=None))  # type: ignore[arg-type]
    import models  # type: ignore[import-not-found]

    defaults = yaml.safe_load((checkout / "configs.yaml").read_text())["defaults"]
    size = {"dyn_stoch": 48, "dyn_discrete": 48, "num_actions": 3, "device": "cpu", "compile": False}
    config = types.SimpleNamespace(**(defaults | size))
    config.actor["lr"], config.opt_eps = float(config.actor["lr"]), float(config.opt_eps)
    for part in (config.actor, config.critic, config.reward_head, config.cont_head, vars(config)):
        part.update({key: _number(value) for key, value in part.items()})
    shape = types.SimpleNamespace(shape=(64, 64, 3))
    space = types.SimpleNamespace(spaces={"image": shape})
    world_model = models.WorldModel(space, None, 0, config)
    behaviour = models.ImagBehavior(config, world_model)
    image = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8)
    carried: list[Any] = [None, None]

    def step() -> object:
        obs = {"image": image, "is_first": np.array([carried[0] is None]), "is_terminal": np.array([False])}
        obs = world_model.preprocess(obs)
        embedding = world_model.encoder(obs)
        latent, _ = world_model.dynamics.obs_step(carried[0], carried[1], embedding, obs["is_first"])
        actor = behaviour.actor(world_model.dynamics.get_feat(latent))
        action = actor.mode()
        carried[0], carried[1] = latent, action
        return action.numpy()

    serve(step, {"what": "dreamerv3-torch, eager policy step", "torch": torch.__version__})


def _number(value: object) -> object:
    """YAML reads 3e-5 as text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


if __name__ == "__main__":
    main()
