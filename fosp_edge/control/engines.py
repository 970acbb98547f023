"""Compiled engines: made ahead of time, kept under the hash of everything they depend on, and only read afterwards.

An engine is an ONNX file that ONNX Runtime wrote: for a compiling provider one with the compiled graph inside (an
EPContext node), for the CPU the graph as optimised for this processor, which opens in half the time. Its folder is
named by the SHA-256 of the step graph, the provider with its options, and the versions of whatever compiled it
(onnxruntime's own cache key leaves the weights out). Another graph, option, driver or library is another name; nothing
is ever updated in place, and nothing is compiled when a session is opened for driving.

An engine is not signed. Whoever can write into the folder of engines decides what drives: a folder that others can
write to is refused.
"""

import hashlib
import json
import os
import platform
import secrets
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from fosp_edge.bundle.manifest import BundleError
from fosp_edge.bundle.processor import cpuinfo
from fosp_edge.control.device import CPU_DEVICE, Device, check_available, open_session

ENGINE_FILE, RECORD_FILE = "engine.onnx", "engine.json"
FOLDER_VARIABLE = "FOSP_EDGE_ENGINES"
CHECKED_TICKS = 64
LARGEST_DIFFERENCE = 0.05
"""Between the engine and the CPU in a component of the policy's action, of a range of 2, where the latents agree."""
_DRIVER_FILES = ("/proc/driver/nvidia/version", "/etc/nv_tegra_release", "/etc/nv_boot_control.conf")
_LIBRARY_FOLDERS = ("/usr/lib/aarch64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/usr/local/cuda/lib64")
_LIBRARIES = ("libnvinfer.so.*", "libcudnn.so.*", "libcudart.so.*", "libopenvino.so.*")

Values = Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class Engine:
    """A prepared engine."""

    path: Path
    data: bytes
    record: dict[str, object]


def engines_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where engines are kept: FOSP_EDGE_ENGINES, else below the user's cache."""
    if named := environment.get(FOLDER_VARIABLE):
        return Path(named)
    return Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fosp-edge" / "engines"


def platform_versions() -> dict[str, str]:
    """Whatever an engine may depend on beside graph and options: a difference in any of it makes another engine."""
    found = {
        "onnxruntime": ort.__version__,
        "onnxruntime_build": ort.get_build_info(),
        "machine": platform.machine(),
        "processor": _processor(),
    }
    for name in _DRIVER_FILES:
        if (path := Path(name)).is_file():
            found[name] = path.read_text(errors="replace").strip()
    for folder in map(Path, _LIBRARY_FOLDERS):
        for pattern in _LIBRARIES:
            for path in sorted(folder.glob(pattern)):
                found[path.name] = path.resolve().name
    return found


def _processor() -> str:
    """Model and features of the processor: an optimised graph may use what another one lacks."""
    lines = cpuinfo()
    if not lines:
        return platform.processor()
    wanted = ("model name", "flags", "Features", "CPU part", "CPU implementer")
    return "; ".join(sorted({line.strip() for line in lines if line.startswith(wanted)}))


def engine_key(graph: bytes, device: Device, versions: Mapping[str, str]) -> str:
    """SHA-256 over weights (they are in the graph), options and versions."""
    text = json.dumps(
        {
            "graph": hashlib.sha256(graph).hexdigest(),
            "provider": device.provider,
            "options": sorted(device.options),
            "versions": dict(versions),
        },
        sort_keys=True,
    )
    return hashlib.sha256(text.encode()).hexdigest()


def find_engine(graph: bytes, device: Device, folder: Path | None = None) -> Engine | None:
    """The engine of exactly this graph, options and versions; None if none was prepared.

    Raises:
        BundleError: there is one, but it is not the file that was prepared.
    """
    place = (folder or engines_folder()) / engine_key(graph, device, platform_versions())
    try:
        record = json.loads((place / RECORD_FILE).read_bytes())
        data = (place / ENGINE_FILE).read_bytes()
        _refuse_open_folder(place, place.parent)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise BundleError(f"the engine in {place} cannot be read ({error}); remove it and prepare it again") from error
    if not isinstance(record, dict) or hashlib.sha256(data).hexdigest() != record.get("sha256"):
        raise BundleError(
            f"the engine in {place} is not the file that was prepared; remove the folder and prepare it again"
        )
    return Engine(place, data, record)


def _refuse_open_folder(*folders: Path) -> None:
    """Raises BundleError: somebody else could have put an engine there."""
    for folder in folders:
        status = folder.stat()
        if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o022:
            raise BundleError(
                f"others can write to {folder}, and so decide what drives; mend it: chmod go-w {folder}, or remove it"
            )


def open_prepared(
    graph: bytes, device: Device, options: ort.SessionOptions, folder: Path | None = None
) -> ort.InferenceSession:
    """A session for driving, with the caller's options. Takes a prepared engine if there is one; compiles nothing.

    Raises:
        BundleError: the provider compiles, and no engine was prepared; or as `open_session`.
    """
    check_available(device.provider)
    engine = find_engine(graph, device, folder)
    if engine is None:
        if device.is_compiled:
            raise BundleError(
                f"no engine of this graph is prepared for {device.provider} with these versions, and none is compiled "
                f"while driving; run: fosp-edge bundles prepare BUNDLE --provider {device.provider}"
            )
        return open_session(graph, device, options)
    if not device.is_compiled:
        # It is optimised already, for this very machine.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return open_session(engine.data, device, options)


def prepare(graph: bytes, device: Device, folder: Path | None = None) -> Engine:
    """Compile an engine, compare it with the CPU, and keep it; one that is there already is verified and returned.

    Raises:
        BundleError: the provider is not offered, compiles nothing, differs from the CPU by more than
            `LARGEST_DIFFERENCE`, or the disk refuses.
    """
    check_available(device.provider)
    if (engine := find_engine(graph, device, folder)) is not None:
        return engine
    versions = platform_versions()
    parent = folder or engines_folder()
    target = parent / engine_key(graph, device, versions)
    temporary = parent / f".{target.name[:12]}.{secrets.token_hex(4)}"
    try:
        parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        temporary.mkdir(mode=0o755)
        begin = time.monotonic()
        _compile(graph, device, temporary / ENGINE_FILE)
        seconds = time.monotonic() - begin
        if not (temporary / ENGINE_FILE).is_file():
            raise BundleError(f"{device.provider} compiled nothing of this graph; run it with --provider cpu")
        data = (temporary / ENGINE_FILE).read_bytes()
        record: dict[str, object] = {
            "graph_sha256": hashlib.sha256(graph).hexdigest(),
            "sha256": hashlib.sha256(data).hexdigest(),
            "provider": device.provider,
            "options": dict(device.options),
            "versions": versions,
            "compile_seconds": round(seconds, 3),
            "largest_action_difference": _compare(graph, data, device),
        }
        (temporary / RECORD_FILE).write_text(json.dumps(record, indent=1) + "\n")
        for path in sorted(temporary.iterdir()):
            with path.open("rb") as file:
                os.fsync(file.fileno())
            path.chmod(0o444)
        temporary.rename(target)
        target.chmod(0o555)
    except OSError as error:
        if target.is_dir() and (engine := find_engine(graph, device, folder)) is not None:
            return engine  # someone else was faster
        raise BundleError(f"the engine cannot be written below {parent} ({error})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Engine(target, data, record)


def _compile(graph: bytes, device: Device, path: Path) -> None:
    options = _quiet()
    if device.is_compiled:
        options.add_session_config_entry("ep.context_enable", "1")
        options.add_session_config_entry("ep.context_embed_mode", "1")
        options.add_session_config_entry("ep.context_file_path", str(path))
    else:
        options.optimized_model_filepath = str(path)
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    open_session(graph, device, options)


def _compare(graph: bytes, engine: bytes, device: Device) -> float:
    """Largest difference of the policy's action between engine and CPU over ticks of made-up observations.

    Raises:
        BundleError: it is larger than `LARGEST_DIFFERENCE`, or not a number.
    """
    options = _quiet()
    if not device.is_compiled:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    sessions = (open_session(graph, CPU_DEVICE, _quiet()), open_session(engine, device, options))
    random, worst = np.random.default_rng(0), 0.0
    carried: Values = {
        item.name: np.zeros(item.shape, np.float32 if item.name == "deterministic" else np.int64)
        for item in sessions[0].get_inputs()
        if item.name in ("deterministic", "stochastic")
    }
    for tick in range(CHECKED_TICKS):
        feeds = {**_made_up(sessions[0], random, first=tick == 0), **carried}
        outputs = [_run(session, feeds) for session in sessions]
        carried = {name: outputs[0][f"next_{name}"] for name in ("deterministic", "stochastic")}
        if np.array_equal(outputs[0]["next_stochastic"], outputs[1]["next_stochastic"]):
            worst = max(worst, float(np.max(np.abs(outputs[0]["candidates"] - outputs[1]["candidates"]))))
        elif not np.all(np.isfinite(outputs[1]["candidates"])):
            worst = float("nan")
    if not worst <= LARGEST_DIFFERENCE:
        raise BundleError(
            f"the engine that {device.provider} compiled differs from the CPU by {worst:.2g} in an action (at most "
            f"{LARGEST_DIFFERENCE:g} is admitted); it is not kept. Compile with other --option settings"
        )
    return worst


def _quiet() -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return options


def _run(session: ort.InferenceSession, feeds: Values) -> dict[str, npt.NDArray[np.float32]]:
    names = [item.name for item in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def _made_up(
    session: ort.InferenceSession, random: np.random.Generator, *, first: bool
) -> dict[str, npt.NDArray[np.generic]]:
    """Inputs of one tick: pictures and noise at random, the rest small numbers."""
    feeds: dict[str, npt.NDArray[np.generic]] = {}
    for item in session.get_inputs():
        if item.name == "image":
            feeds[item.name] = random.integers(0, 256, item.shape).astype(np.uint8)
        elif item.name == "latent_noise":
            feeds[item.name] = random.uniform(1e-6, 1.0 - 1e-6, item.shape).astype(np.float32)
        elif item.name == "is_first":
            feeds[item.name] = np.full(item.shape, float(first), np.float32)
        elif item.name not in ("deterministic", "stochastic"):
            feeds[item.name] = np.clip(random.standard_normal(item.shape), -1.0, 1.0).astype(np.float32)
    return feeds
