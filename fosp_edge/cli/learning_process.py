"""The learner beside a robot: updates, now and then a candidate, the gate, a proposal; and again, until told to stop.

It shares nothing with the control loop but files: the experience store (read), the versions (written under a lock), its
status (written) and the loop's pulse (read). Killed at any moment it goes on from its last checkpoint.
"""

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from export.restore import agent_of_bundle
from fosp_edge.agent.config import Config
from fosp_edge.bundle.admission import DEFAULT_THRESHOLDS, GateThresholds
from fosp_edge.bundle.folder import Bundle
from fosp_edge.bundle.manifest import BundleError, Manifest
from fosp_edge.cli.candidate import NoCandidate
from fosp_edge.cli.home import Home, append_json, read_json, write_json
from fosp_edge.cli.judged_candidate import judge_candidate
from fosp_edge.cli.learner_data import SOURCE, LearnerData, is_learnt_from
from fosp_edge.cli.learner_note import LearnerNote
from fosp_edge.cli.learnt_from import through_its_cameras, unlike_training
from fosp_edge.experience.store import ExperienceStore
from fosp_edge.learning.average import AVERAGE_FILE, MovingAverage
from fosp_edge.learning.checkpoint import CHECKPOINT_FILE, CheckpointError
from fosp_edge.learning.finetuning import begin_fine_tuning, fine_tuning_config, fine_tuning_sampler
from fosp_edge.learning.learner import Learner, Metrics
from fosp_edge.learning.own_experience import OwnExperience
from fosp_edge.learning.pace import AUTOMATIC, MODES, Throttle, choose_mode, resident_bytes
from fosp_edge.learning.trainer import Trainer, TrainingDivergedError

_REFUSALS_BEFORE_ANEW = 3
_ENDLESS = 10_000_000
_REFRESH_EVERY = 10
"""Updates between two looks for new episodes: counted, not timed, so that what is learnt of what was lived when can be
learnt again."""


class _Stopped(Exception):  # noqa: N818 - an order
    """Somebody wants the learner to end, in the middle of something long."""


class MemoryExceeded(RuntimeError):  # noqa: N818 - a state
    """The learner outgrew its bound and ended itself before it harms the robot; the message says by how much."""


@dataclass(frozen=True)
class LearnSettings:
    """How the learner goes about it."""

    mode: str = "auto"
    memory_bytes: int = 2 << 30
    """Of the whole process. Kept by taking as much offline data as fits, and checked."""
    updates_per_candidate: int = 400
    """About what it takes until a policy has moved at all; a gate takes as long as fifty updates."""
    episodes_per_candidate: int = 10
    """New own episodes without which a further candidate would only be the last one again."""
    compared_episodes: int = 40
    """Held-out episodes of each origin that the gate compares on."""
    offline_rows: int = 20_000
    cost_emphasis: float = 4.0
    """How many times as much as offline the cost advantage weighs on feasible actions. With the same weight, candidates
    trade expected cost for value: two percent more of it, by the critics of the bundle they began from."""
    average_rate: float = 0.002
    """A candidate is the average of the weights over the last 1 / rate updates. The weights themselves go on walking
    about what was learnt: driven by them, a robot was in violation more often than before, by their average not beyond
    chance (docs/keep-learning.md)."""
    checkpoint_every_s: float = 60.0
    updates: int | None = None
    """End after so many; None goes on until stopped."""
    gate: bool = True
    """False proposes whatever was learnt: only for showing what the gate is worth."""
    device: str = "cpu"
    """Where updates are made; candidates are exported and judged on the CPU, where the robot runs them."""
    seed: int = 0


def config_of(agent: Config, mode: str, settings: LearnSettings, feasible_reachability: float) -> Config:
    """How a robot's learner goes on from an agent of this configuration.

    No action above `feasible_reachability` is imitated, nor one above what the agent was learnt with: what the filter
    would have stopped is no example (docs/keep-learning.md, with what was measured).
    """
    return fine_tuning_config(
        agent, scope=MODES[mode], updates=_ENDLESS, seed=settings.seed, safety=agent.safety, imitates="proven",
        cost_emphasis=settings.cost_emphasis,
        # Which policy's action is taken is judged as the actions to imitate are: with the paper's 0.1, an agent whose
        # policy was weighted by cost would let costs decide hardly anything.
        expansion_cost_weight=max(agent.expansion_cost_weight, agent.feasible_cost_weight),
        feasible_reachability=min(agent.feasible_reachability, feasible_reachability),
        # The filter's judge is not taught by what the filter let happen, unless the latent states that it reads change.
        reachability_learns=mode == "full",
    )  # fmt: skip


@dataclass(frozen=True)
class _Course:
    """Learning on from one bundle."""

    learner: Learner
    trainer: Trainer
    average: MovingAverage
    own: OwnExperience
    data: LearnerData
    mode: str

    def step(self) -> Metrics:
        metrics = self.trainer.step()
        self.average.update()
        return metrics

    def save(self) -> None:
        self.trainer.save()
        self.average.save()


class LearnerProcess:
    """Everything between experience and proposal. `run` returns when told to stop."""

    def __init__(
        self,
        home: Home,
        first: Path | None,
        datasets: Sequence[Path],
        settings: LearnSettings,
        *,
        stopped: Callable[[], bool],
        say: Callable[[str], None],
        thresholds: GateThresholds = DEFAULT_THRESHOLDS,
        before_update: Callable[[Trainer, Learner], None] | None = None,
        lived: ExperienceStore | None = None,
    ) -> None:
        """Begin nothing yet.

        Args:
            home: of the robot.
            first: bundle to begin and to fall back to; the shipped one if left out.
            datasets: offline data.
            settings: how.
            stopped: whether to end; asked often.
            say: gets a sentence now and then.
            thresholds: of the gate.
            before_update: called before every update, for experiments.
            lived: the robot's own experience, where this process has it open already.
        """
        self.home, self.settings, self._datasets = home, settings, datasets
        self.versions = home.versions(first)
        self._stopped, self._say, self._thresholds, self._before_update = stopped, say, thresholds, before_update
        self.throttle = Throttle(lambda: read_json(home.pulse))
        self._store = lived
        self._opened = ExitStack()
        self._note = LearnerNote.read(home.learner_note)
        self._status: dict[str, Any] = {}
        self._told_s = 0.0
        self._refused_in_a_row = 0
        self.candidates = 0

    def run(self) -> None:
        """Learn until told to stop.

        Raises:
            MemoryExceeded, StoreError, BundleError: with a sentence; what was learnt until then is in the checkpoint.
        """
        with self._opened, suppress(_Stopped):
            stores = [self._opened.enter_context(ExperienceStore(path)) for path in self._datasets]
            if self._store is None and not self._wait_for_experience():
                return
            lived = self._store or self._opened.enter_context(ExperienceStore(self.home.experience))
            for sentence in unlike_training(self.running(), self._datasets):
                self._say(sentence)
            while not self._stopped():
                running = self.running()
                offline = [through_its_cameras(store, running.manifest) for store in stores]
                own = through_its_cameras(lived, running.manifest)
                course = self._begin(running, LearnerData(offline, own, self.settings.compared_episodes))
                if reason := self._pursue(course):
                    self._give_up(course, reason)
                else:
                    return

    def running(self) -> Bundle:
        """The bundle that drives, or would."""
        return self.versions.load(self.versions.find("current"))

    def _wait_for_experience(self) -> bool:
        while not self._stopped():
            try:
                with ExperienceStore(self.home.experience) as store:
                    if store.header is not None:
                        return True
            except ValueError:
                pass  # the run has not made it yet
            self._tell(state="waits for the first episode")
            time.sleep(0.5)
        return False

    def _breathe(self) -> None:
        """Give way to the control loop; and to whoever wants an end, also while something long is under way."""
        if self._stopped():
            raise _Stopped
        self.throttle.breathe()

    # -- learning ------------------------------------------------------------------------------------------------

    def _begin(self, running: Bundle, data: LearnerData) -> _Course:
        """Everything that learning on takes: from the last checkpoint, or anew from the running bundle."""
        mode = self._mode(running, data)
        folder, base = self._place(running, mode)
        agent = agent_of_bundle(base).to(self.settings.device)
        feasible = running.manifest.filter.feasible_reachability
        learner = begin_fine_tuning(agent, config_of(agent.config, mode, self.settings, feasible))
        share = min(1.0, self._offline_rows(mode, running.manifest) / max(1, data.offline_rows))
        self._tell(state=f"reads {share:.0%} of the offline data", mode=mode)
        sampler = fine_tuning_sampler(
            learner, data.offline, data.own, choose=lambda info: is_learnt_from(info, share),
            memory_limit_bytes=self.settings.memory_bytes // 2, progress=lambda done, total: self._breathe(),
            refresh_every=_REFRESH_EVERY,
        )  # fmt: skip
        sampler.own.refresh()
        notes = {"base": base.id, "mode": mode, "cameras": [camera.name for camera in running.manifest.cameras]}
        trainer = Trainer(learner, sampler, folder, notes=notes)
        try:
            trainer.resume()
        except (CheckpointError, KeyError, ValueError) as error:
            self._say(f"the checkpoint in {folder} is of no use ({error}); beginning again")
        average = MovingAverage(learner.agent, self.settings.average_rate, folder)
        if trainer.update:
            average.resume()
        return _Course(learner, trainer, average, sampler.own, data, mode)

    def _pursue(self, course: _Course) -> str | None:
        """Learn on until told to stop, or until what was learnt is to be given up: why, as a sentence."""
        trainer, last = course.trainer, self.settings.updates
        saved_s = began_s = time.monotonic()
        begin = trainer.update
        while not self._stopped() and (last is None or trainer.update < last):
            self.throttle.breathe()
            if self._before_update is not None:
                self._before_update(trainer, course.learner)
            try:
                metrics = course.step()
            except TrainingDivergedError as error:
                return f"learning diverged and begins again from the running bundle: {error}"
            if time.monotonic() - saved_s > self.settings.checkpoint_every_s and trainer.calm:
                course.save()
                saved_s = time.monotonic()
            self._check_memory()
            self._tell(
                state="learns", mode=course.mode, update=trainer.update, pause_s=round(self.throttle.pause_s, 3),
                updates_per_s=round((trainer.update - begin) / max(time.monotonic() - began_s, 1e-6), 2),
                own_episodes=course.own.episodes, imitation=metrics.get("policy/imitation"),
            )  # fmt: skip
            if trainer.update - self._note.candidate_update < self.settings.updates_per_candidate:
                continue
            lived, state = len(course.data.lived()), self.versions.state
            enough = lived - self._note.candidate_episodes >= self.settings.episodes_per_candidate
            if enough and not state.probation and not state.proposed:
                course.save()
                saved_s = time.monotonic()
                self._offer(course, lived)
                if self._refused_in_a_row >= _REFUSALS_BEFORE_ANEW:
                    self._refused_in_a_row = 0
                    return f"{_REFUSALS_BEFORE_ANEW} candidates in a row were refused; beginning again"
            elif self._lost(state.refused):
                return "the robot took back what was learnt; beginning again from what it runs"
        course.save()
        self._tell(state="stopped", force=True)
        return None

    def _place(self, running: Bundle, mode: str) -> tuple[Path, Bundle]:
        """The folder to learn in, and the bundle to begin from: its checkpoint's, if there is one to go on from."""
        note, known = self._note, self._note.base in self.versions.ids()
        folder = self.home.learner / note.folder
        if note.folder and note.mode == mode and known and (folder / CHECKPOINT_FILE).exists():
            return folder, self.versions.load(note.base)
        number = note.number + 1
        self._note = LearnerNote(number, folder=f"{number:03d}-{mode}", base=running.id, mode=mode)
        folder = self.home.learner / self._note.folder
        folder.mkdir(parents=True, exist_ok=True)
        self._note.write(self.home.learner_note)
        return folder, running

    def _give_up(self, course: _Course, sentence: str) -> None:
        """Forget what was learnt; whatever comes next begins anew."""
        for name in (CHECKPOINT_FILE, AVERAGE_FILE):
            (self.home.learner / self._note.folder / name).unlink(missing_ok=True)
        self._note.folder = ""
        self._note.write(self.home.learner_note)
        append_json(self.home.verdicts, self._line(course) | {"event": sentence})
        self._tell(gate=sentence, force=True)
        self._say(sentence)

    # -- candidates ----------------------------------------------------------------------------------------------

    def _offer(self, course: _Course, lived: int) -> None:
        """Make a candidate, and remember what became of it."""
        admitted = self._candidate(course)
        self._note.candidate_episodes = lived
        if admitted is not None:  # what could not be judged yet may lack a few episodes, and is tried again then
            self._note.candidate_update = course.trainer.update
            self._refused_in_a_row = 0 if admitted else self._refused_in_a_row + 1
        self._note.write(self.home.learner_note)

    def _candidate(self, course: _Course) -> bool | None:
        """Export what was learnt, put it through the gate, propose it. Whether it was proposed; None if there was no
        candidate to judge."""
        self._tell(state="a candidate is at the gate", force=True)
        began_s, running, update = time.monotonic(), self.running(), course.trainer.update
        self.candidates += 1
        line = self._line(course) | {"running": running.id}
        try:
            found = judge_candidate(
                course.average.on_cpu(), running, course.data, self.versions, scratch_folder=self.home.learner,
                update=update, thresholds=self._thresholds, breathe=self._breathe,
            )  # fmt: skip
        except NoCandidate as error:
            append_json(self.home.verdicts, line | {"admitted": False, "sentence": str(error)})
            self._tell(gate=f"no candidate: {error}", candidates=self.candidates, force=True)
            self._say(f"update {update}: no candidate: {error}")
            return None
        verdict, name, short = found.verdict, found.path.name, found.path.name[:12]
        line |= {"candidate": name, "seconds": round(time.monotonic() - began_s, 1)}
        append_json(self.home.verdicts, line | verdict.to_dict() | {"sentence": verdict.sentence})
        admitted = verdict.admitted or not self.settings.gate
        try:
            if admitted:
                self._remember(name)
                self.versions.propose(self.versions.load(name), found.expected)
            else:
                self.versions.refuse(name, verdict.sentence)
        except BundleError as error:
            admitted = False
            self._say(f"bundle {short}: {error}")
        word = "proposed" if admitted else "refused"
        self._tell(gate=f"{short} {word}: {verdict.sentence}", candidates=self.candidates, force=True)
        self._say(f"update {update}: {short} {word}: {verdict.sentence}")
        self.versions.prune(3)
        return admitted

    def _lost(self, refused: Collection[str]) -> bool:
        """Whether a bundle that this learner proposed was taken back since, by probation or by a person."""
        return not set(refused).isdisjoint(self._note.proposed)

    def _remember(self, bundle_id: str) -> None:
        """Keep that a bundle of this learner was proposed."""
        self._note.proposed.append(bundle_id)
        self._note.write(self.home.learner_note)

    # -- how much, and what is told ------------------------------------------------------------------------------

    def _mode(self, running: Bundle, data: LearnerData) -> str:
        """As asked for; or, the first time on this machine, by the measured time of an update of everything."""
        if self.settings.mode == "full":
            self._say(
                "mode full: the filter's judge learns along, from what the filter let happen, and may come to warn in "
                "time less often than was promised; docs/keep-learning.md says how to calibrate it again"
            )
        if self.settings.mode != "auto":
            return self.settings.mode
        if self._note.mode in AUTOMATIC:
            return self._note.mode
        agent = agent_of_bundle(running).to(self.settings.device)
        learner = begin_fine_tuning(agent, fine_tuning_config(agent.config, scope="full", seed=0))
        few = {info.id for info in data.offline[0].episodes()[:24]}
        sampler = fine_tuning_sampler(
            learner, data.offline[:1], data.own, choose=lambda info: info.header.source != SOURCE and info.id in few
        )
        trainer = Trainer(learner, sampler, self.home.learner, notes={})
        durations = []
        for _ in range(4):
            began_s = time.monotonic()
            trainer.step()
            durations.append(time.monotonic() - began_s)
        full_s = sorted(durations)[1]
        mode = choose_mode(full_s)
        self._tell(full_update_s=round(full_s, 3), mode=mode, force=True)
        self._say(f"an update of everything takes {full_s:.2f} s here: mode {mode}")
        return mode

    def _offline_rows(self, mode: str, manifest: Manifest) -> int:
        """As many rows of offline data as a quarter of the memory bound takes."""
        picture = sum(3 * camera.width_px * camera.height_px for camera in manifest.cameras)
        latent = 2 * (4 * manifest.latent.deterministic + 2 * manifest.latent.groups)
        row = (picture if mode == "full" else latent) + 200
        return min(self.settings.offline_rows, self.settings.memory_bytes // 4 // row)

    def _check_memory(self) -> None:
        used = resident_bytes()
        if self.settings.device != "cpu":  # on a Jetson, the GPU's memory is the robot's
            used += torch.cuda.memory_reserved(self.settings.device)
        self._status["memory_mib"] = used >> 20
        if used > self.settings.memory_bytes:
            raise MemoryExceeded(
                f"the learner takes {used >> 20} MiB, {self.settings.memory_bytes >> 20} MiB are allowed: give it more "
                "with --memory, or a lighter --mode"
            )

    @staticmethod
    def _line(course: _Course) -> dict[str, Any]:
        """How a line of the verdicts begins."""
        return {"unix_s": round(time.time(), 1), "update": course.trainer.update}

    def _tell(self, *, force: bool = False, **values: Any) -> None:
        self._status |= {name: value for name, value in values.items() if value is not None}
        now = time.monotonic()
        if force or now - self._told_s >= 1.0:
            self._told_s = now
            write_json(self.home.status, self._status | {"unix_s": round(time.time(), 1)})
