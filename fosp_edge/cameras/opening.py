"""From a camera's address to a camera."""

from fosp_edge.cameras.address import parse_address
from fosp_edge.cameras.base import Camera
from fosp_edge.cameras.fed_camera import FedCamera
from fosp_edge.cameras.ring_camera import RingCamera


def open_camera(name: str, address: str) -> Camera:
    """The camera at an address (`address.py`), under the name that the policy knows it by; not started yet.

    Raises:
        CameraError: not an address; for a ring, also that it is gone.
    """
    parsed = parse_address(address)
    return RingCamera(name, parsed.target) if parsed.kind == "ring" else FedCamera(name, parsed)
