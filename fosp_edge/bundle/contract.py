"""What a bundle wants, beside what a robot has: every difference, as a phrase a person can act on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fosp_edge.bundle.manifest import CameraContract, Channel

_RELATIVE = 1e-6


class Contract(Protocol):
    """For which robot, cameras and rate something was made: a `Manifest` is one, and so is a `RobotContract`."""

    @property
    def robot(self) -> str:
        """Name of the arm."""

    @property
    def rate_hz(self) -> float:
        """Ticks per second."""

    @property
    def cameras(self) -> tuple[CameraContract, ...]:
        """In the order of their channels."""

    @property
    def state(self) -> tuple[Channel, ...]:
        """Components of the state vector."""

    @property
    def actions(self) -> tuple[Channel, ...]:
        """Components of the action; their ranges are what [-1, 1] stands for."""


@dataclass(frozen=True)
class RobotContract:
    """A contract without a bundle: of a robot that a person drives."""

    robot: str
    rate_hz: float
    cameras: tuple[CameraContract, ...]
    state: tuple[Channel, ...]
    actions: tuple[Channel, ...]


def check_contract(
    manifest: Contract,
    *,
    robot: str,
    rate_hz: float,
    cameras: Sequence[CameraContract],
    state: Sequence[Channel],
    actions: Sequence[Channel],
) -> list[str]:
    """Everything in which a bundle and a robot (or another bundle) differ; empty if they fit.

    A camera's serial number and calibration count only where the manifest names them. Ranges of the state are not
    compared: they normalise nothing and limit nothing. Ranges of the actions must be equal, because they are what
    an action in [-1, 1] means.
    """
    found = []
    if manifest.robot != robot:
        found.append(f"made for the robot {manifest.robot!r}, this is {robot!r}")
    if abs(manifest.rate_hz - rate_hz) > _RELATIVE * manifest.rate_hz:
        found.append(f"made for {manifest.rate_hz:g} Hz, this runs at {rate_hz:g} Hz")
    found += _cameras(manifest.cameras, cameras)
    found += _channels("state", manifest.state, state)
    differences = _channels("action", manifest.actions, actions)
    return found + (differences or _ranges(manifest.actions, actions))


def _cameras(wanted: Sequence[CameraContract], given: Sequence[CameraContract]) -> list[str]:
    names = [camera.name for camera in wanted]
    if names != [camera.name for camera in given]:
        return [f"looks through the cameras {', '.join(names)}, found {', '.join(camera.name for camera in given)}"]
    found = []
    for want, have in zip(wanted, given, strict=True):
        if (want.width_px, want.height_px) != (have.width_px, have.height_px):
            sizes = f"{want.width_px}x{want.height_px} pixels wanted, {have.width_px}x{have.height_px} found"
            found.append(f"camera {want.name}: {sizes}")
        if want.serial is not None and want.serial != have.serial:
            found.append(f"camera {want.name}: serial number {want.serial} wanted, {have.serial or 'none'} found")
        if want.calibration_sha256 is not None and want.calibration_sha256 != have.calibration_sha256:
            wanted_hash, found_hash = want.calibration_sha256[:12], (have.calibration_sha256 or "none")[:12]
            found.append(f"camera {want.name}: calibration {wanted_hash} wanted, {found_hash} found")
        found += [f"camera {want.name}: {phrase}" for phrase in want.picture.differences(have.picture)]
    return found


def _channels(kind: str, wanted: Sequence[Channel], given: Sequence[Channel]) -> list[str]:
    if [(item.name, item.unit) for item in wanted] == [(item.name, item.unit) for item in given]:
        return []
    return [f"{kind} vector {_listed(wanted)} wanted, {_listed(given)} found"]


def _ranges(wanted: Sequence[Channel], given: Sequence[Channel]) -> list[str]:
    found = []
    for want, have in zip(wanted, given, strict=True):
        slack = _RELATIVE * (want.high - want.low)
        if abs(want.low - have.low) > slack or abs(want.high - have.high) > slack:
            ranges = f"{want.low:g} to {want.high:g} {want.unit} wanted, {have.low:g} to {have.high:g} found"
            found.append(f"action {want.name}: {ranges}")
    return found


def _listed(channels: Sequence[Channel]) -> str:
    return "[" + ", ".join(f"{channel.name} ({channel.unit})" for channel in channels) + "]"
