"""The SO-101 follower arm: five joints and a gripper, six STS3215 servos.

Offsets, axes and ranges are those of the maker's own model (TheRobotStudio/SO-ARM100, `Simulation/SO101/
so101_new_calib.xml`, Apache-2.0), brought into frames that are parallel at zero. Zero is the middle of every joint's
range, as that model and LeRobot have it: upper arm upright, forearm and gripper forwards. Angles count as the servos
do. Speeds and accelerations are ours: well below the servo's no-load speed of about 4.7 rad/s at 7.4 V.
"""

from math import cos, sin

from fosp_edge.robots.arm import ArmDescription, Joint
from fosp_edge.robots.workspace import Workspace

_PITCH = (0.0, 1.0, 0.0)
_JAW_AXIS = (0.0, -cos(0.04868), -sin(0.04868))
"""The gripper sits a little turned on the wrist's horn."""

SO101_ARM = ArmDescription(
    name="so101",
    joints=(
        Joint("shoulder_pan", (0.03884, 0.0, 0.0624), (0.0, 0.0, -1.0), -1.92, 1.92, 1.5, 8.0),
        Joint("shoulder_lift", (0.0304, -0.01828, 0.0542), _PITCH, -1.74, 1.74, 1.5, 8.0),
        Joint("elbow_flex", (0.028, 0.0, 0.11257), _PITCH, -1.69, 1.69, 1.5, 8.0),
        Joint("wrist_flex", (0.1349, 0.0, 0.0052), _PITCH, -1.65, 1.65, 2.0, 12.0),
        Joint("wrist_roll", (0.0611, 0.0181, 0.0), (-1.0, 0.0, 0.0), -2.74, 2.84, 2.0, 12.0),
        Joint("gripper", (0.0234, 0.01779, 0.02109), _JAW_AXIS, -0.17, 1.74, 2.0, 12.0),
    ),
    tool_offset_m=(0.09813, 0.00017, -0.0079),
    home_rad=(0.0, -0.35, 0.55, 1.37, 0.0, 0.0),
    resting_joints=(4,),
    joints_beyond_tool=1,
)
"""The fingertip is that of the fixed jaw; the moving jaw (`gripper`) is held where it is."""

SO101_WORKSPACE = Workspace(low_m=(0.15, -0.12, 0.03), high_m=(0.20, 0.12, 0.08))
"""What the fingertip reaches with the gripper pointing down, as the wrist bends by 95 degrees at most."""
