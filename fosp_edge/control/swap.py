"""Another bundle takes over between two ticks, proves itself or is taken back; the tick never waits for any of it.

A thread of its own watches which bundle is wanted (`fosp_edge.bundle.versions`), verifies and opens it, warms it up,
and lets it follow what the robot sees: the last frames are encoded again with the new encoder, because the old
recurrent state means nothing to it. The control thread asks once per tick, and only takes what is ready:

    background:  wanted? -> verify -> open -> warm up -> follow ... follow -> (taken) -> write it down
    control:                                              safe moment? take over, encode what may be missing

Safe means that the policy's own choice lies well inside the feasible set and the robot moves slowly; between two
episodes it stands still, which is safer yet. A bundle that is taken back does not wait for that.
"""

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fosp_edge.bundle.contract import check_contract
from fosp_edge.bundle.folder import Bundle
from fosp_edge.bundle.manifest import BundleError, FilterThresholds, Manifest
from fosp_edge.bundle.versions import State, Versions
from fosp_edge.control.controller import Controller, Insight
from fosp_edge.control.inference import NotFinite
from fosp_edge.control.probation import (
    DEFAULT_PROBATION_SETTINGS,
    EpisodeFigures,
    Expected,
    Outcome,
    Probation,
    ProbationSettings,
)
from fosp_edge.control.types import Float32Array, Observation, Reason, StepScores, TickRecord

FRAMES_KEPT = 64
"""A recurrent state forgets: after so many frames, three seconds at 20 Hz, it is that of the whole episode."""
_LARGEST_LAG = 1
"""Frames that the control thread encodes itself when it takes over, one tick's work each. Mostly there are none: the
background has the rest of the period for the newest."""
_POLL_S = 0.25

Build = Callable[[Bundle], Controller]
_BROKEN = frozenset({Reason.NOT_FINITE, Reason.DEADLINE})
"""Ends of a run that a bundle on probation is blamed for at once."""


@dataclass(frozen=True)
class SwapSettings:
    """When a moment is safe enough to hand the robot over; each with its reason."""

    margin_ratio: float = 0.5
    """The policy's reachability lies below this share of the feasible threshold: two bundles may differ by that."""
    slow_ratio: float = 0.5
    """No component of the action above this share of its range: what a wrong first action adds can be braked away."""


DEFAULT_SWAP_SETTINGS = SwapSettings()


@dataclass(frozen=True)
class SwapEvent:
    """Something that happened to the bundles, for the view and the log."""

    time_ns: int
    sentence: str


@dataclass(frozen=True)
class _Frame:
    index: int
    observation: Observation
    previous_action: Float32Array


class _Episode:
    """The newest frames of one episode: one thread writes, another reads, neither waits."""

    def __init__(self, seed: int) -> None:
        self.seed, self.count = seed, 0
        self._slots: list[_Frame | None] = [None] * FRAMES_KEPT
        self._executed: Float32Array | None = None

    def add(self, record: TickRecord) -> None:
        before = self._executed if self._executed is not None else np.zeros_like(record.action)
        self._slots[self.count % FRAMES_KEPT] = _Frame(self.count, record.observation, before)
        self._executed = record.action
        self.count += 1

    def frame(self, index: int) -> _Frame | None:
        """A frame, or None if it was overwritten."""
        frame = self._slots[index % FRAMES_KEPT]
        return frame if frame is not None and frame.index == index else None


class _Ready:
    """A warm controller that follows the robot without moving it."""

    def __init__(self, bundle_id: str, controller: Controller, *, probation: Probation | None, urgent: bool) -> None:
        self.bundle_id, self.controller, self.probation, self.urgent = bundle_id, controller, probation, urgent
        self._episode: _Episode | None = None
        self._next = 0

    def lag(self, episode: _Episode) -> int:
        """Frames not yet encoded."""
        return episode.count - self._next if self._episode is episode else FRAMES_KEPT

    def follow_one(self, episode: _Episode) -> bool:
        """Encode the next frame; False if there is none."""
        if self._episode is not episode or (self._next < episode.count and episode.frame(self._next) is None):
            self._episode, self._next = episode, max(0, episode.count - FRAMES_KEPT + _LARGEST_LAG)
            self.controller.reset(episode.seed)
        if self._next >= episode.count or (frame := episode.frame(self._next)) is None:
            return False
        self.controller.follow(frame.observation, frame.previous_action)
        self._next += 1
        return True


class Swapper:
    """Holds the bundle that is wanted ready, and watches the one that has just taken over.

    `at_rest`, `between_ticks` and `record` belong to the control thread and wait for nothing; the rest happens in a
    thread of its own between `start` and `close`.

    Args:
        versions: which bundle is wanted.
        bundle_id: the one that drives at first.
        controller: the same, opened.
        build: opens another one with the same settings.
        log: file to which events are appended as JSON lines; None keeps them in memory only.
    """

    def __init__(
        self,
        versions: Versions,
        bundle_id: str,
        controller: Controller,
        build: Build,
        *,
        log: Path | None = None,
        settings: SwapSettings = DEFAULT_SWAP_SETTINGS,
        probation: ProbationSettings = DEFAULT_PROBATION_SETTINGS,
        judged: bool = True,
    ) -> None:
        self.versions, self.bundle_id, self._build, self._log = versions, bundle_id, build, log
        self.settings, self.probation_settings, self._judged = settings, probation, judged
        self.events: deque[SwapEvent] = deque(maxlen=1000)
        self.swaps = 0
        self._controller, self._manifest = controller, controller.manifest
        self._previous: tuple[str, Controller] | None = None
        self._ready: _Ready | None = None
        self._lock = threading.Lock()
        self._orders: deque[Callable[[], None]] = deque()
        self._wake, self._done = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="swap", daemon=True)
        self._episode: _Episode | None = None
        self._figures = _Figures()
        self._calm = False
        self._seed = 0
        self._later: set[str] = set()
        state = versions.state
        self._probation: Probation | None = None
        if state.probation and state.current == bundle_id:  # the run before ended during it: it begins again
            self._probation = self._new_probation(state)
            controller.tighten(probation.tighten_ratio)

    # -- control thread ------------------------------------------------------------------------------------------

    def at_rest(self, present: Controller, seed: int) -> Controller:
        """The controller for the next episode; the robot stands still and nothing of a recurrent state is carried."""
        ready, self._seed = self._ready, seed
        if ready is not None and self._lock.acquire(timeout=0.2):
            try:
                present = self._take(ready, present, fresh=True)
            finally:
                self._lock.release()
        self._episode, self._figures, self._calm = _Episode(seed), _Figures(), False
        return present

    def between_ticks(self, present: Controller) -> Controller:
        """The controller for the coming tick: the present one, unless another is ready and the moment is safe."""
        ready, episode = self._ready, self._episode
        if ready is None or episode is None or not (self._calm or ready.urgent):
            return present
        if not self._lock.acquire(blocking=False):
            return present
        try:
            if ready is not self._ready or ready.lag(episode) > _LARGEST_LAG or episode.count == 0:
                return present
            while ready.follow_one(episode):
                pass
            return self._take(ready, present, fresh=False)
        except NotFinite as error:
            self._ready, sentence = None, str(error)
            self._order(lambda: self._refuse(ready.bundle_id, sentence))
            return present
        finally:
            self._lock.release()

    def saw(self, record: TickRecord) -> None:
        """A command went out: what led to it, at once, so that whoever follows has the rest of the period for it."""
        if self._episode is None:
            self._episode = _Episode(self._seed)
        self._episode.add(record)
        if self._ready is not None:
            self._wake.set()

    def record(self, record: TickRecord, insight: Insight | None) -> None:
        """See one completed tick (see `fosp_edge.control.loop.Observer`)."""
        if insight is None or record.scores is None:
            self._end_episode(record)
            return
        thresholds = self._manifest.filter
        budget_s = self.probation_settings.latency_share / self._manifest.rate_hz
        self._figures.add(record, alarmed(record.scores, thresholds, insight.judged.gate), budget_s)
        self._calm = (
            record.reason is Reason.POLICY
            and float(record.scores.reachability[0]) <= self.settings.margin_ratio * thresholds.feasible_reachability
            and float(np.max(np.abs(record.action))) <= self.settings.slow_ratio
        )

    def _take(self, ready: _Ready, present: Controller, *, fresh: bool) -> Controller:
        """Hand over; the caller holds the lock and the background follows no longer."""
        controller, before = ready.controller, (self.bundle_id, present)
        if not fresh:
            controller.take_over(present)
        controller.tighten(self.probation_settings.tighten_ratio if ready.probation is not None else 1.0)
        self._ready, self._previous = None, before
        self.bundle_id, self._controller, self._manifest = ready.bundle_id, controller, controller.manifest
        self._probation = ready.probation
        self.swaps += 1
        where = "between two episodes" if fresh else "between two ticks"
        name, taken_ns = ready.bundle_id, time.monotonic_ns()
        self._order(lambda: self._taken(name, before[0], where, taken_ns))
        return controller

    def _end_episode(self, record: TickRecord) -> None:
        probation, self._episode = self._probation, None
        if probation is None:
            return
        if record.reason in _BROKEN:
            outcome: Outcome | None = Outcome(False, f"the run ended on it: {record.reason.value}")
        elif not self._figures.ticks:
            return
        else:
            stopped = record.reason is Reason.RECOVERY_EXHAUSTED
            outcome = probation.add(self._figures.summary(success=record.success, judged=self._judged, stopped=stopped))
        if outcome is not None:
            self._probation = None
            self._order(lambda: self._decided(outcome))

    def _order(self, action: Callable[[], None]) -> None:
        self._orders.append(action)
        self._wake.set()

    # -- background ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to watch for bundles."""
        self._thread.start()

    def close(self) -> None:
        """Write down what was decided and end the thread. Never raises."""
        self._done.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(10.0)
        try:
            self._carry_out()
        except (BundleError, OSError) as error:
            self._event(f"the end of the run could not be written down: {error}")

    def line(self) -> str:
        """What the live view shows."""
        probation = self._probation
        text = f"{self.bundle_id[:12]}, {self.swaps} swaps"
        if probation is not None:
            text += f"; {probation.line()}"
        if (ready := self._ready) is not None:
            text += f"; {ready.bundle_id[:12]} waits for a safe moment"
        return text

    def step(self) -> bool:
        """One round of the background's work; whether there is more to do at once."""
        try:
            self._carry_out()
            ready, episode = self._ready, self._episode
            if ready is not None and episode is not None and ready.lag(episode) > 0:
                self._follow(ready, episode)
                return True
            self._look()
        except Exception as error:  # whatever it is, the robot goes on with the bundle it has
            self._event(f"no other bundle can take over for now ({type(error).__name__}: {error})")
        return False

    def _work(self) -> None:
        while not self._done.is_set():
            busy = self.step()
            # A pause even where there is more to do: the interpreter belongs to the control thread.
            self._wake.wait(0.001 if busy else 0.02 if self._ready is not None else _POLL_S)
            self._wake.clear()

    def _carry_out(self) -> None:
        while self._orders:
            self._orders.popleft()()

    def _follow(self, ready: _Ready, episode: _Episode) -> None:
        with self._lock:
            if ready is not self._ready:
                return
            try:
                ready.follow_one(episode)
            except (NotFinite, ValueError) as error:
                self._ready = None
                self._refuse(ready.bundle_id, f"it does not follow what the robot sees: {error}")

    def _look(self) -> None:
        """Prepare what is wanted, if it is not what drives or is being prepared."""
        state = self.versions.state
        wanted = state.pinned or (None if self._probation else state.proposed) or state.current
        ready = self._ready
        if wanted is None or wanted == self.bundle_id or self._orders:
            if ready is not None and wanted == self.bundle_id:
                with self._lock:
                    self._ready = None  # a person changed their mind
            return
        if (ready is not None and ready.bundle_id == wanted) or wanted in self._later:
            return
        known = self._previous
        going_back = wanted == state.current and not state.probation
        try:
            controller = known[1] if known is not None and known[0] == wanted else self._open(wanted)
        except WrongShape as error:
            if wanted not in self._later:
                self._later.add(wanted)
                self._event(f"bundle {wanted[:12]} waits for the next start: {error}")
            return
        except (BundleError, NotFinite, ValueError) as error:
            self._refuse(wanted, str(error))
            if state.current == wanted:
                self.versions.roll_back(str(error))
            return
        probation = None if going_back else self._new_probation(state)
        with self._lock:
            self._ready = _Ready(wanted, controller, probation=probation, urgent=going_back)
        self._event(f"bundle {wanted[:12]} is ready to take over")

    def _open(self, bundle_id: str) -> Controller:
        bundle = self.versions.load(bundle_id)
        if (have := shape_of(bundle.manifest)) != (want := shape_of(self._manifest)):
            raise WrongShape(f"it has candidates and latent state of {have}, this run records {want}")
        if differences := contract_differences(bundle.manifest, self._manifest):
            raise BundleError(f"it was made for something else: {'; '.join(differences)}")
        controller = self._build(bundle)
        controller.warm_up()
        return controller

    def _new_probation(self, state: State) -> Probation:
        return Probation(Expected.from_mapping(state.expected), self.probation_settings)

    def _taken(self, bundle_id: str, before: str, where: str, taken_ns: int) -> None:
        state = self.versions.state
        if state.proposed == bundle_id:
            self.versions.adopt(bundle_id)
        self._event(f"bundle {bundle_id[:12]} took over from {before[:12]} {where}", taken_ns)
        if self._probation is None:
            self._previous = None  # nothing to return to is needed; its session is freed here, off the control path

    def _decided(self, outcome: Outcome) -> None:
        name = self.bundle_id
        if outcome.passed:
            self.versions.confirm()
            self._controller.tighten(1.0)
            self._previous = None
            self._event(f"bundle {name[:12]} passed its probation: {outcome.sentence}")
            return
        back = self.versions.roll_back(outcome.sentence)
        self._event(f"bundle {name[:12]} is taken back for {back[:12]}: {outcome.sentence}")

    def _refuse(self, bundle_id: str, reason: str) -> None:
        self.versions.refuse(bundle_id, reason)
        self._event(f"bundle {bundle_id[:12]} is refused: {reason}")

    def _event(self, sentence: str, time_ns: int | None = None) -> None:
        event = SwapEvent(time.monotonic_ns() if time_ns is None else time_ns, sentence)
        self.events.append(event)
        if self._log is not None:
            line = {"time_ns": event.time_ns, "unix_s": round(time.time(), 3), "event": sentence}
            try:
                with self._log.open("a") as file:
                    file.write(json.dumps(line) + "\n")
            except OSError:
                pass  # the view still has it


class WrongShape(Exception):  # noqa: N818 - a state
    """A bundle's rows do not fit into the recording of this run: nothing is wrong with it, but it has to wait."""


def shape_of(manifest: Manifest) -> tuple[int, int, int]:
    """What decides the width of a recorded row beside the robot itself: candidates and latent state."""
    return len(manifest.candidates), manifest.latent.deterministic, manifest.latent.groups


def contract_differences(manifest: Manifest, running: Manifest) -> list[str]:
    """In what a bundle wants another robot than the running one: cameras, state, actions, rate, as phrases."""
    return check_contract(
        manifest,
        robot=running.robot,
        rate_hz=running.rate_hz,
        cameras=running.cameras,
        state=running.state,
        actions=running.actions,
    )


def alarmed(scores: StepScores, thresholds: FilterThresholds, gate: Sequence[float]) -> bool:
    """Whether a bundle's filter, with its own threshold and without a memory, or its gate objects to a policy's choice.

    What probation weighs. The filter as tightened for the probation steps in more often by design, and what it then
    does lets one intervention follow another: neither is the bundle's fault.
    """
    return float(scores.reachability[0]) > thresholds.feasible_reachability or any(value > 1.0 for value in gate)


@dataclass
class _Figures:
    """Sums over one episode."""

    ticks: int = 0
    cost: float = 0.0
    interventions: int = 0
    surprise: float = 0.0
    slow: int = 0

    def add(self, record: TickRecord, alarm: bool, budget_s: float) -> None:
        assert record.scores is not None
        self.ticks += 1
        self.cost += record.cost
        self.interventions += alarm
        self.surprise += record.scores.surprise
        self.slow += record.latency_s > budget_s

    def summary(self, *, success: bool, judged: bool, stopped: bool) -> EpisodeFigures:
        return EpisodeFigures(
            ticks=self.ticks,
            violated=self.cost > 0.0,
            failed=not success,
            intervention_share=self.interventions / self.ticks,
            mean_surprise=self.surprise / self.ticks,
            slow_share=self.slow / self.ticks,
            judged=judged,
            stopped=stopped,
        )
