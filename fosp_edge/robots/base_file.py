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
goes no farther than `tether_m` from where its motors were armed, by its wheels' count. Nothing is optional, and what is
not known is refused: a limit that was misspelt is no limit.
"""

import json
from dataclasses import dataclass

from fosp_edge.robots.arm_file import FASTEST_RAD_S, GENTLEST_RAD_S2, HARDEST_RAD_S2
from fosp_edge.robots.mobile_base import LONGEST_BRAKING_RAD, BaseDescription
from fosp_edge.robots.robot_entry import RobotEntry
from fosp_edge.robots.wires import CONTROLLER


@dataclass(frozen=True)
class BaseFile:
    """What it says. Wheels hang on a controller board: position servos do not turn on and on."""

    base: BaseDescription
    bus: str = CONTROLLER
    ids: str = ""

    @property
    def name(self) -> str:
        """Of the base."""
        return self.base.name

    def to_json(self) -> str:
        """The text that reads back as this."""
        base = self.base
        wheels = {
            "radius_m": base.wheel_radius_m, "track_m": base.track_m,
            "velocity_limit_rad_s": base.wheel_velocity_limit_rad_s,
            "acceleration_limit_rad_s2": base.wheel_acceleration_limit_rad_s2,
        }  # fmt: skip
        rest = {name: getattr(base, name) for name in ("speed_limit_m_s", "turn_limit_rad_s", "tether_m")}
        entries = {"name": base.name, "wheels": wheels} | rest
        return (
            "{\n" + ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in entries.items()) + "\n}\n"
        )


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
    )
    wheels.done()
    entry.done()
    braking_rad = base.wheel_velocity_limit_rad_s**2 / (2.0 * base.wheel_acceleration_limit_rad_s2)
    if braking_rad > LONGEST_BRAKING_RAD:
        raise ValueError(
            f"wheels: to stop from {base.wheel_velocity_limit_rad_s:g} rad/s at "
            f"{base.wheel_acceleration_limit_rad_s2:g} rad/s^2 takes {braking_rad:.0f} rad, more than "
            f"{LONGEST_BRAKING_RAD:g}: slower, or brake harder"
        )
    return BaseFile(base)
