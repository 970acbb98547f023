"""One episode on one page: pictures at even distances, and what was done and earned below them."""

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fosp_edge.cli.drawing import png
from fosp_edge.experience.episode import EpisodeInfo
from fosp_edge.experience.schema import Steps

_PICTURES = 10
_EDGE_PX = 3
_RED = np.array([220, 40, 40], np.uint8)
_WHITE = np.uint8(255)


def picture_rows(rows: int, pictures: int = _PICTURES) -> list[int]:
    """Which rows are pictured: at even distances, the first and the last among them."""
    return sorted({round(position) for position in np.linspace(0, rows - 1, min(pictures, rows)).tolist()})


def strip(steps: Steps, pictured: list[int]) -> npt.NDArray[np.uint8]:
    """Pictures side by side, one line per camera, shape [height, width, 3]; a red frame marks a violation."""
    images, cameras = steps["image"], steps["image"].shape[3] // 3
    lines = []
    for camera in range(cameras):
        line = []
        for row in pictured:
            image = np.asarray(images[row, :, :, 3 * camera : 3 * camera + 3], np.uint8)
            colour = _RED if steps["violation"][row] else _WHITE
            framed = np.empty((image.shape[0] + 2 * _EDGE_PX, image.shape[1] + 2 * _EDGE_PX, 3), np.uint8)
            framed[:] = colour
            framed[_EDGE_PX:-_EDGE_PX, _EDGE_PX:-_EDGE_PX] = image
            line.append(framed)
        lines.append(np.concatenate(line, axis=1))
    return np.concatenate(lines)


def contact_sheet(info: EpisodeInfo, steps: Steps) -> bytes:
    """The page as PNG."""
    header, summary = info.header, info.summary
    rows = len(steps["reward"])
    time_s = np.arange(rows) / header.recording.rate_hz
    pictured = picture_rows(rows)
    page = strip(steps, pictured)
    figure = Figure(figsize=(12.0, 12.0 * page.shape[0] / page.shape[1] + 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    top, middle, bottom = figure.subplots(
        3, 1, gridspec_kw={"height_ratios": [12.0 * page.shape[0] / page.shape[1], 1.9, 1.9]}
    )
    top.imshow(page, interpolation="nearest", aspect="auto")
    top.set_axis_off()
    top.set_title(
        f"{info.id}  {header.scenario} seed {header.seed}  {header.source}  reward {summary.total_reward:.2f}  "
        f"cost {summary.total_cost:g}  {summary.outcome}"
    )
    _plot_actions(middle, time_s, steps, [channel.name for channel in header.recording.action])
    bottom.step(time_s, steps["reward"], where="post", label="reward", color="tab:blue")
    bottom.step(time_s, steps["cost"], where="post", label="cost", color="tab:red")
    for row in pictured:
        bottom.axvline(time_s[row], color="0.85", linewidth=0.8, zorder=0)
    bottom.set_xlabel("time (s)")
    bottom.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, frameon=False)
    for axes in (middle, bottom):
        axes.margins(x=0.01)
        axes.spines[["top", "right"]].set_visible(False)
    return png(figure, dpi=100)


def _plot_actions(axes: Any, time_s: npt.NDArray[np.float64], steps: Steps, names: list[str]) -> None:
    for index, name in enumerate(names):
        (line,) = axes.step(time_s, steps["action"][:, index], where="post", label=name)
        axes.step(time_s, steps["nominal"][:, index], where="post", color=line.get_color(), alpha=0.4, linestyle=":")
    axes.set_ylabel("action, normalised\n(dotted: wanted)")
    axes.set_ylim(-1.1, 1.1)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, frameon=False)
