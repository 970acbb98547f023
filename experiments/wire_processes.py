"""The host as a process of its own that is killed, stopped or cut off in mid-motion; part of `experiments.wire_faults`.

The motors' end is served here, in steps of 1 ms of the controller's own time, over a pseudo-terminal that spoils bytes.
The host is a real `MotorLink` in a forked process; SIGKILL and SIGSTOP reach it at any moment, also in the middle of a
frame. What is asked of every trial is in `wire_faults`.

Servos have no controller that survives the host. Asked of them: Dynamixel stand still within their bus watchdog,
Feetech within the lead that a goal may have, which is how the manual of this project describes them; and no servo ever
goes faster than the limit that it was given for itself.
"""

import contextlib
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from typing import Any

from experiments.wire_faults import JOINTS, LIMITS, TICK_US, Line, Trial
from firmware_bridge import JointLimits, LinkError, MotorLink, Reaction
from firmware_bridge.buses.bus import ServoBus
from firmware_bridge.buses.calibration import RADIANS_PER_TICK, centred
from firmware_bridge.buses.emulator import POSITION_GAIN_PER_S, ServoChainEmulator
from firmware_bridge.buses.families import FAMILIES
from firmware_bridge.buses.servos import LEAD_MAX_RAD, SPEED_MARGIN
from firmware_bridge.buses.virtual import BUS_WATCHDOG_S, servo_link
from firmware_bridge.codes import Fault, State
from firmware_bridge.emulator import PseudoTerminal
from firmware_bridge.nonblocking import read_available, write_available

ENDINGS = ("host killed", "host stopped and continued", "cable pulled", "controller reset")
_START_TIMEOUT_S = 20.0
_IDS = tuple(range(1, JOINTS + 1))
_MODELS = {"dynamixel": 1020, "feetech": 777}
_FORK = multiprocessing.get_context("fork")


def _move(link: MotorLink, seed: int, watchdog_s: float, reaction: Reaction, ready: Connection) -> None:
    """Connect, arm, move; say so once; go on until the end of the world, and never arm again after having said so."""
    rng = random.Random(seed)
    joints = link.connect(_START_TIMEOUT_S).joint_count
    own = [JointLimits(-1.5, 1.5, LIMITS.velocity_max_urad_s / 1e6, LIMITS.acceleration_max_urad_s2 / 1e6)] * joints
    link.upload_limits(own, _START_TIMEOUT_S)
    link.configure_watchdog(watchdog_s, reaction)
    link.arm()
    period_s, velocity, sent = rng.choice([0.005, 0.01, 0.02]), [0.0] * joints, 0
    while True:
        now = link.latest()
        if now is not None and now.faults == Fault.WATCHDOG and sent < 10:
            link.clear_faults()
            link.arm()
            velocity, sent = [0.0] * joints, 0
        at = now.position_rad.tolist() if now is not None else [0.0] * joints
        velocity = [
            max(-0.9, min(0.9, one + rng.uniform(-0.02, 0.02) - 0.02 * here))
            for one, here in zip(velocity, at, strict=True)
        ]
        link.command_velocity(velocity)
        sent += 1
        if sent == 10:
            ready.send("moving")
        time.sleep(period_s)


def _host(
    make_link: Callable[[], MotorLink], seed: int, watchdog_s: float, reaction: Reaction, ready: Connection
) -> None:
    # A lost port is the end of a host, not a traceback among the results.
    with contextlib.suppress(LinkError, OSError):
        _move(make_link(), seed, watchdog_s, reaction, ready)


@contextlib.contextmanager
def _running(*arguments: Any) -> Iterator[tuple[ForkProcess, Connection]]:
    near, far = _FORK.Pipe(duplex=False)
    process = _FORK.Process(target=_host, args=(*arguments, far), daemon=True)
    process.start()
    far.close()
    try:
        yield process, near
    finally:
        process.kill()
        process.join()
        near.close()


def _kill(process: ForkProcess) -> None:
    process.kill()
    process.join()


def _freeze(process: ForkProcess) -> None:
    assert process.pid is not None
    os.kill(process.pid, signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)


class Clock:
    """Steps of the controller's time, level with the wall clock; after a stall the rest is let go."""

    def __init__(self) -> None:
        self._due_s = time.monotonic()

    def wait(self) -> None:
        self._due_s += TICK_US / 1e6
        pause_s = self._due_s - time.monotonic()
        if pause_s > 0:
            time.sleep(pause_s)
        elif pause_s < -0.02:
            self._due_s = time.monotonic()


class TerminalLine(Line):
    """A line whose host end is a pseudo-terminal; what comes in is spoilt as on any other line here."""

    def __init__(self, rng: random.Random, noise: float, delay: float) -> None:
        super().__init__(rng, noise, noise, noise, delay)
        self.terminal = PseudoTerminal()

    def arrive(self, now_us: int) -> bytes:
        if self.terminal.fd >= 0 and (data := read_available(self.terminal.fd)):
            self.send(now_us, data)
        return super().arrive(now_us)

    def answer(self, data: bytes) -> None:
        if self.terminal.fd >= 0:
            write_available(self.terminal.fd, data)


class ProcessTrial(Trial):
    """One run of one controller against a host process."""

    def __init__(self, make: Callable[..., Any], seed: int) -> None:
        super().__init__(make, seed)
        self.seed = seed
        self.watchdog_us = self.rng.choice([50_000, 100_000, 200_000])
        noise, delay = self.rng.choice([(0.0, 0.0), (0.0, 0.02), (0.0005, 0.0), (0.002, 0.02)])
        self.line: TerminalLine = TerminalLine(self.rng, noise, delay)
        self._clock = Clock()

    def tick(self) -> None:
        self._clock.wait()
        super().tick()

    def _pass(self, seconds: float) -> None:
        for _ in range(round(seconds * 1e6 / TICK_US)):
            self.tick()

    def run(self) -> dict[str, Any]:
        """Let the host drive, break something, watch."""
        ending, path = self.rng.choice(ENDINGS), self.line.terminal.path
        self.tick()
        with (
            contextlib.closing(self.line.terminal),
            _running(lambda: MotorLink(path), self.seed, self.watchdog_us / 1e6, self.reaction) as (process, ready),
        ):
            give_up_s = time.monotonic() + _START_TIMEOUT_S
            while not ready.poll() and process.is_alive() and time.monotonic() < give_up_s:
                self.tick()
            self._pass(self.rng.uniform(0.0, 0.25))
            self._break(ending, process)
            allowed_ms = self._allowed_ms()
            stopped_ms = self._until_still(allowed_ms)
            if ending == "host stopped and continued":
                assert process.pid is not None
                os.kill(process.pid, signal.SIGCONT)
                self._watch_for_motion(0.1)
            elif ending == "controller reset":
                self._watch_for_motion(0.1)
        return {
            "ending": ending,
            "stopped_ms": stopped_ms,
            "allowed_ms": allowed_ms,
            "violations": self.violations,
            "moved": self.was_moving > 0,
        }

    def _break(self, ending: str, process: ForkProcess) -> None:
        if ending == "host killed":
            _kill(process)
        elif ending == "host stopped and continued":
            _freeze(process)
        elif ending == "cable pulled":
            self.line.terminal.close()
        else:
            self.controller = self.make(self.identity)
        # What the host had written before it ended is on the line still.
        self.tick()

    def _watch_for_motion(self, seconds: float) -> None:
        for _ in range(round(seconds * 1e6 / TICK_US)):
            self.tick()
            if any(self.controller.setpoints) or self.controller.state is State.ARMED:
                self.violations.append("something moved without a new ARM")
                return


class _Joints:
    """Joints that follow their velocity at once."""

    def __init__(self, rng: random.Random) -> None:
        self.position = [rng.uniform(-0.8, 0.8) for _ in range(JOINTS)]
        self.velocity = [0.0] * JOINTS
        self.fastest = 0.0

    def joint_count(self) -> int:
        return JOINTS

    def positions_rad(self) -> list[float]:
        return self.position

    def velocities_rad_s(self) -> list[float]:
        return self.velocity

    def set_velocity_targets(self, velocity_rad_s: Any) -> None:
        self.velocity = list(velocity_rad_s)
        self.fastest = max(self.fastest, *map(abs, self.velocity))

    def set_hold(self) -> None:
        self.velocity = [0.0] * JOINTS

    def step(self, dt_s: float) -> None:
        self.position = [at + speed * dt_s for at, speed in zip(self.position, self.velocity, strict=True)]


class ServoTrial:
    """One chain of servos whose host is killed or stopped."""

    def __init__(self, family: str, seed: int) -> None:
        self.rng = random.Random(seed)
        self.family, self.seed = FAMILIES[family], seed
        self.joints = _Joints(self.rng)
        self.chain = ServoChainEmulator(self.family, _IDS, self.joints, _MODELS[family])
        self.terminal = PseudoTerminal()
        self.violations: list[str] = []
        self._clock = Clock()

    def tick(self) -> None:
        self._clock.wait()
        if self.terminal.fd >= 0:
            self.chain.poll(self.terminal.fd)
        self.chain.advance(TICK_US / 1e6)
        self.joints.step(TICK_US / 1e6)

    def run(self) -> dict[str, Any]:
        """Let the host drive, end it, measure time and way to rest."""
        path, family = self.terminal.path, self.family

        def make_link() -> MotorLink:
            return servo_link(path, lambda port: ServoBus(port, family, _IDS), centred(_IDS))

        ending = self.rng.choice(("host killed", "host stopped", "cable pulled"))
        with (
            contextlib.closing(self.terminal),
            _running(make_link, self.seed, 0.2, Reaction.STOP) as (process, ready),
        ):
            give_up_s = time.monotonic() + _START_TIMEOUT_S
            while not ready.poll() and process.is_alive() and time.monotonic() < give_up_s:
                self.tick()
            for _ in range(self.rng.randrange(1, 250)):
                self.tick()
            moved = self.joints.fastest > 0.0
            if ending == "cable pulled":
                self.terminal.close()
            else:
                (_kill if ending == "host killed" else _freeze)(process)
            self.tick()
            start, still_after_ms = list(self.joints.position), 0
            for passed_ms in range(1, 801):
                self.tick()
                if max(map(abs, self.joints.velocity)) > 1e-3:
                    still_after_ms = passed_ms
        way_rad = max(abs(now - then) for now, then in zip(self.joints.position, start, strict=True))
        return self._judge(ending, moved, still_after_ms, way_rad)

    def _judge(self, ending: str, moved: bool, still_after_ms: int, way_rad: float) -> dict[str, Any]:
        # A servo comes to rest where its goal is, and that is never further ahead than the lead.
        allowed_rad = LEAD_MAX_RAD + LIMITS.velocity_max_urad_s / 1e6 / POSITION_GAIN_PER_S + RADIANS_PER_TICK
        allowed_ms = 800
        if self.family.watchdog_unit_s is not None:
            allowed_ms = round(1e3 * (BUS_WATCHDOG_S + self.family.watchdog_unit_s)) + 2
        if still_after_ms > allowed_ms or still_after_ms >= 800:
            self.violations.append(f"still only after {still_after_ms} ms, allowed were {allowed_ms}")
        fastest_rad_s = SPEED_MARGIN * LIMITS.velocity_max_urad_s / 1e6
        if self.joints.fastest > fastest_rad_s + 1e-9:
            self.violations.append(f"a servo went {self.joints.fastest:.3f} rad/s, its limit was {fastest_rad_s:.3f}")
        if way_rad > allowed_rad:
            self.violations.append(f"{way_rad:.3f} rad on, allowed were {allowed_rad:.3f}")
        return {
            "ending": ending,
            "moved": moved,
            "stopped_ms": still_after_ms,
            "allowed_ms": allowed_ms,
            "way_rad": way_rad,
            "violations": self.violations,
        }
