"""Reward and cost where no simulator hands them out: sources that each see one thing, and a referee that adds them up.

A source looks at one `Sample` and says what it found, quickly: it is asked once per tick, in the control thread. What
needs longer (a person's key, a gamepad) is listened to in another thread and only read here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fosp_edge.robots.base import Judgement, Referee, RobotState


@dataclass(frozen=True)
class Sample:
    """What a source may look at."""

    robot: RobotState
    image: npt.NDArray[np.uint8] | None = None
    """The newest pictures, side by side on the channels; None where no source asks for them."""
    intervened: bool = False
    """Whether the filter stepped in at the last tick."""
    stopped: bool = False
    """Whether an emergency stop is pressed."""


@dataclass(frozen=True)
class Finding:
    """What one source says of one step."""

    reward: float = 0.0
    cost: float = 0.0
    success: bool = False


NOTHING = Finding()


class Source(Protocol):
    """One way to tell reward or cost."""

    def judge(self, sample: Sample) -> Finding:
        """What happened since the last call."""

    def reset(self) -> None:
        """A new episode begins."""

    def close(self) -> None:
        """Let go of what it listens to."""


class Plain:
    """A source without memory and without anything to let go of."""

    def reset(self) -> None:
        """Nothing to forget."""

    def close(self) -> None:
        """Nothing to let go of."""


def total(findings: Sequence[Finding]) -> Finding:
    """What several sources say together: rewards add up, so do costs, any success is one."""
    return Finding(
        sum(item.reward for item in findings),
        sum(item.cost for item in findings),
        any(item.success for item in findings),
    )


class SourcesReferee:
    """Implements `Referee` and `StopJudge` for a robot without a simulator: asks every source once per step.

    Args:
        sources: who can tell.
        read: the robot's newest state.
        look: the newest pictures, where a source needs them.
        intervened: whether the filter stepped in at the last tick.
        stopped: whether an emergency stop is pressed.
        max_steps: longest episode.
        scene: who lays out the scene, where somebody can; what it says of reward and cost is not asked for.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        read: Callable[[], RobotState],
        *,
        look: Callable[[], npt.NDArray[np.uint8] | None] = lambda: None,
        intervened: Callable[[], bool] = lambda: False,
        stopped: Callable[[], bool] = lambda: False,
        max_steps: int = 100,
        scene: Referee | None = None,
    ) -> None:
        if not sources:
            raise ValueError("at least one source of reward or cost is needed; see docs/keep-learning.md")
        self._sources, self._read, self._look = tuple(sources), read, look
        self._intervened, self._stopped, self._max_steps, self._scene = intervened, stopped, max_steps, scene
        self._steps = 0

    def reset(self, seed: int, scenario: str) -> None:
        """Somebody lays out the scene; the sources begin anew."""
        if self._scene is not None:
            self._scene.reset(seed, scenario)
        self._steps = 0
        for source in self._sources:
            source.reset()

    def judge(self) -> Judgement:
        """What all sources say together; a cost is at most 1 per step, as everywhere in the recordings."""
        self._steps += 1
        found = self._ask(self._stopped())
        finished = found.success or self._steps >= self._max_steps
        return Judgement(found.reward, min(1.0, found.cost), found.success, finished)

    def judge_stop(self) -> Judgement:
        """The same where an emergency stop or a fault of the motors broke the episode off. No success any more."""
        found = self._ask(True)
        return Judgement(found.reward, min(1.0, found.cost), success=False, finished=True)

    def _ask(self, stopped: bool) -> Finding:
        sample = Sample(self._read(), self._look(), self._intervened(), stopped)
        return total([source.judge(sample) for source in self._sources])

    def close(self) -> None:
        """Let go of what the sources listen to."""
        for source in self._sources:
            source.close()
