"""A base's file: two driven wheels, how fast they may move it, and how far.

    {
      "name": "my-base",
      "wheels": {"radius_m": 0.033, "track_m": 0.16, "velocity_limit_rad_s": 8, "acceleration_limit_rad_s2": 50},
      "speed_limit_m_s": 0.22,
      "turn_limit_rad_s": 2,
      "tether_m": 4
    }

`track_m` is from the middle of one wheel to the middle of the other; the limits of `wheels` are those of each. The left
wheel is joint 0 of the controller, the right one joint 1, and both turn positively when the base drives forwards. It
goes no farther than `tether_m` from where its motors were armed, by its wheels' count.

Wheels that are Dynamixel X servos on one line have three entries more; their ids are those of left and right, and
`backwards` names the wheels that count against driving forwards, as one of two that are mounted alike does:

      "bus": "dynamixel", "ids": "1,2", "backwards": ["right"]

A base with a depth camera may have a bumper. It brakes, so that `gap_m` are left to what the camera sees ahead: within
a window of its picture (left, top, right, bottom as parts of it; the whole one if left out), of which `share` must be
as near; a window that is `unmeasured` for the most part counts as covered (`depth_window.py`):

      "bumper": {"camera": "front", "gap_m": 0.3, "window": [0, 0.2, 1, 0.7], "share": 0.01, "unmeasured": 0.9}

Nothing else is optional, and what is not known is refused: a limit that was misspelt is no limit.
"""

import json
from dataclasses import dataclass, replace

from firmware_bridge.buses.families import FAMILIES
from firmware_bridge.buses.servos import FASTEST_RAD_S as FASTEST_SERVO_RAD_S
from firmware_bridge.buses.servos import SPEED_MARGIN
from fosp_edge.robots.arm_file import FASTEST_RAD_S, GENTLEST_RAD_S2, HARDEST_RAD_S2
from fosp_edge.robots.depth_window import DepthWindow
from fosp_edge.robots.mobile_base import LONGEST_BRAKING_RAD, BaseDescription, Bumper
from fosp_edge.robots.robot_entry import RobotEntry, distinct
from fosp_edge.robots.wires import CONTROLLER

SIDES = ("left", "right")
WHEEL_WIRES = (CONTROLLER, *(name for name, family in FAMILIES.items() if family.wheel_mode is not None))
"""What wheels may hang on. Servos without a watchdog are not among them: wheels would turn on if this computer died."""


@dataclass(frozen=True)
class BaseFile:
    """What it says."""

    base: BaseDescription
    bus: str = CONTROLLER
    ids: str = ""
    """Of the servos, left and right; empty for a board."""
    backwards: tuple[str, ...] = ()
    """Of SIDES, those whose servo counts against driving forwards."""

    @property
    def name(self) -> str:
        """Of the base."""
        return self.base.name

    @property
    def directions(self) -> tuple[int, ...]:
        """1 or -1, left and right: which way each servo counts."""
        return tuple(-1 if side in self.backwards else 1 for side in SIDES)

    def to_json(self) -> str:
        """The text that reads back as this."""
        base = self.base
        wheels = {
            "radius_m": base.wheel_radius_m, "track_m": base.track_m,
            "velocity_limit_rad_s": base.wheel_velocity_limit_rad_s,
            "acceleration_limit_rad_s2": base.wheel_acceleration_limit_rad_s2,
        }  # fmt: skip
        rest = {name: getattr(base, name) for name in ("speed_limit_m_s", "turn_limit_rad_s", "tether_m")}
        wire = {} if self.bus == CONTROLLER else {"bus": self.bus, "ids": self.ids, "backwards": list(self.backwards)}
        bumper = {} if base.bumper is None else {"bumper": _bumper_entries(base.bumper)}
        entries = {"name": base.name} | wire | {"wheels": wheels} | rest | bumper
        return (
            "{\n" + ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in entries.items()) + "\n}\n"
        )


def _bumper_entries(bumper: Bumper) -> dict[str, object]:
    window = bumper.window
    return {
        "camera": bumper.camera, "gap_m": bumper.gap_m, "window": list(window.window), "share": window.share,
        "unmeasured": window.unmeasured,
    }  # fmt: skip


def _bumper_of(entry: RobotEntry) -> Bumper:
    camera, gap_m, window = entry.word("camera"), entry.number("gap_m", 0.02, 10.0), DepthWindow()
    if "window" in entry:
        left, top, right, bottom = entry.numbers("window", 4, 1.0)
        window = replace(window, window=(left, top, right, bottom))
    if "share" in entry:
        window = replace(window, share=entry.number("share", 0.0, 1.0))
    if "unmeasured" in entry:
        window = replace(window, unmeasured=entry.number("unmeasured", 0.0, 1.0))
    entry.done()
    return Bumper(camera, gap_m, window)


def base_of(entry: RobotEntry) -> BaseFile:
    """What an entry says. Raises ValueError with the place of what cannot be meant."""
    name, wheels = entry.word("name"), RobotEntry(entry.take("wheels"), "wheels")
    base = BaseDescription(
        name=name,
        wheel_radius_m=wheels.number("radius_m", 0.005, 1.0),
        track_m=wheels.number("track_m", 0.02, 5.0),
        wheel_velocity_limit_rad_s=wheels.number("velocity_limit_rad_s", 1e-3, FASTEST_RAD_S),
        wheel_acceleration_limit_rad_s2=wheels.number("acceleration_limit_rad_s2", GENTLEST_RAD_S2, HARDEST_RAD_S2),
        speed_limit_m_s=entry.number("speed_limit_m_s", 1e-3, 10.0),
        turn_limit_rad_s=entry.number("turn_limit_rad_s", 1e-3, 20.0),
        tether_m=entry.number("tether_m", 0.05, 1000.0),
        bumper=_bumper_of(RobotEntry(entry.take("bumper"), "bumper")) if "bumper" in entry else None,
    )
    wheels.done()
    bus = entry.take("bus") if "bus" in entry else CONTROLLER
    if bus not in WHEEL_WIRES:
        raise entry.wrong(
            "bus", f"one of {', '.join(WHEEL_WIRES)} (other servos have no watchdog, and wheels would turn on)", bus
        )
    ids, backwards = ("", []) if bus == CONTROLLER else (entry.word("ids"), entry.words("backwards"))
    distinct(backwards)
    if not set(backwards) <= set(SIDES):
        raise entry.wrong("backwards", f"names out of {', '.join(SIDES)}", backwards)
    entry.done()
    fastest = FASTEST_SERVO_RAD_S / SPEED_MARGIN
    if bus != CONTROLLER and base.wheel_velocity_limit_rad_s > fastest:
        raise wheels.wrong(
            "velocity_limit_rad_s", f"at most {fastest:g} on {bus} servos", base.wheel_velocity_limit_rad_s
        )
    braking_rad = base.wheel_velocity_limit_rad_s**2 / (2.0 * base.wheel_acceleration_limit_rad_s2)
    if braking_rad > LONGEST_BRAKING_RAD:
        raise ValueError(
            f"wheels: to stop from {base.wheel_velocity_limit_rad_s:g} rad/s at "
            f"{base.wheel_acceleration_limit_rad_s2:g} rad/s^2 takes {braking_rad:.0f} rad, more than "
            f"{LONGEST_BRAKING_RAD:g}: slower, or brake harder"
        )
    return BaseFile(base, bus, ids, tuple(backwards))
