"""A robot that learns unattended, in lockstep: the controller, the swapper, the store, the learner, the gate and the
probation of `fosp-edge run --learn`, with SafeReach stepped in place of the wires and of the clock.

So a robot's day takes minutes, and what it does does not depend on what else the computer is doing. What is not in it:
deadlines, latencies, and two processes at once (`benchmarks/swap.py` has those).
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fosp_edge.bundle.folder import Bundle
from fosp_edge.cli.home import Home
from fosp_edge.control.controller import Controller, Insight
from fosp_edge.control.failures import reason_of
from fosp_edge.control.recorder import REASONS, recording_of, row_of
from fosp_edge.control.swap import Swapper
from fosp_edge.control.types import Observation, Reason, State, TickRecord
from fosp_edge.experience.episode import EpisodeHeader
from fosp_edge.experience.store import ExperienceStore
from fosp_edge.simulation.environment import SafeReach
from fosp_edge.simulation.scene import CAMERAS

_STOPS = (Reason.NOT_FINITE, Reason.RECOVERY_EXHAUSTED, Reason.UNFAMILIAR_STOP)


@dataclass(frozen=True)
class Lived:
    """One episode."""

    seed: int
    scenario: str
    success: bool
    violated: bool
    cost: float
    reward: float
    interventions: int
    steps: int
    bundle: str
    """The one that drove at its end."""
    swaps: int
    """So far."""


class UnattendedRobot:
    """A home with a robot in it.

    Args:
        home: its folder.
        first: bundle to begin with.
        scenario: family of tables.
        distort: what the cameras make of a picture; None leaves it.
        rejudge: what the robot believes reward and cost to be; None believes the truth. The results know the truth.
    """

    def __init__(
        self,
        home: Home,
        first: Path,
        scenario: str,
        *,
        distort: Callable[[np.ndarray, int], np.ndarray] | None = None,
        rejudge: Callable[[float, float], tuple[float, float]] | None = None,
    ) -> None:
        home.make()
        self.home, self.scenario, self._distort, self._rejudge = home, scenario, distort, rejudge
        versions = home.versions(first)
        bundle, _ = versions.start()
        self.controller = Controller(bundle)
        self.swapper = Swapper(versions, bundle.id, self.controller, Controller, log=home.events)
        self._channels = _channels(bundle)
        self._recording = recording_of(bundle.manifest)
        self.store = ExperienceStore(home.experience, "a")
        self.lived: list[Lived] = []

    def close(self) -> None:
        """Write down what was decided."""
        self.swapper.close()
        self.store.close()

    def live(self, seed: int) -> Lived:
        """One episode; the seed decides layout and noise."""
        for _ in range(50):  # between two episodes there is time to make another bundle ready
            if not self.swapper.step():
                break
        self.controller = self.swapper.at_rest(self.controller, seed)
        self.controller.reset(seed)
        environment = SafeReach(self.scenario)
        raw, _ = environment.reset(seed=seed)
        tell = _Teller(self.store, self._header(seed), self.swapper)
        reward_sum = cost_sum = believed_cost = 0.0
        interventions, step, success, over, reason = 0, 0, False, False, Reason.EPISODE_END
        while not over:
            row = self._row(raw, step, believed_cost > 0.0)
            self.controller = self.swapper.between_ticks(self.controller)
            try:
                decision, scores = self.controller.decide(row.observation)
            except Exception as error:  # as the control loop has it: whatever it is, the robot stops
                reason = reason_of(error)[0]
                break
            if decision.reason in _STOPS:
                reason = decision.reason
                break
            raw, reward, success, late, info = environment.step(decision.action)
            over, step, interventions = success or late, step + 1, interventions + decision.intervened
            reward_sum, cost_sum = reward_sum + reward, cost_sum + info["cost"]
            believed, believed_cost = self._believe(reward, info["cost"])
            decided = replace(
                row, action=decision.action, nominal=decision.nominal, reward=believed, cost=believed_cost,
                reason=decision.reason, scores=scores, filter=self.controller.insight.judged,
                bundle=self.controller.bundle_id,
            )  # fmt: skip
            self.swapper.saw(decided)
            tell(decided, self.controller.insight)
            while self.swapper.step():
                pass
        last = self._row(raw, step, believed_cost > 0.0)
        tell(replace(last, success=success, is_terminal=success, reason=reason), None)
        tell.writer.close("success" if success else "time out" if over else reason.outcome)
        found = Lived(
            seed, self.scenario, success, cost_sum > 0.0, cost_sum, reward_sum, interventions, step,
            self.swapper.bundle_id, self.swapper.swaps,
        )  # fmt: skip
        self.lived.append(found)
        return found

    def _believe(self, reward: float, cost: float) -> tuple[float, float]:
        return (reward, cost) if self._rejudge is None else self._rejudge(reward, cost)

    def _header(self, seed: int) -> EpisodeHeader:
        return EpisodeHeader(
            recording=self._recording, source="bundle", scenario=self.scenario, seed=seed,
            reasons=tuple(reason.name for reason in REASONS), bundle=self.controller.bundle_id,
        )  # fmt: skip

    def _row(self, raw: dict[str, Any], step: int, violation: bool) -> TickRecord:
        image = np.ascontiguousarray(raw["image"][..., self._channels])
        if self._distort is not None:
            image = self._distort(image, step)
        rest = np.zeros(len(self._recording.action), np.float32)
        return TickRecord(
            tick=step, time_ns=time.monotonic_ns(), observation=Observation(image, raw["state"]), action=rest,
            nominal=rest, reward=0.0, cost=0.0, violation=violation, is_first=step == 0, is_terminal=False,
            success=False, reason=Reason.EPISODE_END, state=State.RUNNING, scores=None, latency_s=0.0, frame_age_s=0.0,
        )  # fmt: skip


class _Teller:
    """Hands a record to the store and to the swapper, as the control loop does."""

    def __init__(self, store: ExperienceStore, header: EpisodeHeader, swapper: Swapper) -> None:
        self.writer, self._swapper = store.writer(header), swapper
        self._before: dict[str, Any] | None = None

    def __call__(self, record: TickRecord, insight: Insight | None) -> None:
        self._before = row_of(record, self._before)
        self.writer.append(self._before)
        self._swapper.record(record, insight)


def _channels(bundle: Bundle) -> np.ndarray:
    known = {name: index for index, name in enumerate(CAMERAS)}
    return np.concatenate([3 * known[camera.name] + np.arange(3) for camera in bundle.manifest.cameras])


def rows(lived: list[Lived]) -> list[dict[str, Any]]:
    """JSON values."""
    return [asdict(item) for item in lived]
