"""The picture of an evaluation: success and violations of each agent on each scenario family."""

from collections.abc import Sequence
from typing import Any

from fosp_edge.cli.drawing import png


def plot_scores(scores: Sequence[Any]) -> bytes:
    """Draw bars with 95 % intervals; returns a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    agents = list(dict.fromkeys(item.agent for item in scores))
    scenarios = list(dict.fromkeys(item.scenario for item in scores))
    figure = Figure(figsize=(max(6.0, 1.9 * len(scenarios) + 2.0), 6.0), layout="constrained")
    FigureCanvasAgg(figure)
    width = 0.8 / len(agents)
    for axes, field, title in zip(
        figure.subplots(2, 1, sharex=True),
        ("success", "violation"),
        ("episodes that reach the target", "episodes with a violation"),
        strict=True,
    ):
        for index, agent in enumerate(agents):
            rows = {item.scenario: getattr(item, field) for item in scores if item.agent == agent}
            places = [place + (index - (len(agents) - 1) / 2) * width for place in range(len(scenarios))]
            means = [100 * rows[name].mean for name in scenarios]
            below = [100 * (rows[name].mean - rows[name].low) for name in scenarios]
            above = [100 * (rows[name].high - rows[name].mean) for name in scenarios]
            axes.bar(places, means, 0.92 * width, label=agent)
            axes.errorbar(places, means, [below, above], fmt="none", ecolor="0.25", elinewidth=1, capsize=2)
        axes.set_ylim(0, 105)
        axes.set_ylabel(f"{title} (%)")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.3)
    axes.set_xticks(range(len(scenarios)), scenarios)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    return png(figure, dpi=130)
