"""What may stand in a robot's file: words, finite numbers within a range, points and directions."""

import re
from collections.abc import Sequence
from math import isfinite, sqrt
from typing import Any

from fosp_edge.robots.entry import Entry

_WORD = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.,_-]*[A-Za-z0-9])?")
_UNIT_TOLERANCE = 1e-3
_FARTHEST_M = 10.0


class RobotEntry(Entry):
    """An object of a robot's file; complaints say where it stands."""

    def __init__(self, values: object, place: str) -> None:
        self._place = f"{place}: " if place else ""
        if not isinstance(values, dict):
            raise ValueError(f"{self._place}expected an object, found {values!r}")
        super().__init__(values)

    def take(self, name: str) -> Any:
        """A value that has to be there."""
        try:
            return self.pop(name)
        except ValueError as error:
            raise ValueError(f"{self._place}{error}") from error

    def wrong(self, name: str, expected: str, found: object) -> ValueError:
        """The complaint about a value."""
        return ValueError(f"{self._place}{name}: expected {expected}, found {found!r}")

    def word(self, name: str) -> str:
        """A name without spaces."""
        value = self.take(name)
        if not isinstance(value, str) or _WORD.fullmatch(value) is None:
            raise self.wrong(name, "letters, digits, and . , _ - between them", value)
        return value

    def words(self, name: str) -> list[str]:
        """A list of names, empty if left out."""
        value = self.take(name) if name in self else []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.wrong(name, "a list of names", value)
        return value

    def number(self, name: str, low: float, high: float) -> float:
        """A finite number within a range."""
        value = self.take(name)
        if not _is_number(value) or not low <= value <= high:
            raise self.wrong(name, f"a number from {low:g} to {high:g}", value)
        return float(value)

    def numbers(self, name: str, count: int, farthest: float) -> tuple[float, ...]:
        """So many finite numbers, none farther from zero."""
        value = self.take(name)
        fits = isinstance(value, list) and len(value) == count
        if not fits or not all(_is_number(item) and abs(item) <= farthest for item in value):
            raise self.wrong(name, f"{count} numbers within +-{farthest:g}", value)
        return tuple(map(float, value))

    def point(self, name: str) -> tuple[float, float, float]:
        """A point within ten metres."""
        x, y, z = self.numbers(name, 3, _FARTHEST_M)
        return x, y, z

    def direction(self, name: str) -> tuple[float, float, float]:
        """A vector of length 1."""
        x, y, z = self.numbers(name, 3, 1.0 + _UNIT_TOLERANCE)
        length = sqrt(x * x + y * y + z * z)
        if abs(length - 1.0) > _UNIT_TOLERANCE:
            raise self.wrong(name, "a vector of length 1", [x, y, z])
        return x / length, y / length, z / length

    def done(self) -> None:
        """Refuse what nobody took."""
        if self.left:
            raise ValueError(f"{self._place}unknown entry {', '.join(map(repr, self.left))}")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)


def distinct(names: Sequence[str]) -> None:
    """Refuse what is there twice: of two limits of one name, which would count?"""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} is there more than once")
