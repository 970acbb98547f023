"""Offline training: batches in, a checkpoint out, resumable at any moment."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from fosp_edge.learning import parallel
from fosp_edge.learning.batch import Batch
from fosp_edge.learning.checkpoint import CHECKPOINT_FILE, CheckpointError, resume, save_checkpoint
from fosp_edge.learning.divergence import DivergenceGuard
from fosp_edge.learning.learner import Learner, Metrics, NotFiniteLossError
from fosp_edge.learning.metrics import METRICS_FILE, forget_after
from fosp_edge.learning.prefetch import Prefetcher
from fosp_edge.learning.samplers import Columns, Sampler


class MetricWriter(Protocol):
    """What the trainer uses of TensorBoard's SummaryWriter."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None: ...  # noqa: D102


Illustrate = Callable[[int], None]
"""Draws pictures of what was learnt so far; called with the number of updates where validation is due."""


class TrainingDivergedError(RuntimeError):
    """Training met a loss that is not a number; the message names it and the last good checkpoint."""


@dataclass(frozen=True)
class Progress:
    """What a progress display needs."""

    update: int
    updates: int
    updates_per_s: float
    metrics: Metrics
    saved: bool


@dataclass(frozen=True)
class Schedule:
    """How often things are written."""

    log_every: int = 25
    validate_every: int = 250
    checkpoint_every_s: float = 120.0


class Trainer:
    """Runs a learner over a sampler into a run folder."""

    def __init__(
        self,
        learner: Learner,
        sampler: Sampler,
        folder: Path,
        *,
        notes: Mapping[str, Any],
        writer: MetricWriter | None = None,
        validation: Sampler | None = None,
        schedule: Schedule | None = None,
        illustrate: Illustrate | None = None,
    ) -> None:
        self._learner, self._sampler, self._validation = learner, sampler, validation
        self._folder, self._notes, self._writer = folder, dict(notes), writer
        self._schedule, self._illustrate = schedule or Schedule(), illustrate
        self._guard = DivergenceGuard()
        self._ahead = Prefetcher(sampler, self._batch, learner.device) if learner.device.type == "cuda" else None
        self._path = folder / CHECKPOINT_FILE
        self.update = 0
        self._seconds = 0.0

    def resume(self) -> int:
        """Go on from the run folder's checkpoint, if there is one; returns the updates already done."""
        if self._path.exists():
            progress = resume(self._path, self._learner)["progress"]
            self.update, self._seconds = int(progress["update"]), float(progress["seconds"])
            self._take_up(progress)
            if parallel.rank() == 0:
                forget_after(self._folder / METRICS_FILE, self.update)
        if len(found := set(map(str, parallel.told_by_all({"update": self.update}, self._learner.device)))) > 1:
            raise CheckpointError(f"the processes found different checkpoints in {self._folder}: {', '.join(found)}")
        return self.update

    def _take_up(self, progress: Mapping[str, Any]) -> None:
        """Go on with this process's own random draws."""
        others = progress.get("others", [])
        if len(others) + 1 != parallel.count():
            raise CheckpointError(
                f"{self._path} was written by {len(others) + 1} processes, here are {parallel.count()}; "
                "go on with as many as before"
            )
        if parallel.rank() == 0:
            self._sampler.restore(progress["sampler"])
            return
        own = others[parallel.rank() - 1]
        self._sampler.restore(own["sampler"])
        self._learner.generator.set_state(torch.frombuffer(bytearray.fromhex(own["generator"]), dtype=torch.uint8))

    def step(self) -> Metrics:
        """One update, for callers with a loop of their own; nothing is logged or saved. Raises as `run`."""
        started = time.monotonic()
        batch = self._batch(self._sampler.sample()) if self._ahead is None else self._ahead.take()
        try:
            metrics = self._learner.update(batch, self.update)
        except NotFiniteLossError as error:
            raise TrainingDivergedError(self._diagnosis(str(error))) from error
        except RuntimeError as error:  # torch refuses to draw from probabilities that are not numbers
            if all(bool(value.isfinite().all()) for value in self._learner.agent.parameters()):
                raise
            raise TrainingDivergedError(self._diagnosis("the agent's weights are no longer numbers")) from error
        if complaint := self._guard.judge(metrics):
            raise TrainingDivergedError(self._diagnosis(complaint))
        self.update += 1
        self._seconds += time.monotonic() - started
        return metrics

    def run(
        self,
        on_progress: Callable[[Progress], None],
        stop: threading.Event,
        before_update: Callable[[], None] | None = None,
    ) -> None:
        """Train until the configured number of updates or until `stop` is set; either way ends with a checkpoint.

        Args:
            on_progress: told at every line of the log.
            stop: ends training after the update under way.
            before_update: called before each update, for instance to throttle.

        Raises:
            TrainingDivergedError: a loss became NaN, infinite or exploded; the last good checkpoint stays untouched.
        """
        updates, averages = self._learner.config.updates, _Averages()
        saved_at = logged_at = time.monotonic()
        logged_update = self.update
        while self.update < updates and not parallel.any_of(stop.is_set(), self._learner.device):
            if before_update is not None:
                before_update()
            averages.add(self.step())
            if self.update % self._schedule.log_every and self.update != updates:
                continue
            now = time.monotonic()
            metrics = averages.take() | _told_by(self._sampler)
            if self.update % self._schedule.validate_every == 0 and parallel.rank() == 0:
                if self._validation is not None:
                    metrics |= self._validate(self._validation)
                if self._illustrate is not None:
                    self._illustrate(self.update)
            due = now - saved_at > self._schedule.checkpoint_every_s and self.calm
            saved = parallel.any_of(due, self._learner.device)
            if saved:
                self.save()
                saved_at = now
            self._log(metrics)
            speed = (self.update - logged_update) / max(now - logged_at, 1e-9)
            logged_at, logged_update = now, self.update
            on_progress(Progress(self.update, updates, speed, metrics, saved))
        self.save()

    @property
    def calm(self) -> bool:
        """Whether no loss is suspected of exploding: what may be must not take the place of what is good."""
        return self._guard.calm

    def save(self) -> None:
        """Write a checkpoint from which `resume` goes on. Of several processes the first writes, for all."""
        generator = bytes(self._learner.generator.get_state().tolist()).hex() if parallel.rank() else ""
        drawn = {"sampler": (self._ahead or self._sampler).state(), "generator": generator}
        first, *others = parallel.told_by_all(drawn, self._learner.device)
        if parallel.rank():
            return
        progress = {"update": self.update, "seconds": self._seconds, "sampler": first["sampler"]}
        progress |= {"others": others} if others else {}
        save_checkpoint(self._path, self._learner, progress, self._notes)

    def _batch(self, columns: Columns) -> Batch:
        return Batch.from_numpy(columns, self._learner.device, self._learner.config.classes)

    def _log(self, metrics: Metrics) -> None:
        if parallel.rank():
            return
        if self._writer is not None:
            for name, value in metrics.items():
                self._writer.add_scalar(name, value, self.update)
        line = json.dumps({"update": self.update, "seconds": round(self._seconds, 1)} | metrics)
        with (self._folder / METRICS_FILE).open("a") as file:
            file.write(line + "\n")

    @torch.no_grad()
    def _validate(self, sampler: Sampler) -> Metrics:
        batch = self._batch(sampler.sample())
        latents, posterior, prior = self._learner.observe(batch)
        losses = self._learner.model_losses(batch, latents, posterior, prior)
        return {f"validation/{name}": float(value) for name, value in losses.items()}

    def _diagnosis(self, complaint: str) -> str:
        good = f"the last good checkpoint is {self._path}" if self._path.exists() else "no checkpoint was written yet"
        return (
            f"Training stopped at update {self.update}: {complaint}. {good[0].upper()}{good[1:]}. "
            "Look at the gradient norms in TensorBoard just before; a smaller learning rate or cleaner data cures it."
        )


def _told_by(sampler: Sampler) -> Metrics:
    """What a sampler has to say of its data, if it says anything."""
    tell = getattr(sampler, "metrics", None)
    told: Metrics = tell() if tell is not None else {}
    return told


class _Averages:
    """Means of metrics between two log lines."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def add(self, metrics: Metrics) -> None:
        for name, value in metrics.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1

    def take(self) -> Metrics:
        means = {name: total / self._counts[name] for name, total in self._sums.items()}
        self._sums.clear()
        self._counts.clear()
        return means
