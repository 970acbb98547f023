"""Servos behind the controller's idea of motors: what they say in SI units, and what they are told."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from firmware_bridge.buses.bus import MotorBus, MotorState
from firmware_bridge.buses.calibration import RADIANS_PER_TICK, MotorCalibration

STATE_MAX_AGE_S = 0.04
"""For this long the last state of a servo stands in for one that did not come: one bad packet is not the end."""
FASTEST_RAD_S = 15.0
"""No servo of these families turns faster: a reading that says so is a damaged packet with a lucky check sum."""
SPEED_MARGIN = 1.25
"""The servos' own speed limit above the joint's, so that a servo that lags behind its goal can catch up."""
LONGEST_STEP_S = 0.05
"""Goals move on by at most this long's worth of velocity in a cycle: a stall is not made up for with a leap."""
LEAD_MAX_RAD = 0.15
"""A goal runs ahead of its joint by at most this: a blocked arm does not leap when it comes free."""


class Servos(ABC):
    """What servos have in common, joints and wheels: their sensors, and when they have torque."""

    def __init__(
        self,
        bus: MotorBus,
        calibration: Sequence[MotorCalibration],
        speed_limits_rad_s: Callable[[], Sequence[float]] = tuple,
        state_max_age_s: float = STATE_MAX_AGE_S,
    ) -> None:
        """Put servos behind the controller's idea of motors.

        Args:
            bus: the servos.
            calibration: one per servo, in the order of the bus.
            speed_limits_rad_s: asked for the joints' speed limits, which may change with every arming; empty for none.
            state_max_age_s: for how long the last state of a servo may stand in for one that did not come.
        """
        if tuple(one.motor_id for one in calibration) != tuple(bus.motor_ids):
            raise ValueError("the calibration names other motors than the bus, or in another order")
        self._bus = bus
        self._calibration = tuple(calibration)
        self._states: list[MotorState | None] = [None] * len(calibration)
        self._seen_s = [0.0] * len(calibration)
        self._alerts = 0
        self._speed_limits_rad_s = speed_limits_rad_s
        self._state_max_age_s = state_max_age_s
        self._velocities_rad_s = [0.0] * len(calibration)
        self._limits_rad_s: tuple[float, ...] = ()
        self._torque_on = False
        self._torque_doubtful = False

    def refresh(self) -> bool:
        """Read all servos; False if any did not answer, or with what cannot be.

        Its last state then stands in for it, and once that is older than `state_max_age_s`, NaN.
        """
        asked_s, whole = time.monotonic(), True
        for joint, state in enumerate(self._bus.read_states()):
            if state is not None and self._plausible(joint, state, time.monotonic()):
                self._states[joint], self._seen_s[joint] = state, asked_s
                continue
            whole = False
            if time.monotonic() - self._seen_s[joint] > self._state_max_age_s:
                self._states[joint] = None
        alert = any(state is not None and state.alert for state in self._states)
        self._alerts = self._alerts + 1 if alert else 0
        return whole

    def _plausible(self, joint: int, new: MotorState, now_s: float) -> bool:
        old = self._states[joint]
        if old is None:
            return True
        angles = self._calibration[joint].angle_rad
        way_rad = abs(math.remainder(angles(new.position_ticks) - angles(old.position_ticks), 2 * math.pi))
        furthest_rad = FASTEST_RAD_S * (now_s - self._seen_s[joint]) + 2 * RADIANS_PER_TICK
        return way_rad <= furthest_rad and abs(new.velocity_rad_s) <= FASTEST_RAD_S

    def any_alert(self) -> bool:
        """Whether a servo has reported a hardware error of its own twice in a row: once may be a damaged byte."""
        return self._alerts > 1

    def joint_count(self) -> int:
        """Return the number of joints."""
        return len(self._calibration)

    def positions_rad(self) -> Sequence[float]:
        """Return the joint angles, NaN where a servo is silent."""
        return [
            math.nan if state is None else one.angle_rad(state.position_ticks)
            for one, state in zip(self._calibration, self._states, strict=True)
        ]

    def velocities_rad_s(self) -> Sequence[float]:
        """Return the joint velocities, NaN where a servo is silent."""
        return [
            math.nan if state is None else one.direction * state.velocity_rad_s
            for one, state in zip(self._calibration, self._states, strict=True)
        ]

    def currents_a(self) -> Sequence[float]:
        """Return the motor currents."""
        return [math.nan if state is None else state.current_a for state in self._states]

    def temperatures_c(self) -> Sequence[float]:
        """Return the motor temperatures."""
        return [math.nan if state is None else state.temperature_c for state in self._states]

    def voltage_v(self) -> float:
        """Return the lowest supply voltage on the chain: the far end is where it sags."""
        return min((state.voltage_v for state in self._states if state is not None), default=math.nan)

    def set_velocity_targets(self, velocity_rad_s: Sequence[float]) -> None:
        """Move at these velocities from the next `commit` on."""
        # Arming and the first command may arrive between two cycles: there is then no hold before the motion.
        self._switch_on()
        self._velocities_rad_s = list(velocity_rad_s)

    def set_hold(self) -> None:
        """Stay here; switching torque on first if it was off."""
        self._velocities_rad_s = [0.0] * len(self._velocities_rad_s)
        self._switch_on()

    def _switch_on(self) -> None:
        limits = tuple(self._speed_limits_rad_s())
        if (self._torque_on and limits == self._limits_rad_s) or not all(map(math.isfinite, self.positions_rad())):
            return
        # The goal goes first: a servo that is switched on goes to whatever goal it remembers.
        self._stay()
        if limits:
            self._bus.limit_speed([SPEED_MARGIN * limit for limit in limits])
        self._limits_rad_s = limits
        self._torque_doubtful = True
        self._bus.set_torque(True)
        self._torque_on, self._torque_doubtful = True, False

    def set_off(self) -> None:
        """Let go."""
        if self._torque_on or self._torque_doubtful:
            self._bus.set_torque(False)
        self._torque_on = self._torque_doubtful = False

    @abstractmethod
    def _stay(self) -> None:
        """Tell the servos, before they have torque, to stay where they are."""

    @abstractmethod
    def commit(self, dt_s: float) -> None:
        """Tell the servos what `dt_s` of the velocity setpoints means, if torque is on."""

    @abstractmethod
    def leave(self) -> None:
        """Nobody will tell the servos anything any more: leave them at rest. Raises LinkError if they do not answer."""


class Joints(Servos):
    """Servos in position control, driven by velocities: each goal is the integral of its velocity setpoint."""

    _goals_rad: Sequence[float] = ()

    def commit(self, dt_s: float) -> None:
        """Move the goals by `dt_s` of the velocity setpoints and send them, if torque is on."""
        if not self._torque_on:
            return
        goals = []
        for position, goal, velocity in zip(self.positions_rad(), self._goals_rad, self._velocities_rad_s, strict=True):
            goal = goal + velocity * min(dt_s, LONGEST_STEP_S)
            if math.isfinite(position) and velocity != 0.0:
                goal = max(position - LEAD_MAX_RAD, min(position + LEAD_MAX_RAD, goal))
            goals.append(goal)
        self._goals_rad = goals
        self._send_goals()

    def _stay(self) -> None:
        self._goals_rad = self.positions_rad()
        self._send_goals()

    def _send_goals(self) -> None:
        self._bus.write_goals([one.ticks(goal) for one, goal in zip(self._calibration, self._goals_rad, strict=True)])

    def leave(self) -> None:
        """They hold the goals that they have, whoever watches."""
        self._bus.set_watchdog(None)


class Wheels(Servos):
    """Servos that turn at a velocity, on and on."""

    def commit(self, dt_s: float) -> None:
        """Send the velocity setpoints, if torque is on."""
        if self._torque_on:
            self._send(self._velocities_rad_s)

    def _stay(self) -> None:
        self._send([0.0] * len(self._calibration))

    def _send(self, velocities_rad_s: Sequence[float]) -> None:
        self._bus.write_velocities(
            [one.direction * velocity for one, velocity in zip(self._calibration, velocities_rad_s, strict=True)]
        )

    def leave(self) -> None:
        """They stand still first: what turns without a watchdog turns on."""
        self._bus.bring_to_rest()
