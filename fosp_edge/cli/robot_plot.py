"""The picture of a robot's description: the arm at home and the box of its fingertip, from the side and from above."""

from collections.abc import Sequence

import numpy as np

from fosp_edge.cli.drawing import png
from fosp_edge.robots.arm import ArmDescription, FloatArray
from fosp_edge.robots.kinematics import ArmKinematics
from fosp_edge.robots.workspace import Workspace


def plot_robot(
    arm: ArmDescription, box: Workspace, points_m: FloatArray, postures: Sequence[FloatArray | None]
) -> bytes:
    """Draw it; returns the picture, PNG.

    Args:
        arm: at home.
        box: of its fingertip.
        points_m: points of the box, shape [N, 3].
        postures: one for each that is within reach, None for the others.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    chain = ArmKinematics(arm).chain(np.array(arm.home_rad))
    within = np.array([posture is not None for posture in postures])
    figure = Figure(figsize=(10.0, 5.0), layout="constrained")
    FigureCanvasAgg(figure)
    views = (("from the side", 0, 2, "x (m)", "z (m)"), ("from above", 0, 1, "x (m)", "y (m)"))
    for axes, (title, across, up, across_label, up_label) in zip(figure.subplots(1, 2), views, strict=True):
        low, high = np.array(box.low_m)[[across, up]], np.array(box.high_m)[[across, up]]
        (left, bottom), (width, height) = low, high - low
        axes.add_patch(Rectangle((left, bottom), width, height, facecolor="tab:green", alpha=0.12, edgecolor="none"))
        axes.plot(chain[:, across], chain[:, up], "-", color="0.35", linewidth=4, solid_capstyle="round")
        axes.plot(chain[:-1, across], chain[:-1, up], "o", color="0.15", label="joints, at home")
        axes.plot(*chain[-1, [across, up]], "s", color="tab:orange", label="fingertip, at home")
        for shown, colour, label in ((within, "tab:green", "within reach"), (~within, "tab:red", "out of reach")):
            if shown.any():
                axes.plot(points_m[shown][:, across], points_m[shown][:, up], ".", color=colour, label=label)
        axes.set(title=title, xlabel=across_label, ylabel=up_label, aspect="equal")
        axes.margins(0.1)
        axes.grid(alpha=0.3)
    figure.suptitle(f"{arm.name}: the box that the fingertip may not leave, tool pointing down")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    for handle, label in zip(*figure.axes[1].get_legend_handles_labels(), strict=True):
        if label not in labels:
            handles, labels = [*handles, handle], [*labels, label]
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    return png(figure, dpi=130)
