"""What was done to a camera's picture before the policy saw it, as manifests and recordings state it.

Numbers only: `cameras/preprocess.py` acts on them, in data collection, training data and control alike.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal


@dataclass(frozen=True)
class Lens:
    """Intrinsic parameters of a camera, as calibration gives them, for one picture size."""

    width_px: int
    height_px: int
    focal_x_px: float
    focal_y_px: float
    centre_x_px: float
    centre_y_px: float
    model: Literal["brown-conrady", "fisheye"] = "brown-conrady"
    coefficients: tuple[float, ...] = ()
    """Brown-Conrady: k1 k2 p1 p2 [k3 [k4 k5 k6]], with six radial terms the rational model; fisheye: k1 k2 k3 k4."""

    def __post_init__(self) -> None:
        lengths = (0, 4, 5, 8) if self.model == "brown-conrady" else (0, 4)
        numbers = (self.focal_x_px, self.focal_y_px, self.centre_x_px, self.centre_y_px, *self.coefficients)
        if self.model not in ("brown-conrady", "fisheye") or len(self.coefficients) not in lengths:
            raise ValueError(f"lens model {self.model} with {len(self.coefficients)} coefficients is not known")
        if not all(map(math.isfinite, numbers)) or min(self.focal_x_px, self.focal_y_px) <= 0.0:
            raise ValueError("lens parameters must be finite numbers, the focal lengths above zero")


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes the policy's input: straighten, crop, area resize, colour order."""

    width_px: int = 64
    height_px: int = 64
    crop: tuple[int, int, int, int] | None = None
    """Left, top, width, height in source pixels; None is the largest centred area of the output's proportions."""
    colour_order: Literal["rgb", "bgr"] = "rgb"
    """Order in which the source delivers its channels; the output is always RGB."""
    lens: Lens | None = None
    """Straighten the picture first, with these intrinsic parameters; the crop is then one of the result."""
    source_px: tuple[int, int] | None = None
    """Width and height of the camera's picture; None takes any, as in bundles from before this was kept."""

    def __post_init__(self) -> None:
        if self.width_px < 1 or self.height_px < 1 or self.colour_order not in ("rgb", "bgr"):
            raise ValueError(f"not a picture size and colour order: {self}")
        if self.source_px is not None and min(self.source_px) < 1:
            raise ValueError(f"not the size of a camera's picture: {self.source_px}")

    def to_json_object(self) -> dict[str, Any]:
        """The parameters as they stand in a manifest."""
        return asdict(self)

    @staticmethod
    def from_json_object(raw: Mapping[str, Any]) -> "Preprocessing":
        """Read what `to_json_object` wrote.

        Raises:
            ValueError: an entry is missing, unknown or makes no sense.
        """
        try:
            crop, lens, source = raw["crop"], raw["lens"], raw.get("source_px")
            if lens is not None:
                lens = Lens(**{**lens, "coefficients": tuple(lens["coefficients"])})
            numbers = {
                "crop": None if crop is None else _whole(crop, 4),
                "source_px": None if source is None else _whole(source, 2),
            }
            return Preprocessing(**{**raw, **numbers, "lens": lens})
        except (KeyError, TypeError) as error:
            raise ValueError(f"not the parameters of a preprocessing: {error}") from error

    def sentence(self) -> str:
        """What is done, in words."""
        parts = [] if self.source_px is None else [f"from {self.source_px[0]}x{self.source_px[1]}"]
        if self.lens is not None:
            parts.append(f"straightened ({self.lens.model})")
        parts.append("largest centred area" if self.crop is None else "crop {},{} {}x{}".format(*self.crop))
        return ", ".join([*parts, f"to {self.width_px}x{self.height_px} {self.colour_order.upper()} -> RGB"])

    def differences(self, other: "Preprocessing") -> list[str]:
        """What another preprocessing does otherwise, one phrase each; empty if a policy may see through either."""
        mine, theirs = self, other
        if self.source_px is None or other.source_px is None:
            mine, theirs = replace(self, source_px=None), replace(other, source_px=None)
        words = {"crop": "crop", "colour_order": "colour order", "lens": "straightening", "source_px": "camera's size"}
        return [
            f"{word} {_words(getattr(mine, name))} here, {_words(getattr(theirs, name))} there"
            for name, word in words.items()
            if getattr(mine, name) != getattr(theirs, name)
        ]


def optional_preprocessing(raw: Mapping[str, Any] | None) -> Preprocessing | None:
    """As `Preprocessing.from_json_object`, with None for None. Raises ValueError."""
    return None if raw is None else Preprocessing.from_json_object(raw)


def _whole(values: Sequence[int], count: int) -> Any:
    if len(values) != count:
        raise ValueError(f"expected {count} whole numbers, found {list(values)}")
    return tuple(int(value) for value in values)


def _words(value: object) -> str:
    if isinstance(value, Lens):
        return f"{value.model} {value.focal_x_px:g} px"
    return "none" if value is None else str(value)
