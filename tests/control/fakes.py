"""Stand-ins for what the control room meets at its protocols, driven by a clock that only moves when told."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import onnx
from onnx import TensorProto, helper

from fosp_edge.bundle.manifest import (
    CameraContract,
    Channel,
    FilterThresholds,
    LatentContract,
    Manifest,
    Parity,
)
from fosp_edge.cameras.base import Frame, FrameStale
from fosp_edge.robots.base import ActionSpace, FloatArray, Judgement, RobotState

SIZE_PX, STATE, ACTIONS, SAMPLES = 8, 9, 3, 2
SPACE = ActionSpace(("vx", "vy", "vz"), ("m/s",) * 3, (-0.25,) * 3, (0.25,) * 3)
CANDIDATES = ("policy", "sample-1", "sample-2", "hold", "retreat")


def make_manifest() -> Manifest:
    return Manifest(
        name="tiny",
        robot="fake-arm",
        rate_hz=20.0,
        cameras=(CameraContract("fixed", SIZE_PX, SIZE_PX), CameraContract("wrist", SIZE_PX, SIZE_PX)),
        state=tuple(Channel(f"s{index}", "rad", -10.0, 10.0) for index in range(STATE)),
        actions=tuple(Channel(name, "m/s", -0.25, 0.25) for name in ("vx", "vy", "vz")),
        latent=LatentContract(deterministic=4, groups=3, classes=5),
        candidates=CANDIDATES,
        sampled_candidates=SAMPLES,
        filter=FilterThresholds(0.3, 0.7, 0.1, 100, "2026-01-01", "0" * 64),
        parity=Parity(0, 1e-4, 0.0, 0.0, 0.0, 0),
        created_utc="2026-01-01T00:00:00Z",
    )


def make_graph(**renamed: str) -> bytes:
    """A step graph small enough to reason about, with the contract's inputs and outputs.

    The state vector drives it: entries 0..4 are the reachability of the five candidates, 5..7 the policy's action,
    and `surprise` is log(1 + entry 8), so that -2 makes it NaN. Image, previous action, latent and noise all reach
    the next latent, and the latent reaches the values.
    """
    F, I = TensorProto.FLOAT, TensorProto.INT64  # noqa: E741
    count, m = len(CANDIDATES), make_manifest()

    def const(name: str, values: object, kind: int = F) -> onnx.TensorProto:
        array = np.asarray(values, np.float32 if kind == F else np.int64)
        return helper.make_tensor(name, kind, array.shape, array.ravel().tolist())

    node = helper.make_node
    nodes = [
        node("Slice", ["state", "zero", "five", "one"], ["reach_row"]),
        node("Reshape", ["reach_row", "n"], ["reachability"]),
        node("Slice", ["state", "five", "eight", "one"], ["policy"]),
        node("Slice", ["state", "eight", "nine", "one"], ["last"]),
        node("Add", ["last", "one_f"], ["log_in"]),
        node("Log", ["log_in"], ["log_out"]),
        node("Reshape", ["log_out", "single"], ["surprise"]),
        node("Mul", ["action_noise", "tenth"], ["spread"]),
        node("Add", ["policy", "spread"], ["samples"]),
        node("Neg", ["previous_action"], ["retreat"]),
        node("Concat", ["policy", "samples", "hold", "retreat"], ["raw"], axis=0),
        node("Clip", ["raw", "minus_one_f", "one_f"], ["candidates"]),
        node("Cast", ["image"], ["pixels"], to=F),
        node("ReduceMean", ["pixels"], ["brightness"], keepdims=0),
        node("Sub", ["one_f", "is_first"], ["keep"]),
        node("Mul", ["deterministic", "keep"], ["kept"]),
        node("Mul", ["kept", "half"], ["faded"]),
        node("ReduceSum", ["previous_action"], ["moved"], keepdims=0),
        node("Cast", ["stochastic"], ["classes"], to=F),
        node("ReduceMean", ["classes"], ["class_mean"], keepdims=0),
        node("Sum", ["faded", "brightness", "moved", "class_mean"], ["next_deterministic"]),
        node("ArgMax", ["latent_noise"], ["next_stochastic"], axis=2, keepdims=0),
        node("ReduceSum", ["candidates", "axis_one"], ["travel"], keepdims=0),
        node("ReduceMean", ["next_deterministic"], ["mood"], keepdims=0),
        node("Add", ["travel", "mood"], ["reward_value"]),
        node("Abs", ["travel"], ["cost_value"]),
        node("Reshape", ["reachability_first", "single"], ["state_reachability"]),
        node("Slice", ["reachability", "zero_axis", "single", "zero_axis"], ["reachability_first"]),
    ]
    nodes[-2], nodes[-1] = nodes[-1], nodes[-2]
    constants = [
        const("zero", [0], I),
        const("zero_axis", [0], I),
        const("one", [1], I),
        const("five", [5], I),
        const("eight", [8], I),
        const("nine", [9], I),
        const("n", [count], I),
        const("single", [1], I),
        const("axis_one", [1], I),
        const("one_f", 1.0),
        const("minus_one_f", -1.0),
        const("tenth", 0.1),
        const("half", 0.5),
        const("hold", np.zeros((1, ACTIONS))),
    ]

    def port(name: str, kind: int, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    inputs = [
        port("image", TensorProto.UINT8, (1, SIZE_PX, SIZE_PX, 6)),
        port("state", F, (1, STATE)),
        port("previous_action", F, (1, ACTIONS)),
        port("is_first", F, (1,)),
        port("deterministic", F, (1, m.latent.deterministic)),
        port("stochastic", I, (1, m.latent.groups)),
        port("latent_noise", F, (1, m.latent.groups, m.latent.classes)),
        port("action_noise", F, (SAMPLES, ACTIONS)),
    ]
    outputs = [
        port("next_deterministic", F, (1, m.latent.deterministic)),
        port("next_stochastic", I, (1, m.latent.groups)),
        port("candidates", F, (count, ACTIONS)),
        *[port(name, F, (count,)) for name in ("reward_value", "cost_value", "reachability")],
        port("state_reachability", F, (1,)),
        port("surprise", F, (1,)),
    ]
    for item in [*inputs, *outputs]:
        if item.name in renamed:
            old, item.name = item.name, renamed[item.name]
            for each in nodes:
                each.input[:] = [item.name if name == old else name for name in each.input]
                each.output[:] = [item.name if name == old else name for name in each.output]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


@dataclass
class TinyBundle:
    manifest: Manifest = field(default_factory=make_manifest)
    graph_bytes: bytes = field(default_factory=make_graph)


class FakeClock:
    """Nanoseconds that pass only while somebody sleeps."""

    def __init__(self) -> None:
        self.now_ns = 1_000_000_000

    def __call__(self) -> int:
        return self.now_ns

    def sleep(self, duration_s: float) -> None:
        self.now_ns += max(1, round(duration_s * 1e9))


def feasible_state() -> np.ndarray:
    """Nothing is near a violation, and the policy wants to move."""
    state = np.zeros(STATE, np.float32)
    state[:5] = 0.1
    state[5:8] = (0.5, -0.5, 0.25)
    return state


@dataclass
class FakeRobot:
    clock: FakeClock
    name: str = "fake-arm"
    state: np.ndarray = field(default_factory=feasible_state)
    fault: str | None = None
    acknowledges: bool = True
    on_read: Callable[[], None] | None = None
    commands: list[FloatArray] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    armed: bool = False
    moved_while_disarmed: int = 0
    action_space: ActionSpace = SPACE
    state_names: tuple[str, ...] = tuple(f"s{index}" for index in range(STATE))
    state_units: tuple[str, ...] = ("rad",) * STATE

    def connect(self, timeout_s: float) -> None:
        self.events.append("connect")

    def arm(self) -> None:
        self.armed = True
        self.events.append("arm")

    def read(self) -> RobotState:
        if self.on_read is not None:
            self.on_read()
        zeros = np.zeros(6)
        return RobotState(self.state.copy(), zeros, zeros, self.clock(), len(self.commands), self.fault)

    def command(self, action: FloatArray) -> None:
        assert np.all(np.isfinite(action)) and np.all(np.abs(action) <= 0.25 + 1e-9)
        self.moved_while_disarmed += not self.armed
        self.commands.append(action)

    def stop(self, timeout_s: float) -> bool:
        self.armed = False
        self.events.append("stop")
        return self.acknowledges

    def close(self) -> None:
        self.armed = False
        self.events.append("close")


@dataclass
class FakeCamera:
    clock: FakeClock
    name: str
    serial: str = "fake"
    width_px: int = SIZE_PX
    height_px: int = SIZE_PX
    frozen_at_ns: int | None = None
    error: Exception | None = None
    sequence: int = 0

    def start(self) -> None:
        pass

    def latest(self, max_age_s: float) -> Frame:
        if self.error is not None:
            raise self.error
        self.sequence += 1
        image = np.full((SIZE_PX, SIZE_PX, 3), self.sequence % 256, np.uint8)
        sensor_ns = self.clock() if self.frozen_at_ns is None else self.frozen_at_ns
        if self.clock() - sensor_ns > max_age_s * 1e9:
            raise FrameStale(f"camera {self.name} stands still")
        return Frame(image, self.sequence, sensor_ns)

    def close(self) -> None:
        pass


@dataclass
class FakeReferee:
    """Ends each episode after `length` steps; the last one succeeds. Reward counts the steps."""

    length: int = 5
    steps: int = 0
    resets: list[tuple[int, str]] = field(default_factory=list)

    def reset(self, seed: int, scenario: str) -> None:
        self.steps = 0
        self.resets.append((seed, scenario))

    def judge(self) -> Judgement:
        self.steps += 1
        done = self.steps >= self.length
        return Judgement(reward=float(self.steps), cost=float(self.steps == 2), success=done, finished=done)


@dataclass
class MemoryWriter:
    rows: list[dict[str, np.ndarray]] = field(default_factory=list)
    outcome: str | None = None
    error: Exception | None = None

    def append(self, row: dict[str, np.ndarray]) -> None:
        if self.error is not None:
            raise self.error
        self.rows.append({name: np.array(value) for name, value in row.items()})

    def close(self, outcome: str) -> None:
        self.outcome = outcome


def with_thresholds(manifest: Manifest, feasible: float, stop: float) -> Manifest:
    thresholds = replace(manifest.filter, feasible_reachability=feasible, stop_reachability=stop)
    return replace(manifest, filter=thresholds)
