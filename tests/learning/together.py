"""What test_parallel starts, alone or by `torchrun`: a few updates over made-up batches, each process on its share.

python -m tests.learning.together FOLDER UPDATES PROCESSES [STOP]

STOP: the first process asks for the end after that update; all must end there.
"""

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


def main() -> None:
    folder, updates, processes = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    device = parallel.join(torch.device("cpu"))
    assert parallel.count() == processes
    learner = make_learner(config_of(updates, WHOLE_BATCH // processes, seed=0), device)
    sampler = Share(config_of(updates, WHOLE_BATCH, seed=0))
    trainer = Trainer(learner, sampler, folder, notes={}, schedule=Schedule(log_every=1, checkpoint_every_s=1e9))
    trainer.resume()
    stop, last = threading.Event(), int(sys.argv[4]) if len(sys.argv) > 4 else updates

    def end(step: Progress) -> None:
        if step.update >= last and parallel.rank() == 0:
            stop.set()

    trainer.run(end, stop)
    parallel.leave()


if __name__ == "__main__":
    main()
