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
from fosp_edge.simulation.collect import record_episode
from fosp_edge.simulation.safety_gym.behaviours import Behaviour, Safe, Unsafe
from fosp_edge.simulation.safety_gym.environment import SafetyGym
from fosp_edge.simulation.safety_gym.tasks import CAMERAS, TASKS

Features = npt.NDArray[np.float32]
Imitator = Callable[[Features], Features]
Chooser = Callable[[dict[str, Features]], Features]
DEMONSTRATIONS_SEED, DRIVING_SEED = 300_000, 0
HELD_OUT = 0.15


class Follower:
    """Sees what the robot sees, and knows what it does not."""

    def __init__(self, run: Path, task: str) -> None:
        agent, header = load_agent(run, torch.device("cpu"))
        self.environment = SafetyGym(task)
        self._actor = AgentActor(agent, header["notes"]["cameras"], explore=False, there_are=CAMERAS)

    def live(self, seed: int, choose: Chooser) -> float:
        """An episode in which somebody chooses by what can be known; its return."""
        observation, info = self.environment.reset(seed=seed)
        self._actor.reset(seed)

        def act(seen: Observation) -> tuple[Features, Features, int]:
            action = choose({"latents": self._actor.follow(seen).features()[0].numpy(), "truth": self._truth()})
            self._actor.take(action)
            return action, action, 0

        return float(record_episode(self.environment, observation, info, act, "ceiling", seed)[1]["return"])

    def _truth(self) -> Features:
        truth = self.environment.truth
        robot = truth.agent
        to_robot = robot.mat[:2, :2].T
        goal, velocity = to_robot @ (truth.goal.pos[:2] - robot.pos[:2]), to_robot @ robot.vel[:2]
        distance = max(float(np.linalg.norm(goal)), 1e-3)
        turning = float(truth.data.body("agent").cvel[2])
        return np.array([*(goal / distance), np.log(distance), *velocity, turning], np.float32)


def demonstrate(follower: Follower, episodes: int) -> tuple[dict[str, Features], Features]:
    """Features and actions of scripted episodes, [rows, ...]."""
    features: dict[str, list[Features]] = {"latents": [], "truth": []}
    actions: list[Features] = []
    environment = follower.environment
    for index in range(episodes):
        script = (Safe, Unsafe)[index % 2](environment.task, environment.truth, np.random.default_rng(index))

        def choose(seen: dict[str, Features], script: Behaviour = script) -> Features:
            for name, values in seen.items():
                features[name].append(values)
            actions.append(script.act())
            return actions[-1]

        follower.live(DEMONSTRATIONS_SEED + index, choose)
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
    """Returns of a network that drives by the features of that name."""
    layouts = range(DRIVING_SEED, DRIVING_SEED + episodes)
    return [round(follower.live(layout, lambda seen: imitator(seen[name])), 2) for layout in layouts]


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
