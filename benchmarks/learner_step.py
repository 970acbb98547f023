"""How long one update of learning takes, beside NM512/dreamerv3-torch on the same machine in the same run.

Rounds of one update each, interleaved, so that what disturbs the machine disturbs all; medians are reported, of wall
time and of processor time (which does not count the time others had the core). Sizes are FOSP's `small` for both:
16 x 64, two cameras, 48 x 48 categoricals. Every arm is a process of its own, so that what one does to its allocator
is its own affair: ours keep freed memory, as `fosp-edge train` does; the peer runs as its users run it, and in the
arms that end in `-kept` with the same. The floor is what the matrix products of an update take at the rate that a large
one of that precision reaches here. Runs can be split: each adds its rounds to the result file. Split them where memory
is short: every arm keeps two to four gigabytes at `small`.

    python -m benchmarks.learner_step --peer DREAMERV3_TORCH --threads 2 --out benchmarks/results/learner_step.json
    python -m benchmarks.learner_step --arms heads,behaviour --rounds 20 --out benchmarks/results/learner_step.json

With `--device cuda` ours are recorded as CUDA graphs (arms that end in `-eager` are not, those in `-compiled` have the
recurrence fused besides), and NM512/r2dreamer takes part as its users run it: compiled, in float16.

    python -m benchmarks.learner_step --device cuda --peer DREAMERV3_TORCH --r2dreamer R2DREAMER --rounds 40 --out ...
"""

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.peers import dreamerv3_torch, r2dreamer
from fosp_edge.agent.config import Config, make_config
from fosp_edge.cli.provenance import provenance
from fosp_edge.files import write_atomically
from fosp_edge.learning.batch import Batch
from fosp_edge.learning.learner import make_learner
from fosp_edge.learning.precision import keep_freed_memory

ARMS = (
    "model", "model-bf16", "peer-model", "peer-model-kept",
    "full", "full-bf16", "peer-full", "peer-full-kept",
    "heads", "heads-bf16", "behaviour", "behaviour-bf16",
)  # fmt: skip
"""World model; all of FOSP, the peer's with its behaviour; light modes of fine-tuning, from cached latents."""
GPU_ARMS = (
    "model-eager", "model", "model-bf16", "model-bf16-compiled", "peer-model",
    "full-eager", "full", "full-bf16", "full-bf16-compiled", "peer-full",
    "r2dreamer-eager", "r2dreamer", "r2dreamer-decoder", "heads-bf16", "behaviour-bf16",
)  # fmt: skip
RATIOS = [
    (peer, own)
    for whole, light in (("model", ()), ("full", ("heads", "behaviour")))
    for own in (whole, f"{whole}-bf16", *light, *(f"{mode}-bf16" for mode in light))
    for peer in (f"peer-{whole}", f"peer-{whole}-kept")
]
"""Light modes are held against the peer's whole update, which is what its users have for fine-tuning."""
GPU_RATIOS = [
    (peer, own)
    for peer, owns in (
        ("peer-model", "model"),
        ("peer-full", "full"),
        ("r2dreamer-eager", "full"),
        ("r2dreamer", "full"),
        ("r2dreamer-decoder", "full"),
    )
    for own in (f"{owns}-eager", owns, f"{owns}-bf16", f"{owns}-bf16-compiled")
]
CPU = torch.device("cpu")
_TOP = 12


@dataclass(frozen=True)
class Cost:
    """What one update took."""

    wall_s: float
    processor_s: float


def columns(config: Config, seed: int = 0) -> dict[str, np.ndarray]:
    """Made-up experience, [B, T, ...]: noise costs what pictures cost."""
    random = np.random.default_rng(seed)
    shape = (config.batch_size, config.batch_length)
    first = np.zeros(shape, bool)
    first[:, 0] = True
    return {
        "image": random.integers(0, 256, (*shape, 64, 64, config.image_channels), np.uint8),
        "state": random.standard_normal((*shape, config.state_size), np.float32),
        "action": random.uniform(-1.0, 1.0, (*shape, config.action_size)).astype(np.float32),
        "reward": random.standard_normal(shape, np.float32),
        "cost": (random.random(shape) < 0.1).astype(np.float32),
        "violation": (random.random(shape) < 0.1).astype(np.float32),
        "is_first": first,
        "is_terminal": np.zeros(shape, bool),
    }  # fmt: skip


def our_update(arm: str, config: Config, device: torch.device) -> Callable[[], object]:
    """An update of this software's learner: from numpy columns on, on a GPU from a batch that is there already.

    (There batches are drawn ahead, `learning/prefetch.py`, and the peers' lie on the GPU too.)
    """
    what, *ways = arm.split("-")
    if "bf16" in ways:
        config = replace(config, precision="bfloat16")
    config = replace(config, cuda_graphs="eager" not in ways, compiled="compiled" in ways)
    if what == "model":
        config = replace(config, behaviour_from=10**9)
    elif what != "full":
        config = replace(config, scope=what)
    learner, drawn = make_learner(config, device), columns(config)
    if what in ("heads", "behaviour"):
        with torch.no_grad():
            latents = learner.observe(Batch.from_numpy(drawn, device))[0]
        drawn["deterministic"] = latents.deterministic.cpu().numpy()
        drawn["stochastic"] = latents.stochastic.argmax(-1).cpu().numpy().astype(np.uint16)

    def batch() -> Batch:
        return Batch.from_numpy(drawn, device, config.classes)

    if device.type == "cpu":
        return lambda: learner.update(batch(), 0)
    there = batch()
    return lambda: learner.update(there, 0)


def timed(update: Callable[[], object]) -> Cost:
    wait = torch.cuda.synchronize if torch.cuda.is_initialized() else bool
    wait()
    wall, processor = time.perf_counter(), time.process_time()
    update()
    wait()
    return Cost(time.perf_counter() - wall, time.process_time() - processor)


def product_rate(kind: torch.dtype, seconds: float = 2.0) -> float:
    """Floating point operations per second of the best of many large matrix products, per second of processor time."""
    side, best, end = 1024, 0.0, time.perf_counter() + seconds
    one, other = torch.randn(side, side, dtype=kind), torch.randn(side, side, dtype=kind)
    while time.perf_counter() < end:
        begin = time.process_time()
        torch.mm(one, other)
        best = max(best, 2.0 * side**3 / max(time.process_time() - begin, 1e-9))
    return best


def operations(update: Callable[[], object]) -> int:
    """Floating point operations of the products and convolutions of one update, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        update()
    return int(counter.get_total_flops())


def where_time_goes(update: Callable[[], object]) -> list[dict[str, Any]]:
    """The operators that take most of one update, each with its share."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        update()
    events = sorted(profile.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    return [
        {"operator": event.key, "calls": event.count, "share": round(event.self_cpu_time_total / total, 4)}
        for event in events[:_TOP]
    ]


def serve(
    arm: str, config: Config, peers: dict[str, Path | None], device: torch.device, threads: int, orders: Connection
) -> None:
    """One arm in a process of its own: answers `update` with what it took, `work` with what it consists of."""
    torch.set_num_threads(threads)
    if is_ours(arm) or arm.endswith("-kept"):
        keep_freed_memory()
    checkout = peers["r2dreamer" if arm.startswith("r2dreamer") else "peer"]
    if is_ours(arm):
        update = our_update(arm, config, device)
    elif arm.startswith("peer"):
        assert checkout is not None
        size = {"dyn_stoch": config.groups, "dyn_discrete": config.classes, "dyn_deter": config.deterministic,
                "dyn_hidden": config.hidden, "units": config.hidden}  # fmt: skip
        name = arm.removesuffix("-kept")
        update = dreamerv3_torch.updates(checkout, columns(config), [name], device.type, **size)[name]
    else:
        assert checkout is not None
        update = r2dreamer.updates(
            checkout, columns(config), [arm], config.hidden, config.groups, config.classes, config.deterministic
        )[arm]
    for _ in range(6):  # until the allocator has what it needs, and a GPU its recordings
        update()
    orders.send("ready")
    while (order := orders.recv()) != "end":
        if order == "update":
            orders.send(vars(timed(update)))
        else:
            kind = torch.bfloat16 if arm.endswith("bf16") else torch.float32
            work = {"operations": operations(update), "operators": where_time_goes(update)}
            orders.send(work | {"product_rate_per_s": product_rate(kind)})


def is_ours(arm: str) -> bool:
    return not arm.startswith(("peer", "r2dreamer"))


def summarise(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each device and number of threads: medians over all rounds, ratios, and how far from the products' floor."""
    kinds: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for run in runs:
        kinds.setdefault((run.get("device", "cpu"), run["threads"]), []).append(run)
    return [
        {"device": device, "threads": threads} | _summary(kinds[device, threads]) for device, threads in sorted(kinds)
    ]


def _summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    arms: dict[str, Any] = {}
    for arm in dict.fromkeys(ARMS + GPU_ARMS):
        rounds = [cost for run in runs for cost in run["rounds"].get(arm, [])]
        if rounds:
            arms[arm] = {"rounds": len(rounds)} | {
                f"{name}_median": round(statistics.median(cost[name] for cost in rounds), 4)
                for name in ("wall_s", "processor_s")
            }
    ratios = {
        f"{peer} / {own}": round(arms[peer]["wall_s_median"] / arms[own]["wall_s_median"], 2)
        for peer, own in dict.fromkeys(RATIOS + GPU_RATIOS) if peer in arms and own in arms
    }  # fmt: skip
    for run in runs:
        for arm, work in run["work"].items():
            floor_s = work["operations"] / work["product_rate_per_s"]
            share = floor_s / arms[arm]["processor_s_median"]
            arms[arm] |= {"products_floor_s": round(floor_s, 4), "floor_share": round(share, 3)}
    return {"arms": arms, "ratios": ratios}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--arms", help=f"of {', '.join(ARMS)}; on a GPU {', '.join(GPU_ARMS)}; peers if they are given")
    parser.add_argument("--peer", type=Path, help="a checkout of NM512/dreamerv3-torch")
    parser.add_argument("--r2dreamer", type=Path, help="a checkout of NM512/r2dreamer, for a GPU")
    parser.add_argument("--size", default="small")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--profile", action="store_true", help="also count operations and profile our arms")
    parser.add_argument("--batch", type=int, default=16, help="sequences")
    parser.add_argument("--length", type=int, default=64, help="rows of each")
    parser.add_argument("--patience", type=float, default=900.0, help="seconds for all arms to compile and warm up")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    device = torch.device(options.device)
    known = ARMS if options.device == "cpu" else GPU_ARMS
    peers = {"peer": options.peer, "r2dreamer": options.r2dreamer}
    absent = tuple(name for name, checkout in peers.items() if checkout is None)
    wanted = [arm for arm in (options.arms.split(",") if options.arms else known) if not arm.startswith(absent)]
    if unknown := set(wanted) - set(known):
        parser.error(f"unknown arms {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    changes = {"behaviour_from": 0, "model_until": None, "batch_size": options.batch, "batch_length": options.length}
    config = make_config(options.size, "fosp", **changes)
    context = multiprocessing.get_context("spawn")
    served: dict[str, tuple[Connection, Any]] = {}
    for arm in wanted:
        ours, theirs = context.Pipe()
        arguments = (arm, config, peers, device, options.threads, theirs)
        served[arm] = ours, context.Process(target=serve, args=arguments)
        served[arm][1].start()
        theirs.close()
    latest = time.monotonic() + options.patience
    for arm, (orders, process) in list(served.items()):
        try:
            if not orders.poll(max(0.0, latest - time.monotonic())):
                raise EOFError
            orders.recv()
        except EOFError:
            print(f"{arm} is not ready after {options.patience:.0f} s; it is left out", flush=True)
            process.kill()
            del served[arm]
    rounds: dict[str, list[dict[str, float]]] = {arm: [] for arm in served}
    for number in range(options.rounds):
        for arm, (orders, _) in served.items():
            orders.send("update")
            rounds[arm].append(orders.recv())
        print(f"round {number + 1}: " + ", ".join(f"{arm} {took[-1]['wall_s']:.4f} s" for arm, took in rounds.items()))
    work = {}
    for arm, (orders, _) in served.items():
        if options.profile and is_ours(arm):
            orders.send("work")
            work[arm] = orders.recv()
    for orders, process in served.values():
        orders.send("end")
        process.join()
    run: dict[str, Any] = {
        "provenance": provenance(
            benchmark="learner_step", peer=peer_commit(options.peer), r2dreamer=peer_commit(options.r2dreamer)
        ),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "threads": options.threads,
        "environment": {name: value for name, value in os.environ.items() if name.startswith(("MALLOC_", "GLIBC_"))},
        "configuration": config.to_dict(),
        "load_average": os.getloadavg()[0],
        "rounds": rounds,
        "work": work,
    }
    runs = json.loads(options.out.read_text())["runs"] if options.out.exists() else []
    runs.append(run)
    result = {"summary": summarise(runs), "runs": runs}
    write_atomically(options.out, (json.dumps(result, indent=1) + "\n").encode())
    print(json.dumps(result["summary"], indent=1))


def peer_commit(peer: Path | None) -> str | None:
    """What the checkout says it is, in a file COMMIT beside its sources, or its own history."""
    if peer is None:
        return None
    if (peer / "COMMIT").exists():
        return (peer / "COMMIT").read_text().strip()
    found = subprocess.run(["git", "-C", str(peer), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


if __name__ == "__main__":
    main()
