"""The learner beside a robot: updates, now and then a candidate, the gate, a proposal; and again, until told to stop.

It shares nothing with the control loop but files: the experience store (read), the versions (written under a lock), its
status (written) and the loop's pulse (read). Killed at any moment it goes on from its last checkpoint.
"""

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeVar

import torch

from export.restore import agent_of_bundle
from fosp_edge.agent.agent import Agent
from fosp_edge.agent.config import Config
from fosp_edge.bundle.admission import DEFAULT_THRESHOLDS, GateThresholds, judge
from fosp_edge.bundle.folder import Bundle
from fosp_edge.bundle.manifest import BundleError
from fosp_edge.cli.admission import HeldOut, measure
from fosp_edge.cli.candidate import NoCandidate, make_candidate
from fosp_edge.cli.familiarity import Episodes
from fosp_edge.cli.home import Home, append_json, read_json, write_json
from fosp_edge.cli.learnt_from import unlike_training
from fosp_edge.control.swap import contract_differences
from fosp_edge.experience.episode import EpisodeInfo
from fosp_edge.experience.selection import CameraSelection
from fosp_edge.experience.split import is_held_out, share_of
from fosp_edge.experience.store import ExperienceStore
from fosp_edge.learning.average import AVERAGE_FILE, MovingAverage
from fosp_edge.learning.checkpoint import CHECKPOINT_FILE, CheckpointError
from fosp_edge.learning.finetuning import begin_fine_tuning, fine_tuning_config, fine_tuning_sampler
from fosp_edge.learning.pace import MODES, Throttle, choose_mode, resident_bytes
from fosp_edge.learning.trainer import Trainer, TrainingDivergedError

SOURCE = "bundle"
"""Source of the episodes that a bundle drove, as the recorder writes it."""
OWN_HELD_OUT_EVERY = 4
"""One of so many of the robot's own episodes is kept from learning. More than of offline data: there are few, and the
gate compares on them. By turns and not by lot: after eighty episodes there are twenty, not twelve or thirty."""
_NEWEST, _HISTORY = 20, 300
"""Own episodes of the shadow run, and those that say what may be expected of an episode: of longer ago, it was perhaps
another table."""
_VIOLATIONS = 100
"""Offline episodes with a violation that the filter is calibrated on: as many as a threshold from a hundred has, it
varies by a third of its level."""
_REFUSALS_BEFORE_ANEW = 3
_ENDLESS = 10_000_000
_REFRESH_S = 10.0
"""Between two looks for new episodes."""
_Item = TypeVar("_Item")


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
    seed: int = 0


def own_held_out(info: EpisodeInfo) -> bool:
    """Whether an episode is kept from learning."""
    return int(info.id) % OWN_HELD_OUT_EVERY == 0 if info.header.source == SOURCE else is_held_out(info)


def is_learnt_from(info: EpisodeInfo, share: float) -> bool:
    """Whether an episode is learnt from, where memory takes this share of the offline ones."""
    if own_held_out(info):
        return False
    # Held-out episodes have the low shares; of the others, so many as the memory takes.
    return info.header.source == SOURCE or share_of(info) >= 1.0 - 0.9 * share


def _in_turn(groups: Sequence[Sequence[_Item]]) -> list[_Item]:
    """The first of each, the second of each, and so on."""
    return [item for turn in zip_longest(*groups) for item in turn if item is not None]


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
    )  # fmt: skip


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
        before_update: Callable[[Trainer, Any], None] | None = None,
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
            running = self.running()
            for sentence in unlike_training(running, self._datasets):
                self._say(sentence)
            while not self._stopped():
                cameras = [camera.name for camera in running.manifest.cameras]
                offline = [CameraSelection(store, cameras) for store in stores]
                own = CameraSelection(lived, cameras)
                if self._learn_from(running, offline, own):
                    return
                running = self.running()

    def _breathe(self) -> None:
        """Give way to the control loop; and to whoever wants an end, also while something long is under way."""
        if self._stopped():
            raise _Stopped
        self.throttle.breathe()

    def running(self) -> Bundle:
        """The bundle that drives, or would."""
        return self.versions.load(self.versions.find("current"))

    def chosen(self, running: Bundle) -> Bundle:
        """The bundle that a person chose last.

        Raises:
            NoCandidate: nothing can be held against it.
        """
        name = self.versions.state.chosen or running.id
        if name == running.id:
            return running
        try:
            bundle = self.versions.load(name)
            problems = contract_differences(bundle.manifest, running.manifest)
        except BundleError as error:
            problems = [str(error)]
        if problems:
            raise NoCandidate(
                f"it would be held against bundle {name[:12]}, which a person chose last: {'; '.join(problems)}; "
                "`fosp-edge bundles use current` chooses the running one"
            )
        return bundle

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

    def _learn_from(self, running: Bundle, offline: list[CameraSelection], own: CameraSelection) -> bool:
        """Learn on from one bundle until told to stop (True), or until what was learnt is given up (False)."""
        mode = self._mode(running, offline, own)
        folder, resumed = self._place(running, mode)
        agent = agent_of_bundle(running if not resumed else self.versions.load(resumed))
        feasible = running.manifest.filter.feasible_reachability
        learner = begin_fine_tuning(agent, config_of(agent.config, mode, self.settings, feasible))
        rows = sum(info.summary.rows for source in offline for info in source.episodes())
        share = min(1.0, self._offline_rows(mode, running) / max(1, rows))
        self._tell(state=f"reads {share:.0%} of the offline data", mode=mode)
        sampler = fine_tuning_sampler(
            learner, offline, own, choose=lambda info: is_learnt_from(info, share),
            memory_limit_bytes=self.settings.memory_bytes // 2, progress=lambda done, total: self._breathe(),
        )  # fmt: skip
        sampler.own.refresh()
        notes = {"base": resumed or running.id, "mode": mode, "cameras": [c.name for c in running.manifest.cameras]}
        trainer = Trainer(learner, sampler, folder, notes=notes)
        try:
            trainer.resume()
        except (CheckpointError, KeyError, ValueError) as error:
            self._say(f"the checkpoint in {folder} is of no use ({error}); beginning again")
        average = MovingAverage(learner.agent, self.settings.average_rate, folder)
        if trainer.update:
            average.resume()
        return self._update(trainer, learner, average, running, offline, own, mode)

    def _update(
        self,
        trainer: Trainer,
        learner: Any,
        average: MovingAverage,
        running: Bundle,
        offline: list[CameraSelection],
        own: CameraSelection,
        mode: str,
    ) -> bool:
        def save() -> None:
            trainer.save()
            average.save()

        settings, saved_s, begin = self.settings, time.monotonic(), trainer.update
        note = read_json(self.home.learner / "base.json")  # of the last candidate: it may be many short runs ago
        last_update, last_episodes = int(note.get("candidate_update", 0)), int(note.get("candidate_episodes", 0))
        began_s = refreshed_s = time.monotonic()
        while True:
            if self._stopped() or (settings.updates is not None and trainer.update >= settings.updates):
                save()
                self._tell(state="stopped", force=True)
                return True
            self.throttle.breathe()
            if self._before_update is not None:
                self._before_update(trainer, learner)
            try:
                metrics = trainer.step()
            except TrainingDivergedError as error:
                self._give_up(trainer, f"learning diverged and begins again from the running bundle: {error}")
                return False
            average.update()
            now = time.monotonic()
            if now - saved_s > settings.checkpoint_every_s and trainer.calm:
                save()
                saved_s = now
            if now - refreshed_s > _REFRESH_S:
                trainer_own(trainer).refresh()
                refreshed_s = now
            self._check_memory()
            self._tell(
                state="learns", mode=mode, update=trainer.update, pause_s=round(self.throttle.pause_s, 3),
                updates_per_s=round((trainer.update - begin) / max(now - began_s, 1e-6), 2),
                own_episodes=trainer_own(trainer).episodes, imitation=metrics.get("policy/imitation"),
            )  # fmt: skip
            if trainer.update - last_update < settings.updates_per_candidate:
                continue
            seen = self._own_seen(own)
            state = self.versions.state
            if seen - last_episodes < settings.episodes_per_candidate or state.probation or state.proposed:
                if self._lost(state.refused):
                    self._give_up(trainer, "the robot took back what was learnt; beginning again from what it runs")
                    return False
                continue
            save()
            saved_s = time.monotonic()
            running = self.running()
            proposed = self._candidate(average.agent, running, offline, own, trainer)
            last_episodes = seen
            if proposed is not None:  # what could not be judged yet may lack a few episodes, and is tried again then
                last_update = trainer.update
                self._refused_in_a_row = 0 if proposed else self._refused_in_a_row + 1
            note = read_json(self.home.learner / "base.json")
            progress = {"candidate_update": last_update, "candidate_episodes": last_episodes}
            write_json(self.home.learner / "base.json", note | progress)
            if self._refused_in_a_row >= _REFUSALS_BEFORE_ANEW:
                self._refused_in_a_row = 0
                self._give_up(trainer, f"{_REFUSALS_BEFORE_ANEW} candidates in a row were refused; beginning again")
                return False

    def _candidate(
        self, agent: Agent, running: Bundle, offline: list[CameraSelection], own: CameraSelection, trainer: Trainer
    ) -> bool | None:
        """Export what was learnt, put it through the gate, propose it. Whether it was proposed; None if there was no
        candidate to judge."""
        self._tell(state="a candidate is at the gate", force=True)
        began_s = time.monotonic()
        held_out = self.held_out(offline, own)
        self.candidates += 1
        verdict: dict[str, Any] = {"unix_s": round(time.time(), 1), "update": trainer.update, "running": running.id}
        try:
            chosen = self.chosen(running)
            path = make_candidate(
                agent, running, held_out, self.lived(own), self.versions.folder,
                scratch_folder=self.home.learner, update=trainer.update, breathe=self._breathe,
            )  # fmt: skip
        except NoCandidate as error:
            append_json(self.home.verdicts, verdict | {"admitted": False, "sentence": str(error)})
            self._tell(gate=f"no candidate: {error}", candidates=self.candidates, force=True)
            self._say(f"update {trainer.update}: no candidate: {error}")
            return None
        newest = [(info, own.read(info.id)) for info in finished(own)[-_NEWEST:]]
        evidence, expected = measure(
            path,
            running,
            held_out,
            newest,
            chosen=chosen,
            history=finished(own)[-_HISTORY:],
            refused=self._reason_to_refuse,
            breathe=self._breathe,
        )
        judged = judge(evidence, self._thresholds)
        verdict |= {"candidate": path.name, "seconds": round(time.monotonic() - began_s, 1)}
        append_json(self.home.verdicts, verdict | judged.to_dict() | {"sentence": judged.sentence})
        admitted = judged.admitted or not self.settings.gate
        short = path.name[:12]
        try:
            if admitted:
                self._remember(path.name)
                self.versions.propose(self.versions.load(path.name), expected)
            else:
                self.versions.refuse(path.name, judged.sentence)
        except BundleError as error:
            admitted = False
            self._say(f"bundle {short}: {error}")
        word = "proposed" if admitted else "refused"
        self._tell(gate=f"{short} {word}: {judged.sentence}", candidates=self.candidates, force=True)
        self._say(f"update {trainer.update}: {short} {word}: {judged.sentence}")
        self.versions.prune(3)
        return admitted

    def _reason_to_refuse(self, bundle: Bundle) -> str | None:
        refusal = self.versions.is_refused(bundle)
        return None if refusal is None else refusal.reason

    def held_out(self, offline: list[CameraSelection], own: CameraSelection) -> HeldOut:
        """The newest own ones, and of the offline ones as many with violations as without, from all data sets alike."""
        count = self.settings.compared_episodes
        mine = [info for info in finished(own) if own_held_out(info)][-count:]
        theirs = [[(source, info) for info in source.episodes() if is_held_out(info)] for source in offline]
        every_violated = _in_turn([[item for item in kept if item[1].summary.violations] for kept in theirs])
        every_quiet = _in_turn([[item for item in kept if not item[1].summary.violations] for kept in theirs])
        violated, more = every_violated[: count // 2], every_violated[count // 2 : _VIOLATIONS]
        quiet = every_quiet[: count - len(violated)]
        return HeldOut(
            own=[(info, own.read(info.id)) for info in mine],
            offline=[(info, source.read(info.id)) for source, info in (*violated, *quiet)],
            violated=[(info, source.read(info.id)) for source, info in more],
        )

    def lived(self, own: CameraSelection) -> Episodes:
        """The newest own episodes that were learnt from."""
        count = self.settings.compared_episodes
        learnt_from = [info for info in finished(own) if not own_held_out(info)]
        return [(info, own.read(info.id)) for info in learnt_from[-count:]]

    def _lost(self, refused: Collection[str]) -> bool:
        """Whether a bundle that this learner proposed was taken back since, by probation or by a person."""
        return not set(refused).isdisjoint(read_json(self.home.learner / "base.json").get("proposed", []))

    def _remember(self, bundle_id: str) -> None:
        """Keep that a bundle of this learner was proposed."""
        note = read_json(self.home.learner / "base.json")
        write_json(self.home.learner / "base.json", note | {"proposed": [*note.get("proposed", []), bundle_id]})

    def _place(self, running: Bundle, mode: str) -> tuple[Path, str | None]:
        """The folder to learn in, and the bundle it began with if there is a checkpoint to go on from."""
        note = read_json(self.home.learner / "base.json")
        folder = self.home.learner / str(note.get("folder", ""))
        known = note.get("base") in self.versions.ids()
        if note.get("mode") == mode and known and note.get("folder") and (folder / CHECKPOINT_FILE).exists():
            return folder, str(note["base"])
        name = f"{int(note.get('number', 0)) + 1:03d}-{mode}"
        folder = self.home.learner / name
        folder.mkdir(parents=True, exist_ok=True)
        number = int(note.get("number", 0)) + 1
        write_json(
            self.home.learner / "base.json", {"base": running.id, "mode": mode, "folder": name, "number": number}
        )
        return folder, None

    def _give_up(self, trainer: Trainer, sentence: str) -> None:
        note = read_json(self.home.learner / "base.json")
        write_json(self.home.learner / "base.json", note | {"folder": ""})
        for name in (CHECKPOINT_FILE, AVERAGE_FILE):
            (self.home.learner / str(note.get("folder", "?")) / name).unlink(missing_ok=True)
        append_json(self.home.verdicts, {"unix_s": round(time.time(), 1), "update": trainer.update, "event": sentence})
        self._tell(gate=sentence, force=True)
        self._say(sentence)

    def _mode(self, running: Bundle, offline: list[CameraSelection], own: CameraSelection) -> str:
        """As asked for; or, the first time on this machine, by the measured time of an update of everything."""
        if self.settings.mode != "auto":
            return self.settings.mode
        note = read_json(self.home.learner / "base.json")
        if note.get("mode") in MODES:
            return str(note["mode"])
        agent = agent_of_bundle(running)
        learner = begin_fine_tuning(agent, fine_tuning_config(agent.config, scope="full", seed=0))
        few = {info.id for info in offline[0].episodes()[:24]}
        sampler = fine_tuning_sampler(
            learner, offline[:1], own, choose=lambda info: info.header.source != SOURCE and info.id in few
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

    def _offline_rows(self, mode: str, running: Bundle) -> int:
        """As many rows of offline data as a quarter of the memory bound takes."""
        manifest = running.manifest
        picture = sum(3 * camera.width_px * camera.height_px for camera in manifest.cameras)
        latent = 2 * (4 * manifest.latent.deterministic + 2 * manifest.latent.groups)
        row = (picture if mode == "full" else latent) + 200
        return min(self.settings.offline_rows, self.settings.memory_bytes // 4 // row)

    @staticmethod
    def _own_seen(own: CameraSelection) -> int:
        return len(finished(own))

    def _check_memory(self) -> None:
        used = resident_bytes()
        self._status["memory_mib"] = used >> 20
        if used > self.settings.memory_bytes:
            raise MemoryExceeded(
                f"the learner takes {used >> 20} MiB, {self.settings.memory_bytes >> 20} MiB are allowed: give it more "
                "with --memory, or a lighter --mode"
            )

    def _tell(self, *, force: bool = False, **values: Any) -> None:
        self._status |= {name: value for name, value in values.items() if value is not None}
        now = time.monotonic()
        if force or now - self._told_s >= 1.0:
            self._told_s = now
            write_json(self.home.status, self._status | {"unix_s": round(time.time(), 1)})


def finished(source: CameraSelection) -> list[EpisodeInfo]:
    """Finished episodes that are long enough to say something, oldest first."""
    return [info for info in source.episodes() if info.summary.finished and info.summary.rows >= 3]


def trainer_own(trainer: Trainer) -> Any:
    """The own half of a trainer's mixed sampler."""
    return trainer._sampler.own  # type: ignore[attr-defined]


def single_thread(threads: int) -> None:
    """How many threads torch may use."""
    torch.set_num_threads(threads)
