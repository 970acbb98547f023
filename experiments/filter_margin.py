"""The reachability margin drawn over the scene: `python -m experiments.filter_margin --bundle B [--seed 3]`.

The fingertip is put on a grid over the table, the arm stands still there for a few ticks, and the filter's score of
what the policy wants to do next is noted. Drawn over what the fixed camera sees, and from above beside the truth: where
the arm is too close to a box.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from fosp_edge.bundle.folder import Bundle, load_bundle
from fosp_edge.cli.shipped import shipped_bundle
from fosp_edge.control.inference import PolicyRuntime
from fosp_edge.control.types import Observation
from fosp_edge.robots.arm import DESKTOP_ARM
from fosp_edge.robots.kinematics import ArmKinematics
from fosp_edge.simulation.layout import MARGIN_M, Layout, make_layout
from fosp_edge.simulation.plant import ArmPlant
from fosp_edge.simulation.raycast import RayCaster
from fosp_edge.simulation.scene import CAMERAS, build_model

Array = npt.NDArray[np.float64]
HEIGHT_M = 0.09
PICTURE_PX = 384
TICKS, NOISES = 4, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=None)
    parser.add_argument("--scenario", default="standard")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--columns", type=int, default=33, help="grid points across the table")
    parser.add_argument("--out", type=Path, default=Path("docs/images/filter-margin.png"))
    options = parser.parse_args()
    bundle = load_bundle(options.bundle or shipped_bundle())
    layout = make_layout(options.scenario, options.seed)
    y = np.linspace(-0.24, 0.24, options.columns)
    x = np.linspace(0.20, 0.40, max(2, round(options.columns * 0.20 / 0.48)))
    scores, clearance = measure(bundle, layout, x, y)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    draw(bundle, layout, x, y, scores, clearance, options.out)
    threshold = bundle.manifest.filter.feasible_reachability
    free = clearance > MARGIN_M
    print(
        f"infeasible where the arm is too close: {np.mean(scores[~free] > threshold):.0%}, within 3 cm of that: "
        f"{np.mean(scores[free & (clearance < MARGIN_M + 0.03)] > threshold):.0%}, elsewhere: "
        f"{np.mean(scores[clearance >= MARGIN_M + 0.03] > threshold):.0%}"
    )


def measure(bundle: Bundle, layout: Layout, x: Array, y: Array) -> tuple[Array, Array]:
    """Reachability of the policy's choice and true clearance on the grid, each [len(x), len(y)]."""
    runtime = PolicyRuntime(bundle)
    kinematics = ArmKinematics(DESKTOP_ARM)
    known = {name: index for index, name in enumerate(CAMERAS)}
    channels = np.concatenate([3 * known[camera.name] + np.arange(3) for camera in bundle.manifest.cameras])
    scores, clearance = np.zeros((len(x), len(y))), np.zeros((len(x), len(y)))
    for i, x_m in enumerate(x):
        for j, y_m in enumerate(y):
            plant = ArmPlant(replace(layout, start_m=(float(x_m), float(y_m), HEIGHT_M)))
            position = plant.positions_rad()
            state = np.concatenate([position, kinematics.fingertip(position)[0]]).astype(np.float32)
            observation = Observation(np.ascontiguousarray(plant.observe()[..., channels]), state)
            clearance[i, j] = plant.judge().clearance_m
            found = []
            for noise in range(NOISES):
                runtime.reset(noise)
                for _ in range(TICKS):
                    step = runtime.step(observation, np.zeros(len(bundle.manifest.actions), np.float32))
                found.append(float(step.reachability[0]))
            scores[i, j] = np.mean(found)
    return scores, clearance


def picture(layout: Layout) -> tuple[npt.NDArray[np.uint8], Any]:
    """What the fixed camera sees at a higher resolution, and a function from points in metres, [N, 3], to pixels."""
    model = build_model(layout)
    data = mujoco.MjData(model)
    start = ArmKinematics(DESKTOP_ARM).inverse(np.array(layout.start_m), np.array(DESKTOP_ARM.home_rad))
    for name, angle in zip(DESKTOP_ARM.joint_names, start, strict=True):
        data.qpos[model.joint(name).qposadr[0]] = angle
    mujoco.mj_forward(model, data)
    image = RayCaster(model, layout.light, width_px=PICTURE_PX, height_px=PICTURE_PX).render(data, "fixed")
    camera = data.camera("fixed")
    position, rotation = camera.xpos.copy(), camera.xmat.reshape(3, 3).copy()
    half = np.tan(np.radians(model.cam_fovy[model.camera("fixed").id]) / 2)

    def project(points: Array) -> Array:
        seen = (points - position) @ rotation
        u, v = seen[:, 0] / -seen[:, 2] / half, seen[:, 1] / -seen[:, 2] / half
        return np.stack([(u + 1) * PICTURE_PX / 2 - 0.5, (1 - v) * PICTURE_PX / 2 - 0.5], axis=1)

    return image, project


def draw(bundle: Bundle, layout: Layout, x: Array, y: Array, scores: Array, clearance: Array, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import TwoSlopeNorm
    from matplotlib.figure import Figure
    from matplotlib.patches import Circle, Rectangle

    threshold = bundle.manifest.filter.feasible_reachability
    margin = threshold - scores
    norm = TwoSlopeNorm(vmin=-(1.0 - threshold), vcenter=0.0, vmax=max(threshold, 1e-3))
    image, project = picture(layout)
    figure = Figure(figsize=(11.5, 4.8), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=[1.0, 1.5])
    left.imshow(image)
    grid = np.stack([*np.meshgrid(x, y, indexing="ij"), np.full((len(x), len(y)), HEIGHT_M)], axis=-1)
    pixels = project(grid.reshape(-1, 3)).reshape(len(x), len(y), 2)
    levels = np.linspace(norm.vmin, norm.vmax, 41)
    left.contourf(pixels[..., 0], pixels[..., 1], margin, levels, cmap="RdYlGn", norm=norm, alpha=0.5, antialiased=True)
    left.contour(pixels[..., 0], pixels[..., 1], margin, levels=[0.0], colors="k", linewidths=1.4)
    left.set_axis_off()
    left.set_title(f"over what the camera sees, fingertip at {100 * HEIGHT_M:.0f} cm", loc="left", fontsize=10)
    shown = right.pcolormesh(100 * y, 100 * x, margin, cmap="RdYlGn", norm=norm, shading="gouraud")
    right.contour(100 * y, 100 * x, margin, levels=[0.0], colors="k", linewidths=1.6)
    right.contour(100 * y, 100 * x, clearance, levels=[MARGIN_M], colors="#1b4f9c", linewidths=1.6, linestyles="--")
    for obstacle in layout.obstacles:
        corner = (100 * (obstacle.y_m - obstacle.half_y_m), 100 * (obstacle.x_m - obstacle.half_x_m))
        size = (200 * obstacle.half_y_m, 200 * obstacle.half_x_m)
        right.add_patch(Rectangle(corner, *size, facecolor=layout.obstacle_colour, edgecolor="k", alpha=0.8))
    target = (100 * layout.target_m[1], 100 * layout.target_m[0])
    right.add_patch(Circle(target, 3.2, facecolor=layout.target_colour, edgecolor="k"))
    right.plot(100 * layout.start_m[1], 100 * layout.start_m[0], "k+", ms=10, mew=2)
    right.text(100 * layout.start_m[1], 100 * layout.start_m[0] - 1.0, "start", ha="center", fontsize=8)
    right.plot([], [], color="k", lw=1.6, label="the filter's threshold")
    right.plot([], [], color="#1b4f9c", lw=1.6, ls="--", label=f"truth: closer than {1e3 * MARGIN_M:.0f} mm to a box")
    right.legend(loc="lower center", bbox_to_anchor=(0.5, -0.34), ncols=2, frameon=False, fontsize=9)
    right.set_xlabel("y, cm")
    right.set_ylabel("x, cm")
    right.set_xlim(-24, 24)
    right.set_ylim(40, 20)  # as the camera sees it: the base is at the top
    right.set_aspect("equal")
    right.set_title("from above", loc="left", fontsize=10)
    bar = figure.colorbar(shown, ax=[left, right], shrink=0.8, pad=0.01)
    bar.set_label("threshold minus reachability of the policy's choice", fontsize=9)
    figure.savefig(path)


if __name__ == "__main__":
    main()
