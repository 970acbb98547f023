"""One picture of a run: what the cameras saw, what the filter did about it, and how quick it all was."""

from typing import TYPE_CHECKING, Any

import numpy as np

from fosp_edge.bundle.manifest import FilterThresholds, Manifest
from fosp_edge.cli.drawing import png
from fosp_edge.cli.run_log import EpisodeLog, RunLog
from fosp_edge.control.telemetry import Histogram, Telemetry

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STRIP_FRAMES = 10
_INK, _POLICY, _CHOSEN, _STEPPED_IN, _COST = "#30343b", "#c05621", "#1f6f8b", "#f2c14e", "#b3262e"


class PlotUnavailableError(RuntimeError):
    """Matplotlib is not installed; the message says how to get it."""


def plot_run(log: RunLog, telemetry: Telemetry, manifest: Manifest, title: str) -> bytes:
    """A PNG of the run's most telling episode and of its latencies.

    Raises:
        PlotUnavailableError: the extra `visualisation` is missing.
        ValueError: nothing was recorded.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise PlotUnavailableError(
            "the plot needs the extra `visualisation`: pip install 'fosp-edge[visualisation]'"
        ) from error
    episode = log.showcase or log.episode
    if not episode.points:
        raise ValueError("no tick was completed: there is nothing to draw")
    names = [camera.name for camera in manifest.cameras]
    cameras = len(names)
    figure = Figure(figsize=(12.0, 6.2 + 1.1 * cameras), dpi=110, facecolor="white")
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.06)
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(3, 2, height_ratios=[1.25 * cameras, 2.2, 2.2], width_ratios=[2.4, 1.0])
    _strip(figure.add_subplot(grid[0, :]), episode, names)
    _reachability(figure.add_subplot(grid[1, :]), episode, manifest.filter)
    _reward(figure.add_subplot(grid[2, 0]), episode)
    _latency(figure.add_subplot(grid[2, 1]), telemetry)
    figure.suptitle(title, color=_INK, fontsize=12, x=0.01, ha="left")
    return png(figure)


def _plain(axes: "Axes") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=_INK, labelsize=8)
    axes.grid(axis="y", alpha=0.2)


def _strip(axes: "Axes", episode: EpisodeLog, names: list[str]) -> None:
    """Frames at even intervals, one row per camera, the time below."""
    count = min(STRIP_FRAMES, len(episode.frames))
    chosen = np.linspace(0, len(episode.frames) - 1, count).round().astype(int)
    height, width = episode.frames[0].shape[:2]
    gap, cameras = 2, len(names)
    canvas = np.full((cameras * (height + gap) - gap, count * (width + gap) - gap, 3), 255, np.uint8)
    for column, index in enumerate(chosen):
        for camera in range(cameras):
            top, left = camera * (height + gap), column * (width + gap)
            picture = episode.frames[index][..., 3 * camera : 3 * camera + 3]
            canvas[top : top + height, left : left + width] = picture
    axes.imshow(canvas, interpolation="nearest")
    begin_s = episode.points[0].time_s
    times = [episode.points[min(index, len(episode.points) - 1)].time_s - begin_s for index in chosen]
    axes.set_xticks([column * (width + gap) + width / 2 for column in range(count)])
    axes.set_xticklabels([f"{time_s:.1f} s" for time_s in times])
    axes.set_yticks([camera * (height + gap) + height / 2 for camera in range(cameras)], names)
    axes.tick_params(length=0, colors=_INK, labelsize=8)
    axes.spines[:].set_visible(False)
    ending = "target reached" if episode.success else "target not reached"
    axes.set_title(f"episode {episode.number}: what the cameras saw ({ending})", loc="left", fontsize=9, color=_INK)


def _reachability(axes: "Axes", episode: EpisodeLog, thresholds: FilterThresholds) -> None:
    """Predicted probability of a violation, of what was wanted and of what was done, and where the filter acted."""
    begin_s = episode.points[0].time_s
    time_s = np.array([point.time_s - begin_s for point in episode.points])
    _bands(axes, time_s, [point.would_intervene for point in episode.points], _STEPPED_IN, "filter steps in", 0.35)
    wanted = [point.policy_reachability for point in episode.points]
    done = [point.chosen_reachability for point in episode.points]
    axes.step(time_s, wanted, where="post", color=_POLICY, lw=1.2, label="what the policy wanted")
    axes.step(time_s, done, where="post", color=_CHOSEN, lw=1.6, label="what was done")
    axes.axhline(thresholds.feasible_reachability, color=_INK, lw=1.0, ls="--", label="feasible up to here")
    top = max(1.25 * thresholds.feasible_reachability, 1.08 * max(*wanted, *done, 1e-3))
    if thresholds.stop_reachability < top:
        axes.axhline(thresholds.stop_reachability, color=_COST, lw=1.0, ls=":", label="above: hold still")
    axes.set_ylim(0.0, min(1.02, top))
    axes.set_xlim(0.0, max(time_s[-1], 0.05))
    axes.set_ylabel("reachability of\na violation", fontsize=9, color=_INK)
    axes.legend(loc="upper right", fontsize=8, ncols=5, frameon=False, bbox_to_anchor=(1.0, 1.16))
    _plain(axes)


def _reward(axes: "Axes", episode: EpisodeLog) -> None:
    """Return so far, and the ticks in violation."""
    begin_s = episode.points[0].time_s
    time_s = np.array([point.time_s - begin_s for point in episode.points])
    returns = np.cumsum([point.reward for point in episode.points])
    _bands(axes, time_s, [point.cost > 0 for point in episode.points], _COST, "in violation", 0.35)
    axes.plot(time_s, returns, color=_CHOSEN, lw=1.6, label="return")
    axes.set_xlim(0.0, max(time_s[-1], 0.05))
    axes.set_xlabel("seconds into the episode", fontsize=9, color=_INK)
    axes.set_ylabel("return so far", fontsize=9, color=_INK)
    cost = episode.cost
    axes.set_title(f"return {returns[-1]:+.2f}, cost {cost:.0f}", loc="left", fontsize=9, color=_INK)
    if cost:
        axes.legend(loc="lower right", fontsize=8, frameon=False)
    _plain(axes)


def _latency(axes: "Axes", telemetry: Telemetry) -> None:
    """How long image in to command out took, over the whole run."""
    histogram = telemetry.phases["latency"]
    edges_ms = np.array(Histogram.edges_s()) * 1e3
    counts = histogram.counts[: 2 * (len(histogram.counts) // 2)].reshape(-1, 2).sum(axis=1)
    left, right = edges_ms[:-1:2][: len(counts)], edges_ms[2::2][: len(counts)]
    axes.bar(left, counts, width=right - left, align="edge", color=_CHOSEN, alpha=0.85)
    for share, name in ((0.5, "p50"), (0.99, "p99")):
        value_ms = histogram.percentile(share) * 1e3
        axes.axvline(value_ms, color=_INK, lw=0.9, ls="--" if share == 0.5 else ":", label=f"{name} {value_ms:.1f} ms")
    used = np.flatnonzero(counts)
    if used.size:
        axes.set_xlim(left[used[0]] * 0.7, right[used[-1]] * 1.4)
    axes.set_xscale("log")
    axes.set_yscale("symlog", linthresh=1.0)
    axes.set_ylim(0.0, 3.0 * max(1, counts.max()))
    _label_decades(axes)
    axes.set_xlabel("image in to command out, ms", fontsize=9, color=_INK)
    axes.set_ylabel("ticks", fontsize=9, color=_INK)
    axes.set_title(f"latency over {histogram.count} ticks", loc="left", fontsize=9, color=_INK)
    axes.legend(loc="upper right", fontsize=8, frameon=False)
    _plain(axes)


def _label_decades(axes: "Axes") -> None:
    """Milliseconds in plain numbers at 1, 2 and 5 of every decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    def number(value: float, _: Any) -> str:
        return f"{value:g}"

    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(number))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(number))


def _bands(axes: "Axes", time_s: Any, active: list[bool], colour: str, label: str, alpha: float) -> None:
    """Shade the spans of time in which something was so."""
    step_s = float(np.median(np.diff(time_s))) if len(time_s) > 1 else 0.05
    edges = np.flatnonzero(np.diff([False, *active, False]))
    for index, (begin, end) in enumerate(zip(edges[::2], edges[1::2], strict=True)):
        axes.axvspan(
            time_s[begin],
            time_s[end - 1] + step_s,
            color=colour,
            alpha=alpha,
            lw=0,
            label=label if index == 0 else None,
        )
