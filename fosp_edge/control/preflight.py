"""Before anything moves: is this the robot, and are these the cameras, that the bundle was made for?"""

from collections.abc import Sequence

from fosp_edge.bundle.manifest import BundleError, Manifest
from fosp_edge.cameras.base import Camera
from fosp_edge.robots.base import Robot

_RANGE_TOLERANCE = 1e-6


def check_robot(manifest: Manifest, robot: Robot) -> None:
    """Compare name, state and action space of a robot with what the bundle was trained on.

    Raises:
        BundleError: a sentence with what the bundle wants and what was found.
    """
    if manifest.robot != robot.name:
        raise BundleError(
            f"this bundle was made for the robot {manifest.robot!r}, found {robot.name!r}; "
            "choose a bundle for this robot with --bundle"
        )
    wanted_state = [(channel.name, channel.unit) for channel in manifest.state]
    found_state = list(zip(robot.state_names, robot.state_units, strict=True))
    if wanted_state != found_state:
        raise BundleError(
            f"the bundle's state vector is {_listed(wanted_state)}, the robot's is {_listed(found_state)}; "
            "choose a bundle for this robot with --bundle"
        )
    space = robot.action_space
    wanted_actions = [(channel.name, channel.unit) for channel in manifest.actions]
    found_actions = list(zip(space.names, space.units, strict=True))
    if wanted_actions != found_actions:
        raise BundleError(
            f"the bundle's actions are {_listed(wanted_actions)}, the robot's are {_listed(found_actions)}; "
            "choose a bundle for this robot with --bundle"
        )
    for channel, low, high in zip(manifest.actions, space.low, space.high, strict=True):
        if channel.low < low - _RANGE_TOLERANCE or channel.high > high + _RANGE_TOLERANCE:
            raise BundleError(
                f"action {channel.name}: the bundle uses {channel.low} to {channel.high} {channel.unit}, the robot "
                f"allows {low} to {high}; choose a bundle for this robot with --bundle"
            )


def check_cameras(manifest: Manifest, cameras: Sequence[Camera]) -> None:
    """Compare the cameras, in their order, with those of the bundle.

    Raises:
        BundleError: a sentence with what the bundle wants and what was found.
    """
    wanted = [contract.name for contract in manifest.cameras]
    found = [camera.name for camera in cameras]
    if wanted != found:
        raise BundleError(f"the bundle sees through the cameras {wanted}, found {found}; connect or rename the cameras")
    for contract, camera in zip(manifest.cameras, cameras, strict=True):
        if (contract.width_px, contract.height_px) != (camera.width_px, camera.height_px):
            raise BundleError(
                f"camera {contract.name}: the bundle wants {contract.width_px}x{contract.height_px} pixels, it gives "
                f"{camera.width_px}x{camera.height_px}; set its size, or choose another bundle with --bundle"
            )
        if contract.serial is not None and contract.serial != camera.serial:
            raise BundleError(
                f"camera {contract.name}: the bundle is tied to serial number {contract.serial}, found "
                f"{camera.serial}; connect that camera, or export a bundle for this one"
            )


def _listed(channels: list[tuple[str, str]]) -> str:
    return ", ".join(f"{name} ({unit})" for name, unit in channels) or "empty"
