"""A bundle's step in eager PyTorch, with the agent's own modules: `python -m benchmarks.peers.own_eager BUNDLE`."""

import sys
from pathlib import Path

import numpy as np
import torch

from benchmarks.peers import serve
from export.reference import Inputs, ReferencePolicy
from export.restore import agent_of_bundle
from fosp_edge.bundle.folder import load_bundle


def main() -> None:
    torch.set_num_threads(1)
    bundle = load_bundle(Path(sys.argv[1]))
    manifest, random = bundle.manifest, np.random.default_rng(0)
    policy, camera = ReferencePolicy(agent_of_bundle(bundle)), manifest.cameras[0]
    shape = (camera.height_px, camera.width_px, 3 * len(manifest.cameras))
    image = random.integers(0, 256, shape).astype(np.uint8)
    state = np.zeros(len(manifest.state), np.float32)
    action = np.zeros(len(manifest.actions), np.float32)
    latent, samples = manifest.latent, manifest.sampled_candidates
    noise = random.random((latent.groups, latent.classes), np.float32).clip(1e-6, 1.0 - 1e-6)
    spread = random.standard_normal((samples, len(manifest.actions)), np.float32)
    serve(
        lambda: policy.step(Inputs(image, state, action, False, noise, spread)),
        {"what": f"{manifest.name}, eager PyTorch: inference alone", "torch": torch.__version__},
    )


if __name__ == "__main__":
    main()
