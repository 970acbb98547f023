"""How SafeReach and SafeRoom describe their recordings: robot, cameras, state and action, with units and ranges."""

from fosp_edge.experience.episode import Camera, Recording
from fosp_edge.robots.arm import DESKTOP_ARM
from fosp_edge.robots.channels import action_channels, state_channels
from fosp_edge.robots.fingertip_drive import FINGERTIP_VELOCITY
from fosp_edge.robots.mobile_base import TWO_WHEELS
from fosp_edge.simulation.base_plant import CAMERAS as BASE_CAMERAS
from fosp_edge.simulation.scene import CAMERAS
from fosp_edge.simulation.task import RATE_HZ, ROOM_RATE_HZ

SAFEREACH_RECORDING = Recording(
    robot=DESKTOP_ARM.name,
    rate_hz=RATE_HZ,
    cameras=tuple(Camera(name, 64, 64) for name in CAMERAS),
    state=state_channels(DESKTOP_ARM),
    action=action_channels(FINGERTIP_VELOCITY),
)
SAFEROOM_RECORDING = Recording(
    robot=TWO_WHEELS.name,
    rate_hz=ROOM_RATE_HZ,
    cameras=tuple(Camera(name, 64, 64) for name in BASE_CAMERAS),
    state=TWO_WHEELS.state,
    action=action_channels(TWO_WHEELS.action_space),
)
