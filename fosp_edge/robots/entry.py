"""An object of a file that people write: its values are taken out one after the other, and what is left is refused."""

from typing import Any


class Entry:
    """Knows what was not taken yet; subclasses know what a value may be."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._rest = dict(values)

    def __contains__(self, name: str) -> bool:
        return name in self._rest

    def pop(self, name: str) -> Any:
        """A value that has to be there. Raises ValueError with its name."""
        if name not in self._rest:
            raise ValueError(f"{name} is missing")
        return self._rest.pop(name)

    @property
    def left(self) -> list[str]:
        """Names that nobody took, sorted."""
        return sorted(self._rest)
