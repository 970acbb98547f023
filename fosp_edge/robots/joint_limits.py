"""Joint velocities that the motor controller will accept, so that its limits are a last line and not a daily event.

The controller refuses a whole command that breaks a rule (PROTOCOL.md, section 7) and holds. Here a command is cut to
what those rules allow, with some room to spare for the time that passes between the telemetry it is based on and its
arrival.
"""

from dataclasses import dataclass

import numpy as np

from fosp_edge.robots.arm import ArmDescription, FloatArray

CONTROLLER_WINDOW_S = 0.100
"""The controller lets the velocity change by this long's worth of acceleration at once."""


def fastest_within(room: FloatArray, acceleration: FloatArray, horizon_s: float) -> FloatArray:
    """The fastest one may go and still stop within `room`, after `horizon_s` in which nothing can be changed.

    Largest v with v * horizon + v^2 / (2 a) <= room: the positive root of the quadratic. Shapes alike, units that fit
    each other; no room is negative.
    """
    reach = acceleration * horizon_s
    fastest: FloatArray = -reach + np.sqrt(reach**2 + 2.0 * acceleration * room)
    return fastest


def stay_within_joint_limits(
    arm: ArmDescription,
    position_rad: FloatArray,
    velocity_rad_s: FloatArray,
    horizon_s: float,
    margin_rad: float = 0.03,
) -> FloatArray:
    """The velocity, slowed as a whole until every joint can still brake before its limit, shape [J].

    A joint moves on for `horizon_s` before the next command can change anything, then needs v^2 / (2 a) to stop. The
    whole motion is slowed so that it keeps its direction; motion away from a limit is never slowed.
    """
    room = np.where(velocity_rad_s > 0.0, arm.upper_rad - position_rad, position_rad - arm.lower_rad) - margin_rad
    largest = fastest_within(np.maximum(room, 0.0), arm.acceleration_limit_rad_s2, horizon_s)
    speed = np.abs(velocity_rad_s)
    scale = np.min(np.divide(largest, speed, out=np.ones_like(speed), where=speed > largest))
    slowed: FloatArray = velocity_rad_s * scale
    return slowed


@dataclass
class VelocityBudget:
    """How much faster each joint may be asked to go, as the controller counts it: a token bucket per joint.

    It refills at the joint's acceleration limit. This one holds less than the controller's by `jitter_s` worth, so
    commands that pass here pass there even if they are delayed unequally by up to that long.
    """

    acceleration_rad_s2: FloatArray
    jitter_s: float = 0.025

    def __post_init__(self) -> None:
        self._full = self.acceleration_rad_s2 * (CONTROLLER_WINDOW_S - self.jitter_s)
        self.reset(0)

    def reset(self, now_ns: int) -> None:
        """The controller was armed, and stands still."""
        self._level = self._full.copy()
        self._previous = np.zeros_like(self._full)
        self._time_ns = now_ns

    def resynchronise(self, now_ns: int) -> None:
        """The controller refused a command: only zero is certain to be accepted, then the budget fills from nothing."""
        self._level = np.zeros_like(self._full)
        self._previous = np.zeros_like(self._full)
        self._time_ns = now_ns

    def spend(self, wanted_rad_s: FloatArray, now_ns: int) -> FloatArray:
        """The velocity nearest to the wanted one that the budget allows, shape [J]; it is charged.

        Slowing down without reversing is free; everything else costs the change. A reversal that is too dear becomes
        a stop.
        """
        elapsed_s = max(0, now_ns - self._time_ns) * 1e-9
        self._time_ns = now_ns
        self._level = np.minimum(self._full, self._level + self.acceleration_rad_s2 * elapsed_s)
        previous = self._previous
        free = (wanted_rad_s >= np.minimum(previous, 0.0)) & (wanted_rad_s <= np.maximum(previous, 0.0))
        nearest = np.clip(wanted_rad_s, previous - self._level, previous + self._level)
        # Cut on the way through zero, the nearest affordable velocity would still point the old way: then stop.
        nearest = np.where(nearest * wanted_rad_s < 0.0, 0.0, nearest)
        allowed = np.where(free, wanted_rad_s, nearest)
        stays_free = (allowed >= np.minimum(previous, 0.0)) & (allowed <= np.maximum(previous, 0.0))
        self._level = np.maximum(0.0, self._level - np.where(stays_free, 0.0, np.abs(allowed - previous)))
        self._previous = allowed
        affordable: FloatArray = allowed.copy()
        return affordable
