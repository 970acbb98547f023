"""Shortest ways round the obstacles, seen from above: for drawing solvable tables and for the scripted behaviour."""

import heapq
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

_CELL_M = 0.01
_X_M = (0.18, 0.42)
_Y_M = (-0.27, 0.27)
_PENALTY = 30.0
"""A step through a cell that is too close costs this many times its length: never chosen, but it leads out."""


class Footprint(Protocol):
    """The part of an obstacle that planning sees."""

    @property
    def x_m(self) -> float: ...  # noqa: D102
    @property
    def y_m(self) -> float: ...  # noqa: D102
    @property
    def half_x_m(self) -> float: ...  # noqa: D102
    @property
    def half_y_m(self) -> float: ...  # noqa: D102


class GridPlanner:
    """Distance to the target over a 1 cm grid (Dijkstra 1959), obstacles grown by a clearance."""

    def __init__(self, obstacles: Sequence[Footprint], target_m: Sequence[float], *, clearance_m: float) -> None:
        self._x = np.arange(_X_M[0], _X_M[1] + 1e-9, _CELL_M)
        self._y = np.arange(_Y_M[0], _Y_M[1] + 1e-9, _CELL_M)
        grid_x, grid_y = np.meshgrid(self._x, self._y, indexing="ij")
        self._blocked: npt.NDArray[np.bool_] = np.zeros(grid_x.shape, bool)
        for obstacle in obstacles:
            outside_x = np.maximum(np.abs(grid_x - obstacle.x_m) - obstacle.half_x_m, 0.0)
            outside_y = np.maximum(np.abs(grid_y - obstacle.y_m) - obstacle.half_y_m, 0.0)
            self._blocked |= np.hypot(outside_x, outside_y) < clearance_m
        self._distance = self._flood(self._cell(target_m[0], target_m[1]))

    def _cell(self, x_m: float, y_m: float) -> tuple[int, int]:
        i = int(np.clip(round((x_m - _X_M[0]) / _CELL_M), 0, len(self._x) - 1))
        j = int(np.clip(round((y_m - _Y_M[0]) / _CELL_M), 0, len(self._y) - 1))
        return i, j

    def _flood(self, goal: tuple[int, int]) -> npt.NDArray[np.float64]:
        distance = np.full(self._blocked.shape, np.inf)
        distance[goal] = 0.0
        queue = [(0.0, goal)]
        while queue:
            reached, (i, j) = heapq.heappop(queue)
            if reached > distance[i, j]:
                continue
            for di in (-1, 0, 1):
                for dj in (-1, 0, 1):
                    k, m = i + di, j + dj
                    if (di or dj) and 0 <= k < len(self._x) and 0 <= m < len(self._y):
                        step = _CELL_M * (1.4142 if di and dj else 1.0) * (_PENALTY if self._blocked[k, m] else 1.0)
                        if reached + step < distance[k, m]:
                            distance[k, m] = reached + step
                            heapq.heappush(queue, (reached + step, (k, m)))
        return distance

    def reachable(self, x_m: float, y_m: float) -> bool:
        """Whether a way from here to the target exists that keeps the clearance throughout."""
        cell = self._cell(x_m, y_m)
        if self._blocked[cell]:
            return False
        path = self._descend(cell, 200)
        return not any(self._blocked[step] for step in path)

    def waypoint(self, x_m: float, y_m: float, *, ahead_m: float = 0.04) -> tuple[float, float]:
        """The point `ahead_m` further along the shortest way from here."""
        path = self._descend(self._cell(x_m, y_m), max(1, round(ahead_m / _CELL_M)))
        i, j = path[-1]
        return float(self._x[i]), float(self._y[j])

    def _descend(self, cell: tuple[int, int], steps: int) -> list[tuple[int, int]]:
        path = [cell]
        for _ in range(steps):
            i, j = path[-1]
            if self._distance[i, j] == 0.0:
                break
            window = self._distance[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2]
            di, dj = np.unravel_index(int(np.argmin(window)), window.shape)
            path.append((max(i - 1, 0) + int(di), max(j - 1, 0) + int(dj)))
        return path
