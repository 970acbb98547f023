"""A bundle for the simulated arm that does as it is told: no learning needed to test what carries it."""

from dataclasses import dataclass, replace

import numpy as np
import onnx
from onnx import TensorProto, helper

from fosp_edge.bundle.manifest import CameraContract, Channel, FilterThresholds, LatentContract, Manifest, Parity
from fosp_edge.robots.arm import DESKTOP_ARM
from fosp_edge.robots.channels import action_channels
from fosp_edge.robots.mobile_base import TWO_WHEELS, BaseDescription

CANDIDATES = ("policy", "sample-1", "sample-2", "hold", "retreat")
STATE, SIZE_PX = 9, 64


def arm_manifest(rate_hz: float = 20.0) -> Manifest:
    state = [Channel(joint.name, "rad", joint.lower_rad, joint.upper_rad) for joint in DESKTOP_ARM.joints]
    state += [Channel(name, "m", -1.0, 1.0) for name in ("fingertip_x", "fingertip_y", "fingertip_z")]
    return Manifest(
        name="scripted",
        robot=DESKTOP_ARM.name,
        rate_hz=rate_hz,
        cameras=(CameraContract("fixed", SIZE_PX, SIZE_PX), CameraContract("wrist", SIZE_PX, SIZE_PX)),
        state=tuple(state),
        actions=tuple(Channel(name, "m/s", -0.25, 0.25) for name in ("vx", "vy", "vz")),
        latent=LatentContract(deterministic=1, groups=3, classes=5),
        candidates=CANDIDATES,
        sampled_candidates=2,
        filter=FilterThresholds(0.3, 0.7, 0.1, 100, "2026-01-01", "0" * 64),
        parity=Parity(0, 1e-4, 0.0, 0.0, 0.0, 0),
        created_utc="2026-01-01T00:00:00Z",
    )


def base_manifest(base: BaseDescription = TWO_WHEELS, rate_hz: float = 4.0) -> Manifest:
    """The same for a base with one camera; its graph is `scripted_graph(two numbers, state=2, cameras=1)`."""
    return replace(
        arm_manifest(rate_hz), robot=base.name, cameras=(CameraContract("front", SIZE_PX, SIZE_PX),), state=base.state,
        actions=action_channels(base.action_space),
    )  # fmt: skip


@dataclass(frozen=True)
class ScriptedBundle:
    manifest: Manifest
    graph_bytes: bytes


def scripted_graph(
    action: tuple[float, ...] = (0.1, 0.1, 0.05),
    reachability: tuple[float, ...] = (0.1, 0.1, 0.1, 0.05, 0.1),
    nan_after: int = 1_000_000,
    state: int = STATE,
    cameras: int = 2,
) -> bytes:
    """A step graph with a constant policy and constant reachability, which returns NaN after `nan_after` steps."""
    F, I = TensorProto.FLOAT, TensorProto.INT64  # noqa: E741

    def const(name: str, values: object, kind: int = F) -> onnx.TensorProto:
        array = np.asarray(values, np.float32 if kind == F else np.int64)
        return helper.make_tensor(name, kind, array.shape, array.ravel().tolist())

    def port(name: str, kind: int, *shape: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    node, count = helper.make_node, len(CANDIDATES)
    nodes = [
        node("Sub", ["unity", "is_first"], ["keep"]),
        node("Mul", ["deterministic", "keep"], ["kept"]),
        node("Add", ["kept", "unity"], ["next_deterministic"]),
        node("Sub", ["last_step", "next_deterministic"], ["left"]),
        node("Log", ["left"], ["alarm"]),
        node("Reshape", ["alarm", "single"], ["surprise"]),
        node("ArgMax", ["latent_noise"], ["next_stochastic"], axis=2, keepdims=0),
        node("Mul", ["action_noise", "tenth"], ["spread"]),
        node("Add", ["policy", "spread"], ["samples"]),
        node("Neg", ["previous_action"], ["retreat"]),
        node("Concat", ["policy", "samples", "hold", "retreat"], ["raw"], axis=0),
        node("Clip", ["raw", "minus_one", "plus_one"], ["candidates"]),
        node("ReduceSum", ["candidates", "axis"], ["reward_value"], keepdims=0),
        node("Abs", ["reward_value"], ["cost_value"]),
        node("Identity", ["reach"], ["reachability"]),
        node("Identity", ["reach_state"], ["state_reachability"]),
    ]
    constants = [
        const("unity", [1.0]),
        const("last_step", nan_after + 0.5 + 1.0),
        const("single", [1], I),
        const("axis", [1], I),
        const("tenth", 0.1),
        const("policy", [action]),
        const("hold", np.zeros((1, len(action)))),
        const("minus_one", -1.0),
        const("plus_one", 1.0),
        const("reach", reachability),
        const("reach_state", [min(reachability)]),
    ]
    inputs = [
        port("image", TensorProto.UINT8, 1, SIZE_PX, SIZE_PX, 3 * cameras),
        port("state", F, 1, state),
        port("previous_action", F, 1, len(action)),
        port("is_first", F, 1),
        port("deterministic", F, 1, 1),
        port("stochastic", I, 1, 3),
        port("latent_noise", F, 1, 3, 5),
        port("action_noise", F, 2, len(action)),
    ]
    outputs = [
        port("next_deterministic", F, 1, 1),
        port("next_stochastic", I, 1, 3),
        port("candidates", F, count, len(action)),
        *[port(name, F, count) for name in ("reward_value", "cost_value", "reachability")],
        port("state_reachability", F, 1),
        port("surprise", F, 1),
    ]
    graph = helper.make_graph(nodes, "scripted", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def scripted_bundle(rate_hz: float = 20.0, **script: object) -> ScriptedBundle:
    return ScriptedBundle(arm_manifest(rate_hz), scripted_graph(**script))  # type: ignore[arg-type]
