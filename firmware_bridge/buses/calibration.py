"""Zero, direction and range of each servo, and the arm they form, stored per adapter and motor in a JSON file.

Servos have no serial number of their own; the key is the adapter's name (its /dev/serial/by-id name carries the
adapter's serial number) and the motor's id and model.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from firmware_bridge.buses.families import TICKS_PER_TURN
from firmware_bridge.errors import LinkError
from firmware_bridge.files import write_atomically

RADIANS_PER_TICK = 2 * math.pi / TICKS_PER_TURN
FORMAT_VERSION = 2


class CalibrationError(LinkError):
    """A calibration file is missing, damaged, or belongs to other motors."""


@dataclass(frozen=True)
class MotorCalibration:
    """One servo. The joint angle is `direction * (ticks - zero_ticks)` in turns of 4096 ticks."""

    motor_id: int
    model_number: int
    zero_ticks: int
    direction: int
    min_ticks: int
    max_ticks: int

    def __post_init__(self) -> None:
        # Out of a file; a zero that is no number would send every joint to the end of its range.
        for item in fields(self):
            value = getattr(self, item.name)
            if not isinstance(value, int) or isinstance(value, bool):
                raise ValueError(f"motor {self.motor_id}: {item.name} is {value}: give a whole number")
        if self.direction not in (-1, 1):
            raise ValueError(f"motor {self.motor_id}: direction is {self.direction}: give 1 or -1")
        if not 0 <= self.min_ticks < self.max_ticks < TICKS_PER_TURN:
            raise ValueError(
                f"motor {self.motor_id}: the range {self.min_ticks} to {self.max_ticks} does not lie within one turn "
                f"(0 to {TICKS_PER_TURN - 1}): put the middle of its motion near {TICKS_PER_TURN // 2}, then calibrate"
            )

    def angle_rad(self, ticks: int) -> float:
        """Return the joint angle in [-pi, pi): ticks that have wrapped around come out the same."""
        half = TICKS_PER_TURN // 2
        return self.direction * ((ticks - self.zero_ticks + half) % TICKS_PER_TURN - half) * RADIANS_PER_TICK

    def ticks(self, angle_rad: float) -> int:
        """Return the goal for an angle, held inside the calibrated range."""
        wanted = self.zero_ticks + self.direction * round(angle_rad / RADIANS_PER_TICK)
        return max(self.min_ticks, min(self.max_ticks, wanted))

    @property
    def range_rad(self) -> tuple[float, float]:
        """Lowest and highest joint angle."""
        ends = sorted(
            self.direction * (ticks - self.zero_ticks) * RADIANS_PER_TICK for ticks in (self.min_ticks, self.max_ticks)
        )
        return ends[0], ends[1]


def centred(
    motor_ids: Sequence[int], model_number: int = 0, directions: Sequence[int] = ()
) -> tuple[MotorCalibration, ...]:
    """The calibration of motors whose zero is their middle and that may turn all the way, by default forwards."""
    middle, last = TICKS_PER_TURN // 2, TICKS_PER_TURN - 1
    return tuple(
        MotorCalibration(one, model_number, middle, direction, 0, last)
        for one, direction in zip(motor_ids, directions or (1,) * len(motor_ids), strict=True)
    )


def save_calibration(path: Path, adapter: str, motors: Sequence[MotorCalibration], arm: str | None = None) -> None:
    """Store the motors of one adapter and the name of the arm they form; other adapters in the file are kept."""
    adapters = _read(path) if path.exists() else {}
    adapters[adapter] = {"arm": arm, "motors": [asdict(motor) for motor in motors]}
    _write(path, adapters)


def forget_calibration(path: Path, adapter: str) -> None:
    """Remove what is stored of an adapter that will not come back."""
    adapters = _read(path)
    if adapters.pop(adapter, None) is not None:
        _write(path, adapters)


def has_calibration(path: Path, adapter: str) -> bool:
    """Whether the file has an entry for the adapter. Raises CalibrationError if it cannot be read."""
    return adapter in _read(path)


def calibrated_arm(path: Path, adapter: str) -> str | None:
    """Return the name of the arm that the servos on an adapter form; None where nobody has said."""
    arm = _of_adapter(path, adapter).get("arm")
    return arm if isinstance(arm, str) else None


def load_calibration(path: Path, adapter: str, motor_ids: Sequence[int]) -> tuple[MotorCalibration, ...]:
    """Return the calibration of these motors on this adapter. Raises CalibrationError with what to do."""
    stored = _of_adapter(path, adapter)
    try:
        motors = {row["motor_id"]: MotorCalibration(**row) for row in stored["motors"]}
        return tuple(motors[motor_id] for motor_id in motor_ids)
    except KeyError as missing:
        raise CalibrationError(f"{path} has no calibration for motor {missing} of {adapter}: calibrate it.") from None
    except (TypeError, ValueError) as problem:
        raise CalibrationError(f"{path} is damaged ({problem}): calibrate again.") from None


def _of_adapter(path: Path, adapter: str) -> dict[str, Any]:
    if not path.exists():
        raise CalibrationError(f"There is no calibration at {path}: make one with `fosp-edge motors calibrate`.")
    stored = _read(path).get(adapter)
    if not isinstance(stored, dict):
        raise CalibrationError(f"{path} has no calibration for {adapter}: make one with `fosp-edge motors calibrate`.")
    return stored


def _write(path: Path, adapters: dict[str, Any]) -> None:
    write_atomically(path, json.dumps({"version": FORMAT_VERSION, "adapters": adapters}, indent=2) + "\n")


def _read(path: Path) -> dict[str, Any]:
    """Return what the file says of each adapter."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] != FORMAT_VERSION or not isinstance(content["adapters"], dict):
            raise ValueError(f"version {content['version']}")
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise CalibrationError(
            f"{path} cannot be read as a calibration ({problem}): move it away, then calibrate."
        ) from None
    return content["adapters"]
