"""What the base install leaves out, and the sentence that says how to get it."""

from importlib.util import find_spec

EXTRAS: dict[str, tuple[str, ...]] = {
    "simulation": ("mujoco", "gymnasium"),
    "visualisation": ("matplotlib", "PIL"),
    "learning": ("torch", "tensorboard"),
    "export": ("torch", "onnx", "onnxscript"),
    "calibration": ("cv2", "scipy", "matplotlib", "PIL", "yaml"),
    "cameras": ("cv2",),
    "mcap": ("mcap", "mcap_ros2", "mcap_protobuf"),
    "realsense": ("pyrealsense2",),
    "datasets": ("pyarrow", "PIL", "av"),
    "safety-gym": ("xmltodict", "yaml", "gymnasium", "mujoco"),
}
"""Importable modules that each extra of pyproject.toml brings."""


class MissingExtra(ImportError):  # noqa: N818 - a state, not a mistake
    """Something is asked for that the base install leaves out; the message says what to install."""


def missing_modules(extra: str) -> list[str]:
    """Modules of an extra that are not installed. Raises KeyError if there is no such extra."""
    return [module for module in EXTRAS[extra] if find_spec(module) is None]


def installed(extra: str) -> bool:
    """Whether every module of an extra can be found; none is imported."""
    return not missing_modules(extra)


def install_command(extra: str) -> str:
    """What installs an extra."""
    return f"pip install 'fosp-edge[{extra}]'"


def require(extra: str) -> None:
    """Check that an extra is installed, before something is begun that needs it.

    Raises:
        MissingExtra: it is not, or not entirely.
    """
    if not installed(extra):
        raise MissingExtra(_sentence(extra))


def missing_extra(error: ModuleNotFoundError) -> MissingExtra | None:
    """The sentence for a failed import, if an extra would have brought the module."""
    module = (error.name or "").partition(".")[0]
    extra = next((name for name, modules in EXTRAS.items() if module in modules), None)
    return None if extra is None else MissingExtra(_sentence(extra))


def _sentence(extra: str) -> str:
    return f"this needs the extra `{extra}`: {install_command(extra)}"
