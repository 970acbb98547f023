"""What is said on the referee's channel: one JSON object per line, a request with an id, an answer with the same id.

    -> {"id": 1, "verb": "reset", "seed": 7, "scenario": "standard"}
    <- {"id": 1, "ok": true, "distance_m": 0.31}
    -> {"id": 2, "verb": "judge"}
    <- {"id": 2, "ok": true, "reward": 0.1, "cost": 0.0, "success": false, "finished": false}

A request that cannot be met is answered with `"ok": false` and a sentence under `"error"`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

LINE_LIMIT = 65_536

Value = str | int | float | bool | None


class BadRequestError(ValueError):
    """The request is not one; the message says why."""


@dataclass(frozen=True)
class Request:
    """One line from the referee."""

    id: int
    verb: str
    arguments: Mapping[str, Value] = field(default_factory=dict)

    def number(self, name: str, low: float, high: float, default: float | None = None) -> float:
        """A number among the arguments. Raises BadRequestError."""
        value = self.arguments.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise BadRequestError(f"{self.verb}: expected {name} from {low:g} to {high:g}, found {value!r}")
        return float(value)

    def integer(self, name: str, low: int, high: int) -> int:
        """A whole number among the arguments. Raises BadRequestError."""
        value = self.arguments.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise BadRequestError(f"{self.verb}: expected a whole {name} from {low} to {high}, found {value!r}")
        return value

    def word(self, name: str, choices: tuple[str, ...]) -> str:
        """One of `choices` among the arguments. Raises BadRequestError."""
        value = self.arguments.get(name)
        if not isinstance(value, str) or value not in choices:
            raise BadRequestError(f"{self.verb}: expected {name} to be one of {', '.join(choices)}, found {value!r}")
        return value

    def flag(self, name: str, default: bool) -> bool:
        """A truth value among the arguments. Raises BadRequestError."""
        value = self.arguments.get(name, default)
        if not isinstance(value, bool):
            raise BadRequestError(f"{self.verb}: expected {name} to be true or false, found {value!r}")
        return value

    def to_line(self) -> bytes:
        """The request as it is sent."""
        return (json.dumps({"id": self.id, "verb": self.verb, **self.arguments}) + "\n").encode()


def parse_request(line: bytes) -> Request:
    """Read one line. Raises BadRequestError for anything that is not a request."""
    try:
        raw = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"not a line of JSON: {error}") from error
    if not isinstance(raw, dict):
        raise BadRequestError("expected an object with id and verb")
    identity, verb = raw.pop("id", None), raw.pop("verb", None)
    if isinstance(identity, bool) or not isinstance(identity, int) or not isinstance(verb, str):
        raise BadRequestError("expected an object with a whole number as id and a word as verb")
    arguments = {name: value for name, value in raw.items() if isinstance(value, str | int | float | bool | None)}
    return Request(identity, verb, arguments)


class LineBuffer:
    """Cuts a byte stream into lines; a line beyond the limit is skipped whole."""

    def __init__(self, limit: int = LINE_LIMIT) -> None:
        self._limit = limit
        self._pending = b""
        self._skipping = False

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are complete now, without their ends, empty ones left out."""
        *lines, self._pending = (self._pending + data).split(b"\n")
        if lines and self._skipping:
            lines, self._skipping = lines[1:], False
        if len(self._pending) > self._limit:
            self._pending, self._skipping = b"", True
        return [line for line in lines if line.strip() and len(line) <= self._limit]
