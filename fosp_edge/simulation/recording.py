"""How SafeReach describes its recordings: robot, cameras, state and action, with names, units and ranges."""

from fosp_edge.bundle.manifest import Channel
from fosp_edge.experience.episode import Camera, Recording
from fosp_edge.robots.arm import DESKTOP_ARM
from fosp_edge.simulation.scene import CAMERAS
from fosp_edge.simulation.task import ACTION_SPACE, RATE_HZ

SAFEREACH_RECORDING = Recording(
    robot=DESKTOP_ARM.name,
    rate_hz=RATE_HZ,
    cameras=tuple(Camera(name, 64, 64) for name in CAMERAS),
    state=(
        *(Channel(joint.name, "rad", joint.lower_rad, joint.upper_rad) for joint in DESKTOP_ARM.joints),
        *(Channel(f"fingertip_{axis}", "m", -1.0, 1.0) for axis in "xyz"),
    ),
    action=tuple(
        Channel(name, unit, low, high)
        for name, unit, low, high in zip(
            ACTION_SPACE.names, ACTION_SPACE.units, ACTION_SPACE.low, ACTION_SPACE.high, strict=True
        )
    ),
)
