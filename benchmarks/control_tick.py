"""How long one control tick takes, image in to command out: `python -m benchmarks.control_tick [BUNDLE...]`.

The tick is what the control loop does between two deadlines: newest frames out of shared memory, newest telemetry,
step graph, filter, limits, kinematics, command onto a pseudo-terminal. At its far end is `null_device`, a process of
its own. It is measured back to back (warm caches: how fast it can be) and paced (cold caches: what a robot sees),
turn and turn about with the policy steps of other projects whose checkouts are given, and beside the floor, what no
graph of this size can be faster than.

With `--keep FOLDER` runs add up: 100,000 slow ticks may be made in pieces.
"""

import argparse
import gc
import json
import os
import sys
import time
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.floor import floor_of
from benchmarks.peers import Peer, PeerProgram
from benchmarks.samples import Samples
from benchmarks.tick import PHASES, TickBench, describe, null_device
from fosp_edge.bundle.folder import Bundle, load_bundle
from fosp_edge.cli.provenance import commit, versions
from fosp_edge.cli.run_recording import machine
from fosp_edge.cli.shipped import shipped_bundle
from fosp_edge.control.inference import Execution
from fosp_edge.control.pacing import Pacer
from fosp_edge.control.tuning import ways
from fosp_edge.files import write_atomically

WARM_UP, TURN, BREATH_S = 100, 200, 0.06
"""Ticks before the first that counts; ticks of a turn; the pause after it, in which a kernel that grants real-time
processes 95 % of each second has its share, so that it does not take it in the middle of a tick."""
BACK_TO_BACK = 0.0


def mode_name(rate_hz: float) -> str:
    """What a rate is called in the results."""
    return "back to back" if rate_hz == BACK_TO_BACK else f"paced {rate_hz:g} Hz"


def measure(samples: Samples, bundle: Bundle, execution: Execution, peers: list[Peer], ticks: dict[float, int]) -> None:
    """So many ticks at each rate (Hz, `BACK_TO_BACK` without pauses), peers in between."""
    own = f"{bundle.id}|{execution.threads}"
    with null_device(bundle.manifest) as (port, rings):
        bench = TickBench(bundle, port, rings, execution)
        gc.collect()
        gc.freeze()
        try:
            for rate_hz, count in ticks.items():
                mode = mode_name(rate_hz)
                bench.robot.arm()
                bench.run(WARM_UP, None)
                for begin in range(0, count, TURN):
                    pacer = Pacer(1.0 / rate_hz) if rate_hz else None
                    bench.robot.arm()
                    samples.add(f"{own}|{mode}", bench.run(min(TURN, count - begin), pacer))
                    samples.add(f"{own}|{mode}|missed", np.array([pacer.missed if pacer else 0]))
                    if peers:
                        bench.robot.stop(1.0)
                    for peer in peers:
                        seconds = peer.time(min(TURN, count - begin), rate_hz or None)
                        samples.add(f"{peer.name}|{mode}", np.array(seconds))
                    time.sleep(BREATH_S)
        finally:
            bench.close()


def report_of(samples: Samples, bundles: dict[str, Bundle], floors: dict[str, Any], peers: dict[str, Any]) -> Any:
    """Everything measured so far as JSON values."""
    found = samples.all()
    entries: dict[str, Any] = {}
    for name, seconds in sorted(found.items(), key=lambda item: item[0].count("|")):  # peers before bundles
        parts = name.split("|")
        if len(parts) == 2:  # a peer
            peers.setdefault(parts[0], {}).setdefault("modes", {})[parts[1]] = describe(seconds)
        elif len(parts) == 3:
            identity, threads, mode = parts
            about = entries.setdefault(f"{identity}|{threads}", {"sha256": identity, "threads": int(threads)})
            if identity in bundles:
                about["name"] = bundles[identity].manifest.name
                about["graph_bytes"] = len(bundles[identity].graph_bytes)
            figures: dict[str, Any] = {phase: describe(seconds[:, i]) for i, phase in enumerate(PHASES)}
            figures["missed deadlines"] = int(found[f"{name}|missed"].sum())
            about.setdefault("modes", {})[mode] = figures
            if floor := floors.get(identity):
                about["floor"] = floor
                least = floor["floor_warm_ms" if mode == mode_name(BACK_TO_BACK) else "floor_cold_ms"]
                figures["tick over floor"] = round(figures["tick"]["median_ms"] / least, 2)
                figures["inference over floor"] = round(figures["inference"]["median_ms"] / least, 2)
                # By so much could anything be faster than they are, with a graph of this work.
                figures["peers over floor"] = {
                    peer: round(timed["modes"][mode]["median_ms"] / least, 2)
                    for peer, timed in peers.items()
                    if mode in timed.get("modes", {})
                }
    return {"bundles": list(entries.values()), "peers": peers}


def print_table(console: Console, report: dict[str, Any]) -> None:
    """Medians and tails for a person."""
    table = Table("what", "threads", "mode", "phase", "median ms", "p99 ms", "p99.9 ms", "max ms", "ticks")

    def row(what: str, threads: str, mode: str, phase: str, values: dict[str, float]) -> None:
        cells = [f"{values[key]:.3f}" for key in ("median_ms", "p99_ms", "p99.9_ms", "max_ms")]
        table.add_row(what, threads, mode, phase, *cells, str(values["ticks"]))

    for entry in report["bundles"]:
        for mode, figures in entry["modes"].items():
            for phase in PHASES:
                row(entry.get("name", entry["sha256"][:12]), str(entry["threads"]), mode, phase, figures[phase])
    for name, peer in report["peers"].items():
        for mode, figures in peer.get("modes", {}).items():
            row(name, "1", mode, "policy step", figures)
    console.print(table)


def programs(options: argparse.Namespace) -> list[PeerProgram]:
    """The peers that were asked for."""
    found = []
    if options.eager:
        path = str(options.bundles[0] if options.bundles else shipped_bundle())
        found.append(PeerProgram("eager PyTorch", sys.executable, "benchmarks.peers.own_eager", (path,)))
    if options.dreamerv3_torch:
        found.append(
            PeerProgram(
                "dreamerv3-torch", sys.executable, "benchmarks.peers.dreamerv3_torch", (options.dreamerv3_torch,)
            )
        )
    for name, package, preset in (("fosp", "FOSP", "fosp"), ("safedreamer", "SafeDreamer", "bsrp_lag")):
        if checkout := getattr(options, name):
            arguments = (checkout, package, preset)
            found.append(PeerProgram(name, options.jax_python, "benchmarks.peers.official_jax", arguments))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="*", type=Path, help="bundle folders; the shipped one if left out")
    parser.add_argument("--ticks", type=int, default=100_000, help="back to back; 0 for none")
    parser.add_argument("--paced-ticks", type=int, default=10_000, help="at each rate")
    parser.add_argument("--paced-hz", type=float, nargs="*", default=[20.0, 50.0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1], help="of the step graph; more are pinned")
    parser.add_argument("--keep", type=Path, help="folder in which the runs of this benchmark add up")
    parser.add_argument("--note", default="", help="what a reader should know of the machine, kept in the results")
    parser.add_argument("--eager", action="store_true", help="the first bundle's own step in eager PyTorch")
    parser.add_argument("--dreamerv3-torch", help="checkout of NM512/dreamerv3-torch")
    parser.add_argument("--fosp", help="checkout of Sunlighted/FOSP")
    parser.add_argument("--safedreamer", help="checkout of PKU-Alignment/SafeDreamer")
    parser.add_argument("--jax-python", default=sys.executable, help="interpreter that has what the two need")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    options = parser.parse_args()
    bundles = {bundle.id: bundle for bundle in map(load_bundle, options.bundles or [shipped_bundle()])}
    load_before, samples = os.getloadavg()[0], Samples(options.keep)
    ticks = {BACK_TO_BACK: options.ticks} | dict.fromkeys(options.paced_hz, options.paced_ticks)
    cores = sorted(os.sched_getaffinity(0))
    about: dict[str, Any] = {}
    with ExitStack() as stack:
        peers = []
        for program in programs(options):
            peers.append(Peer(program))
            stack.callback(peers[-1].close)
            about[program.name] = peers[-1].about
        for bundle in bundles.values():
            for threads in options.threads:
                execution = next((way for way in ways(cores) if way.threads == threads), Execution(threads))
                measure(samples, bundle, execution, peers if threads == 1 else [], ticks)
    samples.save()
    floors = {identity: floor_of(bundle.graph_bytes) for identity, bundle in bundles.items()}
    report = report_of(samples, bundles, floors, about)
    print_table(Console(width=130), report)
    document = {
        "date_utc": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": commit(),
        "runs": max(1, samples.parts),
        "machine": machine() | {"load_before": load_before, "load_after": os.getloadavg()[0]},
        "versions": versions(),
        "note": options.note,
        **report,
    }
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(options.out, (json.dumps(document, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
