"""How weights are kept in a bundle: rounded once, and from then on exact wherever they are written.

A bundle holds the weights twice, laid out for learning and laid out for the robot. Both must be the same agent, so
the agent is rounded first (`rounded`), and what is then written, here and in the graph, is exactly that agent:

- `float32`: as trained.
- `float16`: matrices in half precision; a relative error of at most 0.05 % per weight.
- `int8`: matrices in MXINT8 (OCP Microscaling Formats 1.0, 2023): blocks of 32 integers that share a power of two.
  One byte and a thirty-second per weight. Powers of two have a property that this module lives on: whatever part of a
  matrix is cut out, transposed or joined with others is again exactly representable, and so is its half precision.

Vectors (norms, biases, statistics) stay in float32: they are few and everything passes through them.
"""

import copy
from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from fosp_edge.agent.agent import Agent
from fosp_edge.bundle.manifest import BundleError

Storage = Literal["float32", "float16", "int8"]
STORAGES: tuple[Storage, ...] = get_args(Storage)
BLOCK = 32
"""Weights that share a scale."""
SMALLEST = 1024
"""Tensors with fewer numbers than this stay in float32."""
LARGEST_INTEGER = 127
LARGEST_WEIGHT = 127.0 * 2.0**9
_FLOAT16_EXPONENTS = (-24, 9)
"""Scales 2^e for which 127 times the scale is a float16, as is every integer below: 2^-24 is its smallest number."""
_SCALE = ".scale_exponents"


def is_matrix(shape: tuple[int, ...]) -> bool:
    """Whether a tensor of this shape is stored in fewer bits."""
    return len(shape) >= 2 and int(np.prod(shape)) >= SMALLEST


def to_blocks(values: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int8]]:
    """Round to MXINT8 along the last axis.

    Args:
        values: [rows, n], finite; the last block of a row may be a part of one.

    Returns:
        Integers [rows, n] and the exponent of each block's scale, [rows, ceil(n / 32)].
    """
    blocks = _in_blocks(values.astype(np.float64))
    largest = np.abs(blocks).max(-1)
    # The smallest power of two whose 127-fold reaches the block's largest number.
    with np.errstate(divide="ignore"):
        exponents = np.where(largest > 0.0, np.ceil(np.log2(largest / LARGEST_INTEGER)), _FLOAT16_EXPONENTS[0])
    exponents = np.clip(exponents, *_FLOAT16_EXPONENTS)
    integers = np.clip(np.rint(blocks / np.exp2(exponents)[..., None]), -LARGEST_INTEGER, LARGEST_INTEGER)
    return integers.astype(np.int8).reshape(len(values), -1)[:, : values.shape[1]], exponents.astype(np.int8)


def from_blocks(integers: npt.NDArray[np.int8], exponents: npt.NDArray[np.int8]) -> npt.NDArray[np.float32]:
    """What `to_blocks` stands for, exactly."""
    blocks = _in_blocks(integers.astype(np.float32))
    scaled = blocks * np.exp2(exponents.astype(np.float32))[..., None]
    result: npt.NDArray[np.float32] = scaled.reshape(len(integers), -1)[:, : integers.shape[1]]
    return np.ascontiguousarray(result)


def _in_blocks(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """[rows, n] -> [rows, ceil(n / 32), 32], filled up with zeros."""
    padded = np.pad(values, [(0, 0), (0, -values.shape[1] % BLOCK)])
    return padded.reshape(len(values), -1, BLOCK)


def _round(value: Tensor, storage: Storage) -> Tensor:
    if storage == "float32" or not value.is_floating_point() or not is_matrix(tuple(value.shape)):
        return value
    if storage == "float16":
        return value.half().float()
    flat = value.detach().numpy().reshape(value.shape[0], -1)
    return torch.from_numpy(from_blocks(*to_blocks(flat))).reshape(value.shape)


def rounded(agent: Agent, storage: Storage) -> Agent:
    """A copy of the agent with the weights that a bundle of this storage can hold.

    Raises:
        BundleError: a weight is not a finite number, or too large for half precision.
    """
    state = {name: value.detach().cpu() for name, value in agent.state_dict().items()}
    if broken := [name for name, value in state.items() if value.is_floating_point() and not value.isfinite().all()]:
        raise BundleError(
            f"the agent's weights are not all finite numbers, first in {broken[0]}; export an earlier checkpoint"
        )
    if storage != "float32":
        for name, value in state.items():
            if is_matrix(tuple(value.shape)) and float(value.abs().max()) > LARGEST_WEIGHT:
                raise BundleError(
                    f"{name} has a weight beyond {LARGEST_WEIGHT:g}, which {storage} cannot hold and no healthy agent "
                    "has; look at how it was trained, or export with --storage float32"
                )
    result = copy.deepcopy(agent).cpu().eval()
    result.load_state_dict({name: _round(value, storage) for name, value in state.items()})
    return result


def pack(state: Mapping[str, Tensor], storage: Storage) -> bytes:
    """The state of a `rounded` agent as safetensors in the given storage, without loss."""
    tensors: dict[str, Tensor] = {}
    for name, value in state.items():
        value = value.detach().cpu().contiguous()
        if storage == "float32" or not value.is_floating_point() or not is_matrix(tuple(value.shape)):
            tensors[name] = value
            continue
        if storage == "int8":
            integers, exponents = to_blocks(value.numpy().reshape(value.shape[0], -1))
            tensors[name] = torch.from_numpy(np.ascontiguousarray(integers)).reshape(value.shape)
            tensors[name + _SCALE] = torch.from_numpy(exponents)
        else:
            tensors[name] = value.half()
    # One entry: safetensors writes several in an order of chance, and the same weights must be the same bytes, by which
    # the robot knows again what it refused. How they are stored is in the manifest.
    data: bytes = save(tensors, {"format": "pt"})
    return data


def unpack(data: bytes) -> dict[str, Tensor]:
    """What `pack` wrote, in float32.

    Raises:
        BundleError: truncated, or scales that do not belong to their integers.
    """
    try:
        tensors = load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise BundleError(f"the weights are not a whole safetensors file ({error}); get the bundle again") from error
    result: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if name.endswith(_SCALE):
            continue
        if value.dtype == torch.int8:
            exponents = tensors.get(name + _SCALE)
            flat = value.numpy().reshape(value.shape[0], -1)
            if exponents is None or tuple(exponents.shape) != (len(flat), -(-flat.shape[1] // BLOCK)):
                raise BundleError(f"the weights of {name} lack the scales of their blocks; get the bundle again")
            result[name] = torch.from_numpy(from_blocks(flat, exponents.numpy())).reshape(value.shape)
        else:
            result[name] = value.float() if value.is_floating_point() else value
    return result
