"""`fosp-edge compare`: two trainings side by side, as a table and a plot."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from fosp_edge.cli.drawing import png
from fosp_edge.cli.extras import require
from fosp_edge.cli.files import write_atomically

_LAST_SHARE = 0.1
Rows = list[dict[str, float]]


def compare(
    first: Annotated[Path, typer.Argument(help="Run folder.")],
    second: Annotated[Path, typer.Argument(help="Run folder to compare with.")],
    out: Annotated[Path | None, typer.Option(help="Where the curves go, as a PNG.")] = None,
    only: Annotated[str | None, typer.Option(help="Only metrics whose name contains this.")] = None,
) -> None:
    """Compare two runs: what was configured differently, and every metric at the end of both.

    A metric's figure is its mean over the last tenth of the updates that both runs have; of what is logged more rarely,
    the last one before their end.

    Example: fosp-edge compare runs/train/nano-fosp-s0 runs/train/nano-bc-s0 --out compare.png
    """
    require("learning")
    from fosp_edge.learning.metrics import METRICS_FILE, read_metrics

    console = Console()
    runs = (first, second)
    logs = [read_metrics(path / METRICS_FILE) for path in runs]
    if empty := [path for path, rows in zip(runs, logs, strict=True) if not rows]:
        raise ValueError(f"{empty[0]} has logged nothing yet; wait for the first updates")
    names = _labels(first, second)
    _show_configuration(console, runs, names)
    until = min(int(rows[-1]["update"]) for rows in logs)
    known = {key for rows in logs for row in rows for key in row if "/" in key and (only is None or only in key)}
    if not known:
        raise ValueError(f"no metric's name contains {only!r}; leave --only away to see them all")
    table = Table("metric", *names, "difference", title=f"mean of the last tenth up to update {until}")
    for key in sorted(known):
        values = [_at_end(rows, key, until) for rows in logs]
        gap = "" if None in values else f"{_number(values[1]) - _number(values[0]):+.4g}"
        table.add_row(key, *("-" if value is None else f"{value:.4g}" for value in values), gap)
    console.print(table)
    if out is not None:
        require("visualisation")
        write_atomically(out, _plot(logs, names, sorted(known)))
        console.print(f"curves: {out}")


def _number(value: float | None) -> float:
    assert value is not None
    return value


def _labels(first: Path, second: Path) -> list[str]:
    names = [path.resolve().name for path in (first, second)]
    return names if names[0] != names[1] else [str(first), str(second)]


def _at_end(rows: Rows, key: str, until: int) -> float | None:
    logged = [row for row in rows if key in row and row["update"] <= until]
    late = [row[key] for row in logged if row["update"] >= (1.0 - _LAST_SHARE) * until]
    if late:
        return sum(late) / len(late)
    return logged[-1][key] if logged else None


def _show_configuration(console: Console, runs: tuple[Path, Path], names: list[str]) -> None:
    from fosp_edge.learning.checkpoint import CHECKPOINT_FILE, read_header

    if not all((path / CHECKPOINT_FILE).exists() for path in runs):
        console.print("(no checkpoint in one of them yet: configurations are not compared)")
        return
    headers: list[dict[str, Any]] = [read_header(path) for path in runs]
    left, right = (header["config"].to_dict() for header in headers)
    table = Table("configured", *names)
    for key, value in left.items():
        if value != right[key]:
            table.add_row(key, str(value), str(right[key]))
    for key in ("commit", "dataset"):
        values = [_short(header["notes"].get(key)) for header in headers]
        if values[0] != values[1]:
            table.add_row(key, *values)
    console.print(table if table.row_count else "configured alike")


def _short(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(f"{item.get('name')} ({str(item.get('sha256', ''))[:8]})" for item in value)
    return str(value)[:12]


def _plot(logs: list[Rows], names: list[str], keys: list[str]) -> bytes:

    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns = min(4, len(keys))
    lines = -(-len(keys) // columns)
    figure, axes = pyplot.subplots(
        lines, columns, figsize=(3.6 * columns, 2.4 * lines), squeeze=False, layout="constrained"
    )
    for index, key in enumerate(keys):
        panel = axes[index // columns][index % columns]
        for rows, name in zip(logs, names, strict=True):
            points = [(row["update"], row[key]) for row in rows if key in row]
            if points:
                panel.plot(*zip(*points, strict=True), label=name, linewidth=1)
        panel.set_title(key, fontsize=8)
        panel.tick_params(labelsize=7)
    for index in range(len(keys), lines * columns):
        axes[index // columns][index % columns].axis("off")
    axes[0][0].legend(fontsize=7)
    picture = png(figure, dpi=110)
    pyplot.close(figure)
    return picture
