"""Where a result comes from: command, commit, versions."""

import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import fosp_edge

_PACKAGES = ("numpy", "onnxruntime", "torch", "onnx", "mujoco")


def provenance(**more: Any) -> dict[str, Any]:
    """Command, commit, time, versions and `more`, as JSON values."""
    return {
        "command": command(),
        "commit": commit(),
        "created_utc": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": versions(),
        **more,
    }


def command(arguments: Sequence[str] | None = None) -> str:
    """What was typed: `fosp-edge ...`, or how an experiment or benchmark is started.

    Args:
        arguments: others than those given, for instance without what says where things lie on this machine.
    """
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    module = "" if spec is None else spec.name
    program = ["python", "-m", module] if module.startswith(("experiments.", "benchmarks.")) else ["fosp-edge"]
    return shlex.join([*program, *(sys.argv[1:] if arguments is None else arguments)])


def versions() -> dict[str, str]:
    """Versions of this software, of Python and of the packages that results depend on."""
    found = {"fosp-edge": fosp_edge.__version__, "python": platform.python_version()}
    told = {name: installed_version(name) for name in _PACKAGES}
    return found | {name: version for name, version in told.items() if version is not None}


def installed_version(distribution: str, module: str | None = None) -> str | None:
    """Version of a package, or of another build that brings the same module, as onnxruntime-gpu does on a Jetson; None
    if there is neither."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        module = module or distribution
        if find_spec(module) is None:  # to look through everything that is installed takes a while
            return None
        builds = metadata.packages_distributions().get(module)
        return metadata.version(builds[0]) if builds else None


def commit() -> str | None:
    """The commit of the source tree, with `+changes` if it was edited; None outside of a checkout."""
    root = Path(fosp_edge.__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        name = _git(root, "rev-parse", "HEAD")
        return name + ("+changes" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    result = subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=10
    )
    return result.stdout.strip()
