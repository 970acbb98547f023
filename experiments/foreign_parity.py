"""Is what `fosp-edge export --from` reads the agent that the original code runs?

For each project whose checkout is given: its own code makes an agent with random weights, writes its own checkpoint and
follows a recorded episode; ours reads the checkpoint, exports it, and follows the same episode, carrying its own
recurrent state. Compared at every tick: h, posterior, prior, the action's mean and deviation, the heads, the values,
first in PyTorch, then h, action and values in the exported ONNX graph. The classes that the original sampled are
imposed on ours through the noise input; everything else is ours.

Example: python -m experiments.foreign_parity --dataset data/safereach --jax-python PYTHON_WITH_JAX --fosp FOSP_CHECKOUT
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from export.candidates import SAMPLES
from export.foreign.read import read_foreign
from export.graph import export_step
from export.graph_policy import GraphPolicy
from export.reference import Inputs
from export.step import StepModule
from fosp_edge.agent.agent import Agent, reachability
from fosp_edge.agent.distributions import two_hot_mean
from fosp_edge.agent.rssm import Latent
from fosp_edge.cli.provenance import commit
from fosp_edge.experience.store import ExperienceStore

TOLERANCE = 1e-4
ORIGINALS = Path(__file__).parent / "foreign_originals"
_SMALL = {
    r".*\.cnn_depth": 8,
    "rssm.deter": 64,
    "rssm.stoch": 8,
    "rssm.classes": 6,
    r".*\.units": 32,
    r".*\.mlp_units": 48,
}
_QUICK = {"batch_size": 2, "batch_length": 4, "imag_horizon": 3}
_TORCH_SMALL = {
    "dyn_deter": 64,
    "dyn_hidden": 32,
    "dyn_stoch": 8,
    "dyn_discrete": 6,
    "units": 32,
    "depth": 8,
    "mlp_units": 48,
}
_R2_SMALL = {"deter": 64, "hidden": 32, "units": 32, "discrete": 4, "depth": 4}
_TORCH_PROGRAMS = ("dreamerv3_torch.py", "r2dreamer.py")


@dataclass(frozen=True)
class Case:
    """One agent of one project."""

    family: str
    name: str
    program: str
    groups: int
    vector: bool
    task: dict[str, Any] = field(default_factory=dict)


_FOSP = {"package": "FOSP", "presets": ["fosp"], "changes": _QUICK}
_DREAMER = {"package": "SafeDreamer", "presets": ["dreamerv3"], "changes": _QUICK | _SMALL}
_SAFE = {"package": "SafeDreamer", "presets": ["bsrp_lag"], "changes": _QUICK}
CASES = (
    Case("fosp", "tiny, with state vector", "official.py", 8, True, _FOSP | {"changes": _QUICK | _SMALL}),
    Case("fosp", "FOSP's own size", "official.py", 48, False, _FOSP),
    Case("safedreamer", "tiny, with state vector", "official.py", 8, True, _SAFE | {"changes": _QUICK | _SMALL}),
    Case("safedreamer", "its own size", "official.py", 48, False, _SAFE),
    Case("safedreamer", "its DreamerV3, tiny", "official.py", 8, False, _DREAMER),
    Case("dreamerv3-torch", "tiny, with state vector", "dreamerv3_torch.py", 8, True, {"changes": _TORCH_SMALL}),
    Case("dreamerv3-torch", "its default size", "dreamerv3_torch.py", 32, False, {"changes": {}}),
    Case("dreamerv3", "size1m, with state vector", "dreamerv3.py", 32, True, {"size": "size1m"}),
    Case("dreamerv3", "size12m", "dreamerv3.py", 32, False, {"size": "size12m"}),
    Case("r2dreamer", "tiny, with state vector", "r2dreamer.py", 32, True, {"size": "size12M", "changes": _R2_SMALL}),
    Case("r2dreamer", "size12M", "r2dreamer.py", 32, False, {"size": "size12M", "changes": {}}),
)  # fmt: skip


def run_original(case: Case, checkout: Path, python: str, episode: Path, folder: Path) -> tuple[Path, dict[str, Any]]:
    """Checkpoint of the original, and its answers with an `about`. Raises RuntimeError with the end of its output."""
    checkpoint, answers = folder / "checkpoint", folder / "answers.npz"
    task = {
        "checkout": str(checkout.resolve()), "episode": str(episode), "checkpoint": str(checkpoint),
        "answers": str(answers), "vector": case.vector, "seed": 0, **case.task,
    }  # fmt: skip
    done = subprocess.run(
        [python, str(ORIGINALS / case.program), json.dumps(task)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{case.family} failed:\n" + "\n".join((done.stdout + done.stderr).splitlines()[-25:]))
    with np.load(answers) as file:
        found: dict[str, Any] = {name: file[name] for name in file.files}
    found["about"] = json.loads(str(found["about"]))
    return checkpoint, found


def imposing(stochastic: np.ndarray) -> np.ndarray:
    """Uniform noise under which Gumbel-max yields these classes: none is 8e6 times likelier than another."""
    return np.where(stochastic > 0.5, 1.0 - 1e-6, 1e-6).astype(np.float32)


def ticks(episode: dict[str, np.ndarray], answers: dict[str, Any]) -> Iterator[Inputs]:
    """What our agent is given, tick by tick."""
    previous = np.zeros_like(episode["action"][0])
    for row, action in enumerate(episode["action"]):
        yield Inputs(
            image=episode["image"][row],
            state=episode["state"][row],
            previous_action=previous,
            is_first=row == 0,
            latent_noise=imposing(answers["stochastic"][row]),
            action_noise=np.zeros((SAMPLES, len(action)), np.float32),
        )
        previous = action


class Gaps:
    """The largest difference in each quantity; relative where a value is larger than one."""

    def __init__(self) -> None:
        self.worst: dict[str, float] = {}

    def add(self, name: str, found: Any, expected: Any) -> None:
        found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
        gap = float(np.max(np.abs(found - expected) / np.maximum(1.0, np.abs(expected))))
        self.worst[name] = max(self.worst.get(name, 0.0), gap if np.isfinite(gap) else np.inf)


@torch.no_grad()
def compare_modules(agent: Agent, inputs: list[Inputs], answers: dict[str, Any]) -> dict[str, float]:
    """Our PyTorch modules beside the original's answers."""
    model, critics, spacing, gaps = agent.world_model, agent.critics, agent.config.bin_spacing, Gaps()
    rssm, latent = model.rssm, model.rssm.initial(1)
    for row, tick in enumerate(inputs):
        deterministic = rssm.transition(latent, torch.from_numpy(tick.previous_action)[None])
        embedding = model.encoder(torch.from_numpy(tick.image)[None], torch.from_numpy(tick.state)[None])
        posterior = rssm.posterior(deterministic, rssm.posterior_embedding(embedding))
        latent = Latent(deterministic, torch.from_numpy(answers["stochastic"][row])[None].round())
        features = latent.features()
        mean, deviation = agent.policy(features)
        pair = torch.cat([features, mean], -1)
        found = {
            "deterministic": deterministic[0],
            "posterior": posterior[0],
            "prior": rssm.grid(rssm.prior(deterministic))[0],
            "mean": mean[0],
            "deviation": deviation[0],
            "reward": two_hot_mean(model.reward(features), spacing)[0],
            "cost": two_hot_mean(model.cost(features), spacing)[0],
            "proceed": torch.sigmoid(model.proceed(features))[0, 0],
            "reward_value": two_hot_mean(critics.reward_action(pair), spacing)[0],
            "cost_value": two_hot_mean(critics.cost_action(pair), spacing)[0],
            "reward_value_of_state": two_hot_mean(critics.reward_state(features), spacing)[0],
            "cost_value_of_state": two_hot_mean(critics.cost_state(features), spacing)[0],
            "reach_value": reachability(critics.reach_action(pair), agent.config)[0],
        }
        for name in sorted(found.keys() & answers.keys()):
            expected = answers[name][row]
            gaps.add(name, found[name], np.clip(expected, 0.0, 1.0) if name == "reach_value" else expected)
    return gaps.worst


def compare_graph(agent: Agent, inputs: list[Inputs], answers: dict[str, Any]) -> dict[str, float]:
    """The exported graph in ONNX Runtime beside the original's answers."""
    policy, gaps = GraphPolicy(export_step(StepModule(agent)), agent.config), Gaps()
    for row, tick in enumerate(inputs):
        found = policy.step(tick)
        gaps.add("imposed classes", found.stochastic, answers["stochastic"][row].argmax(-1))
        gaps.add("deterministic", policy.deterministic[0], answers["deterministic"][row])
        gaps.add("mean", found.candidates[0], answers["mean"][row])
        gaps.add("reward_value", found.reward_value[0], answers["reward_value"][row])
        if "cost_value" in answers:
            gaps.add("cost_value", found.cost_value[0], answers["cost_value"][row])
        known = "reach_action" not in agent.config.unknown
        expected = np.clip(answers["reach_value"][row], 0.0, 1.0) if known else 1.0
        gaps.add("reach_value", found.reachability[0], expected)
    return gaps.worst


def measure(case: Case, checkout: Path, python: str, episode: dict[str, np.ndarray], folder: Path) -> dict[str, Any]:
    """Everything about one case."""
    np.savez(folder / "episode.npz", **episode)
    checkpoint, answers = run_original(case, checkout, python, folder / "episode.npz", folder)
    foreign = read_foreign(checkpoint, family=case.family, groups=case.groups, state_size=episode["state"].shape[1])
    inputs = list(ticks(episode, answers))
    modules = compare_modules(foreign.agent, inputs, answers)
    graph = compare_graph(foreign.agent, inputs, answers)
    worst = max(*modules.values(), *graph.values())
    return {
        "family": case.family,
        "case": case.name,
        "ticks": len(inputs),
        "parameters": sum(value.numel() for value in foreign.agent.parameters()),
        "checkpoint_bytes": checkpoint.stat().st_size if checkpoint.is_file() else None,
        "left_aside": foreign.left,
        "original": answers["about"],
        "modules": modules,
        "graph": graph,
        "worst": worst,
        "within_tolerance": worst <= TOLERANCE,
    }


def record(dataset: Path, rows: int) -> dict[str, np.ndarray]:
    """The first `rows` of a recorded episode."""
    with ExperienceStore(dataset) as store:
        info = next(info for info in store.episodes() if info.summary.rows >= min(rows, 20))
        steps = store.read(info.id)
    return {
        "image": steps["image"][:rows].astype(np.uint8),
        "state": steps["state"][:rows].astype(np.float32),
        "action": steps["action"][:rows].astype(np.float32),
    }


def revision(checkout: Path) -> str | None:
    """Commit of a checkout, if it is one."""
    done = subprocess.run(
        ["git", "-C", str(checkout), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or None


def kept(path: Path, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What an earlier run wrote there about cases that this one did not measure, each with its commit and versions."""
    if not path.is_file():
        return []
    earlier, anew = json.loads(path.read_text()), {(item["family"], item["case"]) for item in results}
    shared = {name: earlier[name] for name in ("commit", "versions") if name in earlier}
    return [shared | item for item in earlier["results"] if (item["family"], item["case"]) not in anew]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    families = list(dict.fromkeys(case.family for case in CASES))
    for family in families:
        parser.add_argument(f"--{family}", type=Path, metavar="CHECKOUT", help=f"checkout of {family}'s repository")
        parser.add_argument(f"--{family}-revision", metavar="COMMIT", help="its commit, if the checkout cannot say")
    parser.add_argument(
        "--dataset", type=Path, required=True, help="recording whose first long enough episode is followed"
    )
    parser.add_argument("--rows", type=int, default=60, help="ticks of it")
    parser.add_argument(
        "--jax-python", default=sys.executable, help="interpreter with jax, for fosp, safedreamer, dreamerv3"
    )
    parser.add_argument("--torch-python", default=sys.executable, help="interpreter with torch, for the ports")
    parser.add_argument("--only", help="part of the name of the cases to run")
    parser.add_argument("--out", type=Path, default=Path("experiments/results/foreign_parity.json"))
    options = vars(parser.parse_args())
    episode = record(options["dataset"], options["rows"])
    results: list[dict[str, Any]] = []
    for case in CASES:
        checkout = options[case.family.replace("-", "_")]
        if checkout is None or (options["only"] and options["only"] not in f"{case.family} {case.name}"):
            continue
        python = options["torch_python"] if case.program in _TORCH_PROGRAMS else options["jax_python"]
        with tempfile.TemporaryDirectory() as folder:
            result = measure(case, checkout, python, episode, Path(folder))
        result["revision"] = options[f"{case.family.replace('-', '_')}_revision"] or revision(checkout)
        results.append(result)
        verdict = "within" if result["within_tolerance"] else "BEYOND"
        print(f"{case.family:16} {case.name:26} {result['ticks']} ticks, worst {result['worst']:.1e}, {verdict}")
        for part in ("modules", "graph"):
            print(f"    {part}: " + ", ".join(f"{name} {gap:.1e}" for name, gap in result[part].items()))
    if not results:
        parser.error("give at least one checkout")
    options["out"].parent.mkdir(parents=True, exist_ok=True)
    versions = {
        "python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__,
        "onnxruntime": onnxruntime.__version__,
    }  # fmt: skip
    measured = [result | {"commit": commit(), "versions": versions} for result in results]
    report = {"tolerance": TOLERANCE, "results": kept(options["out"], results) + measured}
    options["out"].write_text(json.dumps(report, indent=1, sort_keys=True) + "\n")
    raise SystemExit(0 if all(result["within_tolerance"] for result in results) else 1)


if __name__ == "__main__":
    main()
