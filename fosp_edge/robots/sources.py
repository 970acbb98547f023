"""Sources of reward and cost that need only what the robot says of itself: thresholds, stops, volumes, a target."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from calib.geometry import is_rigid
from fosp_edge.robots.base import RobotError, RobotState
from fosp_edge.robots.judging import Finding, Plain, Sample

FloatArray = npt.NDArray[np.float64]
Where = Callable[[RobotState], FloatArray]
"""A robot's place, [3], m: an arm's fingertip in its base frame, or how far a base has come since it was armed."""


class JointThresholds(Plain):
    """Cost where a joint leaves a range, or moves faster, or pushes harder than it should.

    Args:
        lower_rad, upper_rad: allowed positions, one per joint; None does not ask.
        fastest_rad_s: allowed speed, one per joint; None does not ask.
        largest_current_a: allowed current of the motor, one per joint, which is what effort shows as; None does not
            ask.

    Raises:
        ValueError: nothing is limited, or by what is no number.
    """

    def __init__(
        self,
        lower_rad: Sequence[float] | None = None,
        upper_rad: Sequence[float] | None = None,
        fastest_rad_s: Sequence[float] | None = None,
        largest_current_a: Sequence[float] | None = None,
    ) -> None:
        limits = (lower_rad, upper_rad, fastest_rad_s, largest_current_a)
        if all(limit is None for limit in limits):
            raise ValueError("thresholds of joints need at least one limit")
        self._lower, self._upper, self._fastest, self._largest = (
            None if limit is None else np.asarray(limit, np.float64) for limit in limits
        )
        if any(limit is not None and not np.all(np.isfinite(limit)) for limit in limits):
            raise ValueError("thresholds of joints have to be finite: nothing is beyond what is no number")

    def judge(self, sample: Sample) -> Finding:
        """Cost 1 if any joint is beyond any of its limits. Raises RobotError where no current is measured."""
        robot = sample.robot
        beyond = _any(robot.position_rad, self._lower, np.less) or _any(robot.position_rad, self._upper, np.greater)
        beyond = beyond or _any(np.abs(robot.velocity_rad_s), self._fastest, np.greater)
        if self._largest is not None:
            if robot.current_a is None:
                raise RobotError("a limit on the motors' current needs motors that measure it; this robot's do not")
            beyond = beyond or _any(np.abs(robot.current_a), self._largest, np.greater)
        return Finding(cost=float(beyond))


def _any(values: FloatArray, limit: FloatArray | None, beyond: np.ufunc) -> bool:
    return limit is not None and bool(np.any(beyond(values, limit)))


class StopsAndInterventions(Plain):
    """An emergency stop or a fault of the motors costs 1; an intervention of the filter costs what it is set to."""

    def __init__(self, stop_cost: float = 1.0, intervention_cost: float = 0.0) -> None:
        self._stop, self._intervention = stop_cost, intervention_cost

    def judge(self, sample: Sample) -> Finding:
        """The dearer of the two."""
        stopped = sample.stopped or sample.robot.fault is not None
        return Finding(cost=max(self._stop * stopped, self._intervention * sample.intervened))


@dataclass(frozen=True)
class Volume:
    """A box where the robot must not be, in the frame of its place or in that of a calibrated camera."""

    low_m: tuple[float, float, float]
    high_m: tuple[float, float, float]
    base_from_frame: FloatArray = field(default_factory=lambda: np.eye(4))
    """Where its frame is in that of the place, [4, 4]: a camera's pose from `fosp-edge calibrate hand-eye`, say."""

    def distance_m(self, point_m: FloatArray) -> float:
        """From a place to the box; 0 inside."""
        rotation, origin = self.base_from_frame[:3, :3], self.base_from_frame[:3, 3]
        local = rotation.T @ (point_m - origin)
        outside = np.maximum(np.maximum(np.asarray(self.low_m) - local, local - np.asarray(self.high_m)), 0.0)
        return float(np.linalg.norm(outside))


class KeepOut(Plain):
    """Cost while the robot's place is nearer to a volume than the margin."""

    def __init__(self, where: Where, volumes: Sequence[Volume], margin_m: float = 0.0) -> None:
        self._where, self._volumes, self._margin_m = where, tuple(volumes), margin_m

    def judge(self, sample: Sample) -> Finding:
        """Cost 1 within the margin of any volume."""
        place = self._where(sample.robot)
        return Finding(cost=float(any(volume.distance_m(place) <= self._margin_m for volume in self._volumes)))


class Reached(Plain):
    """Progress towards a point is reward, being there is success: for targets that stand where they are known."""

    def __init__(self, where: Where, target_m: Sequence[float], radius_m: float, per_metre: float = 10.0) -> None:
        self._where, self._target = where, np.asarray(target_m, np.float64)
        self._radius_m, self._per_metre = radius_m, per_metre
        self._before: float | None = None

    def reset(self) -> None:
        """Distances of the last episode say nothing about this one."""
        self._before = None

    def judge(self, sample: Sample) -> Finding:
        """Reward for metres gained since the last call, and for arriving."""
        distance = float(np.linalg.norm(self._where(sample.robot) - self._target))
        gained = 0.0 if self._before is None else self._before - distance
        self._before = distance
        there = distance <= self._radius_m
        return Finding(reward=self._per_metre * gained + 10.0 * there, success=there)


def volumes_from(raw: object) -> list[Volume]:
    """Keep-out volumes: a list of {"low_m": [x, y, z], "high_m": [x, y, z], "base_from_frame": 4x4, optional}.

    Raises:
        ValueError: naming the volume that cannot be meant.
    """
    if not isinstance(raw, list) or not raw:
        raise ValueError(f"expected a list of volumes, found {raw!r}")
    return [_volume(number, item) for number, item in enumerate(raw, 1)]


def _volume(number: int, item: dict[str, object]) -> Volume:
    try:
        low, high = (np.asarray(item[name], np.float64) for name in ("low_m", "high_m"))
        frame = np.asarray(item.get("base_from_frame", np.eye(4)), np.float64)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(f"volume {number}: expected low_m and high_m, three metres each") from error
    if unknown := item.keys() - {"low_m", "high_m", "base_from_frame"}:
        raise ValueError(f"volume {number}: unknown entry {', '.join(sorted(unknown))}")
    if low.shape != (3,) or high.shape != (3,) or not np.all(low < high):
        raise ValueError(f"volume {number}: low_m {low} should lie below high_m {high} in all three axes")
    if frame.shape != (4, 4) or not is_rigid(frame, 1e-6):
        raise ValueError(f"volume {number}: base_from_frame should be a 4x4 pose")
    return Volume((low[0], low[1], low[2]), (high[0], high[1], high[2]), frame)
