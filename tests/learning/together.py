"""What test_parallel starts: a few updates over made-up batches, by one process or several.

    python -m tests.learning.together FOLDER UPDATES PROCESSES [STOP] [+ FOLDER UPDATES PROCESSES [STOP]] ...

STOP: the first process asks for the end after that update; all must end there. The processes find each other as those
of `torchrun` do, but are forks of this one, which has loaded torch and used nothing of it: seven starts of Python would
take longer than all updates.
"""

import os
import socket
import sys
import threading
from pathlib import Path

import numpy as np
import torch

from fosp_edge.agent.config import Config
from fosp_edge.learning import parallel
from fosp_edge.learning.learner import make_learner
from fosp_edge.learning.trainer import Progress, Schedule, Trainer
from tests.agent.sizes import tiny_config
from tests.learning.batches import MadeUpSampler

WHOLE_BATCH = 4


def config_of(updates: int, batch: int, seed: int) -> Config:
    """One class per categorical and no imagination: nothing is drawn, and curves can be compared number by number."""
    return tiny_config(
        classes=1, horizon=0, batch_size=batch, updates=updates, seed=seed, advantage_weighting=True, lagrangian=True
    )


class Share(MadeUpSampler):
    """This process's sequences of each whole batch."""

    def sample(self) -> dict[str, np.ndarray]:
        share = WHOLE_BATCH // parallel.count()
        first = share * parallel.rank()
        return {name: values[first : first + share] for name, values in super().sample().items()}


def learn(folder: Path, updates: int, stop_at: int) -> None:
    """What each process does; its environment says which one it is."""
    device = parallel.join(torch.device("cpu"))
    learner = make_learner(config_of(updates, WHOLE_BATCH // parallel.count(), seed=0), device)
    sampler = Share(config_of(updates, WHOLE_BATCH, seed=0))
    trainer = Trainer(learner, sampler, folder, notes={}, schedule=Schedule(log_every=1, checkpoint_every_s=1e9))
    trainer.resume()
    stop = threading.Event()

    def end(step: Progress) -> None:
        if step.update >= stop_at and parallel.rank() == 0:
            stop.set()

    trainer.run(end, stop)
    parallel.leave()


def start(folder: Path, updates: int, processes: int, stop_at: int) -> None:
    """Fork the processes and wait for them; one that fails ends all with its status."""
    folder.mkdir(exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes)}
    children = []
    for number in range(processes):
        if (child := os.fork()) == 0:
            os.environ |= {"RANK": str(number), "LOCAL_RANK": str(number)}
            learn(folder, updates, stop_at)
            os._exit(0)
        children.append(child)
    failed = [child for child in children if os.waitpid(child, 0)[1] != 0]
    if failed:
        raise SystemExit(f"{len(failed)} of {processes} processes failed")


def main() -> None:
    text = " ".join(sys.argv[1:])
    for words in (part.split() for part in text.split("+")):
        updates = int(words[1])
        start(Path(words[0]), updates, int(words[2]), int(words[3]) if len(words) > 3 else updates)


if __name__ == "__main__":
    main()
