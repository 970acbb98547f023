"""Looking ahead: each candidate is tried in imagination for a few steps before it is judged.

The reachability of the step graph is a value, learnt by bootstrapping from value to value; imagining lets the world
model carry the state closer to the trouble before it is asked. A candidate then counts as unsafe if it is now, or if
the imagined states behind it are (what that saves, at several times the inference time, hangs on the agent and on what
was calibrated on: docs/filter.md). Whether a bundle looks ahead is part of its calibration: thresholds of one
kind of score mean nothing to the other.
"""

from dataclasses import replace

import numpy as np
import onnxruntime as ort

from fosp_edge.bundle.manifest import IMAGINATION_FILE, BundleError, Manifest
from fosp_edge.control.device import CPU_DEVICE, Device
from fosp_edge.control.inference import DEFAULT_EXECUTION, Execution, NotFinite, PolicyBundle, PolicyRuntime
from fosp_edge.control.types import Float32Array, Observation, StepScores

_STREAM = 1
"""Second word of the noise's key: the step graph's noise has 0 there."""


def open_runtime(
    bundle: PolicyBundle, execution: Execution = DEFAULT_EXECUTION, *, device: Device = CPU_DEVICE
) -> PolicyRuntime:
    """The runtime that a bundle's filter was calibrated with. Raises BundleError."""
    if bundle.manifest.filter.look_ahead_sha256 is None:
        return PolicyRuntime(bundle, execution, device=device)
    return LookAheadRuntime(bundle, execution, device=device)


class LookAheadRuntime(PolicyRuntime):
    """The step graph, its reachability raised to the largest one that is imagined behind each candidate."""

    def __init__(
        self, bundle: PolicyBundle, execution: Execution = DEFAULT_EXECUTION, *, device: Device = CPU_DEVICE
    ) -> None:
        """Open both graphs; imagination runs on the CPU wherever the step does.

        Raises:
            BundleError: either does not load, or is not what the manifest promises.
        """
        super().__init__(bundle, execution, device=device)
        if bundle.imagination_bytes is None:
            raise BundleError(
                f"the filter of {bundle.manifest.name!r} looks ahead, and the bundle has no {IMAGINATION_FILE}; "
                "calibrate it again without --look-ahead, or export it with --look-ahead"
            )
        options = ort.SessionOptions()
        options.intra_op_num_threads = execution.threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            self._imagination = ort.InferenceSession(
                bundle.imagination_bytes, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime raises a family of its own without a public base
            first_line = (str(error).splitlines() or [type(error).__name__])[0]
            raise BundleError(f"the imagination graph does not load ({first_line}); export the bundle again") from error
        shape = _noise_shape(bundle.manifest, self._imagination)
        self._imagined = np.zeros(shape, np.float32)
        self._imagination_philox = np.random.Philox(key=0)
        self._imagination_generator = np.random.Generator(self._imagination_philox)
        self._imagination_state = self._imagination_philox.state

    def step(self, observation: Observation, previous_action: Float32Array) -> StepScores:
        """As `PolicyRuntime.step`; the noise of the imagined steps too is a function of seed and tick."""
        scores = super().step(observation, previous_action)
        latent = self.latent
        self._draw(latent.seed, latent.tick)
        feeds = {
            "deterministic": latent.deterministic[None],
            "stochastic": latent.stochastic[None],
            "candidates": scores.candidates,
            "latent_noise": self._imagined,
        }
        (largest,) = self._imagination.run(["max_reachability"], feeds)
        if not np.all(np.isfinite(largest)):
            raise NotFinite("the imagination graph returned values that are not finite numbers; use another bundle")
        return replace(scores, reachability=np.maximum(scores.reachability, largest))

    def _draw(self, seed: int, tick: int) -> None:
        state = self._imagination_state
        state["state"]["key"][:] = (seed, _STREAM)
        state["state"]["counter"][:] = (0, 0, tick, 0)
        state["buffer_pos"], state["has_uint32"] = 4, 0
        self._imagination_philox.state = state
        self._imagination_generator.random(out=self._imagined, dtype=np.float32)
        np.clip(self._imagined, np.float32(2.0**-25), np.float32(1.0 - 2.0**-24), out=self._imagined)


def _noise_shape(manifest: Manifest, session: ort.InferenceSession) -> tuple[int, int, int, int]:
    """[H, N, G, K] of the imagination graph, compared with the manifest. Raises BundleError."""
    shapes = {item.name: tuple(item.shape) for item in session.get_inputs()}
    found = shapes.get("latent_noise", ())
    latent, rows = manifest.latent, len(manifest.candidates)
    expected = {
        "deterministic": (1, latent.deterministic),
        "stochastic": (1, latent.groups),
        "candidates": (rows, len(manifest.actions)),
        "latent_noise": (found[0] if found else 0, rows, latent.groups, latent.classes),
    }
    outputs = [item.name for item in session.get_outputs()]
    if shapes != expected or not found or "max_reachability" not in outputs:
        raise BundleError(
            f"the imagination graph takes {shapes}, the manifest promises {expected}; export the bundle again"
        )
    horizon, rows, groups, classes = found
    return int(horizon), int(rows), int(groups), int(classes)
