"""The jitted policy step of FOSP's or SafeDreamer's own code: `... CHECKOUT PACKAGE PRESET`. Needs what they need.

Their `Agent.policy` in evaluation: encoder, recurrent step, actor (FOSP: also what its expansion does). One camera,
float32, no critic's opinion of candidates beyond what their policy asks for itself.
"""

import os
import sys

os.environ["JAX_PLATFORMS"] = "cpu"

import importlib
from pathlib import Path

import numpy as np

from benchmarks.peers import serve
from experiments.foreign_originals.official import import_package


def main() -> None:
    checkout, package, preset = Path(sys.argv[1]).resolve(), sys.argv[2], sys.argv[3]
    agents = import_package(checkout / package, package)
    import embodied  # type: ignore[import-not-found]
    import jax

    # Its policy writes into the state that it was given, which the jax of today refuses: let it have a copy.
    behaviour = importlib.import_module(f"{package}.behaviors").Greedy
    policy = behaviour.policy
    behaviour.policy = lambda self, latent, state: policy(self, dict(latent), state)

    obs_space = {"image": embodied.Space(np.uint8, (64, 64, 3))}
    obs_space |= {name: embodied.Space(np.float32) for name in ("reward", "cost")}
    obs_space |= {name: embodied.Space(bool) for name in ("is_first", "is_last", "is_terminal")}
    act_space = {"action": embodied.Space(np.float32, (3,), -1.0, 1.0), "reset": embodied.Space(bool)}
    config = embodied.Config(agents.Agent.configs["defaults"]).update(agents.Agent.configs[preset])
    config = config.update(
        {"jax.platform": "cpu", "jax.precision": "float32", "batch_size": 2, "batch_length": 4, "imag_horizon": 3}
    )
    agent = agents.Agent(obs_space, act_space, embodied.Counter(), config)
    zeros, no = np.zeros(1, np.float32), np.zeros(1, bool)
    obs = {"image": np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8)}
    obs |= {"reward": zeros, "cost": zeros, "is_first": no, "is_last": no, "is_terminal": no}
    carried = [None]

    def step() -> object:
        outputs, carried[0] = agent.policy(obs, carried[0], mode="eval")
        return outputs["action"]

    serve(step, {"what": f"{package} ({preset}), jitted policy step", "jax": jax.__version__})


if __name__ == "__main__":
    main()
