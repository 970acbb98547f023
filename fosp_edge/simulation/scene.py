"""The table as a MuJoCo model, built from the arm's description and a layout."""

import mujoco
import numpy as np

from fosp_edge.robots.arm import DESKTOP_ARM, ArmDescription
from fosp_edge.simulation.layout import TOOL_RADIUS_M, Layout

_Capsule = tuple[int, tuple[float, float, float], tuple[float, float, float], float, str]
"""Joint index, from, to, radius, colour."""
_DARK, _TOOL = "0.33 0.34 0.38 1", "0.95 0.75 0.15 1"

_DESKTOP_ARM_LINKS: tuple[_Capsule, ...] = (
    (0, (0.0, 0.0, -0.03), (0.0, 0.0, 0.039), 0.040, "0.25 0.26 0.30 1"),
    (1, (0.0, 0.0, 0.0), (0.0, 0.0, 0.25), 0.028, "0.33 0.34 0.38 1"),
    (1, (0.0, 0.0, 0.25), (0.05, 0.0, 0.25), 0.026, "0.33 0.34 0.38 1"),
    (2, (0.0, 0.0, 0.0), (0.12, 0.0, 0.0), 0.024, "0.25 0.26 0.30 1"),
    (3, (0.0, 0.0, 0.0), (0.13, 0.0, 0.0), 0.022, "0.33 0.34 0.38 1"),
    (4, (0.0, 0.0, 0.0), (0.065, 0.0, 0.0), 0.020, "0.25 0.26 0.30 1"),
    (5, (0.0, 0.0, 0.0), (0.115 - TOOL_RADIUS_M, 0.0, 0.0), TOOL_RADIUS_M, "0.95 0.75 0.15 1"),
)
_TARGETS = {
    "ball": ("sphere", "0.032"),
    "cube": ("box", "0.026 0.026 0.026"),
    "disc": ("cylinder", "0.036 0.012"),
    "bar": ("box", "0.014 0.045 0.014"),
}
CAMERAS = ("fixed", "wrist")


def _links(arm: ArmDescription) -> tuple[_Capsule, ...]:
    """The capsules that make up the arm; of arms other than the desktop arm a plain one from joint to joint."""
    if arm.name == DESKTOP_ARM.name:
        return _DESKTOP_ARM_LINKS
    bones: list[_Capsule] = [
        (index, (0.0, 0.0, 0.0), after.offset_m, 0.018, _DARK)
        for index, after in enumerate(arm.joints[1:])
        if index != arm.tool_link
    ]
    return (*bones, (arm.tool_link, (0.0, 0.0, 0.0), arm.tool_offset_m, TOOL_RADIUS_M, _TOOL))


def build_model(layout: Layout, arm: ArmDescription = DESKTOP_ARM) -> mujoco.MjModel:
    """Compile the scene: arm, target, obstacles that slide when pushed, one fixed and one wrist camera."""
    return mujoco.MjModel.from_xml_string(_xml(layout, arm))


def _numbers(values: object) -> str:
    return " ".join(f"{value:.6g}" for value in np.atleast_1d(np.asarray(values, float)))


def _turning_x_to(axis: tuple[float, float, float]) -> tuple[float, float, float, float]:
    """The shortest turn that brings the x-axis there, as a quaternion that need not be of length 1."""
    x, y, z = axis
    return (1.0 + x, 0.0, -z, y) if x > -1.0 + 1e-9 else (0.0, 0.0, 0.0, 1.0)


def _xml(layout: Layout, arm: ArmDescription) -> str:
    # The wrist camera looks along the tool from behind it; MuJoCo cameras look along their own -z.
    wrist = (
        f'<frame quat="{_numbers(_turning_x_to(arm.tool_axis))}">'
        f'<camera name="wrist" pos="-0.015 0 0.055" xyaxes="0 -1 0 0.26 0 0.966" fovy="75"/></frame>'
        f'<site name="tip" pos="{_numbers(arm.tool_offset_m)}"/>'
    )
    links, closing = [], []
    for index, joint in enumerate(arm.joints):
        geoms = "".join(
            f'<geom name="arm_{index}_{n}" class="arm" type="capsule" fromto="{_numbers(start + end)}" '
            f'size="{radius}" rgba="{colour}"/>'
            for n, (owner, start, end, radius, colour) in enumerate(_links(arm))
            if owner == index
        )
        links.append(
            f'<body name="{joint.name}" pos="{_numbers(joint.offset_m)}" gravcomp="1">'
            f'<inertial pos="0 0 0" mass="0.25" diaginertia="0.0004 0.0004 0.0004"/>'
            f'<joint name="{joint.name}" axis="{_numbers(joint.axis)}" armature="0.03" damping="0.2" '
            f'range="{joint.lower_rad} {joint.upper_rad}"/>{geoms}'
        )
        if index == arm.tool_link:
            links.append(wrist)
        closing.append("</body>")
    obstacles = "".join(_obstacle_xml(layout, index) for index in range(len(layout.obstacles)))
    kind, size = _TARGETS[layout.target_shape]
    colour = _numbers(layout.target_colour)
    x, y, z = layout.target_m
    actuators = "".join(
        f'<velocity name="{joint.name}" joint="{joint.name}" kv="6" forcerange="-20 20"/>' for joint in arm.joints
    )
    return f"""
<mujoco model="safereach">
  <compiler angle="radian" autolimits="true"/>
  <option timestep="0.002" integrator="implicitfast" iterations="10"/>
  <default>
    <geom contype="0" conaffinity="0"/>
    <default class="arm"><geom contype="1" conaffinity="0" friction="0.2"/></default>
    <default class="obstacle"><geom contype="0" conaffinity="1" friction="0.2"/></default>
  </default>
  <worldbody>
    <geom name="table" type="plane" size="1.2 1.2 0.05" rgba="0.80 0.78 0.74 1"/>
    <geom name="base" type="cylinder" pos="0 0 0.02" size="0.055 0.02" rgba="0.2 0.2 0.23 1"/>
    <camera name="fixed" pos="0.56 0 0.80" xyaxes="0 1 0 -0.93 0 0.37" fovy="37"/>
    <geom name="stand" type="cylinder" pos="{x:.5f} {y:.5f} {z / 2:.5f}" size="0.006 {z / 2:.5f}" rgba="0.5 0.5 0.5 1"/>
    <geom name="target" type="{kind}" pos="{x:.5f} {y:.5f} {z:.5f}" size="{size}" rgba="{colour} 1"/>
    {obstacles}
    {"".join(links)}{"".join(closing)}
  </worldbody>
  <actuator>{actuators}</actuator>
</mujoco>"""


def _obstacle_xml(layout: Layout, index: int) -> str:
    obstacle = layout.obstacles[index]
    half_height = obstacle.height_m / 2
    shape = (
        f'type="cylinder" size="{obstacle.half_x_m} {half_height}"'
        if obstacle.shape == "cylinder"
        else f'type="box" size="{obstacle.half_x_m} {obstacle.half_y_m} {half_height}"'
    )
    # Two slides with dry friction: a box that is touched is pushed away, as on a real table, but does not fall over.
    slides = "".join(
        f'<joint name="obstacle_{index}_{name}" type="slide" axis="{axis}" frictionloss="0.6" damping="4"/>'
        for name, axis in (("x", "1 0 0"), ("y", "0 1 0"))
    )
    return (
        f'<body name="obstacle_{index}" pos="{obstacle.x_m} {obstacle.y_m} {half_height}">{slides}'
        f'<geom name="obstacle_{index}" class="obstacle" {shape} mass="0.3" '
        f'rgba="{_numbers(layout.obstacle_colour)} 1"/></body>'
    )
