"""Has training exploded? A loss far above its own average, several updates in a row."""

from collections.abc import Mapping

FACTOR = 1000.0
"""How far above its average a loss counts as exploding."""
PATIENCE = 3
"""Updates in a row: one odd batch is no explosion."""
GRACE = 50
"""Updates before there is an average to compare with."""
_RATE = 0.02
_LOSSES = ("model/", "critic/", "policy/")
_NO_LOSSES = ("gradient_norm", "_mean", "_scale", "multiplier", "_share", "entropy", "imagined_return", "constraint")


class DivergenceGuard:
    """Watches the losses of every update; measured against at least 1, so that tiny losses may move as they like."""

    def __init__(self) -> None:
        self._averages: dict[str, float] = {}
        self._ages: dict[str, int] = {}
        self._strikes: dict[str, int] = {}

    @property
    def calm(self) -> bool:
        """Whether no loss is suspected: only then is the state worth keeping."""
        return not any(self._strikes.values())

    def judge(self, metrics: Mapping[str, float]) -> str | None:
        """Take in one update; returns what has exploded, as a sentence, or None."""
        for name, value in metrics.items():
            if not name.startswith(_LOSSES) or name.endswith(_NO_LOSSES):
                continue
            average, age = self._averages.get(name, abs(value)), self._ages.get(name, 0)
            if age >= GRACE and abs(value) > FACTOR * max(average, 1.0):
                self._strikes[name] = self._strikes.get(name, 0) + 1
                if self._strikes[name] >= PATIENCE:
                    return f"{name} exploded: it is {value:.3g}, its average was {average:.3g}"
                continue
            self._strikes[name] = 0
            self._averages[name] = average + _RATE * (abs(value) - average)
            self._ages[name] = age + 1
        return None
