"""What the robot has lived itself: episodes that go on coming in while the learner learns."""

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from fosp_edge.experience.episode import EpisodeInfo
from fosp_edge.experience.schema import Steps, with_proof
from fosp_edge.experience.source import EpisodeSource
from fosp_edge.learning.samplers import Columns, Sampler

KEPT = ("image", "state", "action", "reward", "cost", "violation", "is_first", "is_terminal", "proven")
"""The columns that learning needs."""
RECENT = 20
"""Episodes that the log's figures of own experience are taken over."""

Encode = Callable[[Steps], Steps]
"""From an episode's columns, `proven` among them, to those kept of it, for instance latents instead of images."""


class OwnExperience:
    """Windows from a source that grows, uniform over starting rows; `refresh` looks for new episodes.

    Only finished episodes are read, each once. A window that runs past the end of its episode goes on in another;
    `is_first` marks the seam. When the rows outgrow the bound, the oldest episodes are let go.

    Args:
        source: where episodes appear, for instance a store that another process writes.
        batch: sequences per batch, B.
        length: rows per sequence, T.
        seed: decides what is drawn.
        choose: which episodes to take; None takes all.
        encode: applied to each episode once; None keeps pictures and states.
        memory_limit_bytes: bound on the memory of the rows.

    Raises:
        ValueError: `batch` or `length` below 1.
    """

    def __init__(
        self,
        source: EpisodeSource,
        batch: int,
        length: int,
        seed: int,
        *,
        choose: Callable[[EpisodeInfo], bool] | None = None,
        encode: Encode | None = None,
        memory_limit_bytes: int = 1 << 30,
    ) -> None:
        if batch < 1 or length < 1:
            raise ValueError(f"batch and length must be at least 1, found {batch} and {length}")
        self.batch, self.length = batch, length
        self._source, self._choose, self._encode, self._limit = source, choose, encode, memory_limit_bytes
        self._random = np.random.default_rng(seed)
        self._seen: set[str] = set()
        self._held: deque[Steps] = deque()
        self._ends = np.zeros(0, np.int64)
        self.memory_bytes = 0
        self._recent: deque[dict[str, float]] = deque(maxlen=RECENT)

    def refresh(self) -> int:
        """Read the episodes that were finished since the last look; returns how many rows came in.

        Raises:
            StoreError: the source cannot be read, or an episode in it is damaged.
        """
        added = 0
        for info in self._source.episodes():
            if info.id in self._seen or not info.summary.finished:
                continue
            self._seen.add(info.id)
            if self._choose is None or self._choose(info):
                added += self.add(self._source.read(info.id))
        return added

    def add(self, steps: Steps) -> int:
        """Take in one whole episode; returns its rows."""
        whole = with_proof(steps)
        kept = self._encode(whole) if self._encode is not None else {name: whole[name] for name in KEPT}
        self._held.append(kept)
        differs = np.abs(steps["action"].astype(np.float64) - steps["nominal"].astype(np.float64)).max(-1) > 1e-3
        self._recent.append(
            {
                "own/interventions": float(differs.mean()),
                "own/violation": float(bool((steps["violation"].astype(np.float64) > 0.5).any())),
                "own/reward": float(steps["reward"].sum()),
                "own/cost": float(steps["cost"].sum()),
            }
        )
        self.memory_bytes += _size(kept)
        while self.memory_bytes > self._limit and len(self._held) > 1:
            self.memory_bytes -= _size(self._held.popleft())
        self._ends = np.cumsum([len(item["reward"]) for item in self._held], dtype=np.int64)
        return len(kept["reward"])

    def metrics(self) -> dict[str, float]:
        """Means over the last episodes: share of ticks with intervention, of episodes with violation, reward, cost."""
        if not self._recent:
            return {}
        names = self._recent[0]
        return {name: sum(item[name] for item in self._recent) / len(self._recent) for name in names}

    @property
    def rows(self) -> int:
        """Rows held."""
        return int(self._ends[-1]) if len(self._ends) else 0

    @property
    def episodes(self) -> int:
        """Episodes held."""
        return len(self._held)

    def sample(self) -> Steps:
        """One batch, every kept column with shape [B, T, ...]. Raises ValueError while nothing is held."""
        if not self._held:
            raise ValueError("there is no experience of its own yet; let the robot finish an episode first")
        template = self._held[0]
        out: Steps = {
            name: np.empty((self.batch, self.length, *values.shape[1:]), values.dtype)
            for name, values in template.items()
        }
        first = np.zeros((self.batch, self.length), np.bool_)
        for sequence in range(self.batch):
            row = int(self._random.integers(self.rows))
            episode = int(np.searchsorted(self._ends, row, side="right"))
            start = row - (int(self._ends[episode - 1]) if episode else 0)
            filled = 0
            while filled < self.length:
                steps = self._held[episode]
                count = min(len(steps["reward"]) - start, self.length - filled)
                for name, values in steps.items():
                    out[name][sequence, filled : filled + count] = values[start : start + count]
                first[sequence, filled] = True
                filled += count
                episode, start = int(self._random.integers(len(self._held))), 0
        out["is_first"] = np.logical_or(out["is_first"], first)
        return out

    def state(self) -> dict[str, Any]:
        """The state of the random draws, JSON values. The episodes are read again from the source."""
        return {"random": self._random.bit_generator.state}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on with the draws where `state` was taken, over whatever the source holds by now."""
        self._random.bit_generator.state = state["random"]


class MixedSampler:
    """Batches of which a part is offline data and the rest the robot's own experience.

    While there is no own experience yet, the offline sampler fills the whole batch.

    Args:
        offline: draws the offline part; asked as often as needed to fill a batch without own experience.
        own: draws the rest.
        refresh_every: looks for new own experience before every so many batches; 0: only when told.
    """

    def __init__(self, offline: Sampler, own: OwnExperience, *, refresh_every: int = 0) -> None:
        self.offline, self.own, self._every, self._drawn = offline, own, refresh_every, 0

    def metrics(self) -> dict[str, float]:
        """How the robot did of late, for the log."""
        return self.own.metrics()

    def sample(self) -> Columns:
        """One batch, [B, T, ...]: the offline sequences first."""
        if self._every and self._drawn % self._every == 0:
            self.own.refresh()
        self._drawn += 1
        offline = self.offline.sample()
        parts = [offline]
        if self.own.rows:
            parts.append(self.own.sample())
        else:
            size = len(offline["reward"])
            while sum(len(part["reward"]) for part in parts) < size + self.own.batch:
                parts.append(self.offline.sample())
        whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0] if name in parts[-1]}
        size = len(offline["reward"]) + self.own.batch
        return {name: values[:size] for name, values in whole.items()}

    def state(self) -> dict[str, Any]:
        """States of both halves, JSON values."""
        return {"offline": self.offline.state(), "own": self.own.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken."""
        self.offline.restore(state["offline"])
        self.own.restore(state["own"])


def _size(steps: Steps) -> int:
    return sum(values.nbytes for values in steps.values())


def shares(batch: int, offline_share: float) -> tuple[int, int]:
    """Sequences from the offline data and from own experience in a batch, each at least one.

    Raises:
        ValueError: a batch below 2, or a share outside (0, 1).
    """
    if batch < 2 or not 0.0 < offline_share < 1.0:
        raise ValueError(
            f"fine-tuning mixes offline data and own experience in every batch: expected a batch of at least 2 and a "
            f"share in (0, 1), found {batch} and {offline_share:g}"
        )
    offline = min(batch - 1, max(1, round(batch * offline_share)))
    return offline, batch - offline
