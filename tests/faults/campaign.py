"""A campaign of injected faults: named, each with the ends it may have, alone and in random company and order.

The control loop, the controller with its graph, filter and limits, the state machine and the session are the real
ones; cameras, recorder and clock are stood in for, so that thousands of schedules take minutes. Commands are checked
twice: where the robot takes them (finite, inside the range, inside the rate, only while armed), and at the far end of
the wire, where the emulated controller tells its motors what to do (`far_end.py`). Faults on real wires and processes
are in `test_wires.py` and `test_process.py`.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from fosp_edge.cameras.base import CameraLost, Frame
from fosp_edge.control.controller import Controller
from fosp_edge.control.loop import ControlLoop, LoopSettings
from fosp_edge.control.machine import Machine
from fosp_edge.control.pacing import Pacer
from fosp_edge.control.session import AutomaticOperator, Plan, RunSummary, Session
from fosp_edge.control.telemetry import default_thresholds
from fosp_edge.control.types import Reason, State, TickRecord
from fosp_edge.robots.base import FloatArray, RobotError, RobotLost, RobotState
from tests.control.fakes import FakeCamera, FakeClock, FakeReferee, FakeRobot, TinyBundle, feasible_state
from tests.faults.far_end import FarEnd, Wire, cutting, flipping, losing, repeating

PERIOD_S, LENGTH = 0.05, 30
LARGEST_CHANGE = 0.5 * PERIOD_S / 0.1 + 1e-9
"""Of a command from one tick to the next: half a range per period."""


@dataclass
class CheckingRobot(FakeRobot):
    """Motors that write down every command that should not have reached them."""

    violations: list[str] = field(default_factory=list)
    last: FloatArray = field(default_factory=lambda: np.zeros(3))
    stopped: bool = False

    def __post_init__(self) -> None:
        self.far_end = FarEnd(self.clock())

    def arm(self) -> None:
        super().arm()
        self.last, self.stopped = np.zeros(3), False
        self.far_end.pass_time(self.clock())
        self.far_end.arm()

    def read(self) -> RobotState:
        self.far_end.pass_time(self.clock())
        return super().read()

    def stop(self, timeout_s: float) -> bool:
        self.stopped = True
        self.far_end.pass_time(self.clock())
        self.far_end.stop()
        return super().stop(timeout_s)

    def command(self, action: FloatArray) -> None:
        if not np.all(np.isfinite(action)):
            self.violations.append(f"not finite: {action}")
        elif np.any(np.abs(action) > 0.25 + 1e-9):
            self.violations.append(f"out of range: {action}")
        elif np.any(np.abs(action - self.last) > LARGEST_CHANGE):
            self.violations.append(f"too quick: {self.last} -> {action}")
        if not self.armed or self.stopped:
            self.violations.append("commanded while stopped or disarmed")
        self.last = action.copy()
        self.commands.append(action)
        self.far_end.pass_time(self.clock())
        self.far_end.command(action, self.clock())


class Camera(FakeCamera):
    """A camera whose pictures can be spoilt."""

    spoil: Callable[[Frame], Frame] | None = None

    def latest(self, max_age_s: float) -> Frame:
        frame = super().latest(max_age_s)
        return frame if self.spoil is None else self.spoil(frame)


@dataclass
class StandInRecorder:
    written: int = 0
    dropped: int = 0
    failure: str | None = None
    full: bool = False
    backlog: int = 0

    def start(self) -> None:
        pass

    def record(self, record: TickRecord) -> bool:
        self.dropped += self.full
        return not self.full

    def begin_episode(self, seed: int, scenario: str, timeout_s: float = 2.0) -> None:
        pass

    def end_episode(self, outcome: str, timeout_s: float = 2.0) -> None:
        pass

    def close(self, timeout_s: float = 10.0) -> None:
        pass


@dataclass
class Bench:
    """One run, with a hook before every reading of the robot."""

    clock: FakeClock = field(default_factory=FakeClock)
    hooks: list[tuple[int, Callable[["Bench"], object]]] = field(default_factory=list)
    reads: int = 0
    slow_s: float = 0.0
    """What every tick takes longer."""
    poison: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.robot = CheckingRobot(self.clock)
        self.cameras = [Camera(self.clock, "fixed"), Camera(self.clock, "wrist")]
        self.recorder = StandInRecorder()
        self.robot.on_read = self._live
        self.controller = Controller(_BUNDLE)
        step = self.controller.runtime.step

        def poisoned(*arguments: object) -> object:
            scores = step(*arguments)  # type: ignore[arg-type]
            for name, value in self.poison.items():
                found = getattr(scores, name)
                spoilt = np.full_like(found, value) if isinstance(found, np.ndarray) else value
                scores = replace(scores, **{name: spoilt})
            return scores

        self.controller.runtime.step = poisoned  # type: ignore[method-assign,assignment]
        self.loop = ControlLoop(
            self.robot,
            self.cameras,
            self.controller,
            Machine(self.clock),
            referee=FakeReferee(length=LENGTH),
            recorder=self.recorder,
            observer=lambda record, insight: self.clock.sleep(self.slow_s) if self.slow_s else None,
            settings=LoopSettings(
                max_frame_age_s=0.2, max_missed_in_a_row=8, thresholds=default_thresholds(PERIOD_S, 0.2)
            ),
            pacer=Pacer(PERIOD_S, self.clock, self.clock.sleep),
            clock=self.clock,
            sleep=self.clock.sleep,
        )

    def _live(self) -> None:
        self.reads += 1
        for tick, act in self.hooks:
            if tick == self.reads:
                act(self)

    def run(self) -> RunSummary:
        return Session(self.loop, AutomaticOperator(), self.clock).run(Plan("standard", episodes=1))


_BUNDLE = TinyBundle()


@dataclass(frozen=True)
class Fault:
    """One fault, and the ends that a run with it alone may have."""

    name: str
    inject: Callable[[Bench], object]
    ends: frozenset[Reason]


def _set(place: str, **values: object) -> Callable[[Bench], object]:
    def act(bench: Bench) -> None:
        target = bench
        for part in filter(None, place.split(".")):
            target = target[int(part)] if part.isdecimal() else getattr(target, part)
        for name, value in values.items():
            setattr(target, name, value)

    return act


def _state(index: int, value: float) -> Callable[[Bench], object]:
    return lambda bench: bench.robot.state.__setitem__(index, value)


def _raise(error: BaseException) -> Callable[[Bench], object]:
    def act(bench: Bench) -> None:
        raise error

    return act


def _broken(method: str, error: Exception) -> Callable[[Bench], object]:
    def fail(*_: object) -> None:
        raise error

    return lambda bench: setattr(bench.robot, method, fail)


def _old(by_s: float) -> Callable[[Bench], object]:
    def age(frame: Frame) -> Frame:
        return replace(frame, sensor_ns=frame.sensor_ns - round(by_s * 1e9))

    return lambda bench: setattr(bench.cameras[0], "spoil", age)


def _picture(value: int, camera: int = 0) -> Callable[[Bench], object]:
    def paint(frame: Frame) -> Frame:
        return replace(frame, image=np.full_like(frame.image, value))

    return lambda bench: setattr(bench.cameras[camera], "spoil", paint)


def _shape(*shape: int) -> Callable[[Bench], object]:
    def cut(frame: Frame) -> Frame:
        return replace(frame, image=np.zeros(shape, np.uint8))

    return lambda bench: setattr(bench.cameras[1], "spoil", cut)


def _wild(bench: Bench) -> None:
    """The policy asks for one end of the range and then the other, every tick."""
    bench.hooks += [(tick, _ends(tick)) for tick in range(bench.reads, 200)]


def _ends(tick: int) -> Callable[[Bench], object]:
    return lambda bench: bench.robot.state.__setitem__(slice(5, 8), 1.0 if tick % 2 else -1.0)


def _wire(spoilt: Callable[[random.Random], Wire]) -> Callable[[Bench], object]:
    return lambda bench: setattr(bench.robot.far_end, "wire", spoilt(random.Random(bench.reads)))


def _out_of_order(bench: Bench) -> None:
    """Every other picture is the one before the last, with its own older stamp."""
    seen: list[Frame] = []

    def shuffle(frame: Frame) -> Frame:
        seen.append(frame)
        return seen[-3] if len(seen) > 2 and len(seen) % 2 else frame

    bench.cameras[0].spoil = shuffle


def _torn(bench: Bench) -> None:
    """The lower half of each picture belongs to the one before."""
    last: list[Frame] = []

    def tear(frame: Frame) -> Frame:
        image, before = frame.image.copy(), last[-1] if last else frame
        image[len(image) // 2 :] = before.image[len(image) // 2 :]
        last[:] = [frame]
        return replace(frame, image=image)

    bench.cameras[1].spoil = tear


def _freeze(bench: Bench) -> None:
    bench.cameras[1].frozen_at_ns = bench.clock.now_ns


def _silent_robot(bench: Bench) -> None:
    _broken("read", RobotLost("no telemetry for 0.2 s"))(bench)


R, DONE = Reason, frozenset({Reason.RUN_COMPLETE})


def _only(*reasons: Reason) -> frozenset[Reason]:
    return frozenset(reasons)


FAULTS = (
    Fault("camera frozen", _freeze, _only(R.FRAME_STALE)),
    Fault("camera process killed", _set("cameras.0", error=CameraLost("gone")), _only(R.CAMERA_LOST)),
    Fault("pictures 100 ms late", _old(0.1), DONE),
    Fault("pictures half a second late", _old(0.5), _only(R.FRAME_STALE)),
    Fault("picture black", _picture(0), DONE),
    Fault("picture white", _picture(255, 1), DONE),
    Fault("picture of another size", _shape(4, 4, 3), _only(R.CAMERA_LOST)),
    Fault("picture without colours", _shape(8, 8, 1), _only(R.INTERNAL, R.CAMERA_LOST)),
    Fault("camera driver raises", _set("cameras.0", error=OSError("usb")), _only(R.INTERNAL)),
    Fault("motor controller silent", _silent_robot, _only(R.ROBOT_LOST)),
    Fault("motor controller latches a fault", _set("robot", fault="over-current"), _only(R.ROBOT_FAULT)),
    Fault("motor port gone on sending", _broken("command", RobotLost("unplugged")), _only(R.ROBOT_LOST)),
    Fault("motors refuse a command", _broken("command", RobotError("disarmed")), _only(R.ROBOT_LOST)),
    Fault("motors find a value out of range", _broken("command", ValueError("range")), _only(R.INTERNAL)),
    Fault("stop not acknowledged", _set("robot", acknowledges=False), _only(R.ROBOT_LOST)),
    Fault("wire raises on stopping", _broken("stop", OSError("unplugged")), _only(R.ROBOT_LOST)),
    Fault("joint angle is NaN", _state(0, np.nan), _only(R.ROBOT_LOST)),
    Fault("joint angle is infinite", _state(6, np.inf), _only(R.ROBOT_LOST)),
    Fault("joint angle is enormous", _state(5, 3e38), DONE),
    Fault("graph returns NaN", _state(8, -2.0), _only(R.NOT_FINITE)),
    Fault("NaN in the candidates", _set("", poison={"candidates": np.nan}), _only(R.NOT_FINITE)),
    Fault("infinity in the candidates", _set("", poison={"candidates": np.inf}), _only(R.NOT_FINITE)),
    Fault("candidates far out of range", _set("", poison={"candidates": 1e6}), DONE),
    Fault("NaN in the reachability", _set("", poison={"reachability": np.nan}), _only(R.NOT_FINITE)),
    Fault("NaN in the value", _set("", poison={"reward_value": np.nan}), _only(R.NOT_FINITE)),
    Fault("infinite cost", _set("", poison={"cost_value": np.inf}), _only(R.NOT_FINITE)),
    Fault("NaN in the state's reachability", _set("", poison={"state_reachability": np.nan}), _only(R.NOT_FINITE)),
    Fault("everything infeasible", _set("", poison={"reachability": 0.5}), DONE),
    Fault("everything hopeless", _set("", poison={"reachability": 1.0}), DONE),
    Fault("policy asks for extremes in turn", _wild, DONE),
    Fault("machine stands still for a second", lambda bench: bench.clock.sleep(1.0), _only(R.DEADLINE, R.FRAME_STALE)),
    Fault("every tick 60 ms late", _set("", slow_s=0.06), _only(R.DEADLINE)),
    Fault("one tick 80 ms long", lambda bench: bench.clock.sleep(0.08), DONE),
    Fault("disk full", _set("recorder", failure="the disk is full"), _only(R.RECORDER_FAILED)),
    Fault("recorder cannot keep up", _set("recorder", full=True), DONE),
    Fault("operator presses Ctrl-C", _raise(KeyboardInterrupt()), _only(R.OPERATOR_STOP)),
    Fault("operator asks to stop", lambda bench: bench.loop.request_stop("enough"), _only(R.OPERATOR_STOP)),
    Fault(
        "emergency stop",
        lambda bench: bench.loop.request_stop("button", Reason.EMERGENCY_STOP),
        _only(R.EMERGENCY_STOP),
    ),
    Fault("pictures out of order", _out_of_order, DONE),
    Fault("pictures torn", _torn, DONE),
    Fault("camera's clock an hour ahead", _old(-3600.0), _only(R.FRAME_STALE)),
    Fault("camera's clock an hour back", _old(3600.0), _only(R.FRAME_STALE)),
    Fault("one byte in fifty lost", _wire(lambda source: losing(source, 0.02)), DONE),
    Fault("every other byte lost", _wire(lambda source: losing(source, 0.5)), DONE),
    Fault("one byte in fifty flipped", _wire(lambda source: flipping(source, 0.02)), DONE),
    Fault("every other byte flipped", _wire(lambda source: flipping(source, 0.5)), DONE),
    Fault("frames repeated, and old ones again", _wire(repeating), DONE),
    Fault("frames torn on the wire", _wire(cutting), DONE),
    Fault("memory exhausted", _raise(MemoryError()), _only(R.INTERNAL)),
    Fault("programmer's mistake", _raise(ZeroDivisionError("x")), _only(R.INTERNAL)),
)


def run_schedule(schedule: list[tuple[int, Fault]]) -> tuple[RunSummary, list[str]]:
    """Run with faults at readings of the robot; returns how it ended, and everything that should not have happened."""
    bench = Bench()
    bench.robot.state = feasible_state()
    bench.hooks = [(tick, fault.inject) for tick, fault in schedule]
    summary = bench.run()
    far_end = bench.robot.far_end
    far_end.pass_time(bench.clock.now_ns + 1_000_000_000)  # whatever was not told to stop is stopped by its watchdog
    wrong = [*bench.robot.violations, *far_end.motors.violations]
    if np.any(far_end.motors.velocity):
        wrong.append(f"a second after the end the motors still move: {far_end.motors.velocity}")
    if summary.state is not State.STOPPED or not summary.detail:
        wrong.append(f"ended {summary.state.value} with the sentence {summary.detail!r}")
    if "stop" not in bench.robot.events and not bench.robot.stopped and bench.robot.commands:
        intact = not any(fault.name == "wire raises on stopping" for _, fault in schedule)
        if intact:
            wrong.append("moved, and was never ordered to stop")
    return summary, wrong


def random_schedule(random: np.random.Generator) -> list[tuple[int, Fault]]:
    """One to four faults at random readings of a run."""
    count = int(random.integers(1, 5))
    return [(int(random.integers(1, 40)), FAULTS[int(random.integers(len(FAULTS)))]) for _ in range(count)]
