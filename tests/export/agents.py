"""A tiny agent with every weight off its starting value, and an episode made up for it."""

import contextlib
import functools

import numpy as np
import torch

from fosp_edge.agent.agent import Agent
from fosp_edge.experience.schema import Steps
from tests.agent.sizes import tiny_config

with contextlib.suppress(ImportError, AttributeError):
    # torch makes its table of ONNX operators anew for each export, which takes as long as exporting a graph this small.
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    _table = functools.cache(ONNXRegistry.from_torchlib.__func__)  # type: ignore[attr-defined]
    ONNXRegistry.from_torchlib = classmethod(lambda cls, *given, **named: _table(cls, *given, **named))  # type: ignore


def make_agent(seed: int = 0, **changes: object) -> Agent:
    torch.manual_seed(seed)
    agent = Agent(tiny_config(**changes))
    with torch.no_grad():  # heads that start at zero would agree about anything
        for name, parameter in agent.named_parameters():
            if (
                name.endswith("weight")
                and parameter.ndim == 2
                and parameter.numel()
                and float(parameter.abs().max()) == 0.0
            ):
                parameter.normal_(0.0, 0.3)
        agent.world_model.rssm.initial_deterministic.normal_()
        for slow, fast in zip(agent.slow_critics.parameters(), agent.critics.parameters(), strict=True):
            slow.copy_(fast)
    agent.world_model.encoder.set_statistics(torch.tensor(0.3), torch.tensor(0.7))
    return agent


def make_episode(seed: int, rows: int = 12, onset: int | None = None) -> Steps:
    random = np.random.default_rng(seed)
    action = random.uniform(-1, 1, (rows, 3)).astype(np.float32)
    action[-1] = 0.0
    violation = np.zeros(rows, np.float32)
    if onset is not None:
        violation[onset:] = 1.0
    return {
        "image": random.integers(0, 256, (rows, 64, 64, 6)).astype(np.uint8),
        "state": random.normal(size=(rows, 9)).astype(np.float32),
        "action": action,
        "nominal": action.copy(),
        "reward": random.normal(size=rows).astype(np.float32),
        "cost": np.append(violation[1:], 0.0).astype(np.float32),
        "violation": violation,
        "is_first": np.arange(rows) == 0,
        "is_terminal": np.zeros(rows, np.bool_),
        "reason": np.zeros(rows, np.uint8),
        "time_ns": np.arange(rows, dtype=np.int64) * 50_000_000,
    }
