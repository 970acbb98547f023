"""The motors' end of the wire for the campaign: the emulated controller, its motors, and a judge of what they are told.

The bytes are those of the real wire: the product's drive, units, messages and framing make them, the controller's own
code takes them apart. Its motors write down whatever no motor should be told. Time is the campaign's.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from firmware_bridge import framing, messages, units
from firmware_bridge.codes import Mode, Reaction, State
from firmware_bridge.emulator import ControllerEmulator
from firmware_bridge.motion_messages import Command
from firmware_bridge.telemetry import JointLimits
from fosp_edge.robots.arm import DESKTOP_ARM
from fosp_edge.robots.base import FloatArray
from fosp_edge.robots.fingertip_drive import FingertipDrive
from fosp_edge.robots.workspace import DESKTOP_WORKSPACE

STEP_US = 5_000
WINDOW_S = 0.100
"""What the controller lets a host catch up at once, as acceleration (PROTOCOL.md, section 7)."""
_ROUNDING = 2e-6

Wire = Callable[[bytes], bytes]
"""What becomes of the bytes on their way to the controller."""


@dataclass
class Motors:
    """Joints that follow at once, and the judge."""

    violations: list[str] = field(default_factory=list)
    position: FloatArray = field(default_factory=lambda: np.array(DESKTOP_ARM.home_rad))
    velocity: FloatArray = field(default_factory=lambda: np.zeros(len(DESKTOP_ARM.joints)))
    may_move: bool = False
    """The controller is armed, by what was sent to it last."""
    told: int = 0
    since_s: float = 0.0
    """Since the target changed last."""

    def joint_count(self) -> int:
        return len(self.position)

    def positions_rad(self) -> Sequence[float]:
        return self.position.tolist()

    def velocities_rad_s(self) -> Sequence[float]:
        return self.velocity.tolist()

    def set_velocity_targets(self, velocity_rad_s: Sequence[float]) -> None:
        target = np.asarray(velocity_rad_s)
        self.told += 1
        if not np.all(np.isfinite(target)):
            self.violations.append(f"motors: not finite: {target}")
        if np.any(np.abs(target) > DESKTOP_ARM.velocity_limit_rad_s + _ROUNDING):
            self.violations.append(f"motors: too fast: {target}")
        allowed = DESKTOP_ARM.acceleration_limit_rad_s2 * (self.since_s + WINDOW_S) + _ROUNDING
        # Slowing down is always allowed; what is gained must have been affordable.
        gained = np.abs(target) - np.where(target * self.velocity > 0.0, np.abs(self.velocity), 0.0)
        if np.any(gained > allowed):
            self.violations.append(f"motors: too sudden: {self.velocity} -> {target}")
        # A controller that has latched its watchdog brakes along a ramp; nothing else is left to it.
        slower = (np.abs(target) <= np.abs(self.velocity)) & (target * self.velocity >= 0.0)
        if not self.may_move and not np.all(slower):
            self.violations.append(f"motors: told to move by a controller that is not armed: {target}")
        if not np.array_equal(target, self.velocity):
            self.since_s = 0.0
        self.velocity = target

    def set_hold(self) -> None:
        self.velocity = np.zeros(len(self.position))
        self.since_s = 0.0

    def move(self, duration_s: float) -> None:
        self.position = self.position + self.velocity * duration_s
        self.since_s += duration_s
        outside = (self.position < DESKTOP_ARM.lower_rad - 1e-3) | (self.position > DESKTOP_ARM.upper_rad + 1e-3)
        if np.any(outside):
            self.violations.append(f"motors: beyond a joint's range: {self.position}")


class FarEnd:
    """One controller with its motors, behind a wire that may be bad."""

    def __init__(self, now_ns: int) -> None:
        self.motors = Motors()
        self.emulator = ControllerEmulator(self.motors)
        self.wire: Wire = bytes
        self._drive = FingertipDrive(DESKTOP_ARM, DESKTOP_WORKSPACE, 0.05)
        self._sequence, self._now_ns = 0, now_ns
        self.emulator.advance(STEP_US)
        self._send(messages.Hello(1))
        for index, one in enumerate(DESKTOP_ARM.joints):
            limits = JointLimits(one.lower_rad, one.upper_rad, one.velocity_limit_rad_s, one.acceleration_limit_rad_s2)
            self._send(messages.SetLimits(index, limits.to_wire()))
        self._send(messages.SetWatchdog(150_000, Reaction.STOP))

    @property
    def state(self) -> State:
        return self.emulator.controller.state

    def pass_time(self, now_ns: int) -> None:
        """Let the controller live until now."""
        while self._now_ns + STEP_US * 1000 <= now_ns:
            self._now_ns += STEP_US * 1000
            self.emulator.advance(STEP_US)
            self.motors.may_move = self.state is State.ARMED
            self.motors.move(STEP_US * 1e-6)
        self.emulator.controller.take_output()

    def arm(self) -> None:
        self._request(messages.ClearFaults())
        self._request(messages.Arm())
        self._drive.reset(self._now_ns)
        self.motors.may_move = self.state is State.ARMED

    def stop(self) -> None:
        self._request(messages.Stop())

    def command(self, wanted_m_s: FloatArray, now_ns: int) -> None:
        """What `SerialRobot.command` does."""
        joints = self._drive.joint_velocity(self.motors.position, wanted_m_s, now_ns)
        targets = units.to_wire_each(joints.tolist(), units.PER_MICRO, units.VELOCITY_MAX_URAD_S, "velocity")
        self._send(Command(Mode.VELOCITY, targets))

    def _request(self, message: messages.Message) -> None:
        """Requests are repeated until they are answered: here, until they get through."""
        for _ in range(50):
            before = self.emulator.controller.read_counters().frames_received
            self._send(message)
            if self.emulator.controller.read_counters().frames_received > before:
                return

    def _send(self, message: messages.Message) -> None:
        self._sequence = (self._sequence + 1) & 0xFFFF
        frame = framing.encode_frame(messages.payload(message, self._sequence))
        self.emulator.controller.receive(self.wire(frame))


def losing(random_: random.Random, share: float) -> Wire:
    """Bytes get lost."""
    return lambda data: bytes(byte for byte in data if random_.random() >= share)


def flipping(random_: random.Random, share: float) -> Wire:
    """Bits get flipped."""
    return lambda data: bytes(byte ^ (1 << random_.randrange(8)) if random_.random() < share else byte for byte in data)


def repeating(random_: random.Random) -> Wire:
    """Whole frames come twice, and old ones come again."""
    past: list[bytes] = []

    def repeat(data: bytes) -> bytes:
        past.append(data)
        return data + random_.choice(past) + data

    return repeat


def cutting(random_: random.Random) -> Wire:
    """Frames are torn: the rest comes with the next one, or never."""
    kept = bytearray()

    def cut(data: bytes) -> bytes:
        kept.extend(data)
        sent = bytes(kept[: random_.randrange(len(kept) + 1)])
        del kept[: len(sent) + (random_.randrange(4) if random_.random() < 0.2 else 0)]
        return sent

    return cut
