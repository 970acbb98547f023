"""The last word before the wire: range and rate of every action, whatever the policy and the filter said."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fosp_edge.control.types import Float32Array

FloatArray = npt.NDArray[np.float64]


class ActionRefused(ValueError):  # noqa: N818 - an outcome, as the control loop names it
    """An action is not a finite number; it was not passed on."""


@dataclass(frozen=True)
class LimitedAction:
    """What may be sent, and what was changed about it."""

    physical: FloatArray
    """In the robot's units, shape [A]; inside the range."""
    normalised: Float32Array
    """The same on the policy's scale [-1, 1], shape [A]: this is what was executed, and what the policy is told."""
    range_limited: bool
    rate_limited: bool


class Limits:
    """Clamps an action to its range, and its change per tick to what the rate allows.

    `full_range_s` is the shortest time in which an action may travel its whole range, from one end to the other:
    0.1 s for a velocity of +-0.25 m/s is an acceleration of 5 m/s^2. The first action of an episode starts at rest.
    """

    def __init__(
        self, low: tuple[float, ...], high: tuple[float, ...], period_s: float, full_range_s: float = 0.1
    ) -> None:
        self._low, self._high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
        if self._low.shape != self._high.shape or not np.all(np.isfinite(self._low) & np.isfinite(self._high)):
            raise ValueError(f"every action needs a finite lower and upper limit, found {low} and {high}")
        if not np.all(self._low < self._high):
            raise ValueError(f"every lower limit must lie below its upper limit, found {low} and {high}")
        if not (period_s > 0.0 and full_range_s > 0.0):
            raise ValueError(f"period and full-range time must be positive, found {period_s} s and {full_range_s} s")
        self._span = self._high - self._low
        self._max_change = self._span * min(1.0, period_s / full_range_s)
        self._rest = np.clip(np.zeros_like(self._low), self._low, self._high)
        self._previous = self._rest.copy()
        self._slowest, self._fastest = self._low, self._high
        self.part = 1.0
        """Of every range that is allowed."""

    def slow(self, part: float) -> None:
        """Allow only this part of every range from now on, about rest: for a robot that may not be trusted fully.

        Raises:
            ValueError: not above 0 and at most 1.
        """
        if not 0.0 < part <= 1.0:
            raise ValueError(f"a part of the speed lies above 0 and is at most 1, found {part:g}")
        self.part = part
        self._slowest = self._rest + part * (self._low - self._rest)
        self._fastest = self._rest + part * (self._high - self._rest)

    @property
    def rest(self) -> FloatArray:
        """The action that asks for no motion (zero, or what of the range is nearest to it), physical, shape [A]."""
        rest: FloatArray = self._rest.copy()
        return rest

    def reset(self) -> None:
        """The robot stands still: the next action starts from rest."""
        self._previous = self._rest.copy()

    def restore(self, previous: FloatArray) -> None:
        """Go on as if this action, physical, shape [A], had just been let through."""
        self._previous = previous.copy()

    def follow(self, other: "Limits") -> None:
        """Continue another limiter's motion."""
        self._previous = other._previous.copy()

    def apply(self, normalised: Float32Array) -> LimitedAction:
        """Bring an action, shape [A], normalised, inside range and rate.

        Raises:
            ActionRefused: NaN or infinity in it, or the wrong shape. The state of the limiter is unchanged.
        """
        if normalised.shape != self._low.shape:
            raise ActionRefused(f"expected an action of {self._low.size} components, found shape {normalised.shape}")
        if not np.all(np.isfinite(normalised)):
            raise ActionRefused(f"the action {normalised.tolist()} is not finite; nothing was sent to the motors")
        wanted = self._low + (normalised.astype(np.float64) + 1.0) * 0.5 * self._span
        ranged = _between(wanted, self._slowest, self._fastest)
        rated = _between(ranged, self._previous - self._max_change, self._previous + self._max_change)
        physical = _between(rated, self._slowest, self._fastest)
        self._previous = physical.copy()
        # A float32 of exactly +-1 maps to the limits with a rounding error that is nobody's violation.
        slack = 1e-6 * self._span
        return LimitedAction(
            physical=physical,
            normalised=_between((physical - self._low) / self._span * 2.0 - 1.0, -1.0, 1.0).astype(np.float32),
            range_limited=bool((np.abs(ranged - wanted) > slack).any()),
            rate_limited=bool((np.abs(physical - ranged) > slack).any()),
        )


def _between(values: FloatArray, low: FloatArray | float, high: FloatArray | float) -> FloatArray:
    """`np.clip` at a third of its time."""
    between: FloatArray = np.minimum(np.maximum(values, low), high)
    return between
