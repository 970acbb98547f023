"""The robot and the cameras that a command line asks for, opened and closed together."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from fosp_edge.bundle.manifest import CameraContract, Manifest
from fosp_edge.cameras.base import CameraError
from fosp_edge.cameras.opening import open_camera
from fosp_edge.cameras.policy_camera import PolicyCamera
from fosp_edge.robots.base import Referee, Robot, RobotError
from fosp_edge.robots.serial_arm import SerialArm

SIMULATED, SERIAL = "simulated", "serial"
_PATIENCE_PERIODS = {SIMULATED: 10.0, SERIAL: 4.0}
"""Host and motor controller each stop when they have not heard the other for so many control periods, and pictures
that are older are not acted upon: 0.2 s at 20 Hz. A simulated arm hurts nobody and shares its computer with its own
physics, so it is given more."""


@dataclass(frozen=True)
class Rig:
    """What the control loop is given."""

    robot: Robot
    cameras: tuple[PolicyCamera, ...]
    """In the order of the bundle."""
    referee: Referee | None
    """Only a simulation knows reward and cost."""
    description: str
    patience_s: float
    """How long host and motor controller wait for one another, and how old a picture may be."""


@contextmanager
def open_rig(
    kind: str, manifest: Manifest, *, port: str | None, camera_sources: list[str], scenario: str, seed: int
) -> Iterator[Rig]:
    """Open what `kind` names: `simulated` starts the device process, `serial` takes a port and cameras.

    Args:
        kind: SIMULATED or SERIAL.
        manifest: of the bundle, which says which cameras are needed and how often commands come.
        port: the serial port, for SERIAL.
        camera_sources: `NAME=ADDRESS` for each camera (`cameras/address.py`), for SERIAL.
        scenario: first table of the simulated robot.
        seed: its seed.

    Raises:
        RobotError, CameraError: with a sentence.
    """
    if kind not in _PATIENCE_PERIODS:
        raise RobotError(f"unknown robot {kind!r}; choose one of: {', '.join(_PATIENCE_PERIODS)}")
    period_s = 1.0 / manifest.rate_hz
    patience_s = _PATIENCE_PERIODS[kind] * period_s
    with ExitStack() as stack:
        if kind == SIMULATED:
            from fosp_edge.simulation.launcher import SimulatedRobot

            if port is not None or camera_sources:
                raise RobotError("--port and --camera belong to a real robot: leave them out, or use --robot serial")
            device = stack.enter_context(SimulatedRobot(scenario, seed))
            cameras = tuple(
                PolicyCamera(device.cameras[contract.name], contract.picture)
                for contract in manifest.cameras
                if contract.name in device.cameras
            )
            arm = _arm(device.port, period_s, patience_s)
            yield Rig(arm, cameras, device.referee, f"simulated arm on {device.port}", patience_s)
        else:
            if port is None:
                raise RobotError("a serial robot needs its port: --port /dev/ttyACM0 (`fosp-edge doctor` lists them)")
            opened = _open_cameras(manifest.cameras, camera_sources, stack)
            yield Rig(_arm(port, period_s, patience_s), opened, None, f"arm on {port}", patience_s)


def _arm(port: str, period_s: float, patience_s: float) -> SerialArm:
    return SerialArm(port, period_s=period_s, watchdog_s=patience_s, telemetry_timeout_s=patience_s)


def _open_cameras(wanted: Sequence[CameraContract], sources: list[str], stack: ExitStack) -> tuple[PolicyCamera, ...]:
    """The cameras the bundle wants, in its order, brought to its picture size.

    They are started here, because a driver knows its camera's serial number only then, and the bundle may ask for it.
    """
    by_name = dict(_split(source) for source in sources)
    names = [contract.name for contract in wanted]
    if sorted(by_name) != sorted(names):
        raise CameraError(
            f"the bundle sees through the cameras {', '.join(names)}; give each one: "
            + " ".join(f"--camera {name}=ADDRESS" for name in names)
        )
    cameras = []
    for contract in wanted:
        source = open_camera(contract.name, by_name[contract.name])
        camera = PolicyCamera(source, contract.picture)
        stack.callback(camera.close)
        camera.start()
        cameras.append(camera)
    return tuple(cameras)


def _split(source: str) -> tuple[str, str]:
    name, _, address = source.partition("=")
    if not name or not address:
        raise CameraError(f"--camera {source!r}: expected NAME=ADDRESS, for instance fixed=realsense:123456789")
    return name, address
