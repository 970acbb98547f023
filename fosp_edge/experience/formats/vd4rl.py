"""Episodes as V-D4RL and DreamerV2 save them: `<time>-<id>-<rows>.npz`, one file each.

A row is an observation, the action that led to it, and the reward that arrived with it; there are no costs.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fosp_edge.experience.episode import EpisodeHeader, EpisodeInfo, EpisodeSummary, Recording, StoreError
from fosp_edge.experience.formats.npz import Array, NpzFile, arriving, layout_of, pictures_of, save, steps_of
from fosp_edge.experience.schema import Steps
from fosp_edge.experience.source import EpisodeSource

RATE_HZ = 20.0
"""Depends on the task; the files do not say."""
_PARTS = 3


class VD4RLEpisodes:
    """A folder of episodes, as a source.

    Args:
        folder: where the files lie.
        rate_hz: control rate at which they were recorded.

    Raises:
        StoreError: no episodes, or one that cannot be read.
    """

    def __init__(self, folder: Path, rate_hz: float = RATE_HZ) -> None:
        self.folder, self._rate_hz = folder, rate_hz
        files = [NpzFile(path) for path in sorted(folder.iterdir()) if is_episode(path)]
        if not files:
            raise StoreError(f"{folder} holds no episodes such as <time>-<id>-<rows>.npz")
        self._recording, self._cameras, self._vectors = layout_of(files[0], "v-d4rl", rate_hz)
        self._files = {f"{number:06d}": file for number, file in enumerate(files)}

    @property
    def header(self) -> Recording:
        """What all episodes have in common."""
        return self._recording

    def episodes(self) -> Sequence[EpisodeInfo]:
        """Every episode, in the order of the files' names."""
        return [self._info(number, identity, file) for number, (identity, file) in enumerate(self._files.items())]

    def read(self, episode_id: str) -> Steps:
        """All rows of one episode. Raises StoreError."""
        if episode_id not in self._files:
            raise StoreError(f"{self.folder} has no episode {episode_id}; `fosp-edge data ls` lists them")
        file = self._files[episode_id]
        names = file.names()
        action = file.array("action")
        arrays: dict[str, Array] = {name: file.array(name) for name in (*self._cameras, *self._vectors)}
        arrays["action"] = np.concatenate([action[1:], np.zeros_like(action[:1])])
        arrays["reward"], arrays["cost"] = file.numbers("reward", names), file.numbers("cost", names)
        arrays["is_terminal"] = _terminal(file, names)
        return steps_of(arrays, self._cameras, self._vectors, self._rate_hz)

    def _info(self, number: int, identity: str, file: NpzFile) -> EpisodeInfo:
        names = file.names()
        reward, cost = file.numbers("reward", names), file.numbers("cost", names)
        summary = EpisodeSummary(
            rows=file.rows,
            total_reward=float(np.sum(reward[1:], dtype=np.float64)),
            total_cost=float(np.sum(cost[1:], dtype=np.float64)),
            violations=int(np.count_nonzero(cost)),
            success=bool(_terminal(file, names).any()),
            outcome="complete",
        )
        return EpisodeInfo(identity, EpisodeHeader(self._recording, source="v-d4rl", seed=number), summary)


def is_episode(path: Path) -> bool:
    """Whether a file's name is that of an episode."""
    return path.suffix == ".npz" and path.stem.count("-") == _PARTS - 1


def write_episodes(source: EpisodeSource, folder: Path, episode_ids: Sequence[str]) -> int:
    """Write episodes, one file each; returns how many. Costs go into an array `cost`, which readers may ignore.

    Raises:
        OSError: the disk refuses.
        StoreError: an episode cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number, episode_id in enumerate(episode_ids):
        steps = source.read(episode_id)
        rows = len(steps["reward"])
        action = steps["action"]
        arrays: dict[str, Array] = {
            **pictures_of(steps),
            "action": np.concatenate([np.zeros_like(action[:1]), action[:-1]]),
            "reward": arriving(steps["reward"]),
            "cost": arriving(steps["cost"]),
            "discount": 1.0 - steps["is_terminal"].astype(np.float32),
            "is_first": steps["is_first"],
            "is_last": np.arange(rows) == rows - 1,
            "is_terminal": steps["is_terminal"],
        }
        if steps["state"].shape[1]:
            arrays["state"] = steps["state"]
        save(folder / f"20000101T{number:06d}-{number:032x}-{rows}.npz", arrays)
    return len(episode_ids)


def _terminal(file: NpzFile, names: Sequence[str]) -> npt.NDArray[np.bool_]:
    if "is_terminal" not in names and "discount" in names:
        return np.equal(file.numbers("discount", names), 0.0)
    return file.flags("is_terminal", names)
