"""Figures and tables as the pages show them."""

from collections.abc import Sequence


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as GitHub draws it, one line per row."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def interval(estimate: dict[str, float], digits: int, *, scale: float = 1.0, unit: str = "") -> str:
    """`0.92 (0.85-0.97)`, for what is never below zero."""
    mean, low, high = (f"{scale * estimate[key]:.{digits}f}" for key in ("mean", "low", "high"))
    return f"{mean}{unit} ({low}-{high})"


def percent(share: dict[str, float], unit: str = " %") -> str:
    """`89 % (87-91)`."""
    return interval(share, 0, scale=100.0, unit=unit)


def points(gain: dict[str, float]) -> str:
    """`+3.1 (+1.6 to +4.7)`, in bold where the interval leaves out zero."""
    rounded = [round(100 * gain[key], 1) for key in ("mean", "low", "high")]
    mean, low, high = (f"{value:+.1f}" if value else "0.0" for value in rounded)
    told = f"{mean} ({low} to {high})"
    return f"**{told}**" if rounded[1] > 0.0 or rounded[2] < 0.0 else told
