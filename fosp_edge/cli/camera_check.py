"""Before a robot moves: do its cameras still stand, and focus, as they did when they were calibrated?"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from calib.errors import CalibrationError
from fosp_edge.bundle.manifest import CameraContract
from fosp_edge.cameras.base import Camera, CameraError, FrameStale
from fosp_edge.cameras.policy_camera import PolicyCamera
from fosp_edge.cli.extras import require

DEFAULT_CAMERA_STORE = Path("calibrations")

PATIENCE_S = 10.0
"""How long a camera may take to show the remembered scene: an arm or a person may stand in front of it."""
_WITNESSES = 3
"""So many pictures in a row must say that it moved: one may be a vibration."""
_PAUSE_S = 0.1


class OnMoved(str, Enum):
    """What control does when a camera has moved or was refocused, or when that cannot be told."""

    REFUSE = "refuse"
    SLOW = "slow"
    IGNORE = "ignore"


@dataclass(frozen=True)
class CameraState:
    """What was found of one camera."""

    name: str
    serial: str
    verdict: str
    """`same`, `moved`, `refocused`, `unrecognised`; `unchecked` where no scene is remembered."""
    sentence: str

    @property
    def trustworthy(self) -> bool:
        """Whether nothing speaks against it."""
        return self.verdict in ("same", "unchecked")


def examine(
    cameras: Sequence[PolicyCamera], wanted: Sequence[CameraContract], store: Path, *, look: bool = True
) -> list[CameraState]:
    """Look up each camera's calibration, note its hash for the contract, and compare its picture with the remembered
    scene, unless `look` is False. Cameras without a calibration are left out, unless the bundle asks for one.

    Raises:
        CameraError: the bundle asks for a calibration and there is none, or the camera gives no picture.
        CalibrationError: a file that is damaged, edited, or for another picture size.
    """
    contracts = {contract.name: contract for contract in wanted}
    states = []
    for camera in cameras:
        asked = contracts[camera.name].calibration_sha256
        if not (store / f"{camera.serial}.json").is_file():
            if asked is not None:
                raise CameraError(
                    f"camera {camera.name} ({camera.serial}): the bundle was trained with its calibration "
                    f"{asked[:12]}, and {store} has none of it: copy {camera.serial}.json there, or name its folder "
                    "with --camera-store"
                )
            continue
        states.append(_examined(camera, store, look))
    return states


def _examined(camera: PolicyCamera, store: Path, look: bool) -> CameraState:
    require("calibration")
    from calib.storage import load

    record = load(store, camera.serial)
    camera.calibration_sha256 = record.place_sha256
    about = camera.name, camera.serial
    camera.start()
    size = camera.source.width_px, camera.source.height_px
    if size != record.camera.size_px:
        raise CameraError(
            f"camera {camera.name} ({camera.serial}) was calibrated at {record.camera.size_px[0]}x"
            f"{record.camera.size_px[1]} pixels and gives {size[0]}x{size[1]}: open it at that size, or calibrate it "
            "at this one"
        )
    if not look:
        return CameraState(*about, "unchecked", "not compared with its remembered scene, as asked for")
    if "reference" not in record.sections:
        how = f"fosp-edge calibrate check PICTURE --serial {camera.serial} --remember"
        return CameraState(*about, "unchecked", f"no scene is remembered, so nobody knows whether it moved: {how}")
    verdict, sentence = compare_with_scene(camera.source, record.sections["reference"])
    on_gripper = "gripper_from_camera" in record.sections.get("hand_eye", {})
    if on_gripper and verdict != "same":
        sentence += "; it is on the gripper: the arm must stand where it stood when the scene was remembered"
    return CameraState(*about, verdict, sentence)


def compare_with_scene(
    camera: Camera, remembered: object, patience_s: float = PATIENCE_S, pause_s: float = _PAUSE_S
) -> tuple[str, str]:
    """Verdict and sentence over several pictures of a started camera: the first that is as remembered settles it, and
    so do three in a row that say it moved; a scene that is not recognised is waited for.

    Raises:
        CameraError: no picture. CalibrationError: the scene was remembered at another size, or is damaged.
    """
    from calib.check import check_scene

    if not isinstance(remembered, dict):
        raise CalibrationError("no scene is remembered for this camera: run `calibrate check --remember` once")
    deadline = time.monotonic() + patience_s
    against, sequence = 0, -1
    while True:
        try:
            frame = camera.latest(1.0)
        except FrameStale:
            if time.monotonic() > deadline:
                raise
            time.sleep(pause_s)
            continue
        if frame.sequence == sequence:
            if time.monotonic() > deadline:
                raise CameraError(f"camera {camera.name}: no new picture came; is it frozen?")
            time.sleep(pause_s)
            continue
        sequence = frame.sequence
        result = check_scene(remembered, frame.image)
        against = against + 1 if result.verdict in ("moved", "refocused") else 0
        if result.trustworthy or against >= _WITNESSES or time.monotonic() > deadline:
            return result.verdict, result.sentence
        time.sleep(pause_s)
