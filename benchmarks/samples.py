"""Measured times that add up over several runs of a benchmark: 100,000 slow ticks need not be made in one piece."""

import time
from pathlib import Path

import numpy as np


class Samples:
    """Times by name, seconds; each run leaves one file in a folder, and all of them are read together."""

    def __init__(self, folder: Path | None) -> None:
        """Without a folder nothing is kept for later runs."""
        self._folder = folder
        self._new: dict[str, list[np.ndarray]] = {}

    def add(self, name: str, seconds: np.ndarray) -> None:
        """Times along the first axis."""
        self._new.setdefault(name, []).append(seconds)

    def save(self) -> None:
        """Keep what is new for the runs that follow."""
        if self._folder is not None and self._new:
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / f"part-{time.time_ns()}.npz"
            temporary = path.with_suffix(".tmp")
            with temporary.open("wb") as file:
                np.savez(file, **{name: np.concatenate(parts) for name, parts in self._new.items()})
            temporary.replace(path)
            self._new = {}

    def all(self) -> dict[str, np.ndarray]:
        """Everything kept and everything new, by name."""
        found: dict[str, list[np.ndarray]] = {}
        for path in [] if self._folder is None else sorted(self._folder.glob("part-*.npz")):
            with np.load(path) as file:
                for name in file.files:
                    found.setdefault(name, []).append(file[name])
        for name, parts in self._new.items():
            found.setdefault(name, []).extend(parts)
        return {name: np.concatenate(parts) for name, parts in found.items()}

    @property
    def parts(self) -> int:
        """How many runs were read together."""
        return 0 if self._folder is None else len(list(self._folder.glob("part-*.npz")))
