"""The step graph, run once per tick: it carries the recurrent state and the noise, and checks what comes out."""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from fosp_edge.bundle.manifest import BundleError, Manifest
from fosp_edge.bundle.processor import BYTE_PRODUCTS, this_adds_exactly
from fosp_edge.bundle.validation import validate
from fosp_edge.control.device import CPU, CPU_DEVICE, Device
from fosp_edge.control.engines import open_prepared
from fosp_edge.control.types import Float32Array, Observation, StepScores

AnyArray = npt.NDArray[np.generic]


class PolicyBundle(Protocol):
    """What is needed of a verified bundle (`fosp_edge.bundle.folder.Bundle`)."""

    @property
    def manifest(self) -> Manifest:
        """What the bundle was made for."""

    @property
    def graph_bytes(self) -> bytes:
        """The step graph, as verified: the file is not read a second time."""

    @property
    def gate_bytes(self) -> bytes | None:
        """Parameters of the out-of-distribution gate, as verified; None if the manifest has no gate."""

    @property
    def imagination_bytes(self) -> bytes | None:
        """The imagination graph, as verified; None if the bundle has none."""


class NotFinite(RuntimeError):  # noqa: N818 - an outcome, as the control loop names it
    """The graph returned NaN or infinity; its recurrent state is not to be trusted until the next reset."""


@dataclass(frozen=True)
class Execution:
    """How ONNX Runtime goes about the graph. `fosp_edge.control.tuning` finds out what suits a machine."""

    threads: int = 1
    cores: tuple[int, ...] = ()
    """Cores that the threads beside the caller's own are tied to, `threads - 1` of them; empty leaves it open."""
    spin: bool = False
    """Idle threads wait busily: quicker, and a core less for everybody else."""


DEFAULT_EXECUTION = Execution()


@dataclass(frozen=True)
class Latent:
    """The recurrent state between two ticks, with what is needed to go on from it bit for bit."""

    deterministic: Float32Array
    """Shape [D]."""
    stochastic: npt.NDArray[np.int64]
    """Class of each categorical, shape [G]."""
    seed: int
    tick: int
    """Steps since the reset; zero means that nothing has been seen yet."""


@dataclass(frozen=True)
class _Port:
    """One input or output of the graph as the contract has it."""

    dtype: str
    shape: tuple[int, ...]


_ORT_TYPES = {"uint8": "tensor(uint8)", "float32": "tensor(float)", "int64": "tensor(int64)"}


def expected_ports(manifest: Manifest) -> tuple[dict[str, _Port], dict[str, _Port]]:
    """Inputs and outputs of the step graph that a manifest promises, by name."""
    height, width = manifest.cameras[0].height_px, manifest.cameras[0].width_px
    latent, actions, count = manifest.latent, len(manifest.actions), len(manifest.candidates)
    inputs = {
        "image": _Port("uint8", (1, height, width, 3 * len(manifest.cameras))),
        "state": _Port("float32", (1, len(manifest.state))),
        "previous_action": _Port("float32", (1, actions)),
        "is_first": _Port("float32", (1,)),
        "deterministic": _Port("float32", (1, latent.deterministic)),
        "stochastic": _Port("int64", (1, latent.groups)),
        "latent_noise": _Port("float32", (1, latent.groups, latent.classes)),
        "action_noise": _Port("float32", (manifest.sampled_candidates, actions)),
    }
    outputs = {
        "next_deterministic": _Port("float32", (1, latent.deterministic)),
        "next_stochastic": _Port("int64", (1, latent.groups)),
        "candidates": _Port("float32", (count, actions)),
        "reward_value": _Port("float32", (count,)),
        "cost_value": _Port("float32", (count,)),
        "reachability": _Port("float32", (count,)),
        "state_reachability": _Port("float32", (1,)),
        "surprise": _Port("float32", (1,)),
    }
    if manifest.sampled_candidates == 0:
        del inputs["action_noise"]
    return inputs, outputs


def made_up(manifest: Manifest) -> Observation:
    """A picture of noise and a state of zeros, of the shapes that a manifest promises: to warm up with, and to time."""
    camera = manifest.cameras[0]
    shape = (camera.height_px, camera.width_px, 3 * len(manifest.cameras))
    image = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    return Observation(image, np.zeros(len(manifest.state), np.float32))


def _check(kind: str, expected: dict[str, _Port], found: list[ort.NodeArg]) -> None:
    by_name = {item.name: item for item in found}
    if missing := sorted(expected.keys() - by_name.keys()):
        raise BundleError(f"the step graph lacks the {kind}s {', '.join(missing)}; export the bundle again")
    if unknown := sorted(by_name.keys() - expected.keys()):
        raise BundleError(f"the step graph has {kind}s nobody knows: {', '.join(unknown)}; export the bundle again")
    for name, port in expected.items():
        item = by_name[name]
        if item.type != _ORT_TYPES[port.dtype] or tuple(item.shape) != port.shape:
            raise BundleError(
                f"{kind} {name!r} of the step graph: the manifest promises {port.dtype}{list(port.shape)}, "
                f"the graph has {item.type}{list(item.shape)}; export the bundle again"
            )


class TickNoise:
    """Noise of any tick of any episode: a pure function of (seed, tick), so that a replay may begin anywhere.

    Philox counts instead of remembering (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): tick
    5,000 is drawn without drawing the 4,999 before it.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._philox = np.random.Philox(key=0)
        self._generator = np.random.Generator(self._philox)
        self._state = self._philox.state
        self.uniform = np.zeros((1, manifest.latent.groups, manifest.latent.classes), np.float32)
        self.normal = np.zeros((manifest.sampled_candidates, len(manifest.actions)), np.float32)

    def draw(self, seed: int, tick: int) -> None:
        """Fill `uniform` with numbers in (0, 1), shape [1, G, K], and `normal` with standard normal ones, [M, A]."""
        # A new generator per tick would do too, at the price of a system call for entropy that is then not used.
        self._state["state"]["key"][:] = (seed, 0)
        self._state["state"]["counter"][:] = (0, 0, tick, 0)
        self._state["buffer_pos"], self._state["has_uint32"] = 4, 0
        self._philox.state = self._state
        self._generator.random(out=self.uniform, dtype=np.float32)
        # [0, 1) has a zero in it, whose logarithm the graph would take.
        np.maximum(self.uniform, np.float32(2.0**-25), out=self.uniform)
        self._generator.standard_normal(out=self.normal, dtype=np.float32)


class PolicyRuntime:
    """Runs the step graph of a bundle, batch 1, on buffers that are allocated once.

    The recurrent state lives in two pairs of buffers that swap roles every tick: what one step writes, the next one
    reads, and nothing is copied. A graph of this size gains nothing from unpinned threads, and its tail loses (see
    docs), so one is the default and idle threads do not spin.
    """

    def __init__(
        self, bundle: PolicyBundle, execution: Execution = DEFAULT_EXECUTION, *, device: Device = CPU_DEVICE
    ) -> None:
        """Open the graph and compare it with the manifest.

        Raises:
            BundleError: it does not load, the device is not there or wants an engine that was not prepared, or inputs
                and outputs are not those of the manifest.
        """
        self.manifest, self.execution, self.device = bundle.manifest, execution, device
        self._check_manifest()
        self._check_precision()
        options = ort.SessionOptions()
        options.intra_op_num_threads = execution.threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.add_session_config_entry("session.intra_op.allow_spinning", "1" if execution.spin else "0")
        if execution.threads > 1 and len(execution.cores) == execution.threads - 1:
            # Counted from one, a group per thread.
            places = ";".join(str(core + 1) for core in execution.cores)
            options.add_session_config_entry("session.intra_op_thread_affinities", places)
        options.log_severity_level = 3
        self._session = open_prepared(bundle.graph_bytes, device, options)
        inputs, outputs = expected_ports(self.manifest)
        _check("input", inputs, self._session.get_inputs())
        _check("output", outputs, self._session.get_outputs())
        self._inputs = {name: np.zeros(port.shape, port.dtype) for name, port in inputs.items()}
        self._answers, answers = _side_by_side(outputs)
        state = {name: np.zeros(port.shape, port.dtype) for name, port in outputs.items() if name not in answers}
        self._outputs = {**answers, **state}
        self._noise = TickNoise(self.manifest)
        # The graph reads the noise where it is drawn.
        self._inputs["latent_noise"] = self._noise.uniform
        if "action_noise" in self._inputs:
            self._inputs["action_noise"] = self._noise.normal
        self._bindings = (self._bind(swapped=False), self._bind(swapped=True))
        # Kept here because a binding keeps nothing alive.
        self._aside = {name: np.zeros_like(array) for name, array in self._outputs.items()}
        self._rehearsals = tuple(self._bind(swapped=swapped, aside=self._aside) for swapped in (False, True))
        self._seed, self._tick, self._trusted = 0, 0, False

    def _check_manifest(self) -> None:
        validate(self.manifest)
        sizes = {(camera.height_px, camera.width_px) for camera in self.manifest.cameras}
        if len(sizes) != 1:
            raise BundleError(f"the cameras in the manifest must have one size, found {sorted(sizes)}; export it again")

    def _check_precision(self) -> None:
        """Products of bytes are added up here as where the precision was chosen."""
        precision = self.manifest.precision
        if precision is None or precision.kind not in BYTE_PRODUCTS or self.device.provider != CPU:
            return
        here, there = this_adds_exactly(), precision.exact_products is not False
        if here != there:
            ways = {True: "exactly", False: "in 16 bits, which overflow (x86-64 without VNNI)"}
            raise BundleError(
                f"the step graph is in {precision.kind} and was chosen on a processor that adds products of bytes up "
                f"{ways[there]}; this one does so {ways[here]}. The filter would judge by other numbers than those it "
                "was calibrated with; convert the bundle on this machine: fosp-edge bundles convert --help"
            )

    def _bind(self, *, swapped: bool, aside: dict[str, AnyArray] | None = None) -> ort.IOBinding:
        """Bind all buffers; with `swapped`, the state is read where the other binding writes it; with `aside`, what
        comes out goes there."""
        read, write = dict(self._inputs), dict(self._outputs)
        if swapped:
            for name in ("deterministic", "stochastic"):
                read[name], write[f"next_{name}"] = self._outputs[f"next_{name}"], self._inputs[name]
        if aside is not None:
            write = aside
        binding = self._session.io_binding()
        for name, array in read.items():
            binding.bind_input(name, "cpu", 0, array.dtype, list(array.shape), array.ctypes.data)
        for name, array in write.items():
            binding.bind_output(name, "cpu", 0, array.dtype, list(array.shape), array.ctypes.data)
        return binding

    def _state_buffers(self) -> tuple[AnyArray, AnyArray]:
        """The buffers that the coming step reads."""
        if self._tick % 2:
            return self._outputs["next_deterministic"], self._outputs["next_stochastic"]
        return self._inputs["deterministic"], self._inputs["stochastic"]

    @property
    def latent(self) -> Latent:
        """A copy of the recurrent state, from which `restore` goes on bit for bit."""
        deterministic, stochastic = self._state_buffers()
        return Latent(
            deterministic[0].astype(np.float32), stochastic[0].astype(np.int64), seed=self._seed, tick=self._tick
        )

    def restore(self, latent: Latent) -> None:
        """Go on from a state taken earlier, from this runtime or from another of the same latent shape."""
        self._seed, self._tick, self._trusted = latent.seed, latent.tick, True
        deterministic, stochastic = self._state_buffers()
        deterministic[0], stochastic[0] = latent.deterministic, latent.stochastic

    def reset(self, seed: int) -> None:
        """Forget everything; the next step is the first of an episode. `seed` decides all noise of the episode."""
        groups, width = self.manifest.latent.groups, self.manifest.latent.deterministic
        self.restore(Latent(np.zeros(width, np.float32), np.zeros(groups, np.int64), seed=seed, tick=0))

    def step(self, observation: Observation, previous_action: Float32Array) -> StepScores:
        """One tick: update the latent with what is seen, and score the candidates.

        Args:
            observation: image [H, W, 3 * cameras] and state [S], as the manifest has them.
            previous_action: the action that was really executed after the last step, normalised, shape [A]. Not the
                nominal one: the world answered to what the filter and the limits let through. Ignored at the first.

        Raises:
            NotFinite: an output is NaN or infinite. Every step until the next `reset` raises it again.
            ValueError: the observation is not of the manifest's shape.
        """
        if not self._trusted:
            raise NotFinite("the recurrent state is not valid: reset before the next step")
        inputs, first = self._inputs, self._tick == 0
        if observation.image.shape != inputs["image"].shape[1:] or observation.image.dtype != np.uint8:
            raise ValueError(
                f"expected a uint8 image of shape {inputs['image'].shape[1:]}, "
                f"found {observation.image.dtype} {observation.image.shape}"
            )
        inputs["image"][0] = observation.image
        inputs["state"][0] = observation.state
        inputs["previous_action"][0] = 0.0 if first else previous_action
        inputs["is_first"][0] = first
        self._noise.draw(self._seed, self._tick)
        self._session.run_with_iobinding(self._bindings[self._tick % 2])
        self._tick += 1
        return self._scores()

    def rehearse(self) -> None:
        """Run the graph over what it was given last, and forget what comes out: nothing but the caches remembers."""
        self._session.run_with_iobinding(self._rehearsals[self._tick % 2])

    def _scores(self) -> StepScores:
        deterministic, _ = self._state_buffers()
        if not (np.isfinite(self._answers).all() and np.isfinite(deterministic).all()):
            self._trusted = False
            values = {name: array for name, array in self._outputs.items() if not name.startswith("next_")}
            values["next_deterministic"] = deterministic
            broken = sorted(name for name, array in values.items() if not np.isfinite(array).all())
            raise NotFinite(
                f"the graph returned values that are not finite numbers in: {', '.join(broken)}; "
                "do not use this bundle again before it is mended"
            )
        outputs = self._outputs
        return StepScores(
            candidates=outputs["candidates"].copy(),
            reward_value=outputs["reward_value"].copy(),
            cost_value=outputs["cost_value"].copy(),
            reachability=outputs["reachability"].copy(),
            state_reachability=float(outputs["state_reachability"][0]),
            surprise=float(outputs["surprise"][0]),
        )


def _side_by_side(outputs: dict[str, _Port]) -> tuple[Float32Array, dict[str, AnyArray]]:
    """One buffer for all outputs that are not state, so that one look tells whether all are finite; and its parts."""
    ports = {name: port for name, port in outputs.items() if not name.startswith("next_")}
    sizes = [math.prod(port.shape) for port in ports.values()]
    whole = np.zeros(sum(sizes), np.float32)
    parts = np.split(whole, np.cumsum(sizes)[:-1])
    return whole, {name: part.reshape(port.shape) for (name, port), part in zip(ports.items(), parts, strict=True)}
