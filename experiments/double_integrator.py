"""The reachability function against a closed form: a double integrator in front of a wall.

A mass on a line is accelerated by a in [-1, 1]. Past x = 1 is the wall. From (x, v) with v > 0 the wall cannot be
avoided any more once x + v^2 / 2 > 1, the braking distance. The same critics and the same update that train on a
robot's latent states learn here from recorded (x, v), never told the dynamics or the braking distance.

    python -m experiments.double_integrator --seeds 3 --out experiments/results/double-integrator
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fosp_edge.agent.config import Config
from fosp_edge.agent.rssm import Latent
from fosp_edge.cli.provenance import provenance
from fosp_edge.files import write_atomically
from fosp_edge.learning.batch import Batch
from fosp_edge.learning.critics import reachability_loss
from fosp_edge.learning.learner import Learner, make_learner

WALL, PERIOD_S, SPEED = 1.0, 0.1, 2.0
THRESHOLD = 0.5


def unavoidable(x: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The closed form: within the braking distance of the wall, or past it."""
    return x + np.maximum(v, 0.0) ** 2 / 2.0 > WALL


def record(count: int, random: np.random.Generator) -> dict[str, np.ndarray]:
    """Transitions of a mass that is pushed, let go and braked at random; `state` and `next` are [count, 2].

    They reach beyond what is measured, so that the successor of every measured state is known from data.
    """
    state = np.stack([random.uniform(-1.5, 1.3, count), random.uniform(-SPEED - 0.3, SPEED + 0.3, count)], -1)
    action = random.choice([-1.0, -1.0, 0.0, 1.0, np.nan], count)
    action = np.where(np.isnan(action), random.uniform(-1.0, 1.0, count), action)
    x, v = state.T
    following = np.stack([x + v * PERIOD_S + action * PERIOD_S**2 / 2.0, v + action * PERIOD_S], -1)
    following[x > WALL] = state[x > WALL]  # whoever hit the wall stays there
    return {"state": state, "action": action, "next": following}


def make_config(seed: int) -> Config:
    """Two numbers as latent state, and critics of the usual kind.

    The stochastic part is the one-hot of a single class, a constant 1: the first layer normalises what has no bias, and
    without that constant it would see the direction of (x, v) and not how far it reaches.
    """
    return Config(
        state_size=1, action_size=1, image_channels=3, conv_depth=1, deterministic=2, groups=1, classes=1, hidden=128,
        bins=3, horizon=0, reachability_expectile=0.1, reachability_discount=0.99, reachability_learning_rate=2e-3,
        slow_rate=0.1, seed=seed,
    )  # fmt: skip


def to_batch(rows: dict[str, np.ndarray], index: np.ndarray) -> tuple[Batch, Latent]:
    """Transitions as sequences of two rows, with the state as latent state."""
    count = len(index)
    states = torch.from_numpy(np.stack([rows["state"][index], rows["next"][index]], 1)).float()
    action = torch.zeros(count, 2, 1)
    action[:, 0, 0] = torch.from_numpy(rows["action"][index]).float()
    first = torch.zeros(count, 2, dtype=torch.bool)
    first[:, 0] = True
    nothing = torch.zeros(count, 2)
    batch = Batch(
        image=nothing, state=nothing, action=action, reward=nothing, cost=nothing,
        violation=(states[..., 0] > WALL).float(), is_first=first, is_terminal=torch.zeros_like(first),
        proven=torch.ones_like(first),
    )  # fmt: skip
    return batch, Latent(states, torch.ones(count, 2, 1, 1))


def learn(seed: int, updates: int, transitions: int = 20_000, batch: int = 512) -> Learner:
    """Train the critics on recorded transitions."""
    random = np.random.default_rng(seed)
    rows, learner = record(transitions, random), make_learner(make_config(seed), torch.device("cpu"))
    parameters = learner.optimisers["reach"].param_groups[0]["params"]
    for _ in range(updates):
        loss = reachability_loss(learner.agent, *to_batch(rows, random.integers(transitions, size=batch)), {})
        learner._apply("reach", loss, parameters, learner.config.critic_clip)
        learner.agent.update_slow_critics()
    return learner


@torch.no_grad()
def predicted(learner: Learner, x: np.ndarray, v: np.ndarray) -> np.ndarray:
    """p of each state, in the shape of `x`."""
    states = torch.from_numpy(np.stack([x, v], -1)).float()
    features = torch.cat([states, torch.ones(*x.shape, 1)], -1)
    return torch.sigmoid(learner.agent.critics.reach_state(features).squeeze(-1)).numpy()


def grid(points: int = 161) -> tuple[np.ndarray, np.ndarray]:
    """States before the wall, [points, points]."""
    x, v = np.meshgrid(np.linspace(-1.0, WALL, points), np.linspace(-SPEED, SPEED, points), indexing="ij")
    return x, v


def measure(learner: Learner) -> dict[str, float]:
    """How well p tells the unavoidable states from the others, over an even grid."""
    x, v = grid()
    truth, found = unavoidable(x, v), predicted(learner, x, v) > THRESHOLD
    caught, spared = float(found[truth].mean()), float((~found[~truth]).mean())
    return {"balanced_accuracy": (caught + spared) / 2.0, "unavoidable_found": caught, "avoidable_spared": spared}


def draw(learner: Learner, path: Path) -> None:
    """The learnt p over the state space with its boundary and the true one."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    x, v = grid()
    figure, axes = pyplot.subplots(figsize=(6.4, 4.4), layout="constrained")
    image = axes.pcolormesh(x, v, predicted(learner, x, v), cmap="RdYlGn_r", vmin=0.0, vmax=1.0, shading="auto")
    learnt = axes.contour(x, v, predicted(learner, x, v), levels=[THRESHOLD], colors="black", linewidths=2)
    speed = np.linspace(0.0, SPEED, 200)
    true = axes.plot(WALL - speed**2 / 2.0, speed, "w--", linewidth=2)[0]
    axes.set(xlabel="position (wall at 1)", ylabel="velocity", xlim=(-1.0, WALL), ylim=(-SPEED, SPEED))
    handles = [learnt.legend_elements()[0][0], true]
    legend = axes.legend(
        handles, [f"learnt boundary, p = {THRESHOLD}", "braking distance (closed form)"], loc="lower left"
    )
    legend.get_frame().set_facecolor("lightgrey")
    figure.colorbar(image, label="p: probability that the wall will be hit")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=5000)
    parser.add_argument("--out", type=Path, default=Path("experiments/results/double-integrator"))
    options = parser.parse_args()
    runs: list[dict[str, Any]] = []
    for seed in range(options.seeds):
        learner = learn(seed, options.updates)
        runs.append({"seed": seed} | measure(learner))
        print(runs[-1])
        if seed == 0:
            draw(learner, options.out.with_suffix(".png"))
    result = {
        "provenance": provenance(experiment="double_integrator", updates=options.updates),
        "configuration": make_config(0).to_dict(),
        "runs": runs,
        "balanced_accuracy_mean": float(np.mean([run["balanced_accuracy"] for run in runs])),
    }
    write_atomically(options.out.with_suffix(".json"), (json.dumps(result, indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
