"""`fosp-edge data plot`: how the episodes of a store are spread over return and cost."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from fosp_edge.cli.drawing import png
from fosp_edge.cli.extras import require
from fosp_edge.cli.files import write_atomically
from fosp_edge.experience.episode import EpisodeInfo
from fosp_edge.experience.store import ExperienceStore


def plot(
    store: Annotated[Path, typer.Argument(help="Folder of the store.")],
    out: Annotated[Path, typer.Option(help="Where the picture goes, PNG.")] = Path("data.png"),
) -> None:
    """Draw return against cost of every episode, with the distribution of each, by who acted.

    Example: fosp-edge data plot data/goal1 --out goal1.png
    """
    require("visualisation")
    with ExperienceStore(store) as opened:
        infos = opened.episodes()
    if not infos:
        raise ValueError(f"{store} holds no episodes; `fosp-edge data collect {store}` makes some")
    write_atomically(out, draw(infos, store.name))
    typer.echo(f"{len(infos)} episodes drawn in {out}")


def draw(infos: Sequence[EpisodeInfo], title: str) -> bytes:
    """The picture as PNG; `infos` holds at least one episode."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    grid: dict[str, Any] = figure.subplot_mosaic(
        [["cost", "."], ["both", "return"]], width_ratios=(3, 1), height_ratios=(1, 3)
    )  # fmt: skip
    both, over_cost, over_return = grid["both"], grid["cost"], grid["return"]
    over_cost.sharex(both)
    over_return.sharey(both)
    costs, returns = _values(infos)
    bins_cost, bins_return = _edges(costs), _edges(returns)
    for source in sorted({info.header.source for info in infos}):
        own_costs, own_returns = _values([info for info in infos if info.header.source == source])
        (drawn,) = both.plot(own_costs, own_returns, "o", ms=4, alpha=0.6, label=f"{source} ({len(own_costs)})")
        colour = drawn.get_color()
        over_cost.hist(own_costs, bins_cost, color=colour, alpha=0.6)
        over_return.hist(own_returns, bins_return, color=colour, alpha=0.6, orientation="horizontal")
    both.set(xlabel="cost of the episode", ylabel="return of the episode")
    over_cost.set_ylabel("episodes")
    over_return.set_xlabel("episodes")
    for axes in (both, over_cost, over_return):
        axes.spines[["top", "right"]].set_visible(False)
    over_cost.tick_params(labelbottom=False)
    over_return.tick_params(labelleft=False)
    both.legend(frameon=False)
    figure.suptitle(f"{title}: {len(infos)} episodes")
    return png(figure, dpi=120)


def _values(infos: Sequence[EpisodeInfo]) -> tuple[list[float], list[float]]:
    return [info.summary.total_cost for info in infos], [info.summary.total_reward for info in infos]


def _edges(values: Sequence[float], count: int = 30) -> list[float]:
    """Of bins over all values, the same for everyone."""
    low, high = min(values), max(values)
    width = (high - low or 1.0) / count
    return [low + index * width for index in range(count + 1)]
