"""The file that says who judges a real robot: a JSON object with one entry per source of reward or cost.

    {"sources": [
      {"kind": "joint thresholds", "fastest_rad_s": [1, 1, 1, 2, 2, 2], "largest_current_a": [2, 2, 2, 1, 1, 1]},
      {"kind": "stops and interventions", "stop_cost": 1, "intervention_cost": 0},
      {"kind": "keep out", "volumes": [{"low_m": [0.2, -0.1, 0], "high_m": [0.3, 0.1, 0.2]}], "margin_m": 0.02},
      {"kind": "reached", "target_m": [0.3, 0.1, 0.05], "radius_m": 0.03, "reward_per_m": 10},
      {"kind": "too close", "camera": "front", "nearer_m": 0.3, "window": [0, 0.2, 1, 0.7]},
      {"kind": "keyboard", "keys": {"v": {"cost": 1}, "s": {"reward": 10, "success": true}}},
      {"kind": "gamepad", "device": "/dev/input/js0", "buttons": {"1": {"cost": 1}}},
      {"kind": "classifier", "file": "success.safetensors", "means": {"reward": 10, "success": true}}
    ]}

What an entry leaves out takes its default; what it does not know is refused. Paths are relative to the file.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from fosp_edge.robots.depth_window import WHOLE, DepthWindow, Look, Window
from fosp_edge.robots.entry import Entry
from fosp_edge.robots.judging import Finding, Source
from fosp_edge.robots.outcome_classifier import Classifier, LearntOutcome
from fosp_edge.robots.presses import DEFAULT_BUTTONS, DEFAULT_KEYS, Gamepad, Keyboard
from fosp_edge.robots.sources import JointThresholds, KeepOut, Reached, StopsAndInterventions, Where, volumes_from
from fosp_edge.robots.too_close import TooClose

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Judges:
    """The sources that a file names, at work."""

    sources: tuple[Source, ...]
    keyboard: Keyboard | None
    """Somebody has to hand it the keys."""
    cameras: tuple[str, ...] | None
    """Whose pictures a classifier judges by; None if there is no classifier."""


class _Entry(Entry):
    """One source of the file."""

    def __init__(
        self, values: dict[str, Any], folder: Path, joints: int, where: Where | None, depth: Mapping[str, Look]
    ) -> None:
        super().__init__(values)
        self.folder, self.depth, self._joints, self._where = folder, depth, joints, where

    @property
    def where(self) -> Where:
        """How the robot's place is told."""
        if self._where is None:
            raise ValueError("it looks at where a robot is, and this one does not know")
        return self._where

    def take(self, name: str, read: Callable[[Any], Kind], default: Kind) -> Kind:
        """A value, or its default."""
        return self.need(name, read) if name in self else default

    def need(self, name: str, read: Callable[[Any], Kind]) -> Kind:
        """A value that has to be there."""
        value = self.pop(name)
        try:
            return read(value)
        except (TypeError, ValueError, AttributeError, KeyError, OverflowError) as error:
            raise ValueError(f"{name}: {error}") from error

    def per_joint(self, name: str) -> list[float] | None:
        """One number per joint, or None."""
        none: list[float] = []
        numbers = self.take(name, _numbers, none)
        if numbers and len(numbers) != self._joints:
            raise ValueError(f"{name}: expected {self._joints} numbers, found {len(numbers)}")
        return numbers or None

    def done(self) -> None:
        """Refuse what nobody took."""
        if self.left:
            raise ValueError(f"unknown entry {', '.join(self.left)}")


def open_judges(path: Path, joints: int, where: Where | None, depth: Mapping[str, Look] | None = None) -> Judges:
    """Read the file and open what it names.

    Args:
        path: of the JSON file.
        joints: how many the robot has.
        where: how its place is told; None where nobody knows.
        depth: how each camera's distances are looked at.

    Raises:
        ValueError: with the entry that cannot be meant.
        OSError, RobotError, CameraError: the file, a classifier, a gamepad or distances cannot be had.
    """
    try:
        raw = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error})") from error
    entries = raw.get("sources") if isinstance(raw, dict) else None
    if not isinstance(entries, list) or not entries or len(raw) != 1:
        raise ValueError(f'{path}: expected {{"sources": [...]}} with at least one source; see docs/keep-learning.md')
    sources: list[Source] = []
    try:
        for number, values in enumerate(entries, 1):
            kind = values.get("kind") if isinstance(values, dict) else None
            if not isinstance(kind, str) or kind not in _KINDS:
                raise ValueError(f"source {number}: unknown kind {kind!r}; choose one of: {', '.join(_KINDS)}")
            named = {name: value for name, value in values.items() if name != "kind"}
            entry = _Entry(named, path.parent, joints, where, depth or {})
            try:
                sources.append(_KINDS[kind](entry))
                entry.done()
            except ValueError as error:
                raise ValueError(f"source {number} ({kind}): {error}") from error
        keyboards = [source for source in sources if isinstance(source, Keyboard)]
        seen = {source.cameras for source in sources if isinstance(source, LearntOutcome)}
        if len(keyboards) > 1 or len(seen) > 1:
            raise ValueError("one keyboard, and classifiers that look through the same cameras")
    except Exception as error:
        for source in sources:
            source.close()
        if not isinstance(error, ValueError):
            raise
        raise ValueError(f"{path}: {error}") from error
    return Judges(tuple(sources), keyboards[0] if keyboards else None, seen.pop() if seen else None)


def _thresholds(entry: _Entry) -> Source:
    return JointThresholds(*map(entry.per_joint, ("lower_rad", "upper_rad", "fastest_rad_s", "largest_current_a")))


def _stops(entry: _Entry) -> Source:
    return StopsAndInterventions(entry.take("stop_cost", _amount, 1.0), entry.take("intervention_cost", _amount, 0.0))


def _keep_out(entry: _Entry) -> Source:
    return KeepOut(entry.where, entry.need("volumes", volumes_from), entry.take("margin_m", _amount, 0.0))


def _reached(entry: _Entry) -> Source:
    target = entry.need("target_m", _numbers)
    if len(target) != 3:
        raise ValueError(f"target_m: expected x, y and z, found {len(target)} numbers")
    return Reached(entry.where, target, entry.need("radius_m", _amount), entry.take("reward_per_m", _amount, 10.0))


def _too_close(entry: _Entry) -> Source:
    camera = entry.need("camera", str)
    if camera not in entry.depth:
        raise ValueError(
            f"camera: expected one of {', '.join(entry.depth) or 'those that the robot has'}, found {camera}"
        )
    entry.depth[camera]()  # whether it measures any is better known before anything moves
    left, top, right, bottom = entry.take("window", _four, WHOLE)
    share = entry.take("share", _amount, DepthWindow.share)
    window = DepthWindow((left, top, right, bottom), share, entry.take("unmeasured", _amount, DepthWindow.unmeasured))
    return TooClose(entry.depth[camera], entry.need("nearer_m", _amount), window)


def _keyboard(entry: _Entry) -> Source:
    keys = entry.take("keys", _findings, DEFAULT_KEYS)
    if bad := [key for key in keys if len(key) != 1 or key in " q\x1b"]:
        raise ValueError(f"keys: {bad[0]!r} is not one key, or is the emergency stop's (space bar, Escape, q)")
    return Keyboard(keys)


def _gamepad(entry: _Entry) -> Source:
    return Gamepad(Path(entry.take("device", str, "/dev/input/js0")), entry.take("buttons", _findings, DEFAULT_BUTTONS))


def _classifier(entry: _Entry) -> Source:
    classifier = Classifier.load(entry.folder / entry.need("file", str))
    means, sure = entry.need("means", _finding), entry.take("sure", _amount, 0.9)
    return LearntOutcome(classifier, means, sure=sure, ticks=entry.take("ticks", int, 3))


_KINDS: dict[str, Callable[[_Entry], Source]] = {
    "joint thresholds": _thresholds,
    "stops and interventions": _stops,
    "keep out": _keep_out,
    "reached": _reached,
    "too close": _too_close,
    "keyboard": _keyboard,
    "gamepad": _gamepad,
    "classifier": _classifier,
}


def _number(value: Any) -> float:
    """Nothing else: what is compared with NaN is never beyond it, and a limit would be off without a word."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < float("inf"):
        raise ValueError(f"expected a number, found {value!r}")
    return float(value)


def _amount(value: Any) -> float:
    number = _number(value)
    if number < 0.0:
        raise ValueError(f"expected a number from 0 on, found {value!r}")
    return number


def _numbers(value: Any) -> list[float]:
    if not isinstance(value, list):
        raise ValueError(f"expected a list of numbers, found {value!r}")
    return [_number(item) for item in value]


def _four(value: Any) -> Window:
    numbers = _numbers(value)
    if len(numbers) != 4:
        raise ValueError(f"expected left, top, right and bottom, found {len(numbers)} numbers")
    return numbers[0], numbers[1], numbers[2], numbers[3]


def _finding(value: Any) -> Finding:
    if not isinstance(value, dict) or not value or value.keys() - {"reward", "cost", "success"}:
        raise ValueError(f"expected some of reward, cost and success, found {value!r}")
    success = value.get("success", False)
    if not isinstance(success, bool):
        raise ValueError(f"success: expected true or false, found {success!r}")
    return Finding(_number(value.get("reward", 0.0)), _amount(value.get("cost", 0.0)), success)


def _findings(value: Any) -> dict[str, Finding]:
    if not isinstance(value, dict) or not value:
        raise ValueError(f"expected an object of keys or buttons, found {value!r}")
    return {str(name): _finding(item) for name, item in value.items()}
