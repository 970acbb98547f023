"""Examination of what is installed: Python, packages, inference, extras, the agent that comes with the software."""

import platform
import sys
from collections.abc import Sequence
from importlib.util import find_spec

from fosp_edge import __version__
from fosp_edge.cli.extras import EXTRAS, install_command, missing_modules
from fosp_edge.cli.findings import Finding, Health, Machine
from fosp_edge.cli.provenance import installed_version

_OLDEST_PYTHON = (3, 10)
_BASE = {
    "numpy": "numpy",
    "onnxruntime": "onnxruntime",
    "lmdb": "lmdb",
    "pyserial": "serial",
    "safetensors": "safetensors",
    "fastcrc": "fastcrc",
    "rich": "rich",
    "typer": "typer",
}
"""Distribution name and the module it brings."""
_JETSON_WHEELS = (
    "pip uninstall onnxruntime, then install onnxruntime-gpu from NVIDIA's index for your JetPack; "
    "PyPI's does not know Orin"
)


def software(machine: Machine) -> Sequence[Finding]:
    """Python and the packages of the base install."""
    version = ".".join(map(str, sys.version_info[:3]))
    new_enough = sys.version_info[:2] >= _OLDEST_PYTHON
    findings = [
        Finding("software", "fosp-edge", Health.OK, __version__),
        Finding(
            "software",
            "Python",
            Health.OK if new_enough else Health.MISSING,
            f"{version}, {platform.system()} {platform.machine()}",
            "" if new_enough else "install Python 3.10 or newer",
            essential=True,
        ),
    ]
    absent = [name for name, module in _BASE.items() if find_spec(module) is None]
    present = [
        f"{name} {installed_version(name, module) or 'of unknown version'}"
        for name, module in _BASE.items()
        if name not in absent
    ]
    findings.append(Finding("software", "packages", Health.OK, ", ".join(present)))
    findings += [
        Finding("software", name, Health.MISSING, "not installed", f"pip install {name}", essential=True)
        for name in absent
    ]
    return findings


def inference(machine: Machine) -> Sequence[Finding]:
    """What the step graph can run on."""
    try:
        import onnxruntime
    except Exception as error:  # whatever is wrong with it, the sentence is the same
        mend = "pip install --force-reinstall onnxruntime"
        detail = f"onnxruntime cannot be imported ({error})"
        return [Finding("inference", "execution providers", Health.MISSING, detail, mend, essential=True)]
    providers = list(onnxruntime.get_available_providers())
    listed = ", ".join(name.removesuffix("ExecutionProvider") for name in providers)
    if "CPUExecutionProvider" not in providers:
        mend = "pip install --force-reinstall onnxruntime"
        return [Finding("inference", "execution providers", Health.MISSING, listed or "none", mend, essential=True)]
    gpu = any(name in providers for name in ("CUDAExecutionProvider", "TensorrtExecutionProvider"))
    if has_nvidia(machine) and not gpu:
        mend = _JETSON_WHEELS if is_jetson(machine) else "pip uninstall onnxruntime && pip install onnxruntime-gpu"
        detail = f"{listed}; the GPU of this machine is not used, which the small agents do without"
        return [Finding("inference", "execution providers", Health.WARN, detail, mend)]
    return [Finding("inference", "execution providers", Health.OK, listed)]


def gpu(machine: Machine) -> Sequence[Finding]:
    """NVIDIA GPU or Jetson, as the kernel shows it."""
    if is_jetson(machine):
        model = machine.read("proc/device-tree/model") or "Jetson"
        release = (machine.read("etc/nv_tegra_release") or "").splitlines()
        return [Finding("inference", "GPU", Health.OK, f"{model}{', ' + release[0] if release else ''}")]
    if has_nvidia(machine):
        version = (machine.read("proc/driver/nvidia/version") or "NVIDIA driver").splitlines()[0]
        return [Finding("inference", "GPU", Health.OK, version)]
    return [Finding("inference", "GPU", Health.OK, "none; the shipped agent does not need one")]


def extras(machine: Machine) -> Sequence[Finding]:
    """Which extras are there."""
    findings = []
    for extra in EXTRAS:
        if absent := missing_modules(extra):
            detail = f"lacks {', '.join(absent)}"
            findings.append(Finding("extras", extra, Health.MISSING, detail, install_command(extra)))
        else:
            findings.append(Finding("extras", extra, Health.OK, ", ".join(EXTRAS[extra])))
    return findings


def agent(machine: Machine) -> Sequence[Finding]:
    """The bundle that comes with the software, verified."""
    from fosp_edge.bundle.folder import load_bundle
    from fosp_edge.bundle.manifest import BundleError
    from fosp_edge.cli.shipped import shipped_bundle

    try:
        bundle = load_bundle(shipped_bundle())
    except (BundleError, OSError) as error:
        mend = "install fosp-edge again, or give `fosp-edge run` another one with --bundle"
        return [Finding("agent", "shipped bundle", Health.WARN, str(error), mend)]
    manifest = bundle.manifest
    detail = f"{manifest.name} {bundle.id[:12]} for {manifest.robot} at {manifest.rate_hz:g} Hz, every hash verified"
    return [Finding("agent", "shipped bundle", Health.OK, detail)]


def is_jetson(machine: Machine) -> bool:
    """Whether this is one of NVIDIA's Jetson boards."""
    model = machine.read("proc/device-tree/model") or ""
    return "Jetson" in model or machine.read("etc/nv_tegra_release") is not None


def has_nvidia(machine: Machine) -> bool:
    """Whether there is an NVIDIA GPU with its driver."""
    return is_jetson(machine) or machine.read("proc/driver/nvidia/version") is not None
