"""A person decides in place of a bundle: range and rate of what is wished, and nothing that scores it."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from fosp_edge.bundle.contract import Contract
from fosp_edge.control.limits import Limits
from fosp_edge.control.types import Decision, Float32Array, Observation, Reason


class HandController:
    """Implements `Decider`. The wish is asked for once per tick; what is recorded is what was let through."""

    bundle_id = ""
    insight = None

    def __init__(
        self, contract: Contract, wish: Callable[[], Float32Array], *, speed: float = 1.0, full_range_s: float = 0.1
    ) -> None:
        """Drive nothing yet.

        Args:
            contract: of the robot; its actions' ranges are the limits.
            wish: what the person wants now, each component in [-1, 1], shape [A]; a part of what `speed` leaves.
            speed: part of every range that is allowed, above 0 and at most 1.
            full_range_s: shortest time from one end of a range to the other.

        Raises:
            ValueError: limits that are none.
        """
        self.manifest, self._wish = contract, wish
        low, high = (tuple(getattr(item, end) for item in contract.actions) for end in ("low", "high"))
        self.limits = Limits(low, high, 1.0 / contract.rate_hz, full_range_s)
        self.limits.slow(speed)
        self._speed, self._physical = speed, self.limits.rest

    def warm_up(self) -> None:
        """Nothing is slow the first time."""

    def reset(self, seed: int) -> None:
        """A new episode, from rest."""
        self.limits.reset()
        self._physical = self.limits.rest

    def memory(self) -> None:
        """Nothing is remembered that a person would need."""

    def rehearse(self) -> None:
        """Nothing to make quicker."""

    def decide(self, observation: Observation) -> tuple[Decision, None]:
        """What the person wishes, inside range and rate.

        Raises:
            RobotError: nobody can be heard any more. ActionRefused: the wish is not finite. Either way, stop.
        """
        wish = self._wish()
        limited = self.limits.apply((wish * np.float32(self._speed)).astype(np.float32))
        self._physical = limited.physical
        return Decision(0, limited.normalised, limited.normalised, Reason.BY_HAND, False), None

    @property
    def physical_action(self) -> npt.NDArray[np.float64]:
        """The last decision's action in the robot's units, shape [A]."""
        physical: npt.NDArray[np.float64] = self._physical.copy()
        return physical
