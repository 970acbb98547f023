"""dreamerv3-torch, from a checkout of it: its eager policy step, and its updates for `benchmarks.learner_step`.

    python -m benchmarks.peers.dreamerv3_torch CHECKOUT

The step is encoder, recurrent step and actor, as its `Dreamer._policy` does them when it does not train; no critic, no
candidates. The updates are its `_train`, of the world model and of the behaviour, as its own loop calls them.
"""

import contextlib
import io
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from benchmarks.peers import serve


def load(checkout: Path, channels: int, device: str = "cpu", **size: Any) -> tuple[Any, Any]:
    """Its world model and behaviour with its defaults, eager, for pictures of so many channels."""
    sys.path.insert(0, str(checkout))
    for name in ("torch.utils.tensorboard", "gym"):  # for its logs and its environments, which a step has no use for
        sys.modules.setdefault(name, types.SimpleNamespace(SummaryWriter=None, spaces=None))  # type: ignore[arg-type]
    import models  # type: ignore[import-not-found]

    defaults = yaml.safe_load((checkout / "configs.yaml").read_text())["defaults"]
    fixed = {"dyn_stoch": 48, "dyn_discrete": 48, "num_actions": 3, "device": device, "compile": False}
    config = types.SimpleNamespace(**(defaults | fixed | size))
    for part in (config.actor, config.critic, config.reward_head, config.cont_head, vars(config)):
        part.update({key: _number(value) for key, value in part.items()})
    space = types.SimpleNamespace(spaces={"image": types.SimpleNamespace(shape=(64, 64, channels))})
    with contextlib.redirect_stdout(io.StringIO()):  # it tells how many variables it has
        world_model = models.WorldModel(space, None, 0, config)
        return world_model.to(device), models.ImagBehavior(config, world_model).to(device)


def updates(
    checkout: Path, columns: dict[str, Any], arms: Sequence[str], device: str = "cpu", **size: Any
) -> dict[str, Callable[[], object]]:
    """`peer-model`: the world model's update; `peer-full`: that, then the behaviour's, on `columns` [B, T, ...].

    It sees no state vector and has no cost, so it does a little less than ours.
    """
    channels, actions = columns["image"].shape[-1], columns["action"].shape[-1]
    model, behaviour = load(checkout, channels, device, num_actions=actions, **size)
    data = {name: columns[name] for name in ("image", "action", "is_first", "is_terminal")}
    data["reward"] = columns["reward"][..., None]

    def model_update() -> object:
        return model._train(data)

    def full_update() -> object:
        start, _, _ = model._train(data)
        return behaviour._train(
            start, lambda _, state, __: model.heads["reward"](model.dynamics.get_feat(state)).mode()
        )

    known = {"peer-model": model_update, "peer-full": full_update}
    return {arm: known[arm] for arm in arms}


def main() -> None:
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    world_model, behaviour = load(Path(sys.argv[1]).resolve(), 3)
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
