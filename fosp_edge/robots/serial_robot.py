"""A robot behind a FOSP motor controller on a serial port: an arm, a base, whatever brings a `Drive`."""

import contextlib
import time

import numpy as np

from firmware_bridge.codes import Capability, Fault, Reaction, State, Torque
from firmware_bridge.errors import LinkError, LinkLostError
from firmware_bridge.link import Handshake, MotorLink
from firmware_bridge.telemetry import Telemetry
from fosp_edge.robots.arm import FloatArray
from fosp_edge.robots.base import RobotError, RobotLost, RobotState
from fosp_edge.robots.drive import Drive

_HOST_FAULTS = Fault.HOST_STOP | Fault.WATCHDOG
"""Latched because the host said stop or fell silent: nothing is wrong, and the operator's word clears them."""
_FAULT_WORDS = {
    Fault.HOST_STOP: "stopped by the host",
    Fault.WATCHDOG: "watchdog: no command came in time",
    Fault.OVER_TEMPERATURE: "a motor is too hot: let it cool down",
    Fault.OVER_CURRENT: "a motor draws too much current, or reports an error of its own: free it, check its supply",
    Fault.FEEDBACK_LOST: "a motor does not answer: check its cable",
    Fault.OVER_VELOCITY: "a joint moved faster than its limit",
}


class SerialRobot:
    """Implements `Robot`: an action in, joint velocities on the wire, telemetry back.

    Between the two stand the action's range and the `Drive`, with everything that the mechanism's limits ask for.
    """

    def __init__(
        self,
        port: str,
        drive: Drive,
        *,
        watchdog_s: float = 0.100,
        telemetry_timeout_s: float = 0.200,
        link: MotorLink | None = None,
        at_exit: Torque = Torque.HOLD,
    ) -> None:
        """Describe the robot; nothing is opened yet.

        Args:
            port: serial port of the controller.
            drive: what moves, and how: an arm's `FingertipDrive`, a base's `WheelDrive`.
            watchdog_s: after this long without an accepted command the controller brakes to a stop and latches.
            telemetry_timeout_s: telemetry older than this is a silent controller.
            at_exit: what `close` leaves behind: an arm that holds where it is, or one without torque, which may fall.
            link: another way to a controller than a board on the port: servos on a bus (`buses.virtual.servo_link`).
        """
        self.drive, self.name, self.action_space = drive, drive.name, drive.action_space
        self.state_names = tuple(one.name for one in drive.state)
        self.state_units = tuple(one.unit for one in drive.state)
        self._watchdog_s, self._telemetry_timeout_s = watchdog_s, telemetry_timeout_s
        self._link = link or MotorLink(port, expected_joint_count=len(drive.limits))
        self._at_exit = at_exit
        self._armed_ns: int | None = None
        self._refused = 0
        self.handshake: Handshake | None = None

    def connect(self, timeout_s: float) -> None:
        """Shake hands, upload limits with read-back, configure the watchdog. Motors stay disarmed.

        A stop or watchdog fault that an earlier host left behind is cleared; any other latched fault stays, and `arm`
        will name it.

        Raises:
            RobotError: no port, no answer, another robot, or limits that the controller does not store as sent.
        """
        deadline = time.monotonic() + timeout_s
        try:
            self.handshake = self._link.connect(timeout_s)
            self._check_turns(self.handshake)
            faults = self._first_telemetry(deadline).faults
            if faults and not faults & ~_HOST_FAULTS:
                self._link.clear_faults()
            if not faults & ~_HOST_FAULTS:  # limits are stored only while nothing is latched
                self._link.upload_limits(self.drive.limits, max(0.1, deadline - time.monotonic()))
                self._link.configure_watchdog(self._watchdog_s, Reaction.STOP)
        except (LinkError, RobotError) as error:
            self._link.close()
            raise RobotError(str(error)) from error
        if faults & ~_HOST_FAULTS:
            self._link.close()
            raise RobotError(
                f"the motor controller has latched a fault ({describe_faults(faults)}): remove the cause, then "
                "switch the controller off and on"
            )

    def arm(self) -> None:
        """Let the motors move; only on an operator's word. A stop or watchdog fault is cleared by it, no other is.

        A command must follow within the watchdog's time.

        Raises:
            RobotError: the controller refuses, or has latched a fault that needs more than a word.
        """
        telemetry = self._newest()
        if telemetry.faults & ~_HOST_FAULTS:
            raise RobotError(f"the motor controller has latched a fault: {describe_faults(telemetry.faults)}")
        if telemetry.state is State.ARMED and self._armed_ns is not None:
            return
        try:
            self._link.clear_faults()
            self._link.arm()
            self._armed_ns = time.monotonic_ns()
            self.drive.reset(self._armed_ns)
            self._refused = self._newest().commands_refused
            self._link.command_velocity(np.zeros(len(self.drive.limits)))
        except LinkLostError as error:
            raise RobotLost(str(error)) from error
        except LinkError as error:
            raise RobotError(str(error)) from error

    def read(self) -> RobotState:
        """The newest state; never blocks.

        Raises:
            RobotLost: the port is gone or telemetry is older than the timeout.
        """
        telemetry = self._newest()
        state = self.drive.state_vector(telemetry.position_rad, telemetry.velocity_rad_s)
        return RobotState(
            state=state.astype(np.float32),
            position_rad=telemetry.position_rad,
            velocity_rad_s=telemetry.velocity_rad_s,
            received_ns=telemetry.received_ns,
            sequence=telemetry.sequence,
            fault=self._fault(telemetry),
            current_a=telemetry.current_a,
        )

    def command(self, action: FloatArray) -> None:
        """Send one action in physical units, shape [A]; never blocks.

        Raises:
            ValueError: not as many finite numbers within the action's range; nothing was sent.
            RobotError: the motors are not armed.
            RobotLost: the port is gone or telemetry is too old to act on.
        """
        wanted = self._checked(action)
        if self._armed_ns is None:
            raise RobotError("the motors are disarmed: arm them before commanding")
        telemetry = self._newest()
        now_ns = time.monotonic_ns()
        if telemetry.commands_refused != self._refused:
            self._refused = telemetry.commands_refused
            self.drive.resynchronise(now_ns)
        joint_velocity = self.drive.joint_velocity(telemetry.position_rad, wanted, now_ns)
        try:
            self._link.command_velocity(joint_velocity)
        except LinkLostError as error:
            raise RobotLost(str(error)) from error

    def stop(self, timeout_s: float) -> bool:
        """Stop the motors at once; True only if the controller acknowledged. It latches until `arm`."""
        self._armed_ns = None
        try:
            return self._link.stop(timeout_s)
        except LinkError:
            return False

    def disarm(self, torque: Torque = Torque.HOLD) -> None:
        """Follow no more commands; hold still, or with Torque.OFF go limp. Latches nothing.

        Raises:
            RobotError: the controller did not acknowledge.
        """
        self._armed_ns = None
        try:
            self._link.disarm(torque)
        except LinkError as error:
            raise RobotError(str(error)) from error

    def close(self) -> None:
        """Disarm, leave the torque as `at_exit` says, and let go of the port. Never raises."""
        if self._armed_ns is not None or (self._at_exit is Torque.OFF and self.handshake is not None):
            with contextlib.suppress(RobotError):
                self.disarm(self._at_exit)
        with contextlib.suppress(LinkError, OSError):
            self._link.close()

    def _check_turns(self, handshake: Handshake) -> None:
        """On a board that counts turns up, wheels would run into its limits; on one that does not, an arm has none."""
        endless = bool(handshake.capabilities & Capability.ENDLESS)
        if endless == self.drive.endless:
            return
        if endless:
            raise RobotError(
                f"the controller {handshake.name!r} is made for wheels: it tells positions within one turn, and the "
                f"position limits of {self.name} would not hold; build its firmware without ENDLESS"
            )
        raise RobotError(
            f"the controller {handshake.name!r} counts the turns of its joints up, and the wheels of {self.name} would "
            "stop at its limits; build its firmware with ENDLESS=1 (PROTOCOL.md, endless joints)"
        )

    def _checked(self, action: FloatArray) -> FloatArray:
        low, high = np.asarray(self.action_space.low), np.asarray(self.action_space.high)
        if action.shape != low.shape or not np.all(np.isfinite(action)):
            raise ValueError(f"expected {low.size} finite numbers as action, found {action!r}")
        if np.any(action < low - 1e-6) or np.any(action > high + 1e-6):
            raise ValueError(f"the action {action.tolist()} is beyond its range, {low.tolist()} to {high.tolist()}")
        return action

    def _first_telemetry(self, deadline: float) -> Telemetry:
        while (telemetry := self._link.latest()) is None:
            if time.monotonic() > deadline:
                raise RobotError("the motor controller answers but sends no telemetry: update its firmware")
            time.sleep(0.002)
        return telemetry

    def _newest(self) -> Telemetry:
        try:
            telemetry = self._link.latest()
        except LinkError as error:
            raise RobotLost(str(error)) from error
        if telemetry is None:
            raise RobotLost("no telemetry yet: connect first")
        age_s = (time.monotonic_ns() - telemetry.received_ns) * 1e-9
        if age_s > self._telemetry_timeout_s:
            raise RobotLost(
                f"the motor controller has been silent for {age_s * 1e3:.0f} ms: check its power and cable; "
                "its own watchdog stops the motors"
            )
        return telemetry

    def _fault(self, telemetry: Telemetry) -> str | None:
        if telemetry.faults:
            return describe_faults(telemetry.faults)
        grace_ns = 50_000_000  # telemetry from before the acknowledgement of arming may still be the newest
        if self._armed_ns is not None and not telemetry.armed and telemetry.received_ns > self._armed_ns + grace_ns:
            return "the controller is disarmed, though the host armed it"
        return None


def describe_faults(faults: Fault) -> str:
    """The latched faults in words."""
    return "; ".join(words for fault, words in _FAULT_WORDS.items() if faults & fault) or str(faults)
