"""Whether the numbers of a manifest can be meant: types, ranges, and what belongs together. A NaN never passes."""

import math
import re
from collections.abc import Sequence
from typing import Any

from fosp_edge.bundle.manifest import (
    CLOSED_LOOP,
    GATE_FILE,
    RECORDED,
    SCORES,
    SIGNATURE_FILE,
    BundleError,
    CameraContract,
    Channel,
    Conversion,
    FilterThresholds,
    GateThreshold,
    Manifest,
)

FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
SHA256 = re.compile(r"[0-9a-f]{64}")


def validate(manifest: Manifest) -> None:
    """Check what the types alone do not say.

    Raises:
        BundleError: naming the first field that cannot be meant, with what was expected and found.
    """
    _text("name", manifest.name)
    _text("robot", manifest.robot)
    _number("rate_hz", manifest.rate_hz, 0.1, 10_000.0)
    if not manifest.cameras:
        raise BundleError("manifest.json: at least one camera is expected under 'cameras'")
    for camera in manifest.cameras:
        _camera(camera)
    _channels("state", manifest.state)  # may be empty: a robot can have nothing but cameras
    if not manifest.actions:
        raise BundleError("manifest.json: actions is empty")
    _channels("actions", manifest.actions)
    for field in ("deterministic", "groups", "classes"):
        _count(f"latent.{field}", getattr(manifest.latent, field), 1)
    _candidates(manifest)
    if strange := sorted(set(manifest.unknown_scores) - set(SCORES)):
        raise BundleError(f"manifest.json: unknown_scores names {strange[0]!r}, the scores are {', '.join(SCORES)}")
    _filter(manifest)
    _gate(manifest)
    _parity(manifest)
    _conversion("storage", manifest.storage)
    _conversion("precision", manifest.precision)
    if manifest.parent is not None and not _is_sha256(manifest.parent):
        raise BundleError(f"manifest.json: parent should be the id of a bundle, found {manifest.parent!r}")
    _files(manifest.files)


def _camera(camera: CameraContract) -> None:
    _text("camera name", camera.name)
    _count(f"width of camera {camera.name}", camera.width_px, 1)
    _count(f"height of camera {camera.name}", camera.height_px, 1)
    if camera.serial is not None:
        _text(f"serial number of camera {camera.name}", camera.serial)
    if camera.calibration_sha256 is not None and not _is_sha256(camera.calibration_sha256):
        raise BundleError(f"manifest.json: camera {camera.name} has a calibration hash that is not a SHA-256")

    picture = camera.picture
    if (picture.width_px, picture.height_px) != (camera.width_px, camera.height_px):
        raise BundleError(
            f"manifest.json: camera {camera.name} gives {camera.width_px}x{camera.height_px} pixels, its preprocessing "
            f"makes {picture.width_px}x{picture.height_px}"
        )


def _channels(field: str, channels: Sequence[Channel]) -> None:
    names = [channel.name for channel in channels]
    if len(set(names)) != len(names):
        raise BundleError(f"manifest.json: {field} has the same name twice: {names}")
    for channel in channels:
        _text(f"name in {field}", channel.name)
        low = _number(f"{field}.{channel.name}.low", channel.low)
        high = _number(f"{field}.{channel.name}.high", channel.high)
        if low >= high:
            raise BundleError(f"manifest.json: {field}.{channel.name} ranges from {low:g} to {high:g}, upside down")


def _candidates(manifest: Manifest) -> None:
    names, sampled = manifest.candidates, _count("sampled_candidates", manifest.sampled_candidates, 0)
    if not names or names[0] != "policy" or "hold" not in names or len(set(names)) != len(names):
        raise BundleError(
            f"manifest.json: candidates should begin with 'policy' and have one 'hold', found {list(names)}"
        )
    if sampled > len(names) - 2:
        raise BundleError(f"manifest.json: {sampled} sampled candidates do not fit into {len(names)} candidates")


def _filter(manifest: Manifest) -> None:
    thresholds = manifest.filter
    feasible = _number("filter.feasible_reachability", thresholds.feasible_reachability, 0.0, 1.0)
    stop = _number("filter.stop_reachability", thresholds.stop_reachability, 0.0, 1.0)
    _number("filter.level", thresholds.level, 0.0, 1.0)
    _count("filter.sample_size", thresholds.sample_size, 0)
    if stop < feasible:
        raise BundleError(
            f"manifest.json: the filter would stop at a reachability of {stop:g}, below the {feasible:g} up to which "
            "it calls a candidate feasible; calibrate the filter and export again"
        )
    _origin("filter", thresholds)
    ahead = thresholds.look_ahead_sha256
    if ahead is not None and not _is_sha256(ahead):
        raise BundleError(f"manifest.json: filter.look_ahead_sha256 is not a SHA-256: {ahead!r}")


def _gate(manifest: Manifest) -> None:
    if (gate := manifest.gate) is None:
        if GATE_FILE in manifest.files:
            raise BundleError(f"manifest.json: there is a {GATE_FILE}, but no gate that uses it; calibrate it again")
        return
    _number("gate.threshold", gate.threshold, 0.0)
    _number("gate.level", gate.level, 0.0, 1.0)
    _count("gate.sample_size", gate.sample_size, 0)
    _origin("gate", gate)


def _origin(field: str, item: FilterThresholds | GateThreshold) -> None:
    if item.graph_sha256 is not None and not _is_sha256(item.graph_sha256):
        raise BundleError(f"manifest.json: {field}.graph_sha256 is not a SHA-256: {item.graph_sha256!r}")
    if item.trajectories not in (CLOSED_LOOP, RECORDED):
        raise BundleError(
            f"manifest.json: {field}.trajectories should be {CLOSED_LOOP!r} or {RECORDED!r}, "
            f"found {item.trajectories!r}"
        )


def _parity(manifest: Manifest) -> None:
    parity = manifest.parity
    _count("parity.steps", parity.steps, 0)
    _count("parity.latent_flips", parity.latent_flips, 0)
    tolerance = _number("parity.tolerance", parity.tolerance, 0.0)
    for field in ("action_error", "value_error", "reachability_error"):
        error = _number(f"parity.{field}", getattr(parity, field), 0.0)
        if error > tolerance:
            raise BundleError(
                f"manifest.json: parity.{field} is {error:g}, above the tolerance of {tolerance:g}: the graph does not "
                "do what the checkpoint does; export again"
            )


def _conversion(field: str, conversion: Conversion | None) -> None:
    if conversion is None:
        return
    _text(f"{field}.kind", conversion.kind)
    _count(f"{field}.ticks", conversion.ticks, 1)
    _number(f"{field}.latent_agreement", conversion.latent_agreement, 0.0, 1.0)
    for name in (
        "action_drift",
        "action_drift_p99",
        "reachability_drift",
        "own_action_drift",
        "own_reachability_drift",
    ):
        _number(f"{field}.{name}", getattr(conversion, name), 0.0)
    if conversion.exact_products not in (None, True, False):
        raise BundleError(
            f"manifest.json: {field}.exact_products should be true, false or null, found {conversion.exact_products!r}"
        )


def _files(files: Any) -> None:
    if not isinstance(files, dict):
        raise BundleError(f"manifest.json: expected an object under 'files', found {type(files).__name__}")
    for name, digest in files.items():
        if not isinstance(name, str) or not FILE_NAME.fullmatch(name) or name in ("manifest.json", SIGNATURE_FILE):
            raise BundleError(f"manifest.json: {name!r} is not a name that a file of a bundle can have")
        if not _is_sha256(digest):
            raise BundleError(f"manifest.json: the hash of {name} is not a SHA-256: {digest!r}")


def _is_sha256(value: Any) -> bool:
    return isinstance(value, str) and SHA256.fullmatch(value) is not None


def _text(field: str, value: Any) -> None:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise BundleError(f"manifest.json: {field} should be a word or a sentence, found {value!r}")


def _count(field: str, value: Any, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise BundleError(f"manifest.json: {field} should be a whole number from {least} on, found {value!r}")
    return value


def _number(field: str, value: Any, low: float = -math.inf, high: float = math.inf) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        raise BundleError(f"manifest.json: {field} should be a finite number, found {value!r}")
    if not low <= value <= high:
        raise BundleError(f"manifest.json: {field} should lie from {low:g} to {high:g}, found {value!r}")
    return float(value)
