"""A base on two driven wheels, and its way from (speed, turn rate) to wheel speeds: no wire, no clock of its own.

In this order: the tether, the bumper, the wheels' speed limit, their acceleration budget. The controller checks the
last two again and on its own. Forwards is x, left is y, turning left is positive; the controller's joint 0 is the left
wheel, and both turn positively when the base drives forwards.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from firmware_bridge.telemetry import JointLimits
from fosp_edge.bundle.manifest import Channel
from fosp_edge.robots.arm import FloatArray
from fosp_edge.robots.base import ActionSpace
from fosp_edge.robots.channels import action_channels
from fosp_edge.robots.depth_window import DepthWindow, Look
from fosp_edge.robots.joint_limits import VelocityBudget, fastest_within

WHEEL_RANGE_RAD = 100.0
"""Limits of position that are sent for a wheel: as wide as the protocol has them. Its board tells positions within one
turn (PROTOCOL.md, endless joints), so that none is ever met."""
HOLDING = HELD_BY_TETHER, HELD_BY_BUMPER = "held back by the tether", "held back by the bumper"
SLOWED_M_S = 0.005
"""A command that is slowed by less is as good as followed."""
FAR_M = 1e4
LONGEST_BRAKING_RAD = 90.0
"""A wheel must be able to brake within this, or the board would see it beyond those limits."""


@dataclass(frozen=True)
class Bumper:
    """A depth camera that looks ahead: the base drives forwards no faster than it can brake before what is there.

    It turns and drives backwards as before, and what the camera does not see it does not stop for.
    """

    camera: str
    gap_m: float
    """What is left between the camera and what it sees, along its axis. More than the camera's least distance: what is
    nearer leaves a hole in its picture."""
    window: DepthWindow


@dataclass(frozen=True)
class BaseDescription:
    """Two wheels side by side, each with a motor of its own, and something that rolls along."""

    name: str
    wheel_radius_m: float
    track_m: float
    """From the middle of one wheel to the middle of the other."""
    wheel_velocity_limit_rad_s: float
    wheel_acceleration_limit_rad_s2: float
    speed_limit_m_s: float
    turn_limit_rad_s: float
    tether_m: float
    """How far it may go from where its motors were armed, by its wheels' count: a leash, no wall, for wheels slip."""
    bumper: Bumper | None = None

    @property
    def action_space(self) -> ActionSpace:
        """Forward speed and turn rate."""
        high = (self.speed_limit_m_s, self.turn_limit_rad_s)
        return ActionSpace(("speed", "turn_rate"), ("m/s", "rad/s"), (-high[0], -high[1]), high)

    @property
    def state(self) -> tuple[Channel, ...]:
        """What a policy sees of it: how it moves. Where it is, its wheels know less and less."""
        return action_channels(self.action_space)

    @property
    def braking_distance_m(self) -> float:
        """From full speed to rest."""
        return self.speed_limit_m_s**2 / (2.0 * self.acceleration_limit_m_s2)

    @property
    def acceleration_limit_m_s2(self) -> float:
        """What the wheels' limit is worth, driving straight on."""
        return self.wheel_acceleration_limit_rad_s2 * self.wheel_radius_m

    @cached_property
    def wheels_from_motion(self) -> FloatArray:
        """Wheel speeds (left, right) = this times (speed, turn rate), shape [2, 2]."""
        half = self.track_m / 2.0
        return np.array([[1.0, -half], [1.0, half]]) / self.wheel_radius_m

    def wheel_speeds(self, motion: FloatArray) -> FloatArray:
        """Wheel speeds (left, right) for (speed, turn rate), shape [2] both, within the wheels' limit.

        Both are slowed alike, so that the way keeps its curvature.
        """
        wheels: FloatArray = self.wheels_from_motion @ motion
        fastest = float(np.max(np.abs(wheels)))
        if fastest > self.wheel_velocity_limit_rad_s:
            wheels *= self.wheel_velocity_limit_rad_s / fastest
        return wheels

    @cached_property
    def motion_from_wheels(self) -> FloatArray:
        """(speed, turn rate) = this times wheel speeds (left, right), shape [2, 2]."""
        half = self.wheel_radius_m / 2.0
        return np.array([[half, half], [-self.wheel_radius_m / self.track_m, self.wheel_radius_m / self.track_m]])


TWO_WHEELS = BaseDescription(
    name="two-wheels",
    wheel_radius_m=0.033,
    track_m=0.16,
    wheel_velocity_limit_rad_s=8.0,
    wheel_acceleration_limit_rad_s2=50.0,
    speed_limit_m_s=0.22,
    turn_limit_rad_s=2.0,
    tether_m=4.0,
)
"""With the proportions and the speed of a common desktop base (a TurtleBot3 Burger's, rounded), turning more gently."""


class WheelDrive:
    """One base's way from motion to wheels; counts how far it has come since it was armed. Implements `Drive`."""

    endless = True

    def __init__(self, base: BaseDescription, period_s: float) -> None:
        """`period_s` is for how long one command is meant to be followed."""
        self.base, self._period_s = base, period_s
        self.name, self.action_space, self.state = base.name, base.action_space, base.state
        speed, acceleration = base.wheel_velocity_limit_rad_s, base.wheel_acceleration_limit_rad_s2
        self.limits: tuple[JointLimits, ...] = (
            JointLimits(-WHEEL_RANGE_RAD, WHEEL_RANGE_RAD, speed, acceleration),
        ) * 2
        self._budget = VelocityBudget(np.full(2, acceleration))
        self.look: Look | None = None
        """The bumper's camera. Until there is one, a base with a bumper does not drive forwards."""
        self.tell: Callable[[str], None] = lambda limit: None
        """Hears of each command that a limit slowed."""
        self.reset(0)

    def reset(self, now_ns: int) -> None:
        """The controller was armed, and the base stands still: the tether is tied here."""
        self._budget.reset(now_ns)
        self._place_m, self._heading_rad = np.zeros(2), 0.0
        self._last_rad: FloatArray | None = None
        self._last_ns, self._sent_rad_s = now_ns, np.zeros(2)

    def resynchronise(self, now_ns: int) -> None:
        """The controller refused a command, and holds."""
        self._budget.resynchronise(now_ns)
        self._sent_rad_s = np.zeros(2)

    def state_vector(self, position_rad: FloatArray, velocity_rad_s: FloatArray) -> FloatArray:
        """Speed (m/s) and turn rate (rad/s), shape [2], of wheels that turn like this."""
        motion: FloatArray = self.base.motion_from_wheels @ velocity_rad_s
        return motion

    def joint_velocity(self, position_rad: FloatArray, wanted: FloatArray, now_ns: int) -> FloatArray:
        """Wheel speeds [2] (rad/s) for (speed, turn rate) [2], at these positions [2], within a turn; charged."""
        self._count(position_rad, now_ns)
        speed = self._before_what_is_ahead(self._on_the_tether(float(wanted[0])), now_ns)
        wheels = self._budget.spend(self.base.wheel_speeds(np.array([speed, wanted[1]])), now_ns)
        self._sent_rad_s = wheels.copy()
        return wheels

    @property
    def place_m(self) -> FloatArray:
        """How far ahead and to the left of where it was armed it has come, by its wheels' count, shape [2]."""
        place: FloatArray = self._place_m.copy()
        return place

    @property
    def from_start_m(self) -> float:
        """How far it has come from where it was armed, by its wheels' count."""
        return float(np.hypot(*self._place_m))

    def _count(self, position_rad: FloatArray, now_ns: int) -> None:
        """Odometry: the midpoint rule over what the wheels turned since the last call.

        Whole turns are not told: of all the ways from one place to the other, it is the one nearest to what was asked.
        """
        if self._last_rad is not None:
            asked = self._sent_rad_s * (now_ns - self._last_ns) * 1e-9
            turned = asked + np.remainder(position_rad - self._last_rad - asked + np.pi, 2.0 * np.pi) - np.pi
            ahead_m, left_rad = self.base.motion_from_wheels @ turned
            middle_rad = self._heading_rad + left_rad / 2.0
            self._place_m = self._place_m + ahead_m * np.array([np.cos(middle_rad), np.sin(middle_rad)])
            self._heading_rad += left_rad
        self._last_rad, self._last_ns = position_rad.copy(), now_ns

    def _on_the_tether(self, speed_m_s: float) -> float:
        """The speed, slowed until the base can still brake on this side of the tether. Inwards it may always drive."""
        along = np.sign(speed_m_s) * np.array([np.cos(self._heading_rad), np.sin(self._heading_rad)])
        outwards = float(self._place_m @ along)
        room_squared = outwards**2 + self.base.tether_m**2 - float(self._place_m @ self._place_m)
        if room_squared <= 0.0:  # beyond it, and the line ahead nowhere comes back within
            fastest = np.inf if outwards < 0.0 else 0.0
        else:
            fastest = self._fastest_within(np.sqrt(room_squared) - outwards)
        return float(np.sign(speed_m_s)) * self._at_most(abs(speed_m_s), fastest, HELD_BY_TETHER)

    def _before_what_is_ahead(self, speed_m_s: float, now_ns: int) -> float:
        """The speed, slowed until the base can still brake before what its camera sees. Raises CameraError."""
        bumper = self.base.bumper
        if bumper is None or speed_m_s <= 0.0:
            return speed_m_s
        fastest = 0.0
        if self.look is not None:
            seen = self.look()
            age_s = max(0, now_ns - seen.sensor_ns) * 1e-9
            since_m = max(0.0, float(self.base.motion_from_wheels[0] @ self._sent_rad_s)) * age_s
            fastest = self._fastest_within(bumper.window.nearest_m(seen) - since_m - bumper.gap_m)
        return self._at_most(speed_m_s, fastest, HELD_BY_BUMPER)

    def _fastest_within(self, room_m: float) -> float:
        room = np.array(min(max(0.0, room_m), FAR_M))
        return float(fastest_within(room, np.array(self.base.acceleration_limit_m_s2), self._period_s))

    def _at_most(self, speed_m_s: float, fastest_m_s: float, limit: str) -> float:
        if speed_m_s > fastest_m_s + SLOWED_M_S:
            self.tell(limit)
        return min(speed_m_s, fastest_m_s)
