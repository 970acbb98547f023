"""NM512/r2dreamer's update, from a checkout of it, for `benchmarks.learner_step` on a GPU.

Its own architecture (block-diagonal recurrence of DreamerV3 as of 2024), at our widths and with the convolutions of its
smallest size; compiled, recorded as CUDA graphs and in float16, as its users run it. It needs omegaconf and tensordict.
"""

import contextlib
import io
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


class OneBatch:
    """Stands for its replay buffer: always the same batch, and nothing to write back."""

    def __init__(self, data: Any, initial: tuple[torch.Tensor, torch.Tensor]) -> None:
        self._data, self._initial = data, initial

    def sample(self) -> tuple[Any, None, tuple[torch.Tensor, torch.Tensor]]:
        return self._data.clone(), None, self._initial

    def update(self, *_: object) -> None: ...


def updates(
    checkout: Path, columns: dict[str, Any], arms: list[str], width: int, groups: int, classes: int, deterministic: int
) -> dict[str, Callable[[], object]]:
    """`r2dreamer`: its whole update without a decoder, its default; `r2dreamer-decoder`: with one, as DreamerV3;
    `r2dreamer-eager`: its default without its compiling."""
    sys.path.insert(0, str(checkout))
    from dreamer import Dreamer  # type: ignore[import-not-found]
    from omegaconf import OmegaConf  # type: ignore[import-not-found]
    from tensordict import TensorDict  # type: ignore[import-not-found]

    shape = columns["reward"].shape
    own = {
        "image": columns["image"], "action": columns["action"], "reward": columns["reward"][..., None],
        "is_first": columns["is_first"], "is_last": columns["is_terminal"][..., None],
        "is_terminal": columns["is_terminal"][..., None],
    }  # fmt: skip
    data = TensorDict({name: torch.from_numpy(value) for name, value in own.items()}, batch_size=shape).to("cuda")
    space = types.SimpleNamespace
    found: dict[str, Callable[[], object]] = {}
    for arm in arms:
        base = OmegaConf.load(checkout / "configs/model/_base_.yaml")
        widths = {"deter": deterministic, "hidden": width, "units": width, "discrete": classes, "depth": 16,
                  "act": "SiLU", "norm": True, "compile": not arm.endswith("eager")}  # fmt: skip
        loss = "dreamer" if arm.endswith("decoder") else "r2dreamer"
        environment = OmegaConf.load(checkout / "configs/env/dmc_vision.yaml")
        whole = OmegaConf.create({"device": "cuda", "seed": 0, "env": environment,
                                  "model": OmegaConf.merge(base, widths, {"rep_loss": loss})})  # fmt: skip
        whole.model.rssm.stoch = groups
        with contextlib.redirect_stdout(io.StringIO()):
            agent = Dreamer(
                whole.model,
                space(spaces={"image": space(shape=columns["image"].shape[2:])}),
                space(shape=columns["action"].shape[2:]),
            ).to("cuda")
        initial = tuple(value.clone() for value in agent.rssm.initial(shape[0]))
        buffer = OneBatch(data, initial)  # type: ignore[arg-type]
        found[arm] = lambda agent=agent, buffer=buffer: agent.update(buffer)
    return found
