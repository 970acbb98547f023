"""NM512/dreamerv3-torch's own updates, from a checkout of it, for `benchmarks.learner_step`. Nothing of it is here."""

import contextlib
import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from fosp_edge.agent.config import Config


def peer_updates(
    checkout: Path, config: Config, columns: dict[str, np.ndarray], arms: Sequence[str]
) -> dict[str, Callable[[], object]]:
    """`peer-model`: its world model's `_train`; `peer-full`: that, then its behaviour's, as its own loop calls them.

    Its defaults, eagerly on the CPU, with the sizes of `config`: the same categoricals, widths and pictures. It sees no
    state vector and has no cost, so it does a little less than ours.

    Raises:
        FileNotFoundError: the checkout lacks its configuration.
    """
    import yaml

    values = {
        name: _number(value)
        for name, value in yaml.safe_load((checkout / "configs.yaml").read_text())["defaults"].items()
    }
    for part in ("actor", "critic", "reward_head", "cont_head"):
        values[part] = {name: _number(value) for name, value in values[part].items()}
    values |= {
        "device": "cpu", "compile": False, "num_actions": config.action_size, "dyn_stoch": config.groups,
        "dyn_discrete": config.classes, "dyn_deter": config.deterministic, "dyn_hidden": config.hidden,
        "units": config.hidden,
    }  # fmt: skip
    values["encoder"]["cnn_depth"] = values["decoder"]["cnn_depth"] = config.conv_depth
    sys.path.insert(0, str(checkout))
    import models  # type: ignore[import-not-found]

    settings = SimpleNamespace(**values)
    space = SimpleNamespace(spaces={"image": SimpleNamespace(shape=(64, 64, config.image_channels))})
    with contextlib.redirect_stdout(io.StringIO()):
        model = models.WorldModel(space, None, 0, settings)
        behaviour = models.ImagBehavior(settings, model)
    # Its rows hold the action that led to them and the reward that came with them; noise is noise either way.
    data = {name: columns[name] for name in ("image", "action", "is_first", "is_terminal")}
    data["reward"] = columns["reward"][..., None]

    def model_update() -> object:
        return model._train(data)

    def full_update() -> object:
        start, _, _ = model._train(data)
        return behaviour._train(start, lambda features, state, action: model.heads["reward"](features).mode())

    known = {"peer-model": model_update, "peer-full": full_update}
    return {arm: known[arm] for arm in arms}


def _number(value: Any) -> Any:
    """YAML of 1.1 takes 1e-4 for a word."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return float(value)
    return value
