"""What a run leaves in memory for the live view, the summary and the plot: numbers per tick, a few pictures."""

from collections import deque
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fosp_edge.control.controller import Insight
from fosp_edge.control.types import Reason, State, TickRecord

TICKS_KEPT = 20_000
"""About a quarter of an hour at 20 Hz; older ticks leave the plot, not the histograms."""
FRAMES_KEPT = 400


@dataclass(frozen=True)
class TickPoint:
    """One tick without its pictures."""

    episode: int
    time_s: float
    """Since the first tick of the run."""
    reward: float
    cost: float
    policy_reachability: float
    """Of what the policy wanted."""
    chosen_reachability: float
    """Of what was done."""
    state_reachability: float
    surprise: float
    intervened: bool
    would_intervene: bool
    """The same, unless the filter is off."""
    reason: Reason
    state: State
    latency_s: float
    frame_age_s: float


@dataclass
class EpisodeLog:
    """One episode, pictures included; only the present and the most telling one are kept."""

    number: int
    points: list[TickPoint] = field(default_factory=list)
    frames: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    success: bool = False
    complete: bool = False

    @property
    def reward(self) -> float:
        """Sum of rewards so far."""
        return sum(point.reward for point in self.points)

    @property
    def cost(self) -> float:
        """Sum of costs so far."""
        return sum(point.cost for point in self.points)

    @property
    def interventions(self) -> int:
        """Ticks in which the filter stepped in, or would have."""
        return sum(point.would_intervene for point in self.points)

    @property
    def telling(self) -> tuple[bool, bool, bool, int]:
        """How well it shows what the software does: complete, reached, the filter at work, long enough to see."""
        return self.complete, self.success, self.interventions > 0, len(self.points)


class RunLog:
    """An observer of the control loop. Written by the control thread; others only read, and may be a tick behind."""

    def __init__(self) -> None:
        self.points: deque[TickPoint] = deque(maxlen=TICKS_KEPT)
        self.episode = EpisodeLog(0)
        self.showcase: EpisodeLog | None = None
        """The most telling episode so far."""
        self.successes = 0
        self.episodes_done = 0
        self.total_cost = 0.0
        self._begin_ns: int | None = None
        self._count = 0

    def __call__(self, record: TickRecord, insight: Insight | None) -> None:
        """Take one completed record (see `fosp_edge.control.loop.Observer`)."""
        if record.is_first:
            self._count += 1
            self.episode = EpisodeLog(self._count)
        episode = self.episode
        if self._begin_ns is None:
            self._begin_ns = record.time_ns
        if len(episode.frames) < FRAMES_KEPT:
            episode.frames.append(record.observation.image)
        if insight is None or record.scores is None:
            self._finish(record)
            return
        reachability = record.scores.reachability
        point = TickPoint(
            episode=episode.number,
            time_s=(record.time_ns - self._begin_ns) * 1e-9,
            reward=record.reward,
            cost=record.cost,
            policy_reachability=float(reachability[0]),
            chosen_reachability=float(reachability[insight.chosen]),
            state_reachability=record.scores.state_reachability,
            surprise=record.scores.surprise,
            intervened=insight.chosen != 0,
            would_intervene=insight.advice.intervened,
            reason=record.reason,
            state=record.state,
            latency_s=record.latency_s,
            frame_age_s=record.frame_age_s,
        )
        self.total_cost += record.cost
        episode.points.append(point)
        self.points.append(point)

    def _finish(self, record: TickRecord) -> None:
        """An episode's last row."""
        episode = self.episode
        episode.success, episode.complete = record.success, record.reason is Reason.EPISODE_END
        self.successes += record.success
        self.episodes_done += 1
        if self.showcase is None or episode.telling >= self.showcase.telling:
            self.showcase = episode
