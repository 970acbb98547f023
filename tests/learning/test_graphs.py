"""Updates that a GPU can record: nothing in them waits for a result, and a recording does what its original does."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch._dynamo  # before the generator is replaced: its annotations ask for a class
import torch.distributed.tensor
from torch import nn

from fosp_edge.agent.agent import Agent
from fosp_edge.agent.config import METHODS, make_config
from fosp_edge.learning import learner as module
from fosp_edge.learning.batch import Batch
from fosp_edge.learning.graphs import Graphs, cloned, tensors
from fosp_edge.learning.learner import Learner, NotFiniteLossError, Stage, make_learner
from tests.agent.sizes import tiny_config
from tests.learning.batches import CPU, make_batch

CUDA = torch.device("cuda")
on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="this torch sees no NVIDIA GPU")


class Still:
    """An optimiser that keeps its peace: torch's own know no tensors without values."""

    def __init__(self, parameters: Iterable[nn.Parameter], *_: object) -> None:
        self.param_groups: list[dict[str, Any]] = [{"params": list(parameters)}]

    def zero_grad(self, set_to_none: bool) -> None: ...

    def step(self) -> None: ...


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("expanded", [False, True])
def test_an_update_asks_for_no_value_and_brings_none_from_the_host(
    method: str, expanded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tensors of the device `meta` have no values: whoever wants to look at one fails."""
    config = make_config("nano", method, batch_size=2, batch_length=4, decoded_share=0.5)
    agent, meta = Agent(config).to("meta"), torch.device("meta")
    if expanded:
        agent.expand()
    drawn = cloned(
        Batch(**{name: value.to(meta) for name, value in vars(make_batch(config)).items() if name != "latents"})
    )
    plain = torch.Generator
    monkeypatch.setattr(torch, "Generator", lambda device: plain())
    monkeypatch.setattr(module, "_adam", Still)
    learner = Learner(agent)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a tensor was made on the host")

    monkeypatch.setattr(torch, "tensor", refuse)
    for part in ("full", "heads", "behaviour"):
        readings = learner._learn_now(drawn, Stage(part, critics=True, policy=True))
        assert all(value.device == meta for value in readings.values())
        assert "check/the policy gradient's norm" in readings


def test_a_copy_of_a_batch_lies_elsewhere() -> None:
    batch = make_batch(tiny_config())
    copy = cloned(batch)
    for one, other in zip(tensors(batch), tensors(copy), strict=True):
        assert torch.equal(one, other) and one.data_ptr() != other.data_ptr()


def on_gpu(batch: Batch) -> Batch:
    return replace(batch, **{name: value.to(CUDA) for name, value in vars(batch).items() if name != "latents"})


@on_a_gpu
@pytest.mark.parametrize("method", ["fosp", "fosp-as-released", "safedreamer", "dreamerv3", "bc"])
def test_a_recorded_update_is_the_update(method: str) -> None:
    history = {}
    for recorded in (False, True):
        config = replace(make_config("nano", method), **vars(tiny_config()) | {"cuda_graphs": recorded})
        config = replace(config, **METHODS[method], model_until=6, updates=10, model_final_rate=0.1)
        learner = make_learner(config, CUDA)
        history[recorded] = [learner.update(on_gpu(make_batch(config, seed)), seed) for seed in range(12)]
        assert isinstance(learner._learn, Graphs) == recorded
        weights = [float(value.abs().sum()) for value in learner.agent.parameters()]
        history[recorded].append(dict(enumerate(weights)))  # type: ignore[arg-type]
    for plain, replayed in zip(history[False], history[True], strict=True):
        assert plain == pytest.approx(replayed, rel=1e-3, abs=1e-4)


@on_a_gpu
def test_what_is_not_a_number_is_refused_and_not_applied() -> None:
    learner = make_learner(tiny_config(), CUDA)
    for seed in range(5):
        learner.update(on_gpu(make_batch(learner.config, seed)), seed)
    before = [value.clone() for value in learner.agent.world_model.parameters()]
    batch = on_gpu(make_batch(learner.config, 5))
    batch.state[0, 0, 0] = float("nan")
    with pytest.raises(NotFiniteLossError, match="the model loss is nan"):
        learner.update(batch, 5)
    assert all(
        torch.equal(one, other) for one, other in zip(before, learner.agent.world_model.parameters(), strict=True)
    )


@on_a_gpu
def test_a_gpu_sees_what_a_processor_sees() -> None:
    config = tiny_config(cuda_graphs=False)
    ours, theirs = make_learner(config, CPU), make_learner(config, CUDA)
    theirs.agent.load_state_dict(ours.agent.state_dict())
    batch = make_batch(config)
    seen = []
    for learner, given in ((ours, batch), (theirs, on_gpu(batch))):
        encoder = learner.agent.world_model.encoder
        seen.append(encoder(given.image.flatten(0, 1), given.state.flatten(0, 1)).detach().cpu())
    # cuDNN multiplies in TF32: ten bits of mantissa.
    assert torch.allclose(*seen, atol=3e-3)
