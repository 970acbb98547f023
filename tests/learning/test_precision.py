"""Lower precision points the same way: every gradient, and none is lost between what is asked with and without one."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from fosp_edge.agent.config import Config
from fosp_edge.learning.learner import Learner, make_learner
from fosp_edge.learning.precision import fast_bfloat16
from tests.agent.sizes import tiny_config
from tests.learning.batches import CPU, make_batch

Gradients = dict[str, torch.Tensor]


def gradients_of(config: Config, warm: Learner) -> Gradients:
    """The gradients of one whole update from the same weights, by name."""
    learner = Learner(type(warm.agent)(config))
    learner.agent.load_state_dict(warm.agent.state_dict())
    learner.generator.manual_seed(3)
    learner.update(make_batch(config, seed=1), 0)
    return {
        name: parameter.grad
        for name, parameter in learner.agent.named_parameters()
        if parameter.requires_grad and parameter.grad is not None
    }


@pytest.mark.parametrize("method", [{}, {"in_sample": False, "actor": "imagined_return"}], ids=["fosp", "imagined"])
def test_bfloat16_gives_the_gradients_of_float32_but_for_its_rounding(method: dict[str, object]) -> None:
    config = tiny_config(free_nats=0.0, unimix=0.3, **method)
    warm = make_learner(config, CPU)
    for number in range(3):  # heads start at zero, where gradients are zero too
        warm.update(make_batch(config, seed=number), 0)
    exact = gradients_of(config, warm)
    rounded = gradients_of(replace(config, precision="bfloat16"), warm)
    assert exact.keys() == rounded.keys()
    for part in ("world_model.decoder", "world_model.reward", "world_model.cost", "critics.reach", "critics.reward"):
        one = torch.cat([gradient.flatten() for name, gradient in exact.items() if name.startswith(part)])
        other = torch.cat([gradient.flatten() for name, gradient in rounded.items() if name.startswith(part)])
        assert float(torch.cosine_similarity(one, other, 0)) > 0.9, part
        assert float(other.norm() / one.norm()) == pytest.approx(1.0, abs=0.2), part
    # A draw that rounding decides otherwise changes what lies behind it; a gradient that got lost would be zero.
    assert all(
        bool(gradient.abs().sum() > 0) == bool(exact[name].abs().sum() > 0) for name, gradient in rounded.items()
    )


def test_weights_and_moments_stay_float32() -> None:
    config = tiny_config(precision="bfloat16")
    learner = make_learner(config, CPU)
    learner.update(make_batch(config), 0)
    assert {parameter.dtype for parameter in learner.agent.parameters()} == {torch.float32}
    moments = learner.optimisers["model"].state.values()
    assert {moment["exp_avg"].dtype for moment in moments} == {torch.float32}


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown precision 'float8'; choose one of: float32, bfloat16"):
        tiny_config(precision="float8")


_FAULTS = """
import resource, sys, numpy
from fosp_edge.learning.precision import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    numpy.ones(1 << 26, numpy.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults(); faults()
print(faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_freed_memory_is_used_again_without_asking_the_kernel() -> None:
    def run(choice: str) -> int:
        command = [sys.executable, "-c", _FAULTS, choice]
        return int(subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout)

    pages = (1 << 26) // 4096
    assert run("leave") > pages // 600  # huge pages are 512 small ones
    assert run("keep") < pages // 600


def test_a_device_says_whether_bfloat16_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)
    assert not fast_bfloat16(CPU)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    assert fast_bfloat16(CPU)
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported")  # an older torch cannot say
    assert not fast_bfloat16(CPU)
