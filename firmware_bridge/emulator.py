"""A motor controller without a board: the logic of `controller` between a byte stream and a physics model.

`ControllerEmulator.poll(fd)` and `.advance(dt_us)` never block, so that a simulation interleaves them with its own
steps; `serve` is the loop for those who have none. A `PseudoTerminal` gives it a serial port that any program can open.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import threading
import time
import tty
from collections.abc import Sequence
from typing import Protocol

from firmware_bridge import units
from firmware_bridge.codes import Capability, Drive
from firmware_bridge.controller import Controller, Feedback, Identity
from firmware_bridge.nonblocking import read_available, write_available
from firmware_bridge.safety import Measured

_INT16_MAX = 32_767


class Plant(Protocol):
    """The motors and what they move, in SI units; every sequence has `joint_count()` entries.

    Optional methods, offered to the host as capabilities where they exist: `set_effort_targets(nm)`,
    `set_damping()`, `currents_a()`, `temperatures_c()`, `voltage_v() -> float`. `set_off()` (no torque) is used
    where it exists; a plant without it holds instead, like an arm with brakes.
    """

    def joint_count(self) -> int:
        """Return the number of joints, 1 to 16."""
        ...

    def positions_rad(self) -> Sequence[float]:
        """Return the measured joint positions."""
        ...

    def velocities_rad_s(self) -> Sequence[float]:
        """Return the measured joint velocities."""
        ...

    def set_velocity_targets(self, velocity_rad_s: Sequence[float]) -> None:
        """Drive every joint at this velocity, until told otherwise."""
        ...

    def set_hold(self) -> None:
        """Hold every joint where it is now."""
        ...


def capabilities_of(plant: Plant) -> Capability:
    """Return what a controller in front of this plant can offer."""
    found = Capability.VELOCITY | Capability.POSITION
    for method, capability in (
        ("set_effort_targets", Capability.EFFORT),
        ("set_damping", Capability.DAMPING),
        ("currents_a", Capability.CURRENT),
        ("temperatures_c", Capability.TEMPERATURE),
        ("voltage_v", Capability.VOLTAGE),
    ):
        if hasattr(plant, method):
            found |= capability
    return found


class ControllerEmulator:
    """The emulated board. Not thread-safe: one thread polls and advances it."""

    def __init__(
        self, plant: Plant, name: str = "fosp-emulator", serial: str = "EMU0001", *, endless: bool = False
    ) -> None:
        """`endless`: the joints are wheels, and their positions are told within one turn."""
        self._plant, self._endless = plant, endless
        capabilities = capabilities_of(plant) | (Capability.ENDLESS if endless else Capability(0))
        self.controller = Controller(Identity(plant.joint_count(), capabilities, name, serial))
        self._unsent = b""
        self._applied_drive: Drive | None = None

    def poll(self, fd: int) -> int:
        """Exchange all bytes that can be exchanged now on a non-blocking descriptor. Returns the bytes received.

        What the other side is too slow to take is kept up to the controller's own bound, then dropped by whole frames
        and counted. A pseudo-terminal that nobody has open is silence, not an error.
        """
        received = 0
        while data := read_available(fd):
            received += len(data)
            self.controller.receive(data)
        self._flush(fd)
        return received

    def advance(self, dt_us: int) -> None:
        """Let `dt_us` microseconds of the controller's time pass: read the sensors, decide, drive the motors."""
        self.controller.tick(dt_us, self._read_plant())
        self._drive_plant()

    def flush(self, fd: int) -> None:
        """Send what waits, without blocking. `poll` does this too."""
        self._flush(fd)

    def _flush(self, fd: int) -> None:
        self._unsent = self._unsent or self.controller.take_output()
        while self._unsent and (written := write_available(fd, self._unsent)):
            self._unsent = self._unsent[written:] or self.controller.take_output()

    def _read_plant(self) -> Feedback:
        plant = self._plant
        positions, velocities = plant.positions_rad(), plant.velocities_rad_s()
        currents = getattr(plant, "currents_a", None)
        temperatures = getattr(plant, "temperatures_c", None)
        voltage = getattr(plant, "voltage_v", None)
        try:
            if self._endless:
                positions = [math.remainder(position, math.tau) for position in positions]
            return Feedback(
                measured=tuple(
                    Measured(
                        _sensor(position, units.PER_MICRO, units.POSITION_MAX_URAD),
                        _sensor(velocity, units.PER_MICRO, units.VELOCITY_MAX_URAD_S),
                    )
                    for position, velocity in zip(positions, velocities, strict=True)
                ),
                currents_ma=_column(currents, self.controller, units.PER_MILLI),
                temperatures_decidegree=_column(temperatures, self.controller, 10),
                voltage_mv=0 if voltage is None else max(0, _sensor(voltage(), units.PER_MILLI, 65_535)),
            )
        except ValueError:
            # A sensor that says NaN says nothing: the controller knows what to do about silence.
            count = self.controller.identity.joint_count
            return Feedback((Measured(0, 0),) * count, (0,) * count, (0,) * count, 0, valid=False)

    def _drive_plant(self) -> None:
        drive, setpoints = self.controller.drive, self.controller.setpoints
        changed, self._applied_drive = drive is not self._applied_drive, drive
        if drive is Drive.VELOCITY:
            self._plant.set_velocity_targets([setpoint / units.PER_MICRO for setpoint in setpoints])
        elif drive is Drive.EFFORT:
            self._plant.set_effort_targets([setpoint / units.PER_MILLI for setpoint in setpoints])  # type: ignore[attr-defined]
        elif changed:
            wanted = {Drive.OFF: "set_off", Drive.DAMP: "set_damping"}.get(drive, "set_hold")
            getattr(self._plant, wanted, self._plant.set_hold)()


def _sensor(value: float, scale: int, bound: int) -> int:
    """Return a reading in wire units, held at the end of its range. Raises ValueError if it is not finite."""
    if not math.isfinite(value):
        raise ValueError("a sensor gave no finite number")
    return max(-bound, min(bound, round(value * scale)))


def _column(read: object, controller: Controller, scale: int) -> tuple[int, ...]:
    if not callable(read):
        return (0,) * controller.identity.joint_count
    return tuple(_sensor(value, scale, _INT16_MAX) for value in read())


class PseudoTerminal:
    """A serial line inside this machine: the emulator holds `fd`, a host opens `path`. Use it as a context manager."""

    def __init__(self) -> None:
        self.fd, self._far_end = os.openpty()
        # The far end stays open here too: else a host that comes and goes would make every read fail in between.
        tty.setraw(self._far_end)
        os.set_blocking(self.fd, False)
        self.path = os.ttyname(self._far_end)

    def close(self) -> None:
        """Pull the plug: a host that has the port open sees it vanish. Closing twice is harmless."""
        for name in ("fd", "_far_end"):
            descriptor = getattr(self, name)
            if descriptor >= 0:
                setattr(self, name, -1)
                os.close(descriptor)

    def __enter__(self) -> PseudoTerminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def serve(fd: int, emulator: ControllerEmulator, stop_event: threading.Event, period_s: float = 0.001) -> None:
    """Run an emulator in real time on a non-blocking descriptor until `stop_event` is set or the descriptor closes.

    The physics of the plant is the plant's own affair (or another thread's); time passes here at the machine's rate.
    """
    last_ns = time.monotonic_ns()
    # A closed descriptor is the plug being pulled: the end of this loop, not an error.
    with contextlib.suppress(OSError, ValueError):
        while not stop_event.is_set():
            select.select([fd], [], [], period_s)
            emulator.poll(fd)
            now_ns = time.monotonic_ns()
            elapsed_us = (now_ns - last_ns) // 1_000
            if elapsed_us >= period_s * 500_000:
                last_ns += elapsed_us * 1_000
                emulator.advance(elapsed_us)
                emulator.flush(fd)
