"""Ways round round things, over a floor: Dijkstra (1959) on a grid, from every cell to one target."""

import heapq
import math

import numpy as np
import numpy.typing as npt

Point = npt.NDArray[np.float64]
"""A place on the floor, [2], metres."""

_HALF_WIDTH_M = 2.8
_CELL_M = 0.08
_PENALTY = 12.0
"""A step through a blocked cell costs this many times its length: avoided, but it leads out again."""
_NEIGHBOURS = [(i, j, _CELL_M * math.hypot(i, j)) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]


class FloorPlanner:
    """The distance to a target past discs, from anywhere.

    Args:
        centres_m: [N, 2]; N may be 0.
        radii_m: [N], clearance included.
        target_m: where to.
    """

    def __init__(self, centres_m: npt.NDArray[np.float64], radii_m: npt.NDArray[np.float64], target_m: Point) -> None:
        line = np.arange(-_HALF_WIDTH_M, _HALF_WIDTH_M + 1e-9, _CELL_M)
        self._line = line
        x, y = np.meshgrid(line, line, indexing="ij")
        away = np.hypot(x[..., None] - centres_m[:, 0], y[..., None] - centres_m[:, 1])
        self._blocked: npt.NDArray[np.bool_] = (away < radii_m).any(-1)
        self._distance = self._flood(self._cell(target_m))

    def waypoint(self, place_m: Point, *, ahead_m: float = 0.3) -> Point:
        """The place about `ahead_m` further along the shortest way from here, [2]."""
        cell = self._cell(place_m)
        for _ in range(max(1, round(ahead_m / _CELL_M))):
            cell = min(self._around(*cell), key=self._distance.__getitem__, default=cell)
            if self._distance[cell] == 0.0:
                break
        return self._line[list(cell)]

    def _cell(self, place_m: Point) -> tuple[int, int]:
        i, j = np.clip(np.rint((place_m + _HALF_WIDTH_M) / _CELL_M), 0, len(self._line) - 1).astype(int)
        return int(i), int(j)

    def _around(self, i: int, j: int) -> list[tuple[int, int]]:
        size = len(self._line)
        return [(i + k, j + m) for k, m, _ in _NEIGHBOURS if 0 <= i + k < size and 0 <= j + m < size]

    def _flood(self, target: tuple[int, int]) -> npt.NDArray[np.float64]:
        size, weight = len(self._line), np.where(self._blocked, _PENALTY, 1.0).tolist()
        distance = [[math.inf] * size for _ in range(size)]
        distance[target[0]][target[1]] = 0.0
        queue = [(0.0, *target)]
        while queue:
            reached, i, j = heapq.heappop(queue)
            if reached > distance[i][j]:
                continue
            for k, m, length in _NEIGHBOURS:
                x, y = i + k, j + m
                if 0 <= x < size and 0 <= y < size:
                    through = reached + length * weight[x][y]
                    if through < distance[x][y]:
                        distance[x][y] = through
                        heapq.heappush(queue, (through, x, y))
        return np.array(distance)
