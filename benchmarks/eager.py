"""The same step in eager PyTorch, for `benchmarks.control_tick --eager benchmarks.eager:eager_step`."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from export.reference import Inputs, ReferencePolicy
from export.restore import agent_of_bundle
from fosp_edge.bundle.folder import load_bundle
from fosp_edge.control.types import Float32Array, Observation


def eager_step(path: Path) -> Callable[[Observation, Float32Array], object]:
    """A callable that follows one observation with the agent's own modules, on one thread."""
    torch.set_num_threads(1)
    bundle = load_bundle(path)
    policy = ReferencePolicy(agent_of_bundle(bundle))
    latent, samples = bundle.manifest.latent, bundle.manifest.sampled_candidates
    random = np.random.default_rng(0)
    noise = random.random((latent.groups, latent.classes), np.float32).clip(1e-6, 1.0 - 1e-6)
    spread = random.standard_normal((samples, len(bundle.manifest.actions)), np.float32)

    def step(observation: Observation, previous_action: Float32Array) -> object:
        return policy.step(Inputs(observation.image, observation.state, previous_action, False, noise, spread))

    return step
