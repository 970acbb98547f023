"""Before anything moves: is this the robot, and are these the cameras, that the bundle was made for?"""

from collections.abc import Sequence
from dataclasses import replace

from fosp_edge.bundle.contract import Contract, check_contract
from fosp_edge.bundle.manifest import BundleError, CameraContract, Channel
from fosp_edge.cameras.base import Camera
from fosp_edge.cameras.policy_camera import PolicyCamera
from fosp_edge.robots.base import Robot
from fosp_edge.robots.channels import action_channels


def check_fit(manifest: Contract, robot: Robot, cameras: Sequence[Camera]) -> None:
    """Compare robot and cameras, as they are there, with what the bundle was trained on.

    Raises:
        BundleError: one sentence with every difference.
    """
    space = robot.action_space
    # Ranges of the state are not compared, so any will do.
    state = [Channel(n, u, 0.0, 1.0) for n, u in zip(robot.state_names, robot.state_units, strict=True)]
    actions = action_channels(space)
    found = [_contract(camera) for camera in cameras]
    differences = check_contract(
        manifest, robot=robot.name, rate_hz=manifest.rate_hz, cameras=found, state=state, actions=actions
    )
    if differences:
        raise BundleError(
            f"this bundle does not belong here: {'; '.join(differences)}; choose another one with --bundle"
        )


def _contract(camera: Camera) -> CameraContract:
    known = CameraContract(camera.name, camera.width_px, camera.height_px, camera.serial)
    if not isinstance(camera, PolicyCamera):
        return known
    return replace(known, preprocessing=camera.preprocessing, calibration_sha256=camera.calibration_sha256)
