"""Checkpoints: one safetensors file with everything needed to go on, written so that a power cut cannot spoil it."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fosp_edge.agent.agent import Agent
from fosp_edge.agent.config import Config
from fosp_edge.learning.learner import Learner

FORMAT = "fosp-edge-checkpoint-1"
CHECKPOINT_FILE = "checkpoint.safetensors"


class CheckpointError(ValueError):
    """A checkpoint cannot be used; the message says what was expected, what was found and what to do."""


def save_checkpoint(path: Path, learner: Learner, progress: Mapping[str, Any], notes: Mapping[str, Any]) -> None:
    """Write agent, optimisers, random state and `progress` to `path` through a temporary name.

    Args:
        path: the file; an older checkpoint there is replaced only once the new one is on the disk.
        learner: what to save.
        progress: the trainer's own counters, JSON values.
        notes: provenance (command, data, commit, versions), JSON values.
    """
    tensors: dict[str, Tensor] = {f"agent/{name}": value for name, value in learner.agent.state_dict().items()}
    for name, optimiser in learner.optimisers.items():
        for index, state in optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser/{name}/{index}/{key}": value for key, value in state.items()}
    tensors["generator"] = learner.generator.get_state()
    header = {
        "format": FORMAT,
        "config": json.dumps(learner.config.to_dict()),
        "learner": json.dumps(learner.scalars()),
        "progress": json.dumps(dict(progress)),
        "notes": json.dumps(dict(notes)),
    }
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, temporary, header)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_header(path: Path) -> dict[str, Any]:
    """Configuration, progress and notes of a checkpoint, without its tensors. Raises CheckpointError."""
    return _open(path)[0]


def load_agent(path: Path, device: torch.device) -> tuple[Agent, dict[str, Any]]:
    """The agent of a checkpoint, ready to use, and the checkpoint's header. Raises CheckpointError."""
    header, tensors = _open(path)
    names = [name.removeprefix("agent/") for name in tensors]
    agent = Agent.with_parts_of(header["config"], names).to(device)
    _load_agent(agent, tensors, path)
    return agent, header


def resume(path: Path, learner: Learner) -> dict[str, Any]:
    """Put a learner back where `save_checkpoint` left it; returns the checkpoint's header. Raises CheckpointError."""
    header, tensors = _open(path)
    if header["config"] != learner.config:
        changed = [
            f"{name} ({value} in the checkpoint, {learner.config.to_dict()[name]} asked for)"
            for name, value in header["config"].to_dict().items()
            if value != learner.config.to_dict()[name]
        ]
        raise CheckpointError(
            f"{path} was trained with another configuration: {'; '.join(changed)}. "
            "Use the same options to go on, or another --run folder to begin anew."
        )
    if "generator" not in tensors:
        raise CheckpointError(f"{path} lacks the state of its random generator; use an earlier checkpoint to go on")
    _refuse_broken(tensors, path)
    _load_agent(learner.agent, tensors, path)
    for name, optimiser in learner.optimisers.items():
        states: dict[int, dict[str, Tensor]] = {}
        prefix = f"optimiser/{name}/"
        for key, value in tensors.items():
            if key.startswith(prefix):
                index, field = key.removeprefix(prefix).split("/")
                states.setdefault(int(index), {})[field] = value
        optimiser.load_state_dict({"state": states, "param_groups": optimiser.state_dict()["param_groups"]})
    learner.generator.set_state(tensors["generator"].cpu())
    learner.restore_scalars(header["learner"])
    return header


def _load_agent(agent: Agent, tensors: Mapping[str, Tensor], path: Path) -> None:
    state = {name.removeprefix("agent/"): value for name, value in tensors.items() if name.startswith("agent/")}
    load_weights(agent, state, path)


def load_weights(agent: Agent, state: Mapping[str, Tensor], path: Path) -> None:
    """Give an agent weights read from `path`. Raises CheckpointError, and leaves it as it was, if they do not fit or
    are not all numbers."""
    own = agent.state_dict()
    wrong = [
        f"{name}: expected {tuple(own[name].shape) if name in own else 'nothing'}, "
        f"found {tuple(state[name].shape) if name in state else 'nothing'}"
        for name in sorted(own.keys() | state.keys())
        if name not in own or name not in state or own[name].shape != state[name].shape
    ]
    if wrong:
        raise CheckpointError(f"{path} does not fit its own configuration: {'; '.join(wrong[:5])}")
    _refuse_broken(state, path)
    agent.load_state_dict(state)


def _open(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if path.is_dir():
        path = path / CHECKPOINT_FILE
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}; give the file or the run folder that `fosp-edge train` wrote")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise CheckpointError(f"{path} is not a {FORMAT} file, found {metadata.get('format')!r}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except SafetensorError as error:
        raise CheckpointError(f"{path} is not a whole safetensors file ({error}); use an earlier checkpoint") from error
    header: dict[str, Any] = {}
    for name in ("config", "learner", "progress", "notes"):
        try:
            header[name] = json.loads(metadata.get(name, ""))
        except json.JSONDecodeError as error:
            raise CheckpointError(
                f"{path} has no readable {name!r} in its header; use an earlier checkpoint"
            ) from error
        if not isinstance(header[name], dict):
            raise CheckpointError(f"{path}: expected an object as {name!r} in its header; use an earlier checkpoint")
    try:
        header["config"] = Config.from_dict(header["config"])
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return header, tensors


def _refuse_broken(tensors: Mapping[str, Tensor], path: Path) -> None:
    if broken := [name for name, value in tensors.items() if value.is_floating_point() and not value.isfinite().all()]:
        raise CheckpointError(f"{path} holds values that are not finite numbers, in {broken[0]}; use an earlier one")
