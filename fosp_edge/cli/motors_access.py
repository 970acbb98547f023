"""How the `motors` verbs reach motors: one description on the command line, one link, whatever stands on the wire."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from firmware_bridge import MotorLink, Torque
from firmware_bridge.buses.bus import ServoBus
from firmware_bridge.buses.calibration import MotorCalibration, centred, has_calibration, load_calibration
from firmware_bridge.buses.families import FAMILIES
from firmware_bridge.buses.servos import STATE_MAX_AGE_S
from firmware_bridge.buses.virtual import BUS_WATCHDOG_S, servo_link
from firmware_bridge.ports import find_ports, lasting_name
from firmware_bridge.transport import Rs485, SerialTransport
from fosp_edge.robots.wires import CONTROLLER

Port = Annotated[str | None, typer.Option(help="Serial port; the only one that is plugged in if left out.")]
Bus = Annotated[str, typer.Option(help=f"What is on the wire: {CONTROLLER} (a board), {', '.join(FAMILIES)}.")]
Ids = Annotated[str, typer.Option(help="Ids of the servos, from base to tool: 1-6 or 1,2,5.")]
CalibrationFile = Annotated[Path, typer.Option("--calibration", help="File with zero and range of each servo.")]
Release = Annotated[
    bool, typer.Option("--release", help="Switch torque off at the end: an arm that is not held may fall.")
]
WheelServos = Annotated[bool, typer.Option("--wheels", help="The servos are wheels, left and right: Dynamixel X.")]
HalfDuplex = Annotated[
    bool, typer.Option("--rs485", help="The port's RTS switches the line between sending and listening.")
]
DEFAULT_CALIBRATION = Path("runs/motor-calibration.json")


@dataclass(frozen=True)
class Wire:
    """What the options said."""

    port: str
    bus: str
    motor_ids: tuple[int, ...]
    calibration_file: Path
    rs485: bool = False
    wheels: tuple[int, ...] = ()
    """Of servos that are wheels, 1 or -1 for each: which way it counts beside driving forwards. They have no range, and
    no calibration."""

    @property
    def adapter(self) -> str:
        """The name under which this adapter's calibrations are filed."""
        return Path(lasting_name(self.port)).name

    @property
    def is_calibrated(self) -> bool:
        """Whether the file has a calibration for this adapter; one that is damaged counts, so that it is told."""
        return self.calibration_file.exists() and has_calibration(self.calibration_file, self.adapter)

    def open_bus(self, port: str, baud_rate: int | None = None) -> ServoBus:
        """The servo bus on the port, at the family's own rate unless another is given.

        Raises:
            LinkError: no port, or somebody else has it.
        """
        switching = Rs485() if self.rs485 else None

        def open_transport(name: str, baud_rate: int) -> SerialTransport:
            return SerialTransport(name, baud_rate, rs485=switching)

        return ServoBus(
            port, FAMILIES[self.bus], self.motor_ids, baud_rate=baud_rate, wheels=bool(self.wheels),
            open_transport=open_transport,
        )  # fmt: skip

    def calibration(self, *, required: bool) -> Sequence[MotorCalibration]:
        """Zero and range of the servos; without a file the whole turn, unless one is required."""
        if self.wheels:
            return centred(self.motor_ids, directions=self.wheels)
        if not required and not self.is_calibrated:
            return centred(self.motor_ids)
        return load_calibration(self.calibration_file, self.adapter, self.motor_ids)

    def link(
        self,
        *,
        calibrated: bool = True,
        at_exit: Torque = Torque.HOLD,
        bus_watchdog_s: float = BUS_WATCHDOG_S,
        state_max_age_s: float = STATE_MAX_AGE_S,
    ) -> MotorLink:
        """A link to a controller board, or to a controller made of this computer and the servos.

        With a calibration the servos must be the models that were calibrated.

        Raises:
            LinkError: no calibration where one is needed.
        """
        if self.bus == CONTROLLER:
            return MotorLink(self.port)
        calibration = self.calibration(required=calibrated)

        def open_bus(port: str) -> ServoBus:
            bus = self.open_bus(port)
            bus.expected_models = tuple(motor.model_number for motor in calibration)
            return bus

        return servo_link(
            self.port,
            open_bus,
            calibration,
            name=self.bus,
            at_exit=at_exit,
            bus_watchdog_s=bus_watchdog_s,
            state_max_age_s=state_max_age_s,
        )


def wire(
    port: str | None,
    bus: str,
    ids: str,
    calibration_file: Path = DEFAULT_CALIBRATION,
    rs485: bool = False,
    *,
    wheels: bool | Sequence[int] = False,
) -> Wire:
    """Read the options.

    Args:
        port: the only one that is plugged in if left out.
        bus: what is on the wire.
        ids: of the servos.
        calibration_file: of their zeros and ranges.
        rs485: whether RTS turns the line round.
        wheels: whether the servos are wheels; 1 or -1 for each where some count backwards.

    Raises:
        ValueError: an unknown bus, ids that cannot be read, not one direction for each, or no single port to choose.
    """
    if bus != CONTROLLER and bus not in FAMILIES:
        raise ValueError(f"unknown bus {bus!r}; choose one of: {CONTROLLER}, {', '.join(FAMILIES)}")
    motor_ids = parse_ids(ids)
    directions = ((1,) * len(motor_ids) if wheels else ()) if isinstance(wheels, bool) else tuple(wheels)
    if directions and len(directions) != len(motor_ids):
        raise ValueError(f"{len(directions)} wheels, but {len(motor_ids)} ids were given ({ids}): one id for each")
    return Wire(port or only_port(), bus, motor_ids, calibration_file, rs485, directions)


def only_port() -> str:
    """The lasting name of the one serial port that is plugged in, or of the only one on board.

    Raises:
        ValueError: there is none, or more than one.
    """
    found = find_ports()
    ports = [port for port in found if not port.on_board] or found
    if len(ports) == 1:
        return ports[0].lasting_name
    if not ports:
        raise ValueError("no serial port is plugged in: check cable and power, or name one with --port")
    raise ValueError(
        "there are several serial ports; choose one with --port: " + ", ".join(p.lasting_name for p in ports)
    )


def parse_ids(text: str) -> tuple[int, ...]:
    """`1-3,7` as (1, 2, 3, 7).

    Raises:
        ValueError: it is not written like that, repeats itself, or an id is not between 0 and 252.
    """
    ids: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"(\d{1,3})(?:-(\d{1,3}))?", part.strip())
        if not found:
            raise ValueError(f"the ids {text!r} cannot be read: write them like 1-6 or 1,2,5")
        first, last = int(found[1]), int(found[2] or found[1])
        ids += range(first, last + 1)
    if not ids or len(set(ids)) < len(ids) or max(ids) > 252:
        raise ValueError(f"the ids {text!r} repeat themselves or are not between 0 and 252")
    return tuple(ids)
