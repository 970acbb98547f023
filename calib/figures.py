"""The pictures of a calibration report, each a matplotlib figure."""

import cv2
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .geometry import Array
from .hand_eye import HandEye
from .intrinsics import Intrinsics
from .uncertainty import pixel_grid, projection_difference_px
from .views import tilt_rad

_BLUE, _RED, _GREY = "#2b6cb0", "#c53030", "#718096"


def _figure(width: float = 7.0, height: float = 5.2) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _as_picture(axes: Axes, size_px: tuple[int, int]) -> None:
    axes.set_xlim(0, size_px[0])
    axes.set_ylim(size_px[1], 0)
    axes.set_aspect("equal")
    axes.set_xlabel("x (px)")
    axes.set_ylabel("y (px)")


def corners(result: Intrinsics) -> Figure:
    """Every corner of every used view, over the cells that still lack corners."""
    figure, axes = _figure()
    width, height = result.camera.size_px
    empty = np.where(result.coverage.corners >= 5, np.nan, 1.0)
    axes.imshow(empty, extent=(0, width, height, 0), cmap="autumn", alpha=0.25, vmin=0, vmax=1)
    for detection in result.detections:
        axes.plot(*detection.pixels.T, ".", markersize=2.5, alpha=0.7)
    _as_picture(axes, result.camera.size_px)
    axes.set_title(
        f"Corners of {len(result.detections)} views; shaded: cells with fewer than 5 "
        f"({100 * result.coverage.picture_part:.0f} % of the picture covered)",
        fontsize=10,
    )
    return figure


def residuals(result: Intrinsics) -> Figure:
    """Reprojection errors as arrows: a pattern in them is a lens or board the model does not know."""
    figure, axes = _figure()
    seen = [d.pixels for d in result.detections]
    error = [result.errors_px[i, d.ids] for i, d in enumerate(result.detections)]
    pixels, arrows = np.concatenate(seen), np.concatenate(error)
    magnification = 0.03 * result.camera.size_px[0] / max(3 * result.noise_px, 1e-3)
    axes.quiver(*pixels.T, *arrows.T, angles="xy", scale_units="xy", scale=1 / magnification, width=0.0015, color=_BLUE)
    _as_picture(axes, result.camera.size_px)
    axes.set_title(
        f"Residuals, {magnification:.0f} times enlarged; {result.noise_px:.3f} px per coordinate", fontsize=10
    )
    return figure


def view_errors(result: Intrinsics) -> Figure:
    """Error of every view, worst last."""
    figure, axes = _figure(7.0, 3.2)
    errors = result.view_errors_px
    order = np.argsort(errors)
    axes.bar(np.arange(len(errors)), errors[order], color=_BLUE)
    axes.axhline(result.noise_px, color=_RED, linewidth=1, label="all views")
    axes.set_xticks(np.arange(len(errors)), [result.detections[i].name[-18:] for i in order], rotation=90, fontsize=6)
    axes.set_ylabel("error (px per coordinate)")
    axes.legend(frameon=False)
    axes.set_title("Error of every view", fontsize=10)
    return figure


def coverage(result: Intrinsics) -> Figure:
    """Tilt and distance of every view."""
    figure, axes = _figure(7.0, 3.4)
    distance = np.linalg.norm(result.poses[:, :3, 3], axis=1)
    axes.plot(distance * 1e3, np.degrees(tilt_rad(result.poses)), "o", color=_BLUE)
    axes.axhspan(20, 45, color="green", alpha=0.08, label="20 to 45 degrees: the most useful tilts")
    axes.set_xlabel("distance of the board (mm)")
    axes.set_ylabel("tilt (degrees)")
    axes.set_ylim(0, max(50.0, float(np.degrees(tilt_rad(result.poses)).max()) + 5))
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.1, fontsize=8)
    axes.set_title("Where the board was held", fontsize=10, loc="left")
    return figure


def uncertainty(result: Intrinsics) -> Figure:
    """The heat map of the projection's standard deviation."""
    figure, axes = _figure()
    width, height = result.camera.size_px
    values = result.uncertainty_px
    # scaled to the values, not to the limit: the map is for seeing where to add views
    top = max(0.02, float(np.nanpercentile(values, 98)) * 1.1)
    drawn = axes.imshow(
        values, extent=(0, width, height, 0), cmap="viridis", vmin=0, vmax=top, interpolation="bilinear"
    )
    rows, columns = values.shape
    x, y = np.meshgrid((np.arange(columns) + 0.5) * width / columns, (np.arange(rows) + 0.5) * height / rows)
    levels = [level for level in (0.05, 0.1, 0.2, 0.5, 1.0, 2.0) if np.nanmin(values) < level < np.nanmax(values)]
    if levels:
        lines = axes.contour(x, y, values, levels=levels, colors="white", linewidths=0.8)
        axes.clabel(lines, fmt="%g px", fontsize=7)
    figure.colorbar(drawn, ax=axes, label="standard deviation (px)", shrink=0.8)
    _as_picture(axes, result.camera.size_px)
    axes.set_title(
        f"How far a projected point can be trusted (at most {result.limits.uncertainty_px:g} px is allowed)",
        fontsize=10,
    )
    return figure


def halves(result: Intrinsics) -> Figure:
    """The difference between the two half solves."""
    figure, axes = _figure()
    first, second = result.half_cameras
    pixels = pixel_grid(result.camera.size_px, 15, 11, margin=0.02).reshape(-1, 2)
    difference = projection_difference_px(first, second, pixels)
    size = np.linalg.norm(difference, axis=1)
    largest = float(np.nanmax(size)) if np.any(np.isfinite(size)) else 1.0
    magnification = 0.05 * result.camera.size_px[0] / max(largest, 1e-3)
    arrows = axes.quiver(
        *pixels.T,
        *difference.T,
        size,
        angles="xy",
        scale_units="xy",
        scale=1 / magnification,
        cmap="viridis",
        width=0.003,
    )
    figure.colorbar(arrows, ax=axes, label="difference (px)", shrink=0.8)
    _as_picture(axes, result.camera.size_px)
    axes.set_title(
        f"Two solves from separate halves: {result.agreement.difference_px:.3f} px apart, "
        f"{result.agreement.expected_px:.3f} expected (arrows x {magnification:.0f})",
        fontsize=10,
    )
    return figure


def undistortion(result: Intrinsics, image: npt.NDArray[np.uint8], name: str) -> Figure:
    """One view before and after: rows of corners become straight."""
    figure = Figure(figsize=(10.0, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    camera = result.camera
    width, height = camera.size_px
    grid = pixel_grid(camera.size_px, width, height).astype(np.float64)
    rays = np.concatenate(
        [(grid - camera.parameters[2:4]) / camera.parameters[:2], np.ones((height, width, 1))], axis=-1
    )
    source = np.nan_to_num(camera.lens.project(camera.parameters, rays), nan=-1.0).astype(np.float32)
    straight = cv2.remap(image, source[..., 0], source[..., 1], cv2.INTER_LINEAR)
    for index, (picture, title) in enumerate([(image, f"{name}: as taken"), (straight, "undistorted")]):
        axes = figure.add_subplot(1, 2, index + 1)
        axes.imshow(picture, cmap="gray", vmin=0, vmax=255)
        axes.set_axis_off()
        axes.set_title(title, fontsize=10)
    return figure


def hand_eye(result: HandEye) -> Figure:
    """What every view asks of the robot, and what leaving it out would change."""
    figure = Figure(figsize=(9.0, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.add_subplot(1, 2, 1), figure.add_subplot(1, 2, 2)
    _paired(left, result.view_errors, "Robot pose against pictures, by view")
    if len(result.leave_one_out):
        _paired(right, result.leave_one_out, "Change of the result without the view")
    else:
        right.set_axis_off()
    return figure


def _paired(axes: Axes, changes: Array, title: str) -> None:
    index = np.arange(len(changes))
    axes.bar(index - 0.2, 1e3 * np.linalg.norm(changes[:, 3:], axis=1), 0.4, color=_BLUE, label="mm")
    twin = axes.twinx()
    twin.bar(index + 0.2, np.degrees(np.linalg.norm(changes[:, :3], axis=1)), 0.4, color=_GREY, label="degrees")
    axes.set_ylabel("position (mm)", color=_BLUE)
    twin.set_ylabel("orientation (degrees)", color=_GREY)
    axes.set_xlabel("view")
    axes.set_title(title, fontsize=10)
