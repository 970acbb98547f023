"""What keeps an imitating policy from driving: the demonstrations, or what the world model makes of the pictures?

    python -m experiments.safety_gym_ceiling SafetyPointGoal1 --run runs/safety-gym/SafetyPointGoal1/nano-model

Scripts that head for the goal are followed with the run's world model. Two small networks then imitate the same
actions, one from the latent state and one from the truth (direction and distance of the goal, speed and turning rate in
the robot's frame), and drive. If only the one with the truth arrives, the demonstrations are good enough and the
latents are not.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from experiments.agent_actor import AgentActor
from fosp_edge.cli.provenance import provenance
from fosp_edge.control.types import Observation
from fosp_edge.files import write_atomically
from fosp_edge.learning.checkpoint import load_agent
from fosp_edge.simulation.safety_gym.behaviours import Safe, Unsafe
from fosp_edge.simulation.safety_gym.environment import SafetyGym
from fosp_edge.simulation.safety_gym.tasks import ACTION_REPEAT, CAMERAS, TASKS

Features = npt.NDArray[np.float32]
Imitator = Callable[[Features], Features]
DEMONSTRATIONS_SEED, DRIVING_SEED = 300_000, 0
HELD_OUT = 0.15


class Follower:
    """Sees what the robot sees, and knows what it does not."""

    def __init__(self, run: Path, task: str) -> None:
        agent, header = load_agent(run, torch.device("cpu"))
        self.environment = SafetyGym(task)
        self._actor = AgentActor(agent, header["notes"]["cameras"], explore=False, there_are=CAMERAS)

    def reset(self, seed: int) -> dict[str, Any]:
        """Begin an episode."""
        self._actor.reset(seed)
        return self.environment.reset(seed=seed)[0]

    def features(self, seen: dict[str, Any]) -> dict[str, Features]:
        """The latent state after a picture, and the truth."""
        self._actor.act(Observation(seen["image"], seen["state"]))
        latent = self._actor.latent
        assert latent is not None
        truth = self.environment.truth
        robot = truth.agent
        to_robot = robot.mat[:2, :2].T
        goal, velocity = to_robot @ (truth.goal.pos[:2] - robot.pos[:2]), to_robot @ robot.vel[:2]
        distance = max(float(np.linalg.norm(goal)), 1e-3)
        turning = float(truth.data.body("agent").cvel[2])
        exact = np.array([*(goal / distance), np.log(distance), *velocity, turning], np.float32)
        return {"latents": latent.features()[0].numpy(), "truth": exact}

    def step(self, action: Features) -> tuple[dict[str, Any], float]:
        """Carry out an action; what is seen next, and the reward."""
        self._actor.take(action)
        seen, reward, *_ = self.environment.step(action)
        return seen, float(reward)


def demonstrate(follower: Follower, episodes: int) -> tuple[dict[str, Features], Features]:
    """Features and actions of scripted episodes, [rows, ...]."""
    features: dict[str, list[Features]] = {"latents": [], "truth": []}
    actions = []
    for index in range(episodes):
        seen = follower.reset(DEMONSTRATIONS_SEED + index)
        environment = follower.environment
        script = (Safe, Unsafe)[index % 2](environment.task, environment.truth, np.random.default_rng(index))
        for _ in range(environment.truth.num_steps // ACTION_REPEAT):
            for name, values in follower.features(seen).items():
                features[name].append(values)
            actions.append(script.act())
            seen, _ = follower.step(actions[-1])
    return {name: np.array(values) for name, values in features.items()}, np.array(actions)


def imitate(features: Features, actions: Features, updates: int) -> tuple[Imitator, dict[str, float]]:
    """A network from features to actions, and its squared error on what it learnt from and on the last episodes."""
    torch.manual_seed(0)
    learnt = int(len(features) * (1.0 - HELD_OUT))
    mean, deviation = features[:learnt].mean(0), features[:learnt].std(0) + 1e-2
    inputs, wanted = torch.from_numpy((features - mean) / deviation), torch.from_numpy(actions)
    network = nn.Sequential(
        nn.Linear(features.shape[1], 256), nn.SiLU(), nn.Linear(256, 256), nn.SiLU(), nn.Linear(256, 2), nn.Tanh()
    )
    optimiser = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=1e-2)
    for _ in range(updates):
        rows = torch.randint(learnt, (256,))
        loss = (network(inputs[rows]) - wanted[rows]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        errors = (network(inputs) - wanted).square().mean(-1)
    found = {"learnt": round(float(errors[:learnt].mean()), 3), "held_out": round(float(errors[learnt:].mean()), 3)}

    @torch.no_grad()
    def act(seen: Features) -> Features:
        action: Features = network(torch.from_numpy((seen - mean) / deviation)).numpy()
        return action

    return act, found


def drive(follower: Follower, imitator: Imitator, name: str, episodes: int) -> list[float]:
    """Returns of a network that drives."""
    returns = []
    for layout in range(DRIVING_SEED, DRIVING_SEED + episodes):
        seen, total = follower.reset(layout), 0.0
        for _ in range(follower.environment.truth.num_steps // ACTION_REPEAT):
            seen, reward = follower.step(imitator(follower.features(seen)[name]))
            total += reward
        returns.append(round(total, 2))
    return returns


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=[name for name in TASKS if "Goal" in name])
    parser.add_argument("--run", type=Path, required=True, help="run folder with the world model")
    parser.add_argument("--episodes", type=int, default=60, help="demonstrations")
    parser.add_argument("--updates", type=int, default=3000)
    parser.add_argument("--drives", type=int, default=8, help="episodes driven by each network")
    parser.add_argument("--out", type=Path, default=Path("experiments/results/safety-gym-ceiling.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    follower = Follower(options.run, options.task)
    features, actions = demonstrate(follower, options.episodes)
    report: dict[str, Any] = {"origin": provenance(command=f"python -m experiments.safety_gym_ceiling {options.task}")}
    report["options"] = {name: getattr(options, name) for name in ("task", "episodes", "updates", "drives")}
    for name, values in features.items():
        imitator, error = imitate(values, actions, options.updates)
        returns = drive(follower, imitator, name, options.drives)
        report[name] = {"squared_error": error, "returns": returns, "mean_return": round(float(np.mean(returns)), 2)}
        print(name, report[name], flush=True)
        write_atomically(options.out, (json.dumps(report, indent=1) + "\n").encode())
    follower.environment.close()


if __name__ == "__main__":
    main()
