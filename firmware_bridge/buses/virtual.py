"""A servo bus as a motor controller: the logic of `controller` on this computer, between MotorLink and the servos.

So a bought arm has the same limits, watchdog, latches and telemetry as a board with the firmware, and nothing above
knows the difference. What it cannot have is a second computer that survives this one: the servos' own bus watchdog
stands in for it where they have one (Dynamixel X); Feetech STS servos hold their last goal, which is never far from
where they are.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence

from firmware_bridge.buses.bus import MotorBus, MotorBusError, MotorState
from firmware_bridge.buses.calibration import RADIANS_PER_TICK, MotorCalibration
from firmware_bridge.buses.error_budget import ErrorBudget
from firmware_bridge.codes import Fault, State, Torque
from firmware_bridge.emulator import ControllerEmulator
from firmware_bridge.errors import LinkError, LinkLostError, NoAnswerError
from firmware_bridge.link import MotorLink

STATE_MAX_AGE_S = 0.04
"""For this long the last state of a servo stands in for one that did not come: one bad packet is not the end."""
FASTEST_RAD_S = 15.0
"""No servo of these families turns faster: a reading that says so is a damaged packet with a lucky check sum."""
BUS_WATCHDOG_S = 0.2
"""After this long without a packet the servos stop by themselves, where they can."""
SPEED_MARGIN = 1.25
"""The servos' own speed limit above the joint's, so that a servo that lags behind its goal can catch up."""
LONGEST_STEP_S = 0.05
"""Goals move on by at most this long's worth of velocity in a cycle: a stall is not made up for with a leap."""
LEAD_MAX_RAD = 0.15
"""A goal runs ahead of its joint by at most this: a blocked arm does not leap when it comes free."""


class ServoPlant:
    """Servos in position control, driven by velocities: each goal is the integral of its velocity setpoint."""

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
            speed_limits_rad_s: asked on switching torque on for the joints' speed limits; empty for none.
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
        self._goals_rad: list[float] | None = None
        self._velocities_rad_s = [0.0] * len(calibration)
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

    def commit(self, dt_s: float) -> None:
        """Move the goals by `dt_s` of the velocity setpoints and send them, if torque is on."""
        if not self._torque_on or self._goals_rad is None:
            return
        positions = self.positions_rad()
        for joint, velocity in enumerate(self._velocities_rad_s):
            goal = self._goals_rad[joint] + velocity * min(dt_s, LONGEST_STEP_S)
            if math.isfinite(positions[joint]) and velocity != 0.0:
                goal = max(positions[joint] - LEAD_MAX_RAD, min(positions[joint] + LEAD_MAX_RAD, goal))
            self._goals_rad[joint] = goal
        self._send_goals()

    def _send_goals(self) -> None:
        assert self._goals_rad is not None
        self._bus.write_goals([one.ticks(goal) for one, goal in zip(self._calibration, self._goals_rad, strict=True)])

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
        """Let the goals move at these velocities from the next `commit` on."""
        # Arming and the first command may arrive between two cycles: there is then no hold before the motion.
        self._switch_on()
        self._velocities_rad_s = list(velocity_rad_s)

    def set_hold(self) -> None:
        """Stay at the present goals; switching torque on first, at the present position, if it was off."""
        self._velocities_rad_s = [0.0] * len(self._velocities_rad_s)
        self._switch_on()

    def _switch_on(self) -> None:
        if self._torque_on:
            return
        positions = list(self.positions_rad())
        if not all(map(math.isfinite, positions)):
            return
        # The goal goes first: a servo that is switched on moves to whatever goal it remembers.
        self._goals_rad = positions
        self._send_goals()
        limits = self._speed_limits_rad_s()
        if limits:
            self._bus.limit_speed([SPEED_MARGIN * limit for limit in limits])
        self._torque_doubtful = True
        self._bus.set_torque(True)
        self._torque_on, self._torque_doubtful = True, False

    def set_off(self) -> None:
        """Let the arm go limp."""
        if self._torque_on or self._torque_doubtful:
            self._bus.set_torque(False)
        self._torque_on = self._torque_doubtful = False
        self._goals_rad = None


class VirtualController:
    """A `Transport` with a controller behind it: a thread reads the servos, lets the controller decide, sends goals."""

    def __init__(
        self,
        bus: MotorBus,
        calibration: Sequence[MotorCalibration],
        *,
        name: str = "virtual",
        period_s: float = 0.005,
        bus_watchdog_s: float | None = BUS_WATCHDOG_S,
        at_exit: Torque = Torque.HOLD,
        state_max_age_s: float = STATE_MAX_AGE_S,
    ) -> None:
        self._bus = bus
        self._plant = ServoPlant(bus, calibration, self._speed_limits_rad_s, state_max_age_s)
        self._controller = ControllerEmulator(self._plant, name=f"virtual-{name}"[:24], serial=name[:16])
        self._period_s = period_s
        self._at_exit = at_exit
        self._ready = threading.Condition()
        self._output = bytearray()
        self._woken = False
        self._stopping = False
        self._failure: str | None = None
        self._bus_watchdog_s = bus_watchdog_s if bus_watchdog_s and bus.set_watchdog(bus_watchdog_s) else None
        self._servos_tripped = False
        self._budget = ErrorBudget()
        self.cycles = 0
        self.bad_cycles = 0
        self.late_cycles = 0
        self._thread = threading.Thread(target=self._run, name=f"servo bus {name}", daemon=True)
        self._thread.start()

    # The transport's side: MotorLink reads and writes here.

    def read(self, timeout_s: float) -> bytes:
        """Return what the controller has said, waiting up to `timeout_s`."""
        with self._ready:
            self._ready.wait_for(lambda: self._output or self._woken or self._failure is not None, timeout_s)
            if self._failure is not None:
                raise LinkLostError(self._failure)
            data = bytes(self._output)
            self._output.clear()
            self._woken = False
        return data

    def write(self, data: bytes) -> None:
        """Give bytes to the controller; answers are there at once, motion with the next bus cycle."""
        with self._ready:
            if self._failure is not None:
                raise LinkLostError(self._failure)
            self._controller.controller.receive(data)
            self._collect_output()

    def wake(self) -> None:
        """Make a waiting `read` return."""
        with self._ready:
            self._woken = True
            self._ready.notify_all()

    def close(self) -> None:
        """Stop the thread, leave the arm held or limp as configured, give the port back."""
        self._stopping = True
        self._thread.join()
        try:
            if self._failure is None:
                # Nobody will feed the servos' watchdog any more; holding is then the goal they have.
                self._bus.set_watchdog(None)
                if self._at_exit is Torque.OFF:
                    self._bus.set_torque(False)
        except LinkError:
            # The bus went away while we were leaving: the servos hold, or their watchdog acts.
            pass
        finally:
            self._bus.close()

    def _speed_limits_rad_s(self) -> list[float]:
        return [limits.velocity_max_urad_s / 1e6 for limits in self._controller.controller.armed_limits]

    def bus_counters(self) -> dict[str, int]:
        """Return what went wrong on the bus, and how many cycles were bad or late."""
        return {**vars(self._bus.counters), "bad_cycles": self.bad_cycles, "late_cycles": self.late_cycles}

    def _collect_output(self) -> None:
        self._output += self._controller.controller.take_output()
        if self._output:
            self._ready.notify_all()

    # The bus's side.

    def _run(self) -> None:
        try:
            self._cycle_until_stopped()
        except Exception as problem:
            # Whatever ends this thread must reach whoever waits for it.
            with self._ready:
                self._failure = str(problem)
                self._ready.notify_all()

    def _cycle_until_stopped(self) -> None:
        last_s = due_s = time.monotonic()
        while not self._stopping:
            bad_bytes = self._bus.counters.bad_bytes
            whole = self._plant.refresh() and self._bus.counters.bad_bytes == bad_bytes
            self.bad_cycles += not whole
            now_s = time.monotonic()
            dt_s, last_s = now_s - last_s, now_s
            with self._ready:
                try:
                    self._controller.advance(max(1, round(dt_s * 1e6)))
                except (NoAnswerError, MotorBusError):
                    # A servo that does not say whether its torque is on is a fault, not the end of the loop.
                    self._controller.controller.latch(Fault.FEEDBACK_LOST)
                self._mind_servo_watchdog(dt_s)
                self._mind_health(whole, dt_s)
                self._collect_output()
            self._plant.commit(dt_s)
            self.cycles += 1
            due_s += self._period_s
            pause_s = due_s - time.monotonic()
            if pause_s > 0:
                time.sleep(pause_s)
            else:
                # Missed cycles are skipped, not caught up.
                self.late_cycles += 1
                due_s = time.monotonic()

    def _mind_health(self, whole: bool, dt_s: float) -> None:
        """Errors, one by one, are only counted; a rate of them, or a servo that is unwell, is a fault."""
        controller = self._controller.controller
        unreliable = self._budget.spend(not whole, dt_s)
        if controller.state is not State.ARMED:
            return
        if unreliable:
            controller.latch(Fault.FEEDBACK_LOST)
        if self._plant.any_alert():
            controller.latch(Fault.OVER_CURRENT)

    def _mind_servo_watchdog(self, dt_s: float) -> None:
        """After a pause in which the servos have stopped by themselves: a fault; a fresh start on the next arming."""
        controller, timeout_s = self._controller.controller, self._bus_watchdog_s
        if timeout_s is None or controller.state is not State.ARMED:
            return
        if self._servos_tripped:
            self._bus.set_watchdog(timeout_s)
            self._servos_tripped = False
        elif dt_s > timeout_s:
            self._servos_tripped = True
            controller.latch(Fault.WATCHDOG)


def servo_link(
    port: str,
    open_bus: Callable[[str], MotorBus],
    calibration: Sequence[MotorCalibration],
    **options: float | Torque | str,
) -> MotorLink:
    """Return a MotorLink over a servo bus; `connect` opens the bus and shakes hands with every motor.

    `options` go to VirtualController. Errors of opening and of the handshake come out of `connect`.
    """

    def open_transport(name: str) -> VirtualController:
        bus = open_bus(name)
        try:
            bus.handshake()
            bus.check_ready()
            return VirtualController(bus, calibration, **options)  # type: ignore[arg-type]
        except BaseException:
            bus.close()
            raise

    return MotorLink(port, expected_joint_count=len(calibration), open_transport=open_transport)
