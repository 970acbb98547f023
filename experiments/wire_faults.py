"""Randomised trials of everything that can happen on the wire: `python -m experiments.wire_faults [--json FILE]`.

Each trial drives six joints through a controller (the C core, or its Python twin) over a line that loses, flips,
repeats and delays bytes, and ends in one catastrophe: the host is killed (perhaps in the middle of a frame), the cable
is pulled, the controller resets, the host freezes and comes back with old frames. Time is the controller's own, in
steps of 1 ms: a busy machine changes nothing. In most trials the host is simulated as well; in others
(`wire_processes`) it is a process that gets SIGKILL or SIGSTOP. Asked of every trial:

- the velocity setpoints are zero and the drive holds within the watchdog's time plus braking at the acceleration limit;
- no setpoint was ever beyond the velocity limit, none grew faster than the acceleration limit;
- no joint ever left its position limits;
- nothing moves again without a new ARM.
"""

import argparse
import json
import random
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.wire_origin import wire_origin
from firmware_bridge import framing, messages
from firmware_bridge.codes import Capability, Drive, Mode, Reaction, State
from firmware_bridge.controller import Controller, Feedback, Identity
from firmware_bridge.messages import WireLimits
from firmware_bridge.motion_messages import Command
from firmware_bridge.safety import Measured

JOINTS = 6
LIMITS = WireLimits(-1_500_000, 1_500_000, 1_000_000, 8_000_000, 3_000, 400_000, 700, 2_000)
IDENTITY = Identity(JOINTS, Capability(127), "trial", "T")
ENDINGS = ("host killed", "cable pulled", "controller reset", "host frozen, old frames come late")
TICK_US = 1_000


@dataclass
class Line:
    """Bytes from host to controller, with what a line does to them."""

    rng: random.Random
    loss: float
    flip: float
    repeat: float
    delay: float
    _waiting: list[tuple[int, bytes]] = field(default_factory=list)

    def send(self, now_us: int, data: bytes) -> None:
        out = bytearray()
        for byte in data:
            draw = self.rng.random()
            if draw < self.loss:
                continue
            out.append(byte ^ (1 << self.rng.randrange(8)) if draw < self.loss + self.flip else byte)
            if draw > 1.0 - self.repeat:
                out.append(byte)
        late_us = self.rng.randrange(1, 60_000) if self.rng.random() < self.delay else 0
        self._waiting.append((now_us + late_us, bytes(out)))
        if self.rng.random() < self.repeat:
            self._waiting.append((now_us + self.rng.randrange(1, 80_000), bytes(out)))

    def answer(self, data: bytes) -> None:
        """What the controller says; nobody listens here."""

    def arrive(self, now_us: int) -> bytes:
        due = [one for one in self._waiting if one[0] <= now_us]
        self._waiting = [one for one in self._waiting if one[0] > now_us]
        return b"".join(data for _, data in due)


class Trial:
    """One run of one controller."""

    def __init__(self, make: Callable[[Identity], Any], seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.make, self.identity = make, IDENTITY
        self.controller = make(IDENTITY)
        bad = rng.choice([0.0, 0.0005, 0.003, 0.02])
        self.line = Line(rng, bad, bad, bad, rng.choice([0.0, 0.02, 0.2]))
        self.watchdog_us = rng.choice([20_000, 50_000, 100_000])
        self.reaction = rng.choice(list(Reaction))
        self.period_ms = rng.choice([2, 5, 10, 20]) if self.watchdog_us == 20_000 else rng.choice([5, 10, 20, 40])
        self.mode = rng.choice([Mode.VELOCITY, Mode.VELOCITY, Mode.POSITION])
        self.position = [rng.uniform(-1.2e6, 1.2e6) for _ in range(JOINTS)]
        self.velocity = [0.0] * JOINTS
        self.now_us = 0
        self.sequence = 0
        self.wanted = [0.0] * JOINTS
        self.excessive_commands = 0
        self.violations: list[str] = []
        self.was_moving = 0

    def feedback(self) -> Feedback:
        rows = zip(self.position, self.velocity, strict=True)
        measured = tuple(Measured(round(at), round(speed)) for at, speed in rows)
        return Feedback(measured, (0,) * JOINTS, (250,) * JOINTS, 12_000)

    def tick(self) -> None:
        before = list(self.controller.setpoints)
        self.controller.receive(self.line.arrive(self.now_us))
        self.controller.tick(TICK_US, self.feedback())
        self.line.answer(self.controller.take_output())
        self.now_us += TICK_US
        self._judge(before)
        for joint in range(JOINTS):
            target = self.controller.setpoints[joint] if self.controller.drive is Drive.VELOCITY else 0
            self.velocity[joint] = float(target)
            self.position[joint] += target * TICK_US / 1e6

    def _judge(self, before: list[int]) -> None:
        step = LIMITS.acceleration_max_urad_s2 * TICK_US // 1_000_000
        for joint, (old, new) in enumerate(zip(before, self.controller.setpoints, strict=True)):
            if abs(new) > LIMITS.velocity_max_urad_s:
                self.violations.append(f"velocity {new} of joint {joint}")
            if abs(new) > abs(old) + step:
                self.violations.append(f"acceleration of joint {joint}: {old} to {new}")
            # The last tick before a guard stop may have rounded a micro-radian outwards.
            if abs(self.position[joint]) > LIMITS.position_max_urad + 2:
                self.violations.append(f"joint {joint} at {self.position[joint]}")
        self.was_moving = max(self.was_moving, *map(abs, self.controller.setpoints))

    def say(self, message: messages.Message) -> bytes:
        self.sequence = (self.sequence + 1) & 0xFFFF
        return framing.encode_frame(messages.payload(message, self.sequence))

    def prepare(self) -> None:
        """An honest start over a clean line: what is tested is what comes after."""
        steps: list[messages.Message] = [messages.Hello(self.rng.randrange(1, 2**32))]
        steps += [messages.SetLimits(joint, LIMITS) for joint in range(JOINTS)]
        steps += [messages.SetWatchdog(self.watchdog_us, self.reaction)]
        self.controller.tick(TICK_US, self.feedback())
        for message in [*steps, messages.Arm()]:
            self.controller.receive(self.say(message))
        assert self.controller.state is State.ARMED

    def command(self) -> bytes:
        # Now and then more than is allowed, once or for a while: refused, and everything starts from rest again.
        if self.rng.random() < 0.03:
            self.excessive_commands = self.rng.randrange(1, 15)
        excess = 3.0 if self.excessive_commands > 0 else 1.0
        self.excessive_commands -= 1
        step_urad = LIMITS.velocity_max_urad_s * self.period_ms / 1e3
        for joint in range(JOINTS):
            if self.mode is Mode.VELOCITY:
                change = LIMITS.acceleration_max_urad_s2 * self.period_ms / 1e3 * self.rng.uniform(-0.9, 0.9)
                # Home is where there is room: towards it more often than away.
                pull = -0.05 * self.position[joint]
                wish = max(-0.95e6, min(0.95e6, self.wanted[joint] + change + pull))
                self.wanted[joint] = excess * wish
            else:
                self.wanted[joint] = self.position[joint] + excess * step_urad * self.rng.uniform(-0.4, 0.4)
        return self.say(Command(self.mode, tuple(round(one) for one in self.wanted)))

    def run(self) -> dict[str, Any]:
        """Drive, break, watch."""
        self.prepare()
        ending = self.rng.choice(ENDINGS)
        last_ms = self.rng.randrange(30, 400)
        old_frames = []
        for now_ms in range(last_ms):
            if now_ms % self.period_ms == 0:
                frame = self.command()
                old_frames.append(frame)
                self.line.send(self.now_us, frame)
            self.tick()
        if ending == "host killed":
            frame = self.command()
            self.line.send(self.now_us, frame[: self.rng.randrange(len(frame))])
        elif ending == "cable pulled":
            self.line._waiting.clear()
        elif ending == "controller reset":
            self.controller = self.make(IDENTITY)
            self.line.send(self.now_us, self.command())
        allowed_ms = self._allowed_ms()
        stopped_ms = self._until_still(allowed_ms)
        # Old frames, every one of them, must move nothing.
        for frame in old_frames if ending.startswith("host frozen") else old_frames[-3:]:
            self.controller.receive(frame)
            self.tick()
            if any(self.controller.setpoints):
                self.violations.append("an old frame moved a joint")
        return {
            "ending": ending,
            "stopped_ms": stopped_ms,
            "allowed_ms": allowed_ms,
            "violations": self.violations,
            "moved": self.was_moving > 0,
        }

    def _allowed_ms(self) -> float:
        braking_us = 0
        if self.reaction is Reaction.STOP:
            braking_us = LIMITS.velocity_max_urad_s * 1_000_000 // LIMITS.acceleration_max_urad_s2
        # Up to 60 + 80 ms of what was on the line may still arrive and be obeyed; then silence begins.
        late_us = max((due_us - self.now_us for due_us, _ in self.line._waiting), default=0)
        return (self.watchdog_us + braking_us + max(0, late_us)) / 1e3 + 2

    def _until_still(self, allowed_ms: float) -> int:
        still_after_ms = None
        for passed_ms in range(int(allowed_ms) + 300):
            if any(self.controller.setpoints) or self.controller.state is State.ARMED:
                still_after_ms = None
            elif still_after_ms is None:
                still_after_ms = passed_ms
            self.tick()
        if still_after_ms is None or still_after_ms > allowed_ms:
            self.violations.append(f"still only after {still_after_ms} ms, allowed were {allowed_ms}")
        return still_after_ms or 0


def campaign(trial: Callable[[int], dict[str, Any]], trials: int, seed: int) -> dict[str, Any]:
    """Run the trials of one kind and sum up."""
    endings: Counter[str] = Counter()
    violations: list[str] = []
    moved, margins_ms, ways_rad = 0, [], []
    for number in range(trials):
        outcome = trial(seed + number)
        endings[outcome["ending"]] += 1
        moved += outcome["moved"]
        margins_ms.append(outcome["allowed_ms"] - outcome["stopped_ms"])
        ways_rad.append(outcome.get("way_rad", 0.0))
        violations += [f"trial {seed + number}: {one}" for one in outcome["violations"]]
    result = {
        "trials": trials,
        "first_seed": seed,
        "trials_with_motion": moved,
        "smallest_margin_ms": round(min(margins_ms), 3),
        "endings": dict(sorted(endings.items())),
        "violations": violations,
    }
    return result | ({"longest_way_to_rest_rad": round(max(ways_rad), 4)} if any(ways_rad) else {})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1_000, help="of the C core, host simulated")
    parser.add_argument("--python-trials", type=int, default=200, help="of the Python controller, host simulated")
    parser.add_argument("--process-trials", type=int, default=200, help="of each controller, host a process")
    parser.add_argument("--servo-trials", type=int, default=50, help="of each servo family, host a process")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    origin = wire_origin()
    from experiments.wire_processes import ProcessTrial, ServoTrial
    from tests.firmware_bridge.native import NativeController

    def of(kind: Callable[..., Any], first: object) -> Callable[[int], dict[str, Any]]:
        return lambda seed: kind(first, seed).run()  # type: ignore[no-any-return]

    plan: dict[str, tuple[Callable[[int], dict[str, Any]], int]] = {
        "c_core": (of(Trial, NativeController), arguments.trials),
        "python": (of(Trial, Controller), arguments.python_trials),
        "c_core, host a process": (of(ProcessTrial, NativeController), arguments.process_trials),
        "python, host a process": (of(ProcessTrial, Controller), arguments.process_trials),
        "dynamixel servos, host a process": (of(ServoTrial, "dynamixel"), arguments.servo_trials),
        "feetech servos, host a process": (of(ServoTrial, "feetech"), arguments.servo_trials),
    }
    result = {name: campaign(trial, trials, arguments.seed) for name, (trial, trials) in plan.items() if trials}
    text = json.dumps({"origin": origin, **result}, indent=2) + "\n"
    sys.stdout.write(text)
    if arguments.json:
        arguments.json.write_text(text)
    return 1 if any(one["violations"] for one in result.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
