"""What the control loop needs from whoever decides: a bundle (`controller`), or a person (`by_hand`)."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from fosp_edge.bundle.contract import Contract
from fosp_edge.control.controller import Insight
from fosp_edge.control.memory import Memory
from fosp_edge.control.types import Decision, Observation, StepScores


class Decider(Protocol):
    """From an observation to an action that may be sent. Used by one thread, that of the control loop."""

    bundle_id: str
    """Of the bundle that decides; empty where none does."""

    @property
    def manifest(self) -> Contract:
        """Robot, rate, cameras, state and actions that it decides for."""

    @property
    def insight(self) -> Insight | None:
        """Particulars of the last decision; None where nothing was computed for it."""

    @property
    def physical_action(self) -> npt.NDArray[np.float64]:
        """The last decision's action in the robot's units, inside its limits, shape [A]."""

    def warm_up(self) -> None:
        """Whatever is slow the first time, done while nothing moves."""

    def reset(self, seed: int) -> None:
        """A new episode, from rest."""

    def memory(self) -> Memory | None:
        """What the coming decision depends on beside the observation; None where nothing has to be kept of it."""

    def rehearse(self) -> None:
        """Make the coming decision quick; changes nothing else."""

    def decide(self, observation: Observation) -> tuple[Decision, StepScores | None]:
        """One tick: the action to execute, normalised and within limits; scores of candidates, if there are any."""
