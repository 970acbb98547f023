"""How punctual the tick stays beside a training loop flat out: `python -m benchmarks.jitter --seconds 60`.

At each rate, with and without the isolation measures (`--realtime`'s for control, SCHED_IDLE for the learner as
`run --learn` starts it): deadlines missed, the time from a deadline to the command on the wire, and of it how late the
tick began. The load is a process that trains with as many threads as there are cores: the learner itself, going on with
RUN, if it is given what to learn from, else any network. Runs with one --out add up, kind by kind.

On a rented machine the host takes the processor away now and then, which no measure within it helps against: a witness
(`benchmarks/witness.py`) says how often, and how many of the missed deadlines would have been kept without.

    python -m benchmarks.jitter -- --dataset data/safereach --run runs/jitter --updates 100000
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.tick import TickBench, describe, null_device
from benchmarks.witness import WatchedPacer, Witness
from fosp_edge.bundle.folder import load_bundle
from fosp_edge.cli.provenance import commit, versions
from fosp_edge.cli.run_recording import machine
from fosp_edge.cli.shipped import shipped_bundle
from fosp_edge.control.inference import Execution
from fosp_edge.control.interpreter import prompt_interpreter
from fosp_edge.control.realtime import Realtime, collect_in_slack
from fosp_edge.control.rehearsal import Rehearsal
from fosp_edge.files import write_atomically
from fosp_edge.learning.metrics import METRICS_FILE, read_metrics

_LOAD = """
import torch
net = torch.nn.Sequential(*[torch.nn.Linear(1024, 1024) for _ in range(4)])
optimiser = torch.optim.Adam(net.parameters())
trained = False
while True:
    optimiser.zero_grad()
    net(torch.randn(512, 1024)).square().mean().backward()
    optimiser.step()
    if not trained: print("it trains", flush=True)
    trained = True
"""


class Load:
    """A training loop on every core for as long as it is entered.

    Args:
        isolated: in the idle scheduling class, as `run --learn` starts it.
        training: arguments of `fosp-edge train`, `--run` among them; none for a network of no use.
    """

    def __init__(self, isolated: bool, training: list[str]) -> None:
        environment = {key: value for key, value in os.environ.items() if not key.endswith("_NUM_THREADS")}
        learner = ["-m", "fosp_edge.cli", "train", *training] if training else ["-c", _LOAD]
        self._log = Path(training[training.index("--run") + 1]) / METRICS_FILE if training else None
        self._before = len(self._updates())
        self._process = subprocess.Popen([sys.executable, *learner], env=environment, stdout=subprocess.PIPE)
        policy = os.SCHED_IDLE if isolated else os.SCHED_OTHER
        os.sched_setscheduler(self._process.pid, policy, os.sched_param(0))

    def __enter__(self) -> "Load":
        assert self._process.stdout is not None
        if self._log is None:
            self._process.stdout.readline()  # it trains
            return self
        while len(self._updates()) <= self._before:
            if self._process.poll() is not None:
                raise SystemExit(f"the learner ended before it began: {self._process.stdout.read().decode()}")
            time.sleep(0.2)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()  # the learner writes a checkpoint then
        self._process.communicate()

    def check(self) -> None:
        """Raises SystemExit if it ended by itself: there was no load then."""
        if self._process.poll() is not None:
            raise SystemExit("the learner came to its end during the measurement: give it more --updates")

    def updates_per_s(self) -> float | None:
        """How fast it learnt while it was entered; None for a network of no use, or too short a time."""
        lines = self._updates()[self._before :]
        if len(lines) < 2:
            return None
        return (lines[-1]["update"] - lines[0]["update"]) / (lines[-1]["seconds"] - lines[0]["seconds"])

    def _updates(self) -> list[dict[str, float]]:
        return read_metrics(self._log) if self._log is not None and self._log.exists() else []


def measure(bench: TickBench, rate_hz: float, seconds: float, isolated: bool, training: list[str]) -> dict[str, object]:
    """So many seconds at a rate beside the load."""
    realtime, pacer = Realtime(), WatchedPacer(1.0 / rate_hz)
    rehearsal = Rehearsal(bench.controller.rehearse, 1.0 / rate_hz) if isolated else None
    late, done, witness = [], [], Witness(os.sched_getaffinity(0))
    with Load(isolated, training) as load, witness, prompt_interpreter():
        taken = {item.name: item.had for item in realtime.acquire()} if isolated else {}
        bench.robot.arm()
        try:
            for _ in range(round(seconds * rate_hz)):
                release = pacer.wait(rehearsal)
                bench.tick()
                late.append(release.late_s)
                done.append((time.monotonic_ns() - release.scheduled_ns) * 1e-9)
                collect_in_slack()
        finally:
            realtime.release()
            bench.robot.stop(1.0)
        load.check()
        learnt = load.updates_per_s()
    return {
        "seconds": seconds,
        "load": "fosp-edge train" if training else "a training loop",
        "updates per second": learnt,
        "measures": taken | {"learner SCHED_IDLE": isolated, "rehearsal": isolated},
        "missed": pacer.missed,
        "missed while the machine stood still": pacer.missed_while_stopped(witness),
        "machine stood still": witness.summary(),
        "began late": describe(np.array(late)),
        "deadline to command": describe(np.array(done)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--seconds", type=float, default=600.0, help="of each kind")
    parser.add_argument("--rates-hz", type=float, nargs="*", default=[20.0, 50.0, 100.0])
    parser.add_argument("--only", choices=["with", "without"], help="only with, or only without the measures")
    parser.add_argument("--note", default="", help="what a reader should know of the machine")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/jitter.json"))
    parser.add_argument("training", nargs="*", help="after --: arguments of `fosp-edge train`, --run among them")
    options = parser.parse_args()
    if options.training and "--run" not in options.training:
        parser.error("the learner wants a --run of its own, to see whether it trains")
    bundle, kinds = load_bundle(options.bundle or shipped_bundle()), [False, True]
    if options.only:
        kinds = [options.only == "with"]
    document = json.loads(options.out.read_text()) if options.out.exists() else {"results": {}}
    document |= {"machine": machine(), "versions": versions()}
    with null_device(bundle.manifest) as (port, rings):
        bench = TickBench(bundle, port, rings, Execution())
        bench.run(50, None)
        for rate_hz in options.rates_hz:
            for isolated in kinds:
                name = f"{bundle.manifest.name}, {rate_hz:g} Hz, {'with' if isolated else 'without'} measures"
                found = measure(bench, rate_hz, options.seconds, isolated, options.training)
                about = {"commit": commit(), "load_average": os.getloadavg()[0], "note": options.note}
                document["results"][name] = found | about
                print(name, found["missed"], found["deadline to command"], found["updates per second"], flush=True)
                options.out.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(options.out, (json.dumps(document, indent=1) + "\n").encode())
        bench.close()


if __name__ == "__main__":
    main()
