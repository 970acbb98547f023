"""The picture of a filter's evaluation: what it prevents, what it costs, and how well it knows when."""

from collections.abc import Callable, Sequence
from typing import Any

from fosp_edge.cli.drawing import png


def plot_filters(scores: Sequence[Any]) -> bytes:
    """Draw failure, safe success, interventions and balanced accuracy of each filter on each family; returns a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(item.filter for item in scores))
    families = list(dict.fromkeys(item.scenario for item in scores))
    figure = Figure(figsize=(max(7.0, 2.0 * len(families) + 2.0), 9.0), layout="constrained")
    FigureCanvasAgg(figure)
    panels: tuple[tuple[str, Callable[[Any], Any], float], ...] = (
        ("episodes in\nviolation (%)", lambda item: item.failure, 100.0),
        ("target reached,\nno violation (%)", lambda item: item.safe_success, 100.0),
        ("ticks with an\nintervention (%)", lambda item: item.intervention, 100.0),
        (
            "balanced accuracy",
            lambda item: item.avoidance and item.avoidance.balanced_accuracy,
            1.0,
        ),
    )
    width = 0.84 / len(names)
    for axes, (label, value, factor) in zip(figure.subplots(len(panels), 1, sharex=True), panels, strict=True):
        for index, name in enumerate(names):
            for item in (score for score in scores if score.filter == name):
                estimate = value(item)
                if estimate is None:
                    continue
                place = families.index(item.scenario) + (index - (len(names) - 1) / 2) * width
                mean = factor * estimate.mean
                spread = [[mean - factor * estimate.low], [factor * estimate.high - mean]]
                first = item.scenario == families[0]
                axes.bar(place, mean, 0.92 * width, color=f"C{index}", label=name if first else None)
                axes.errorbar(place, mean, spread, fmt="none", ecolor="0.25", elinewidth=0.9, capsize=1.5)
        axes.set_ylabel(label, fontsize=9)
        # Violations are rare: on a scale up to 100 % nobody could tell the filters apart.
        axes.set_ylim(0, None if value is panels[0][1] else 1.05 * factor)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.3)
        if factor == 1.0:
            axes.axhline(0.5, color="0.4", lw=0.8, ls=":")
    axes.set_xticks(range(len(families)), families)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False)
    return png(figure, dpi=120)
