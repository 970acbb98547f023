"""Optional parts: what they are called, what they bring, and what to say when one is missing."""

from importlib.util import find_spec

EXTRAS: dict[str, tuple[str, ...]] = {
    "simulation": ("mujoco", "gymnasium"),
    "visualisation": ("matplotlib", "PIL"),
    "learning": ("torch", "tensorboard"),
    "export": ("torch", "onnx", "onnxscript"),
    "calibration": ("cv2", "scipy", "matplotlib"),
    "cameras": ("cv2",),
    "realsense": ("pyrealsense2",),
}
"""Modules that each extra of the distribution brings."""


class MissingExtra(RuntimeError):  # noqa: N818 - a state of the installation
    """A verb needs packages that are not installed; the message says how to get them."""


def installed(extra: str) -> bool:
    """Whether every module of an extra can be found (none is imported)."""
    return all(find_spec(module) is not None for module in EXTRAS[extra])


def require(extra: str) -> None:
    """Raise MissingExtra with the command that installs it, unless the extra is there."""
    if not installed(extra):
        raise MissingExtra(f"this needs the extra `{extra}`: pip install 'fosp-edge[{extra}]'")
