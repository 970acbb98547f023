"""An arm that is nobody's: six joints with turned frames, whose tool points along the z-axis of its last link."""

from pathlib import Path

_INERTIAL = '<inertial><mass value="1"/><inertia ixx="0.01" iyy="0.01" izz="0.01" ixy="0" ixz="0" iyz="0"/></inertial>'
_LINKS = ("plate", "column", "shoulder", "upper", "fore", "hand", "wrist", "flange", "tip")
_JOINTS = (
    # name, type, parent, child, xyz, rpy, axis, limits
    ("mount", "fixed", "plate", "column", "0.01 0 0.05", "0 0 0.3", "", ""),
    ("pan", "revolute", "column", "shoulder", "0 0 0.06", "0 0 -0.3", "0 0 1", 'lower="-3" upper="3" velocity="6"'),
    ("lift", "revolute", "shoulder", "upper", "0 0.03 0.05", "0 1.5707963 0", "0 1 0",
     'lower="-3.1" upper="0.5" velocity="6"'),
    ("bend", "revolute", "upper", "fore", "0.24 -0.02 0", "0 0.2 0", "0 2 0",
     'lower="-2.8" upper="2.8" velocity="0.5"'),
    ("tilt", "revolute", "fore", "hand", "0.2 0 0", "0 0.3 0", "0 1 0", 'lower="-2.8" upper="2.8" velocity="6"'),
    ("roll", "continuous", "hand", "wrist", "0.03 0.01 0.02", "0 -0.4 0", "1 0 0", ""),
    ("flange_mount", "fixed", "wrist", "flange", "0.05 0 0", "0 1.5707963 0", "", ""),
    ("tip_mount", "fixed", "flange", "tip", "0 0 0.07", "0 0 0.7", "", ""),
)  # fmt: skip


def write_urdf(path: Path) -> Path:
    """The arm as a URDF file, with what MuJoCo asks for so that it can read it as well; returns the path."""
    links = "".join(f'<link name="{name}">{_INERTIAL}</link>' for name in _LINKS)
    joints = "".join(
        f'<joint name="{name}" type="{kind}"><parent link="{parent}"/><child link="{child}"/>'
        f'<origin xyz="{xyz}" rpy="{rpy}"/>'
        + (f'<axis xyz="{axis}"/>' if axis else "")
        + (f"<limit {limits}/>" if limits else "")
        + "</joint>"
        for name, kind, parent, child, xyz, rpy, axis, limits in _JOINTS
    )
    mujoco = '<mujoco><compiler fusestatic="false"/></mujoco>'
    path.write_text(f'<?xml version="1.0"?><robot name="bench">{mujoco}{links}{joints}</robot>')
    return path
