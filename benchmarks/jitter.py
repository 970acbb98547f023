"""How punctual the tick stays beside a training loop flat out: `python -m benchmarks.jitter --seconds 60`.

At each rate, with and without `--realtime`'s measures: deadlines missed, and the time from a deadline to the command on
the wire. The load is a process that trains a network with as many threads as there are cores.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.control_tick import TickBench, commit, describe, null_device, processor
from fosp_edge.bundle.folder import load_bundle
from fosp_edge.cli.shipped import shipped_bundle
from fosp_edge.control.pacing import Pacer
from fosp_edge.control.realtime import Realtime

_LOAD = """
import torch
net = torch.nn.Sequential(*[torch.nn.Linear(1024, 1024) for _ in range(4)])
optimiser = torch.optim.Adam(net.parameters())
while True:
    optimiser.zero_grad()
    net(torch.randn(512, 1024)).square().mean().backward()
    optimiser.step()
"""


def measure(bench: TickBench, rate_hz: float, seconds: float, measures: bool) -> dict[str, object]:
    realtime = Realtime()
    taken = {item.name: item.had for item in realtime.acquire()} if measures else {}
    pacer, done = Pacer(1.0 / rate_hz), []
    bench.robot.arm()
    try:
        for _ in range(round(seconds * rate_hz)):
            release = pacer.wait()
            bench.tick()
            done.append((time.monotonic_ns() - release.scheduled_ns) * 1e-9)
    finally:
        realtime.release()
        bench.robot.stop(1.0)
    return {"measures": taken, "missed": pacer.missed, "deadline to command": describe(np.array(done))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--seconds", type=float, default=600.0, help="of each kind")
    parser.add_argument("--rates-hz", type=float, nargs="*", default=[20.0, 50.0, 100.0])
    parser.add_argument("--note", default="", help="what a reader should know of the machine")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/jitter.json"))
    options = parser.parse_args()
    bundle = load_bundle(options.bundle or shipped_bundle())
    environment = {key: value for key, value in os.environ.items() if not key.endswith("_NUM_THREADS")}
    load = subprocess.Popen([sys.executable, "-c", _LOAD], env=environment)
    results: dict[str, object] = {}
    try:
        with null_device(bundle.manifest) as (port, rings):
            bench = TickBench(bundle, port, rings, 1)
            bench.run(50, None)
            for rate_hz in options.rates_hz:
                for measures in (False, True):
                    name = f"{rate_hz:g} Hz, {'with' if measures else 'without'} measures"
                    results[name] = found = measure(bench, rate_hz, options.seconds, measures)
                    print(name, found["missed"], found["deadline to command"], flush=True)
            bench.close()
    finally:
        load.kill()
        load.wait()
    document = {
        "commit": commit(),
        "bundle": bundle.manifest.name,
        "seconds": options.seconds,
        "processor": processor(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg(),
        "note": options.note,
        "results": results,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    temporary = options.out.with_suffix(".tmp")
    temporary.write_text(json.dumps(document, indent=2) + "\n")
    temporary.replace(options.out)


if __name__ == "__main__":
    main()
