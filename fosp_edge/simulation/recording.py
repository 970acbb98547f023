"""How SafeReach describes its recordings: robot, cameras, state and action, with names, units and ranges."""

from fosp_edge.experience.episode import Camera, Recording
from fosp_edge.robots.arm import DESKTOP_ARM
from fosp_edge.robots.channels import action_channels, state_channels
from fosp_edge.simulation.scene import CAMERAS
from fosp_edge.simulation.task import ACTION_SPACE, RATE_HZ

SAFEREACH_RECORDING = Recording(
    robot=DESKTOP_ARM.name,
    rate_hz=RATE_HZ,
    cameras=tuple(Camera(name, 64, 64) for name in CAMERAS),
    state=state_channels(DESKTOP_ARM),
    action=action_channels(ACTION_SPACE),
)
