"""A servo bus as a motor controller: the logic of `controller` on this computer, between MotorLink and the servos.

So a bought arm has the same limits, watchdog, latches and telemetry as a board with the firmware, and nothing above
knows the difference. What it cannot have is a second computer that survives this one: the servos' own bus watchdog
stands in for it where they have one (Dynamixel X); Feetech STS servos hold their last goal, which is never far from
where they are. Wheels have no such goal, and have to have a watchdog.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from firmware_bridge.buses.bus import MotorBus, MotorBusError
from firmware_bridge.buses.calibration import MotorCalibration
from firmware_bridge.buses.error_budget import ErrorBudget
from firmware_bridge.buses.servos import STATE_MAX_AGE_S, Joints, Wheels
from firmware_bridge.codes import Fault, State, Torque
from firmware_bridge.emulator import ControllerEmulator
from firmware_bridge.errors import LinkError, LinkLostError, NoAnswerError
from firmware_bridge.link import MotorLink

BUS_WATCHDOG_S = 0.2
"""After this long without a packet the servos stop by themselves, where they can."""


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
        servos = Wheels if bus.wheels else Joints
        self._plant = servos(bus, calibration, self._speed_limits_rad_s, state_max_age_s)
        self._controller = ControllerEmulator(
            self._plant, name=f"virtual-{name}"[:24], serial=name[:16], endless=bus.wheels
        )
        self._period_s = period_s
        self._at_exit = at_exit
        self._ready = threading.Condition()
        self._output = bytearray()
        self._woken = False
        self._stopping = False
        self._failure: str | None = None
        self._bus_watchdog_s = bus_watchdog_s if bus_watchdog_s and bus.set_watchdog(bus_watchdog_s) else None
        if bus.wheels and self._bus_watchdog_s is None:
            raise MotorBusError("wheels want a watchdog of their own: give the bus one")
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
        """Stop the thread, leave the motors held or limp as configured, give the port back."""
        self._stopping = True
        self._thread.join()
        try:
            if self._failure is None:
                self._plant.leave()
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
