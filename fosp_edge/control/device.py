"""What computes the step graph: the execution providers that the installed onnxruntime offers, found out at run time.

Builds differ: on a Jetson the one with CUDA and TensorRT comes from NVIDIA's own index. So nothing is assumed, and
nothing is replaced in silence: ONNX Runtime falls back to the CPU when a library of the wanted provider is missing, and
a robot that was timed on a GPU must not find itself on a CPU.
"""

from dataclasses import dataclass, field

import onnxruntime as ort

from fosp_edge.bundle.manifest import BundleError

CPU = "cpu"
_SUFFIX = "ExecutionProvider"
COMPILED = ("tensorrt", "nvtensorrtrtx", "openvino", "qnn", "vitisai", "migraphx")
"""Providers that compile a graph for minutes: never in the control loop, only by `fosp-edge bundles prepare`."""
_BEHIND = {"tensorrt": ("cuda",), "nvtensorrtrtx": ("cuda",)}
"""What takes the operators that a provider does not know, before the CPU does."""


@dataclass(frozen=True)
class Device:
    """An execution provider and its settings: what a graph is compiled for, hence part of an engine's key."""

    provider: str = CPU
    options: tuple[tuple[str, str], ...] = field(default=())
    """Options of the provider, sorted by name."""

    @property
    def is_compiled(self) -> bool:
        """Whether an engine has to be prepared before a session can open."""
        return self.provider in COMPILED


CPU_DEVICE = Device()


def available_providers() -> dict[str, str]:
    """What this onnxruntime was built with: ONNX Runtime's name by ours, `cpu` or `tensorrt`, say.

    Whether a provider's libraries are there too is known only once a session opens.
    """
    return {name.removesuffix(_SUFFIX).lower(): name for name in ort.get_available_providers()}


def check_available(provider: str) -> None:
    """Raises BundleError if this onnxruntime was not built with the provider."""
    if provider not in (offered := available_providers()):
        nvidia = provider in ("cuda", "tensorrt")
        hint = "; on a Jetson, install NVIDIA's own build of onnxruntime-gpu" if nvidia else ""
        raise BundleError(
            f"the provider {provider!r} is not in this onnxruntime {ort.__version__}, which offers: "
            f"{', '.join(sorted(offered))}{hint}"
        )


def open_session(graph: bytes, device: Device, options: ort.SessionOptions) -> ort.InferenceSession:
    """A session that runs on the provider that was asked for.

    Raises:
        BundleError: the provider is not offered, or its libraries do not load, or the graph does not.
    """
    check_available(device.provider)
    offered = available_providers()
    chain = [device.provider, *_BEHIND.get(device.provider, ()), CPU]
    names = [offered[name] for name in dict.fromkeys(chain) if name in offered]
    settings = [dict(device.options), *({} for _ in names[1:])]
    try:
        session = ort.InferenceSession(graph, options, providers=names, provider_options=settings)
    except Exception as error:  # ONNX Runtime raises a family of its own without a public base
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise BundleError(
            f"the step graph does not load on {device.provider} with onnxruntime {ort.__version__} ({first_line}); "
            "export the bundle again, or update onnxruntime"
        ) from error
    taken: list[str] = session.get_providers()
    if taken[0] != names[0]:
        raise BundleError(
            f"{device.provider} was asked for, but onnxruntime fell back to {taken[0].removesuffix(_SUFFIX).lower()}: "
            f"a library of the provider is missing or of another version; mend it, or run with --provider cpu"
        )
    return session
