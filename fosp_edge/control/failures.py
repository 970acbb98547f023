"""Which error means which stop: every way to fail has one name, and a sentence for the person in front of it."""

from fosp_edge.bundle.manifest import BundleError
from fosp_edge.cameras.base import CameraError, FrameStale
from fosp_edge.control.inference import NotFinite
from fosp_edge.control.limits import ActionRefused
from fosp_edge.control.types import Reason
from fosp_edge.robots.base import RobotError


class StopRun(Exception):  # noqa: N818 - an order, not an error
    """Ends the run for a named reason; raised where the loop itself finds the cause."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


def reason_of(error: BaseException) -> tuple[Reason, str]:
    """The stopping reason and the sentence that belong to an error. Unknown ones are INTERNAL, never ignored."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, StopRun):
        return error.reason, error.detail
    if isinstance(error, KeyboardInterrupt):
        return Reason.OPERATOR_STOP, "interrupted at the keyboard"
    if isinstance(error, (NotFinite, ActionRefused)):
        return Reason.NOT_FINITE, text
    if isinstance(error, FrameStale):
        return Reason.FRAME_STALE, text
    if isinstance(error, CameraError):
        return Reason.CAMERA_LOST, text
    if isinstance(error, RobotError):
        return Reason.ROBOT_LOST, text
    if isinstance(error, BundleError):
        return Reason.BUNDLE_REFUSED, text
    return Reason.INTERNAL, f"{type(error).__name__}: {text}"
