"""How a person names a camera: one line of text, `kind:target?option=value&...`.

realsense:123456789?width=640&height=480&rate=30&depth=1
v4l2:/dev/video0?exposure_us=8000
recording:/data/pick.db3?loop=1
recording:/data/frames
recording:/data/run.mcap#/wrist/color
ring:fosp-edge-ring-0123...
"""

from dataclasses import dataclass, fields
from typing import Literal, get_args
from urllib.parse import parse_qsl, urlencode

from fosp_edge.cameras.base import CameraError

Kind = Literal["realsense", "v4l2", "recording", "ring"]


@dataclass(frozen=True)
class CameraAddress:
    """Which camera, and how it should take its pictures."""

    kind: Kind
    target: str = ""
    """Serial number, device path, file or folder, or ring name; for a RealSense, empty is the only one connected."""
    width: int = 640
    height: int = 480
    rate: int = 30
    """Pictures per second. For recordings, size and rate are those of the recording."""
    depth: int = 0
    """1: also deliver depth, aligned with the colour picture (RealSense)."""
    exposure_us: int = 0
    """Exposure time; 0 lets the camera find one at the start and then keeps it."""
    white_balance_k: int = 0
    """Colour temperature; 0 lets the camera find one at the start and then keeps it."""
    loop: int = 0
    """1: a recording begins again when it ends."""

    def __post_init__(self) -> None:
        if not (1 <= self.width <= 16384 and 1 <= self.height <= 16384 and 1 <= self.rate <= 1000):
            raise CameraError(f"not a picture size and rate: {self.width}x{self.height} at {self.rate}/s")
        if self.depth not in (0, 1) or self.loop not in (0, 1) or self.exposure_us < 0 or self.white_balance_k < 0:
            raise CameraError("depth and loop are 0 or 1; exposure_us and white_balance_k are not negative")

    @property
    def is_live(self) -> bool:
        """Whether there is a device that can be reconnected, as opposed to a recording that ends."""
        return self.kind in ("realsense", "v4l2")

    def __str__(self) -> str:
        changed = {
            option.name: getattr(self, option.name)
            for option in fields(self)
            if option.name not in ("kind", "target") and getattr(self, option.name) != option.default
        }
        return f"{self.kind}:{self.target}" + (f"?{urlencode(changed)}" if changed else "")


def parse_address(text: str) -> CameraAddress:
    """Read an address.

    Raises:
        CameraError: unknown kind or option, or a value that is not a whole number; the message lists the known ones.
    """
    kind, _, rest = text.partition(":")
    target, _, query = rest.partition("?")
    if kind not in get_args(Kind):
        raise CameraError(f"camera {text!r}: expected it to begin with one of {', '.join(get_args(Kind))} and a colon")
    if kind != "realsense" and not target:
        raise CameraError(f"camera {text!r}: nothing stands after the colon")
    known = [option.name for option in fields(CameraAddress) if option.name not in ("kind", "target")]
    options: dict[str, int] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            raise CameraError(f"camera {text!r}: unknown option {name!r}; known are {', '.join(known)}")
        if not value.isascii() or not value.isdigit() or len(value) > 9:
            raise CameraError(f"camera {text!r}: {name} should be a whole number, found {value!r}")
        options[name] = int(value)
    return CameraAddress(kind, target, **options)  # type: ignore[arg-type]  # kind was checked above
