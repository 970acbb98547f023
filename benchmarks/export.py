"""What the step costs in every form it is exported in: `python -m benchmarks.export --sizes nano small --out FILE`.

For each size, precision and thread count: bytes on disk, latency (median, tenth percentile, p99) and drift over whole
episodes with the recurrent state running; beside them the same step in eager PyTorch with the agent's own modules, with
`--compile` in torch.compile, and with `--jax PYTHON` (an interpreter that has jax) in JAX under jit. All forms run in
turns, one tick each, so that they meet the same load and none keeps the caches: the ratios are what this is for.

`--bundle` measures a trained agent. Sizes alone have random weights: latencies are right, drift says little.
"""

import argparse
import gc
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from rich.console import Console
from rich.table import Table

from export.candidates import Candidates
from export.compact import compact
from export.conversion import Yardstick
from export.drift import Steps, recorded_inputs
from export.graph import export_step
from export.graph_policy import GraphPolicy
from export.precision import CALIBRATION_TICKS, PRECISIONS, Feeds, convert
from export.reference import ReferencePolicy
from export.restore import agent_of_bundle
from export.step import INPUTS, StepModule
from export.storage import rounded
from export.summary import summarise
from fosp_edge.agent.agent import Agent
from fosp_edge.agent.config import SIZES, make_config
from fosp_edge.bundle.folder import load_bundle
from fosp_edge.cli.provenance import command, provenance
from fosp_edge.experience.selection import CameraSelection
from fosp_edge.experience.split import is_held_out
from fosp_edge.experience.store import ExperienceStore

Tick = Callable[[], object]


def made_up_episodes(agent: Agent, rows: int = 40, count: int = 3) -> list[Steps]:
    """Pictures and states at random, for agents that were never trained on any."""
    config, random = agent.config, np.random.default_rng(0)
    return [
        {
            "image": random.integers(0, 256, (rows, 64, 64, config.image_channels)).astype(np.uint8),
            "state": random.standard_normal((rows, config.state_size)).astype(np.float32),
            "action": random.uniform(-1, 1, (rows, config.action_size)).astype(np.float32),
            "is_first": np.arange(rows) == 0,
        }
        for _ in range(count)
    ]


def untrained(size: str) -> Agent:
    """An agent of a named size whose heads, which start at zero, say something."""
    torch.manual_seed(0)
    agent = Agent(make_config(size, "fosp", image_channels=3))
    with torch.no_grad():
        for parameter in agent.parameters():
            if parameter.ndim == 2 and float(parameter.abs().max()) == 0.0:
                parameter.normal_(0.0, 0.02)
    return agent.eval()


def recorded_feeds(agent: Agent, episodes: list[Steps], plain: bytes) -> list[Feeds]:
    """The float32 graph's inputs along episodes, for the ranges of activations."""
    config, policy, found = agent.config, GraphPolicy(plain, agent.config), []
    samples = Candidates.of(agent).samples
    inputs = recorded_inputs(episodes, config.groups, config.classes, samples, config.action_size, seed=3)
    for _, item in zip(range(CALIBRATION_TICKS), inputs, strict=False):
        found.append(policy.feeds(item))
        policy.step(item)
    return found


class Forms:
    """All forms of one agent, each a tick that can be called."""

    def __init__(self, agent: Agent, episodes: list[Steps], threads: list[int], compiled: bool) -> None:
        config = agent.config
        samples = Candidates.of(agent).samples
        plain = export_step(StepModule(agent))
        ticks = list(recorded_inputs(episodes[:1], config.groups, config.classes, samples, config.action_size))
        leader, feeds = GraphPolicy(plain, config), []
        for inputs in ticks:
            feeds.append(leader.feeds(inputs))
            leader.step(inputs)
        self.graphs: dict[str, bytes] = {}
        self.ticks: dict[tuple[str, int], Tick] = {}
        for precision in PRECISIONS:
            graph = plain
            if precision != "float32":
                graph = convert(plain, precision, lambda: recorded_feeds(agent, episodes, plain))
            self.graphs[precision] = compact(graph)
            for count in threads:
                session = GraphPolicy(self.graphs[precision], config, threads=count).session
                self.ticks[precision, count] = self._session_tick(session, feeds)
        reference = ReferencePolicy(agent)
        torch.set_num_threads(1)
        self.ticks["eager PyTorch", 1] = self._cycle([lambda inputs=inputs: reference.step(inputs) for inputs in ticks])
        if compiled:
            module = torch.compile(StepModule(agent).eval())
            tensors = [[torch.from_numpy(np.asarray(feed[name])) for name in INPUTS] for feed in feeds]
            with torch.no_grad():
                module(*tensors[0])

            def run(arguments: list[torch.Tensor]) -> object:
                with torch.no_grad():
                    return module(*arguments)

            self.ticks["torch.compile", 1] = self._cycle([lambda item=item: run(item) for item in tensors])

    def _session_tick(self, session: Any, feeds: list[Feeds]) -> Tick:
        return self._cycle([lambda feed=feed: session.run(None, feed) for feed in feeds])

    @staticmethod
    def _cycle(calls: list[Tick]) -> Tick:
        state = {"next": 0}

        def tick() -> object:
            state["next"] = (state["next"] + 1) % len(calls)
            return calls[state["next"]]()

        return tick

    def time(self, rounds: int) -> dict[tuple[str, int], np.ndarray]:
        """Seconds per form, [rounds], taken in turns."""
        for tick in self.ticks.values():
            for _ in range(3):
                tick()
        gc.collect()
        gc.freeze()
        seconds = {name: np.zeros(rounds) for name in self.ticks}
        for row in range(rounds):
            for name, tick in self.ticks.items():
                begin = time.perf_counter()
                tick()
                seconds[name][row] = time.perf_counter() - begin
        return seconds


def measure(name: str, agent: Agent, episodes: list[Steps], options: argparse.Namespace) -> dict[str, Any]:
    """All figures of one agent."""
    agent = rounded(agent, "int8")
    forms = Forms(agent, episodes, options.threads, options.compile)
    seconds = forms.time(options.rounds)
    base = float(np.median(seconds["float32", options.threads[0]]))
    yardstick = Yardstick(agent, episodes)
    rows = []
    for (form, threads), values in seconds.items():
        tenth, median, p99 = np.quantile(values, [0.1, 0.5, 0.99]) * 1e3
        row: dict[str, Any] = {
            "form": form,
            "threads": threads,
            "median_ms": round(float(median), 4),
            "p10_ms": round(float(tenth), 4),
            "p99_ms": round(float(p99), 4),
            "times_float32": round(float(median) / (base * 1e3), 3),
        }
        if form in forms.graphs:
            row["bytes"] = len(forms.graphs[form])
            if threads == options.threads[0]:
                summary = summarise(forms.graphs[form])
                row |= {"multiply_adds": summary.multiply_adds, "weight_bytes": summary.weight_bytes}
                drift = yardstick.measure(form, GraphPolicy(forms.graphs[form], agent.config))
                row |= {
                    "latent_agreement": round(drift.latent_agreement, 4),
                    "action_drift": round(drift.action_drift, 5),
                    "reachability_drift": round(drift.reachability_drift, 5),
                }
        rows.append(row)
    found: dict[str, Any] = {
        "agent": name,
        "parameters": sum(value.numel() for value in agent.parameters()),
        "own_action_drift": round(yardstick.own.action_mean, 5),
        "own_reachability_drift": round(yardstick.own.reachability_mean, 5),
        "rows": rows,
    }
    if options.jax is not None:
        script = Path(__file__).with_name("export_jax.py")
        config = json.dumps(agent.config.to_dict())
        result = subprocess.run(
            [str(options.jax), str(script), config, str(options.rounds)],
            capture_output=True, text=True, check=True, env=os.environ | {"JAX_PLATFORMS": "cpu"},
        )  # fmt: skip
        found["jax"] = json.loads(result.stdout.splitlines()[-1])
        found["jax"]["note"] = "a process of its own, after the others, not in turns"
    return found


def print_table(console: Console, report: list[dict[str, Any]]) -> None:
    for item in report:
        table = Table(title=f"{item['agent']}, {item['parameters']:,} parameters", box=None, pad_edge=False)
        names = ("form", "threads", "MB", "median ms", "p10 ms", "p99 ms", "x float32", "latents agree", "action drift")
        for name in names:
            table.add_column(name, justify="left" if name == "form" else "right")
        rows = item["rows"] + ([{"form": "JAX jit", "threads": 1, **item["jax"]}] if "jax" in item else [])
        for row in rows:
            agree = f"{row['latent_agreement']:.1%}" if "latent_agreement" in row else ""
            table.add_row(
                row["form"], str(row["threads"]), f"{row['bytes'] / 1e6:.1f}" if "bytes" in row else "",
                f"{row['median_ms']:.3f}", f"{row['p10_ms']:.3f}", f"{row['p99_ms']:.2f}",
                f"{row['times_float32']:.2f}" if "times_float32" in row else "", agree,
                f"{row['action_drift']:.4f}" if "action_drift" in row else "",
            )  # fmt: skip
        table.caption = f"own sampling noise moves actions by {item['own_action_drift']:.4f}"
        console.print(table)


def merged(path: Path, report: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """These agents after those that an earlier run wrote there: sizes can be measured one at a time."""
    anew = {item["agent"] for item in report}
    earlier = json.loads(path.read_text())["agents"] if path.is_file() else []
    return [item for item in earlier if item["agent"] not in anew] + report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="*", default=[], choices=list(SIZES), help="untrained agents of these sizes")
    parser.add_argument("--bundle", type=Path, action="append", default=[], help="a trained agent; needs --dataset")
    parser.add_argument("--dataset", type=Path, help="recorded episodes for drift")
    parser.add_argument("--threads", type=int, nargs="*", default=[1])
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--compile", action="store_true", help="torch.compile too; needs a C++ compiler")
    parser.add_argument("--jax", type=Path, help="an interpreter that has jax")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.bundle and options.dataset is None:
        parser.error("--bundle needs --dataset: drift is measured over recorded episodes")
    report = [measure(f"{size}, untrained", *_with_episodes(untrained(size)), options) for size in options.sizes]
    for path in options.bundle:
        bundle = load_bundle(path)
        with ExperienceStore(options.dataset) as store:
            source = CameraSelection(store, [camera.name for camera in bundle.manifest.cameras])
            held_out = [source.read(info.id) for info in source.episodes() if is_held_out(info)][:10]
        report.append(measure(bundle.manifest.name, agent_of_bundle(bundle), held_out, options))
    print_table(Console(width=130), report)
    measured = {
        "date_utc": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": command(_arguments()),
        "provenance": {key: value for key, value in provenance().items() if key != "command"},
        "machine": {"architecture": platform.machine(), "cores": os.cpu_count(), "load": os.getloadavg()[0]},
        "versions": {"onnxruntime": onnxruntime.__version__, "torch": torch.__version__},
        "rounds": options.rounds,
    }
    report = [item | {"measured": measured} for item in report]
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        temporary = options.out.with_suffix(".tmp")
        temporary.write_text(json.dumps({"agents": merged(options.out, report)}, indent=1) + "\n")
        temporary.replace(options.out)


def _with_episodes(agent: Agent) -> tuple[Agent, list[Steps]]:
    return agent, made_up_episodes(agent)


def _arguments() -> list[str]:
    """The command line, with the last part alone of every path."""
    return [Path(item).name if "/" in item else item for item in sys.argv[1:]]


if __name__ == "__main__":
    main()
